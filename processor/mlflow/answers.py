"""What MLflow's REST interface is asked with and answers, as values; pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
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


def own_words(data: bytes) -> tuple[str, bool]:
    """What the server says, in one short line, and whether it is MLflow: what a proxy says is no such JSON."""
    try:
        read = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        read, text = None, data[:200].decode("utf-8", "replace")
    else:
        text = f"{read.get('error_code', '')} {read.get('message', '')}" if isinstance(read, dict) else ""
    return " ".join(text.split())[:300], isinstance(read, dict) and "error_code" in read


def same_request(path: str, fields: Mapping[str, str], body: bytes | None) -> str:
    """What a request is recognised by when it comes again."""
    return f"{path} {sorted(fields.items())} {zlib.crc32(body or b'')}"


def retry_after(header: str | None) -> float:
    return min(float(header), MAX_AFTER_SECONDS) if header and header.isascii() and header.isdigit() else 0.0


def why(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return type(reason).__name__ if not str(reason) else str(reason).rpartition(">: ")[2][:200]
