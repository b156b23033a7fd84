"""A record of the events topic -> what happened, or why that can't be told; pure but for the schema registry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from processor.contracts.catalogue import Catalogue, Problem
from processor.contracts.frames import FramedReader, WriterSchemas, is_framed
from processor.core.errors import UsageError
from processor.core.messages import RawRecord
from processor.core.numbers import read_stored
from processor.core.text import storable
from processor.core.times import parse_datetime
from processor.mlflow.content import WHOLE_RUN, Happening, Moment

TRIAL_KINDS = ("ml.trial.complete", "ml.trial.failed")
RUN_KINDS = ("ml.run.started", "ml.run.stopped")

_Revision = Annotated[int, msgspec.Meta(ge=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Id = Annotated[str, msgspec.Meta(min_length=1)]


class _TrialBody(msgspec.Struct):
    """What is relied on of an event of a trial."""

    model_run_id: _Id
    trial_id: _Id
    revision: _Revision
    status: Literal["completed", "failed"]
    spectral_norm: bool = False
    mlflow_run_id: str | None = None
    metrics: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    warnings: list[str] = []
    duration_ms: _Count | None = None
    rank: _Count | None = None
    artifact_uri: str | None = None
    candidate_id: str | None = None
    pulse_id: str | None = None
    error_message: str | None = None
    error_type: str | None = None
    stacktrace: str | None = None


class _RunBody(msgspec.Struct):
    """What is relied on of an event of a Cerebros run."""

    model_run_id: _Id
    revision: _Revision
    state: str
    metadata: dict[str, Any] = {}
    result: dict[str, Any] = {}
    best_metric: float | None = None
    completed_trials: int | None = None
    requested_trials: int | None = None
    error_message: str | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """A record that is no event of ours, and why; it is told and counted, and nothing waits for it."""

    record: RawRecord
    why: str


class EventReader:
    """Reads events of either format; `writer_schemas`, if there is one, looks schema ids up."""

    def __init__(self, catalogue: Catalogue, writer_schemas: WriterSchemas | None = None) -> None:
        known = catalogue.subjects()
        self._framed = {
            kind: FramedReader(catalogue, kind, writer_schemas) for kind in TRIAL_KINDS + RUN_KINDS if kind in known
        }

    def __call__(self, record: RawRecord) -> Happening | Unreadable | None:
        """None for kinds that are none of ours. Raises `TransientError` when a registry does not answer."""
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
        kind = headers.get("ce_type", "")
        if kind not in TRIAL_KINDS + RUN_KINDS:
            return None if kind else Unreadable(record, "no header ce_type: this is no event")
        body = self._body(kind, record.value or b"")
        if isinstance(body, str):
            return Unreadable(record, body)
        try:
            found: Any = msgspec.convert(body, _TrialBody if kind in TRIAL_KINDS else _RunBody)
            time_ms = parse_datetime(headers.get("ce_time", ""))
        except (msgspec.ValidationError, UsageError) as error:
            return Unreadable(record, f"{kind}: {error}")
        trial = getattr(found, "trial_id", WHOLE_RUN)
        moment = Moment(time_ms, found.revision)
        return Happening(kind, found.model_run_id, trial, moment, headers.get("ce_id", ""), body)

    def _body(self, kind: str, value: bytes) -> Any:
        """The body, or in a sentence why there is none."""
        if value and is_framed(value) and kind in self._framed:
            read = self._framed[kind].read(value)
            return read.message if isinstance(read, Problem) else storable(read[0])
        try:
            return read_stored(value)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
            return f"{kind}: its value is no JSON ({str(error)[:100]})"
