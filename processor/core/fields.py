"""The fields of what a record may report, each once, by kind of report.

COPY, the SQL (its `{fields: ...}` are filled in from here), verify, the events' bodies, the demo's ledger and the
documentation are made from these tables. A further field is one entry here, one migration that adds its column, and one
version of each schema that has it; what is valid, and what each field means, is said by the schemas alone.
"""

from __future__ import annotations

from typing import NamedTuple

COMPLETE, FAILED = "ml.trial.complete", "ml.trial.failed"
STARTED, STOPPED = "ml.run.started", "ml.run.stopped"
EVENTS = (COMPLETE, FAILED, STARTED, STOPPED)
_BOTH = (COMPLETE, FAILED)


class Field(NamedTuple):
    """One field, which has the same name in reports, schemas, events and as a column.

    `type` is the column's in Postgres, "" where the field has none and is kept with the rest; `rule` names the way in
    which `decode.rules` bends what reports hold, and `events` are those that hand the field on as it is. `aliases` are
    other names, each with its own rule, under which a report without the field may hold it; the first that is there
    counts.
    """

    name: str
    type: str
    rule: str
    events: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


_PARAMETERS = (("params", "json_map"), ("hyperparameters", "json_map"), ("hyperparams", "json_map"))
_SECONDS = (("duration_s", "seconds"), ("duration_seconds", "seconds"), ("training_time_sec", "seconds"))
_ERRORS = (("error", "free_text"), ("exception", "free_text"))
#: of a trial report
FIELDS = (
    Field("status", "text", "status"),
    Field("spectral_norm", "boolean", "loose_boolean", _BOTH),
    Field("mlflow_run_id", "text", "mlflow_run_id", _BOTH),
    Field("metrics", "jsonb", "json_map", _BOTH),
    Field("parameters", "jsonb", "json_map", _BOTH, _PARAMETERS),
    Field("duration_ms", "bigint", "count", _BOTH, _SECONDS),
    Field("artifact_uri", "text", "optional_text", (COMPLETE,)),
    Field("rank", "bigint", "count", (COMPLETE,)),
    Field("warnings", "text[]", "warnings", _BOTH),
    Field("candidate_id", "text", "optional_text", (COMPLETE,)),
    Field("pulse_id", "text", "optional_text", (COMPLETE,)),
    Field("error_message", "text", "free_text", aliases=_ERRORS),
    Field("error_type", "text", "free_text"),
    Field("stacktrace", "text", "free_text", (FAILED,)),
)
#: that a run has started; what has no column is kept in the run's `metadata`
START_FIELDS = (
    Field("state", "text", "under_way", (STARTED,)),
    Field("search_space_version", "integer", "small_count", (STARTED,)),
    Field("max_params", "integer", "small_count", (STARTED,)),
    Field("requested_trials", "integer", "small_count", (STARTED,)),
    Field("pulse_id", "", "optional_text"),
    Field("budget", "", "any_json"),
    Field("parameters", "", "json_map", aliases=_PARAMETERS),
    Field("tau", "", "any_json"),
)
#: that a run has stopped; what has no column is kept in the run's `bridge_result`
STOP_FIELDS = (
    Field("state", "text", "run_end", (STOPPED,)),
    Field("completed_trials", "integer", "small_count", (STOPPED,)),
    Field("best_metric", "double precision", "finite", (STOPPED,)),
    Field("error_message", "text", "free_text", (STOPPED,), _ERRORS),
    Field("best_trial_id", "", "optional_text"),
    Field("duration_ms", "", "count", aliases=_SECONDS),
)
#: that a trial has started
TRIAL_START_FIELDS = (
    Field("spectral_norm", "boolean", "told_boolean"),
    Field("parameters", "jsonb", "json_map", aliases=_PARAMETERS),
)
#: one metric of a trial at one step
METRIC_FIELDS = (
    Field("metric_name", "text", "metric_name"),
    Field("metric_value", "double precision", "metric_value"),
    Field("step", "bigint", "step"),
)


class Kind(NamedTuple):
    """What a report is: the event that says so, the schema it is valid by, and its fields besides the ids."""

    event: str
    subject: str
    fields: tuple[Field, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields that have a column."""
        return tuple(field.name for field in self.fields if field.type)

    def handed_on(self, event: str) -> tuple[str, ...]:
        """The fields that an event hands on as they are."""
        return tuple(field.name for field in self.fields if event in field.events)


TRIAL = Kind("", "trial_report", FIELDS)
RUN_START = Kind("ml.run.start", "run_report", START_FIELDS)
RUN_STOP = Kind("ml.run.stop", "run_report", STOP_FIELDS)
TRIAL_START = Kind("ml.trial.start", "trial_progress", TRIAL_START_FIELDS)
METRIC = Kind("ml.run.metric", "trial_progress", METRIC_FIELDS)
#: of the life of runs and of progress; a trial report needs no event to be one
LIFE = (RUN_START, RUN_STOP, TRIAL_START, METRIC)

NAMES = TRIAL.columns
COMPLETE_NAMES = TRIAL.handed_on(COMPLETE)
FAILED_NAMES = TRIAL.handed_on(FAILED)
STARTED_NAMES = RUN_START.handed_on(STARTED)
STOPPED_NAMES = RUN_STOP.handed_on(STOPPED)
#: which trial it is: no content, and in every event under the names `model_run_id` and `trial_id`
ID_NAMES = ("trial_id", "run_id")
