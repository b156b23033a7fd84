"""POST /v1/reports: what is good is sent as it came, what would be a dead letter is told; 202 means Kafka has it."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import TransientError
from processor.core.messages import Outcome, RawRecord, Rejection, TrialReport
from processor.decode.apart import take_apart
from processor.gateway.answers import NAMESPACE
from processor.gateway.bodies import REQUEST_BYTES
from processor.gateway.mlevents import REQUIRED
from processor.kafka.confirmed import Receipt
from tests.unit.gateway.fakes import CATALOGUE, DECODER, Sender, Setup, post, post_json, refused

PATH = "/v1/reports"
GOOD = {"run_id": "run", "trial_id": "t1", "metrics": {"accuracy": 0.5}}
BAD = {"run_id": "run", "trial_id": "t2", "duration_ms": -1}


def test_a_report_is_sent_as_it_came_under_its_run_and_answered_with_the_place_where_kafka_keeps_it() -> None:
    sender, body = Sender(), b'{"trial_id":7, "model_run_id":"run \xc3\xa4","loss":NaN}'
    answer = post_json(sender, PATH, body)
    assert answer.status_code == 202
    assert [(one.key, one.value) for one in sender.sent] == [("run ä".encode(), body)]
    assert answer.json() == {
        "accepted": 1,
        "rejected": 0,
        "unconfirmed": 0,
        "reports": [
            {
                "index": 0,
                "run_id": "run ä",
                "trial_id": "7",
                "status": "accepted",
                "event_id": str(uuid.uuid5(NAMESPACE, "raw/0/0")),
                "topic": "raw",
                "partition": 0,
                "offset": 0,
            }
        ],
    }


def test_of_an_array_the_good_reports_are_sent_and_the_bad_ones_told_with_reason_and_path() -> None:
    sender = Sender()
    answer = post_json(sender, PATH, json.dumps([GOOD, BAD, 42, GOOD]))
    assert answer.status_code == 207
    document = answer.json()
    assert (document["accepted"], document["rejected"], document["unconfirmed"]) == (2, 2, 0)
    assert [one["status"] for one in document["reports"]] == ["accepted", "rejected", "rejected", "accepted"]
    bad = document["reports"][1]
    assert (bad["reason"], bad["path"]) == ("invalid_number", "duration_ms")
    assert document["reports"][2]["reason"] == "report_not_object"
    assert [json.loads(one.value) for one in sender.sent] == [GOOD, GOOD]


def test_each_report_of_an_envelope_goes_with_what_stands_around_it() -> None:
    sender = Sender()
    envelope = {"run_id": "run", "search": "digits", "trials": [{"trial_id": 1}, {"trial_id": 2, "run_id": "other"}]}
    assert post_json(sender, PATH, json.dumps(envelope)).status_code == 202
    assert [one.key for one in sender.sent] == [b"run", b"other"]
    outcomes = [DECODER(RawRecord("raw", 0, 0, 0, one.key, one.value)) for one in sender.sent]
    reports = [one for [one] in outcomes if isinstance(one, TrialReport)]
    assert [(one.trial_id, one.envelope) for one in reports] == [
        ("1", {"search": "digits"}),
        ("2", {"search": "digits", "run_id": "run"}),
    ]


def test_lines_are_told_by_their_number() -> None:
    sender = Sender()
    body = "\n".join(["", json.dumps(GOOD), "", "{", json.dumps([GOOD, BAD]), ""])
    answer = post(sender, PATH, content=body, headers={"content-type": "application/x-ndjson"})
    assert answer.status_code == 207
    told = [(one["index"], one["line"], one["status"]) for one in answer.json()["reports"]]
    assert told == [(0, 2, "accepted"), (1, 4, "rejected"), (2, 5, "accepted"), (3, 5, "rejected")]


def test_the_run_may_be_named_beside_the_body_as_a_record_s_key_would() -> None:
    sender = Sender()
    assert post_json(sender, f"{PATH}?run_id=beside", '{"trial_id": 1}').status_code == 202
    assert [one.key for one in sender.sent] == [b"beside"]
    answer = post_json(sender, PATH, '{"trial_id": 1}')
    assert (answer.status_code, answer.json()["reports"][0]["reason"]) == (422, "missing_run_id")


def test_a_report_that_comes_late_or_again_keeps_the_time_that_its_caller_names() -> None:
    sender = Sender()
    times = {"Cerebros-Reported-At": "1700000000000, 1700000000001,0"}
    body = json.dumps([GOOD, BAD, {**GOOD, "trial_id": "t3"}])
    answer = post(sender, PATH, content=body, headers={"content-type": "application/json", **times})
    assert answer.status_code == 207
    assert [one.timestamp_ms for one in sender.sent] == [1700000000000, 0]


def test_a_time_ahead_of_this_clock_is_now_and_is_told_where_it_is_far_ahead() -> None:
    """Kafka refuses a record from the future, and with it all that is in its batch, of whoever."""
    sender, before = Sender(), time.time_ns() // 1_000_000
    times = {"Cerebros-Reported-At": f"{before + 30_000}, {before + 3_600_000}, 253402300799999"}
    body = json.dumps([{**GOOD, "trial_id": str(one)} for one in range(3)])
    answer = post(sender, PATH, content=body, headers={"content-type": "application/json", **times})
    assert answer.status_code == 202
    assert all(before <= one.timestamp_ms <= time.time_ns() // 1_000_000 for one in sender.sent)
    told = [one.get("details") for one in answer.json()["reports"]]
    assert told == [None, *2 * ["its time lies ahead of the gateway's clock: it counts as made when it came"]]


@pytest.mark.parametrize("said", ["", "1", "1,2,3", "1,x", "-1,2", "1.5,2", "1,", "1,253402300800000", "١,٢", "1e3,2"])
def test_times_that_are_none_or_not_one_for_each_report_are_refused_and_nothing_is_sent(said: str) -> None:
    sender = Sender()
    headers = {b"content-type": b"application/json", b"Cerebros-Reported-At": said.encode()}
    answer = post(sender, PATH, content=json.dumps([GOOD, GOOD]), headers=headers)
    assert (answer.status_code, answer.json()["error"], sender.sent) == (400, "invalid_times", [])


def test_avro_is_sent_as_it_came() -> None:
    sender = Sender()
    good = {"run_id": "run", "trial_id": "1", "status": "failed", "metrics": {}, "parameters": {}, "warnings": []}
    body = CATALOGUE.single_object("trial_report", good)
    answer = post(sender, PATH, content=body, headers={"content-type": "avro/binary"})
    assert answer.status_code == 202
    assert [(one.key, one.value) for one in sender.sent] == [(b"run", body)]
    answer = post(sender, PATH, content=body[:-1], headers={"content-type": "avro/binary"})
    assert (answer.status_code, answer.json()["reports"][0]["reason"]) == (400, "avro_unreadable")


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"epoch 3: loss 0.412", 400, "not_json"),
        (b'"a sentence"', 400, "not_object"),
        (b'{"trials": 3}', 400, "trials_not_list"),
        (json.dumps(BAD).encode(), 422, "invalid_number"),
        (b'{"run_id": "r", "trial_id": "t", "status": "running"}', 422, "not_final"),
        (b'{"run_id": "r", "trial_id": "t", "metrics": ' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}", 422, "too_deep"),
    ],
)
def test_what_would_be_a_dead_letter_is_told_and_not_sent(body: bytes, status: int, reason: str) -> None:
    sender = Sender()
    answer = post_json(sender, PATH, body)
    assert (answer.status_code, answer.json()["reports"][0]["reason"]) == (status, reason)
    assert answer.json()["accepted"] == 0
    assert sender.sent == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"trials": []}'])
def test_a_body_without_a_report_is_no_success(body: bytes) -> None:
    answer = post_json(Sender(), PATH, body)
    assert (answer.status_code, "empty_value" in answer.text) == (400, True)


def test_what_kafka_does_not_confirm_in_time_is_not_accepted() -> None:
    sender = Sender(lambda _: None)
    answer = post_json(sender, PATH, json.dumps(GOOD), setup=Setup(delivery_s=0.2))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["reports"][0]["status"] == "unconfirmed"


def test_a_full_queue_is_told_at_once_and_for_each_report() -> None:
    def second_is_too_much(_: Any) -> Any:
        return TransientError("the queue to Kafka is full") if sender.sent else Receipt(3, 4)

    sender = Sender(second_is_too_much)
    answer = post_json(sender, PATH, json.dumps([GOOD, GOOD, GOOD]))
    assert answer.status_code == 503
    assert [one["status"] for one in answer.json()["reports"]] == ["accepted", "unconfirmed", "unconfirmed"]
    assert "queue to Kafka is full" in answer.json()["reports"][2]["details"]


def test_a_report_that_the_topic_will_never_take_is_rejected_not_to_be_sent_again() -> None:
    answer = post_json(Sender(refused), PATH, json.dumps(GOOD))
    assert answer.status_code == 413
    assert (answer.json()["rejected"], answer.json()["reports"][0]["reason"]) == (1, "too_large")


def test_nothing_is_taken_while_the_gateway_drains() -> None:
    sender = Sender()
    answer = post_json(sender, PATH, json.dumps(GOOD), drain=True)
    assert (answer.status_code, answer.json()["error"], sender.sent) == (503, "draining", [])
    assert post(sender, "/ready", method="GET", drain=True).status_code == 503


def test_more_bytes_than_allowed_are_refused_before_and_while_they_are_read() -> None:
    large = json.dumps({**GOOD, "notes": "x" * 3000})
    setup = Setup(max_body_bytes=2048)
    assert post_json(Sender(), PATH, large, setup=setup).status_code == 413

    async def pieces() -> Any:
        for at in range(0, len(large), 100):
            yield large[at : at + 100].encode()

    headers = {"content-type": "application/json"}
    assert post(Sender(), PATH, content=pieces(), headers=headers, setup=setup).status_code == 413


def test_more_reports_than_allowed_are_refused_as_a_whole() -> None:
    sender = Sender()
    answer = post_json(sender, PATH, json.dumps([GOOD] * 3), setup=Setup(max_reports=2))
    assert (answer.status_code, answer.json()["error"], sender.sent) == (413, "too_large", [])
    lines = {"content-type": "application/x-ndjson"}
    answer = post(sender, PATH, content=b"{}\n" * 10, headers=lines, setup=Setup(max_reports=2))
    assert (answer.status_code, sender.sent) == (413, [])


def test_gzip_is_unpacked_and_bounded() -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    sender, packed = Sender(), gzip.compress(json.dumps(GOOD).encode())
    assert post(sender, PATH, content=packed, headers=headers).status_code == 202
    assert [json.loads(one.value) for one in sender.sent] == [GOOD]
    assert post(sender, PATH, content=packed + gzip.compress(b" "), headers=headers).status_code == 202
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 60_000
    assert post(sender, PATH, content=bomb, headers=headers).status_code == 413
    assert post(sender, PATH, content=packed[:-9], headers=headers).status_code == 400
    assert post(sender, PATH, content=b"no gzip", headers=headers).status_code == 400
    assert post(sender, PATH, content=gzip.compress(b"") * 1000 + packed, headers=headers).status_code == 400
    assert len(sender.sent) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=utf-16"},
        {"content-type": "application/json", "content-encoding": "br"},
        {"content-type": "application/json", "content-encoding": "gzip, gzip"},
        {},
    ],
)
def test_types_and_encodings_that_are_not_read_are_refused(headers: dict[str, str]) -> None:
    sender = Sender()
    answer = post(sender, PATH, content=json.dumps(GOOD).encode(), headers=headers)
    assert (answer.status_code, answer.json()["success"], sender.sent) == (415, False, [])


def test_bytes_in_flight_are_bounded_and_given_back() -> None:
    body = json.dumps({**GOOD, "notes": "x" * 5000})
    setup = Setup(inflight=REQUEST_BYTES + 4000)
    answer = post_json(Sender(), PATH, body, setup=setup)
    assert (answer.status_code, answer.json()["error"]) == (503, "overloaded")
    assert post_json(Sender(), PATH, json.dumps(GOOD), setup=setup).status_code == 202


@pytest.mark.parametrize("query", ["run_id=%ff", "run_id=caf%e9", "run_id=a&run_id=b", "run_id=a&run_id=a", "%ff=1"])
def test_a_run_in_the_query_is_the_one_that_was_meant_or_none(query: str) -> None:
    """Bytes that are no text were one character for all, so that two runs became one; of two the last was taken."""
    sender = Sender()
    answer = post_json(sender, f"{PATH}?{query}", '{"trial_id": "t1"}')
    assert (answer.status_code, answer.json()["error"], sender.sent) == (400, "invalid_parameter", [])
    assert answer.json()["details"]


def test_a_parameter_that_is_none_is_told() -> None:
    answer = post_json(Sender(), f"{PATH}?runid=x", json.dumps(GOOD))
    assert (answer.status_code, answer.json()["error"]) == (400, "unknown_parameter")


def test_other_paths_and_methods_are_told_as_json() -> None:
    assert post_json(Sender(), "/v1/report", "{}").json()["error"] == "not_found"
    answer = post(Sender(), PATH, method="PUT", content=b"{}")
    assert (answer.status_code, answer.json()["error"], answer.headers["allow"]) == (405, "method_not_allowed", "POST")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
reports = st.dictionaries(
    st.sampled_from(["trial_id", "run_id", "status", "metrics", "trials", "event", "duration_ms", "x"]), values
)

ids = st.sampled_from(["a", "b", 7])
events = st.fixed_dictionaries(
    {"event": st.sampled_from(list(REQUIRED))},
    optional={"run_id": ids, "trial_id": ids, "state": st.just("failed"), "metric_name": ids, "metric_value": values},
)


@given(st.lists(reports | events | values, max_size=5), st.dictionaries(st.sampled_from(["run_id", "search"]), values))
def test_parts_are_decoded_as_the_whole_would_be(parts: list[Any], fields: dict[str, Any]) -> None:
    """What a caller is told of a report taken alone is what ingest would have made of it in its list."""
    for document in (parts, {**fields, "trials": parts}):
        whole = json.dumps(document).encode()
        taken = take_apart(whole, 1024 * 1024)
        assert taken is not None
        expected = DECODER(RawRecord("raw", 0, 0, 0, None, whole))
        found = [DECODER(RawRecord("raw", 0, 0, 0, None, part)) for part in taken]
        assert [len(one) for one in found] == [1] * len(expected)
        for [one], other in zip(found, expected, strict=True):
            if isinstance(other, Rejection):
                assert isinstance(one, Rejection)
                assert (one.reason, one.path) == (other.reason, other.path)
            else:
                assert type(one) is type(other)
                assert repr(_said(one)) == repr(_said(other))


def _said(one: Outcome) -> list[Any]:
    """All of a report but its place and what tells it apart from others of its record."""
    assert not isinstance(one, Rejection)
    if isinstance(one, TrialReport):
        return [one.run_id, one.trial_id, one.values, one.extra, one.envelope, one.schema_version]
    return [one.run_id, one.content, one.rest, one.schema_version]
