"""Runs of an MLflow experiment, by MLflow's REST interface: no package of MLflow's is needed."""

from __future__ import annotations

import base64
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

from cerebros_client.backfill.items import Item, Skipped, SourceError
from cerebros_client.spectral.detection import said_in

_PAGE = 200  # a run may have 1,000 metrics; the server takes 111 ms for one of those
_TIMEOUT_S = 60.0
_MAX_ANSWER = 256 * 1024 * 1024
_STATUS = {"FINISHED": "succeeded", "FAILED": "failed", "KILLED": "cancelled"}
_WORDS = {"True": True, "False": False, "None": None}  # Python's, as parameters are written
_MIRRORED = "cerebros.key"  # a tag of runs that `processor mlflow` made from rows


class Experiment:
    """Every ended run: `run_id` is the experiment's name, the trial is named by its MLflow run.

    Parameters are text in MLflow; what reads as a number or a boolean is one again. Metrics are the latest values, with
    `histories` all of them below `by_step`, at one more request a metric.
    """

    def __init__(self, uri: str, experiment: str, *, run_id: str | None = None, histories: bool = False) -> None:
        """`experiment` is a name or an id. Raises `SourceError` where nobody answers, or has no such experiment."""
        if not uri.startswith(("http://", "https://")):
            raise SourceError(
                f"{uri!r} is no address of a tracking server; for files or a database start one: "
                f"mlflow server --backend-store-uri ..., then http://127.0.0.1:5000"
            )
        self._uri = uri.rstrip("/")
        found = self._find(experiment)
        self._experiment_id, name = str(found["experiment_id"]), str(found["name"])
        self._run_id, self._histories = run_id or name, histories

    def count(self) -> int | None:
        return None

    def __iter__(self) -> Iterator[Item | Skipped]:
        page: str | None = None
        while True:
            answer = self._call(
                "runs/search",
                {
                    "experiment_ids": [self._experiment_id],
                    "max_results": _PAGE,
                    "order_by": ["attributes.start_time ASC"],
                    **({"page_token": page} if page else {}),
                },
            )
            for run in answer.get("runs", []):
                yield self._item(run["info"], run.get("data", {}))
            page = answer.get("next_page_token")
            if not page:
                return

    def _item(self, info: Mapping[str, Any], data: Mapping[str, Any]) -> Item | Skipped:
        run = str(info["run_id"])
        tags = {one["key"]: one.get("value") for one in data.get("tags", [])}
        status = _STATUS.get(str(info.get("status")))
        if _MIRRORED in tags:
            return Skipped(run, "made by `processor mlflow` from a row")
        if status is None or not info.get("end_time"):
            return Skipped(run, f"{str(info.get('status')).lower()}, not ended")
        parameters = {one["key"]: read_parameter(one.get("value", "")) for one in data.get("params", [])}
        began, ended = int(info.get("start_time") or 0), int(info["end_time"])
        metrics: dict[str, Any] = {one["key"]: _metric(one.get("value")) for one in data.get("metrics", [])}
        if self._histories and metrics:
            metrics["by_step"] = {name: self._history(run, name) for name in list(metrics)}
        fields = {
            "status": status,
            "metrics": metrics,
            "parameters": parameters,
            "spectral_norm": _spectral_norm(parameters, tags),
            "mlflow_run_id": run,
            "artifact_uri": info.get("artifact_uri"),
            "duration_ms": ended - began if 0 < began <= ended else None,
            "extra": {"mlflow": {"run_name": info.get("run_name") or tags.get("mlflow.runName"), "tags": _own(tags)}},
        }
        return Item(self._run_id, run, ended, fields)

    def _history(self, run: str, name: str) -> list[float]:
        values: list[float] = []
        page: str | None = None
        while True:
            asked = {"run_id": run, "metric_key": name, "max_results": 10_000, **({"page_token": page} if page else {})}
            answer = self._call(f"metrics/get-history?{urllib.parse.urlencode(asked)}")
            values += [_metric(one.get("value")) for one in answer.get("metrics", [])]
            page = answer.get("next_page_token")
            if not page:
                return values

    def _find(self, experiment: str) -> dict[str, Any]:
        by_name = urllib.parse.urlencode({"experiment_name": experiment})
        found = self._call(f"experiments/get-by-name?{by_name}", missing_is_none=True)
        if not found and experiment.isdecimal():
            found = self._call(f"experiments/get?experiment_id={experiment}", missing_is_none=True)
        if not found:
            raise SourceError(f"{self._uri} has no experiment {experiment!r}")
        return dict(found["experiment"])

    def _call(self, path: str, body: Any = None, *, missing_is_none: bool = False) -> dict[str, Any]:
        """One request. Raises `SourceError` for whatever is no answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._uri}/api/2.0/mlflow/{path}", data, _headers())
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                return dict(json.loads(answer.read(_MAX_ANSWER)))
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing_is_none:
                return {}
            said = error.read(300).decode(errors="replace")
            raise SourceError(
                f"MLflow at {self._uri} answers {error.code} to {path.partition('?')[0]}: {said}"
            ) from None
        except (OSError, ValueError, TypeError) as error:
            raise SourceError(f"MLflow at {self._uri} does not answer: {error}") from None


def read_parameter(text: str) -> Any:
    """A number, a boolean or nothing where the text is one, else the text."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float | bool | list | dict) else text


def _metric(value: Any) -> float:
    """MLflow writes NaN and infinities as text."""
    return float(value if value is not None else "nan")


def _own(tags: Mapping[str, Any]) -> dict[str, Any]:
    """Without those of MLflow's own that hold code and histories."""
    return {name: value for name, value in tags.items() if not name.startswith("mlflow.")}


def _spectral_norm(parameters: Mapping[str, Any], tags: Mapping[str, Any]) -> bool | None:
    """What the run's params or its tag say; None where neither says anything."""
    said = [said_in(parameters), said_in({name: tags[name] for name in tags if name == "spectral_norm"})]
    return True if True in said else False if False in said else None


def _headers() -> dict[str, str]:
    """With what MLflow's own client takes from the environment."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        said = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(said).decode()
    return headers
