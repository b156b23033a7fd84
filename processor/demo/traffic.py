"""What Cerebros sends: reports of today, of an older version, repeated ones, and some that make no sense.

Some of it goes to Kafka, some through the gateway.
"""

from __future__ import annotations

import hashlib
import json
import traceback
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from cerebros_client import TrialReporter

from processor.core.fields import METRIC as METRIC_KIND
from processor.core.fields import RUN_START, RUN_STOP, TRIAL_START
from processor.demo.door import EVENTS, REPORTS, Door
from processor.demo.ledger import Ledger, Rejected
from processor.demo.life import METRIC
from processor.demo.training import MAX_PARAMS, Configuration, Result

STATUSES = {"succeeded": "succeeded", "failed": "failed", "pruned": "skipped"}
_OLD_STATUSES = {"succeeded": "COMPLETE", "failed": "error", "pruned": "Pruned"}


class Traffic:
    """Sends, and writes into the ledger what must become of it; runs named in `by_http` go through the gateway."""

    def __init__(self, reporter: TrialReporter, ledger: Ledger, door: Door, by_http: frozenset[str]) -> None:
        self._reporter, self._ledger = reporter, ledger
        self._door, self._by_http = door, by_http

    def start(self, run_id: str, trials: int) -> None:
        """That a run starts."""
        said = {"requested_trials": trials, "search_space_version": 1, "max_params": MAX_PARAMS}
        self._tell(run_id, {"event": RUN_START.event, **said})
        self._ledger.life.started[run_id] = said

    def stop(self, run_id: str, results: Sequence[Result]) -> None:
        """That it has stopped, how many trials ended, and the best of them."""
        best = max((one.accuracy for one in results if one.status == "succeeded"), default=0.0)
        said = {"completed_trials": len(results), "best_metric": best}
        self._tell(run_id, {"event": RUN_STOP.event, "state": "completed", **said})
        self._ledger.life.stopped[run_id] = said

    def watch(self, run_id: str) -> Progress:
        """Tells of the run's trials while they are trained."""
        return Progress(self, run_id)

    def begins(self, run_id: str, number: int, configuration: Configuration) -> None:
        trial_id, spectral_norm = _trial_id(number), configuration.spectral_norm
        said = {"trial_id": trial_id, "spectral_norm": spectral_norm, "parameters": configuration.as_parameters()}
        self._tell(run_id, {"event": TRIAL_START.event, **said})
        self._ledger.life.trials[run_id, trial_id] = spectral_norm

    def measured(self, run_id: str, number: int, epoch: int, accuracy: float) -> None:
        said = {"trial_id": _trial_id(number), "metric_name": METRIC, "metric_value": accuracy, "step": epoch}
        self._tell(run_id, {"event": METRIC_KIND.event, **said})
        self._ledger.life.metrics[run_id, _trial_id(number), epoch] = accuracy

    def _tell(self, run_id: str, event: dict[str, Any]) -> None:
        event = {**event, "model_run_id": run_id}
        if run_id in self._by_http:
            self._door.post(EVENTS, event)
        else:
            self._reporter.send(run_id, str(event["event"]), json.dumps(event).encode())

    def report(self, run_id: str, result: Result, *, rank: int | None = None) -> None:
        """As a Cerebros of today reports."""
        trial_id, parameters = _trial_id(result.number), result.configuration.as_parameters()
        fields: dict[str, Any] = {
            "metrics": result.metrics,
            "parameters": parameters,
            "spectral_norm": result.configuration.spectral_norm,
            "mlflow_run_id": uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{trial_id}").hex,
            "duration_ms": result.duration_ms,
            "rank": rank,
            "warnings": result.warnings,
            "candidate_id": hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:16],
        }
        if result.error is not None:
            trace = "".join(traceback.format_exception(result.error))
            fields |= {
                "error_message": str(result.error),
                "error_type": type(result.error).__name__,
                "stacktrace": trace,
            }
        if run_id in self._by_http:
            document = {"run_id": run_id, "trial_id": trial_id, "status": result.status, **fields}
            self._door.post(REPORTS, document)
        else:
            self._reporter.report(run_id, trial_id, status=result.status, **fields)
        self._ledger.expect(run_id, trial_id, {**fields, "status": STATUSES[result.status]})

    def report_old_style(self, run_id: str, result: Result) -> None:
        """As before spectral normalisation: one object, whose run is named by the record's key only."""
        self._reporter.send(run_id, str(result.number), json.dumps(_old_report(result)).encode())
        self._expect_old(run_id, result)

    def report_envelope(self, run_id: str, results: Sequence[Result]) -> None:
        """Several old reports in one record, and in their middle a number, which must not harm its neighbours."""
        reports: list[Any] = [_old_report(result) for result in results]
        middle = len(reports) // 2
        reports.insert(middle, 42)
        value = json.dumps({"model_run_id": run_id, "trials": reports, "search": "digits"}).encode()
        self._reporter.send(run_id, f"an envelope of {len(reports)}", value)
        self._ledger.expect_rejection(Rejected(value, middle, "report_not_object"))
        for result in results:
            self._expect_old(run_id, result)

    def _expect_old(self, run_id: str, result: Result) -> None:
        content = {
            "status": STATUSES[result.status],
            "spectral_norm": False,
            "metrics": result.metrics,
            "parameters": result.configuration.as_parameters(),
            "duration_ms": result.duration_ms,
            "warnings": result.warnings,
        }
        self._ledger.expect(run_id, str(result.number), content)

    def send_malformed(self, run_id: str, name: str, rejected: Rejected) -> None:
        self._reporter.send(run_id, name, rejected.value)
        self._ledger.expect_rejection(rejected)


class Progress:
    """What a search tells of one run, meanwhile."""

    def __init__(self, traffic: Traffic, run_id: str) -> None:
        self._traffic, self._run_id = traffic, run_id

    def begins(self, number: int, configuration: Configuration) -> None:
        self._traffic.begins(self._run_id, number, configuration)

    def measured(self, number: int, epoch: int, accuracy: float) -> None:
        self._traffic.measured(self._run_id, number, epoch, accuracy)


def _trial_id(number: int) -> str:
    return f"trial-{number:04}"


def _old_report(result: Result) -> dict[str, Any]:
    """Integer ids, statuses in other words, a float for the duration, and a warning that is no list."""
    return {
        "trial_id": result.number,
        "status": _OLD_STATUSES[result.status],
        "metrics": result.metrics,
        "parameters": result.configuration.as_parameters(),
        "duration_ms": float(result.duration_ms),
        "warnings": result.warnings[0] if result.warnings else None,
    }


def malformed() -> Iterator[tuple[str, Rejected]]:
    """What will never be a trial: a name for it, its bytes, and what its dead letter must say."""
    yield "no JSON", Rejected(b"epoch 3: loss 0.412", -1, "not_json")
    yield "cut off", Rejected(b'{"trial_id": "t-1", "metrics": {"accuracy": 0.9', -1, "not_json")
    yield "unknown status", Rejected(b'{"trial_id": "t-2", "status": "exploded"}', 0, "unknown_status")
    yield "negative duration", Rejected(b'{"trial_id": "t-3", "duration_ms": -5}', 0, "invalid_number")
    yield "no trial id", Rejected(b'{"trial_id": null, "status": "succeeded"}', 0, "missing_trial_id")
    yield "metrics are a list", Rejected(b'{"trial_id": "t-4", "metrics": [0.9, 0.8]}', 0, "not_a_map")
    yield "numeric MLflow run", Rejected(b'{"trial_id": "t-5", "mlflow_run_id": 17}', 0, "invalid_type")
    yield "NUL in an id", Rejected(b'{"trial_id": "t-6\\u0000"}', 0, "invalid_id")
    yield "trials are no list", Rejected(b'{"trials": {"trial_id": "t-7"}}', -1, "trials_not_list")
    yield "a sentence", Rejected(b'"trial 8 succeeded"', -1, "not_object")
    yield "nothing", Rejected(b"", -1, "empty_value")
    deep = b'{"a": ' * 300 + b"1" + b"}" * 300
    yield "too deep", Rejected(b'{"trial_id": "t-9", "metrics": ' + deep + b"}", 0, "too_deep")
    unknown = b"\xc3\x01" + bytes(range(8)) + b"\x02\x41"
    yield "Avro of an unknown schema", Rejected(unknown, -1, "avro_unknown_schema")
