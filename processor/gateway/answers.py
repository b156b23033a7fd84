"""Verdicts -> status and document, one shape an endpoint; pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from processor.gateway.values import Judged, Outcome, Parcel, Refusal
from processor.kafka.confirmed import Failure, Receipt
from processor.web.refusals import RETRY_SECONDS

#: of the names `topic/partition/offset`
NAMESPACE = uuid.UUID("6f6c3c0e-5d0b-5c43-9a55-0d4a1f9f2f8e")
ACCEPTED = "Event accepted for processing"
UNCONFIRMED = "Kafka has not confirmed it in time: send it again, which is harmless where it did arrive"

AHEAD = "its time lies ahead of the gateway's clock: it counts as made when it came"

to_json = msgspec.json.Encoder(decimal_format="number").encode


class Answer(NamedTuple):
    status: int
    document: Mapping[str, Any]
    headers: Mapping[str, str] = {}


def event_id(topic: str, receipt: Receipt) -> str:
    """UUIDv5 of the place where Kafka keeps it: whoever reads the raw topic can compute it too."""
    return str(uuid.uuid5(NAMESPACE, f"{topic}/{receipt.partition}/{receipt.offset}"))


def settle(judged: Sequence[Judged], outcomes: Sequence[Outcome]) -> list[tuple[Judged, Outcome | None]]:
    """Each parcel with what became of it, each refusal with None; in the request's order."""
    answers = iter(outcomes)
    return [(one, next(answers) if isinstance(one, Parcel) else None) for one in judged]


def word_for(one: Judged, outcome: Outcome | None) -> str:
    """accepted, rejected or unconfirmed."""
    if isinstance(one, Refusal) or (isinstance(outcome, Failure) and outcome.forever):
        return "rejected"
    return "accepted" if isinstance(outcome, Receipt) else "unconfirmed"


def reports_answer(topic: str, settled: Sequence[tuple[Judged, Outcome | None]]) -> Answer:
    """Of /v1/reports: how many of each word, then one verdict a report."""
    verdicts = [verdict for one, outcome in settled for verdict in _report_verdicts(topic, one, outcome)]
    counts = dict.fromkeys(("accepted", "rejected", "unconfirmed"), 0)
    for verdict in verdicts:
        counts[verdict["status"]] += 1
    return _answer(_refused_status(settled), counts, {**counts, "reports": verdicts})


def _report_verdicts(topic: str, one: Judged, outcome: Outcome | None) -> list[dict[str, Any]]:
    line = {} if one.line is None else {"line": one.line}
    if isinstance(one, Refusal):
        said = {"reason": one.error, "path": one.path, "details": one.details}
        return [{"index": one.place, **line, "status": "rejected", **said}]
    known: dict[str, Any] = {"status": word_for(one, outcome)}
    if isinstance(outcome, Receipt):
        place = {"topic": topic, "partition": outcome.partition, "offset": outcome.offset}
        known |= {"event_id": event_id(topic, outcome), **place, **({"details": AHEAD} if one.ahead else {})}
    else:
        known |= _why_not(outcome)
    return [
        {"index": one.place + at, **line, "run_id": ids.run_id, "trial_id": ids.trial_id, **known}
        for at, ids in enumerate(one.ids)
    ]


def _why_not(outcome: Outcome | None) -> dict[str, Any]:
    if isinstance(outcome, Failure) and outcome.forever:
        return {"reason": "too_large", "path": "", "details": f"the topic does not take it: {outcome.words}"}
    words = outcome.words if isinstance(outcome, Failure) else ""
    return {"reason": "unconfirmed", "path": "", "details": f"{UNCONFIRMED} ({words})"}


def event_answer(topic: str, one: Judged, outcome: Outcome | None) -> Answer:
    """Of one event, as Thunderline answers."""
    verdict = _event_verdict(topic, one, outcome)
    word = word_for(one, outcome)
    if word == "unconfirmed":
        return Answer(503, verdict, {"retry-after": str(RETRY_SECONDS)})
    return Answer(202 if word == "accepted" else _refused_status([(one, outcome)]), verdict)


def events_answer(topic: str, settled: Sequence[tuple[Judged, Outcome | None]]) -> Answer:
    """Of many events: how many of each word, then one verdict an event."""
    counts = dict.fromkeys(("accepted", "rejected", "unconfirmed"), 0)
    verdicts = []
    for one, outcome in settled:
        counts[word_for(one, outcome)] += 1
        line = {} if one.line is None else {"line": one.line}
        verdicts.append({"index": one.place, **line, **_event_verdict(topic, one, outcome)})
    success = counts["accepted"] == len(settled)
    return _answer(_refused_status(settled), counts, {"success": success, **counts, "events": verdicts})


def _event_verdict(topic: str, one: Judged, outcome: Outcome | None) -> dict[str, Any]:
    if isinstance(one, Refusal):
        beside = {"reason": one.reason, "path": one.path, "received": one.received}
        return {
            "success": False,
            "error": one.error,
            "details": one.details,
            **{name: said for name, said in beside.items() if said},
        }
    if not isinstance(outcome, Receipt):
        why = _why_not(outcome)
        refused = word_for(one, outcome) == "rejected"
        error = "event_construction_failed" if refused else "publish_failed"
        return {"success": False, "error": error, "details": why["details"], "reason": why["reason"]}
    return {
        "success": True,
        "event_id": event_id(topic, outcome),
        "event_name": one.event,
        "correlation_id": one.correlation_id,
        "message": ACCEPTED,
    }


def _answer(refused_status: int, counts: Mapping[str, int], document: Mapping[str, Any]) -> Answer:
    """What is not confirmed outweighs all else: then the request is to be sent again, as a whole or in part."""
    if counts["unconfirmed"]:
        return Answer(503, document, {"retry-after": str(RETRY_SECONDS)})
    if not counts["rejected"]:
        return Answer(202, document)
    return Answer(207 if counts["accepted"] else refused_status, document)


def _refused_status(settled: Sequence[tuple[Judged, Outcome | None]]) -> int:
    """Of a request of which nothing was taken: 413 too large, 400 not what it should be, 422 a report of no use."""
    refusals = [one for one, _ in settled if isinstance(one, Refusal)]
    if any(one.reason == "too_large" for one in refusals) or not refusals:
        return 413
    return 400 if any(one.whole or one.error in _BAD_REQUEST for one in refusals) else 422


_BAD_REQUEST = frozenset(("unknown_event_type", "validation_failed"))
