"""The life of runs and the progress of trials: fields as they were read -> `RunReport` or `Progress`; pure.

By the same rules, and with the same promises, as a trial's report. They go this way only: runs start and stop seldom,
and a metric has three fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from processor.contracts.catalogue import Catalogue
from processor.contracts.subject import Validator
from processor.core.fields import LIFE, Kind
from processor.core.messages import Progress, RawRecord, RunReport, read_text
from processor.decode.envelope import Envelope
from processor.decode.identity import find_run_id, find_trial_id, number_in_study
from processor.decode.mending import Mend
from processor.decode.normalise import Normaliser
from processor.decode.refused import refusal


class Ids(NamedTuple):
    """Whose report it is, which of them had to be bent, and the names that said so and need not be kept."""

    values: dict[str, str]
    bent: list[str]
    used: set[str]


class LifeReader:
    """Makes reports of every kind but a trial's end."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kinds: dict[str, tuple[Normaliser, Validator]] = {
            kind.event: (Normaliser(catalogue, kind), catalogue.validator(kind.subject)) for kind in LIFE
        }

    def read(
        self,
        kind: Kind,
        record: RawRecord,
        index: int,
        raw: Mapping[str, Any],
        mend: Mend,
        envelope: Envelope,
        version: int | None = None,
    ) -> RunReport | Progress:
        """`version` is that of the writer's schema, where it is known. Raises `Refused`."""
        normalise, validate = self._kinds[kind.event]
        raw = {name: read_text(held) for name, held in raw.items()}
        ids = _ids_of_run(record, raw, envelope) if kind.subject == "run_report" else _ids(record, raw, envelope)
        fields = mend(raw, normalise.rules)
        bent = [*ids.bent, *normalise.mended(fields, raw)]
        normal = normalise(ids.values, fields, None, bent)
        problem = validate(normal.content)
        if problem is not None:
            raise refusal(problem)
        normal.used.update(ids.used)
        rest = self._rest(kind, normalise.extra(fields, normal) or {}, envelope.rest(ids.values["run_id"]) or {})
        if version is None:
            version = self._catalogue.version_of(kind.subject, fields.keys())
        content, said = normal.content, tuple(normal.bent)
        run_id = content["run_id"]
        if "trial_id" not in ids.values:
            return RunReport(record, index, run_id, content, rest, version, said)
        return Progress(record, index, run_id, content["trial_id"], content, rest, version, said)

    def _rest(self, kind: Kind, extra: dict[str, Any], around: Mapping[str, Any]) -> Mapping[str, Any]:
        """All that was said and has no field; what stood around the report is under `envelope`."""
        # Avro writes all fields of its schema: the other kind's at their defaults say nothing
        defaults = self._catalogue.defaults(kind.subject)
        said = {name: value for name, value in extra.items() if name not in defaults or value != defaults[name]}
        kept = {name: value for name, value in around.items() if name != "event"}
        return {**said, "envelope": kept} if kept else said


def _ids_of_run(record: RawRecord, raw: Mapping[str, Any], envelope: Envelope) -> Ids:
    run_id, place, found = find_run_id(record, raw, envelope.fields)
    used = {"event", "model_run_id"} if place == "report.model_run_id" else {"event"}
    return Ids({"run_id": run_id}, [] if run_id is found else ["run_id"], used)


def _ids(record: RawRecord, raw: Mapping[str, Any], envelope: Envelope) -> Ids:
    named = find_trial_id(raw)
    ids = _ids_of_run(record, raw, envelope)
    trial_id = number_in_study(raw, envelope.fields, ids.values["run_id"]) if named is None else named
    if named is None:
        ids.used.add("number")
    if trial_id is not raw.get("trial_id"):
        ids.bent.append("trial_id")
    return Ids({"trial_id": trial_id, **ids.values}, ids.bent, ids.used)
