"""A trial's row in the tables -> the event that its newest revision had; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from processor.mlflow.content import Happening, Moment

_AS_THEY_ARE = (
    "metrics",
    "parameters",
    "spectral_norm",
    "duration_ms",
    "artifact_uri",
    "rank",
    "warnings",
    "candidate_id",
    "pulse_id",
    "stacktrace",
    "revision",
)


def event_of(row: Mapping[str, Any]) -> Happening:
    """Of a row of `trials_to_mirror`; the rule for what a failed trial says is that of `events.bodies`."""
    body: dict[str, Any] = {name: row[name] for name in _AS_THEY_ARE}
    body |= {"model_run_id": row["run_id"], "trial_id": row["trial_id"], "mlflow_run_id": row["reported_run"]}
    if row["status"] == "succeeded":
        kind, body["status"] = "ml.trial.complete", "completed"
    else:
        kind, body["status"] = "ml.trial.failed", "failed"
        warnings = row["warnings"]
        body["error_message"] = row["error_message"] or (warnings[0] if warnings else "Trial failed")
        body["error_type"] = row["error_type"] or "trial_failed"
        # what the event of a failed trial does not hand on
        body |= dict.fromkeys(("artifact_uri", "rank", "candidate_id", "pulse_id"))
    body["event"] = kind
    return Happening(kind, row["run_id"], row["trial_id"], Moment(row["time_ms"], row["revision"]), "", body)
