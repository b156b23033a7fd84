"""What a filter may ask of a trial beside its metrics and parameters: the columns, and what each can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["text", "texts", "number", "boolean", "time"]


class Column(NamedTuple):
    """`sql` is fixed text of ours; no part of it comes from a filter."""

    kind: Kind
    sql: str


#: of the link that changed last: a trial has one on each tracking server that it was mirrored into
_MLFLOW_STATE = (
    "(select link.state from mlflow_links link where link.run_id = run.run_id and link.trial_id = trial.trial_id "
    "order by link.updated_at desc, link.server limit 1)"
)
#: of rows from before that was kept, or of another program, whether the version of the schema has it; the default is
#: false, so true was said
_REPORTED = "coalesce(trial.spectral_norm_reported, trial.spectral_norm or trial.schema_version >= 2, false)"
_TEXTS = ("status", "mlflow_run_id", "artifact_uri", "candidate_id", "pulse_id", "error_message", "error_type")
#: by the names that a filter uses, which are those of the columns; `run_id` is the run's own
COLUMNS: Mapping[str, Column] = {
    "run_id": Column("text", "run.run_id"),
    "trial_id": Column("text", "trial.trial_id"),
    **{name: Column("text", f"trial.{name}") for name in _TEXTS},
    "mlflow_state": Column("text", _MLFLOW_STATE),
    "warnings": Column("texts", "trial.warnings"),
    "spectral_norm": Column("boolean", "trial.spectral_norm"),
    "spectral_norm_reported": Column("boolean", _REPORTED),
    "duration_ms": Column("number", "trial.duration_ms"),
    "rank": Column("number", "trial.rank"),
    "revision": Column("number", "trial.revision"),
    "schema_version": Column("number", "trial.schema_version"),
    "inserted_at": Column("time", "trial.inserted_at"),
    "updated_at": Column("time", "trial.updated_at"),
}
ALIASES: Mapping[str, str] = {"run": "run_id", "trial": "trial_id", "error": "error_message", "id": "trial_id"}
#: what a search looks through
SEARCHED = ("trial_id", "run_id", "mlflow_run_id", "candidate_id", "pulse_id", "artifact_uri", "error_message")
STATUSES = ("succeeded", "failed", "skipped", "cancelled")
