"""What Cerebros sends: reports of today, of an older version, repeated ones, and some that make no sense."""

from __future__ import annotations

import hashlib
import json
import traceback
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from cerebros_client import TrialReporter

from processor.demo.ledger import Ledger, Rejected
from processor.demo.training import Result

STATUSES = {"succeeded": "succeeded", "failed": "failed", "pruned": "skipped"}
_OLD_STATUSES = {"succeeded": "COMPLETE", "failed": "error", "pruned": "Pruned"}


class Traffic:
    """Sends through one reporter, and writes into the ledger what must become of it."""

    def __init__(self, reporter: TrialReporter, ledger: Ledger) -> None:
        self._reporter, self._ledger = reporter, ledger

    def report(self, run_id: str, result: Result, *, rank: int | None = None) -> None:
        """As a Cerebros of today reports."""
        trial_id, parameters = f"trial-{result.number:04}", result.configuration.as_parameters()
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
