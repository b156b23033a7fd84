"""What to do about a report that was rejected, by the reason of its dead letter (docs/reference/dead-letters.md)."""

from __future__ import annotations

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "empty_value": "find who sends records without a value: a tombstone is no report",
    "not_json": "send JSON in UTF-8, or Avro; the sentence says what it is where that can be told",
    "not_object": "send an object, or a list of them, and encode it once",
    "trials_not_list": "make `trials` a list",
    "report_not_object": "make each element of the list an object",
    "missing_trial_id": "give each report a `trial_id`, at its top: unwrap what a connector put around it",
    "missing_run_id": "say `run_id` in the report, its envelope, a header or the record's key",
    "invalid_id": "make the id a text or an integer, without NUL",
    "unknown_status": "use one of the known words, or say how a run ended that stops",
    "not_final": "report a trial once it has ended, or send `ml.trial.start` for one that begins",
    "unknown_event": "mend the name of the event, or leave it out of a report of a trial",
    "unsupported_event": "send the event of a run by itself, not around a list",
    "not_a_map": "make `metrics` and `parameters` objects: names and their values",
    "invalid_number": "send a number that is not negative and not too large, or leave the field out",
    "missing_metric": "send `metric_name` and `metric_value`",
    "invalid_type": "send a text in that field, or leave it out",
    "too_deep": "flatten what is nested so deep, or send it as a text",
    "too_large": "send smaller reports, or fewer in a record",
    "avro_unknown_schema": "set `PROCESSOR_SCHEMA_REGISTRY_URL` to the registry that has the schema; then redrive",
    "avro_unreadable": "send it again: its bytes are damaged; look at what hands them on where it comes again",
    "schema_mismatch": "mend the place that `path` names, or the schema that was written by",
    "unknown_run": "send the start of the run, or set `PROCESSOR_UNKNOWN_RUN=create`; then redrive",
    "database_refused": "mend the constraint or trigger that its SQLSTATE names; then redrive",
}


def advice_of(reason: str) -> str:
    """A reason of another release has no words of ours."""
    return ADVICE.get(reason, "")
