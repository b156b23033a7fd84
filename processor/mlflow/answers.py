"""What MLflow's REST interface is asked with and answers, as values; pure."""

from __future__ import annotations

from typing import Any

import msgspec

from processor.mlflow.ports import Experiment, Run

MAX_AFTER_SECONDS = 60.0


def as_pairs(items: Any) -> list[dict[str, str]]:
    """Values are strings always: MLflow answers 200 to a number here, and drops it with all that follows."""
    return [{"key": key, "value": value} for key, value in items]


def read_experiment(found: Any) -> Experiment:
    tags = {one["key"]: one.get("value", "") for one in found.get("tags", ())}
    return Experiment(str(found["experiment_id"]), found.get("lifecycle_stage") == "active", tags)


def read_run(found: Any) -> Run:
    info, data = found["info"], found.get("data", {})
    return Run(
        run_id=info["run_id"],
        experiment_id=str(info["experiment_id"]),
        status=info.get("status", ""),
        active=info.get("lifecycle_stage") == "active",
        start_ms=int(info.get("start_time") or 0),
        end_ms=int(info["end_time"]) if info.get("end_time") else None,
        artifact_uri=info.get("artifact_uri", ""),
        tags={one["key"]: one.get("value", "") for one in data.get("tags", ())},
        params={one["key"]: one.get("value", "") for one in data.get("params", ())},
        metrics={one["key"]: float(one.get("value", "nan")) for one in data.get("metrics", ())},
    )


def own_words(data: bytes) -> str:
    """The server's own words, in one short line; what a proxy says is no JSON."""
    try:
        read = msgspec.json.decode(data)
        text = f"{read.get('error_code', '')} {read.get('message', '')}" if isinstance(read, dict) else ""
    except msgspec.DecodeError:
        text = data[:200].decode("utf-8", "replace")
    return " ".join(text.split())[:300]


def retry_after(header: str | None) -> float:
    return min(float(header), MAX_AFTER_SECONDS) if header and header.isascii() and header.isdigit() else 0.0


def why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return type(reason).__name__ if not str(reason) else str(reason).rpartition(">: ")[2][:200]
