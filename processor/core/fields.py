"""The fields of a trial report that have a column, once.

COPY, the SQL (its `{fields: ...}` are filled in from here), verify, the events' bodies, the demo's ledger and the
documentation are made from this table. A further field is one entry here, one migration that adds its column, and one
version of each schema that has it; what is valid, and what each field means, is said by the schemas alone.
"""

from __future__ import annotations

from typing import NamedTuple


class Field(NamedTuple):
    """One field, which has the same name in reports, schemas, events and as a column.

    `type` is the column's in Postgres, `rule` names the way in which `decode.rules` bends what reports hold, and
    `complete` and `failed` say which of the two events hand the field on as it is. `aliases` are other names, each with
    its own rule, under which a report without the field may hold it; the first that is there counts.
    """

    name: str
    type: str
    rule: str
    complete: bool = False
    failed: bool = False
    aliases: tuple[tuple[str, str], ...] = ()


_PARAMETERS = (("params", "json_map"), ("hyperparameters", "json_map"), ("hyperparams", "json_map"))
_SECONDS = (("duration_s", "seconds"), ("duration_seconds", "seconds"), ("training_time_sec", "seconds"))
_ERRORS = (("error", "free_text"), ("exception", "free_text"))
FIELDS = (
    Field("status", "text", "status"),
    Field("spectral_norm", "boolean", "loose_boolean", complete=True, failed=True),
    Field("mlflow_run_id", "text", "mlflow_run_id", complete=True, failed=True),
    Field("metrics", "jsonb", "json_map", complete=True, failed=True),
    Field("parameters", "jsonb", "json_map", complete=True, failed=True, aliases=_PARAMETERS),
    Field("duration_ms", "bigint", "count", complete=True, failed=True, aliases=_SECONDS),
    Field("artifact_uri", "text", "optional_text", complete=True),
    Field("rank", "bigint", "count", complete=True),
    Field("warnings", "text[]", "warnings", complete=True, failed=True),
    Field("candidate_id", "text", "optional_text", complete=True),
    Field("pulse_id", "text", "optional_text", complete=True),
    Field("error_message", "text", "free_text", aliases=_ERRORS),
    Field("error_type", "text", "free_text"),
    Field("stacktrace", "text", "free_text", failed=True),
)
NAMES = tuple(field.name for field in FIELDS)
COMPLETE_NAMES = tuple(field.name for field in FIELDS if field.complete)
FAILED_NAMES = tuple(field.name for field in FIELDS if field.failed)
#: which trial it is: no content, and in every event under the names `model_run_id` and `trial_id`
ID_NAMES = ("trial_id", "run_id")
