"""What a search calls when a trial has ended: `TrialReporter`, which loses no report silently.

    with TrialReporter("localhost:9092") as reporter:
        reporter.report("run-7", "trial-1", metrics={"accuracy": 0.97}, duration_ms=840)

Leaving the block waits until Kafka has every report; `UndeliveredError` names those that it has not.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from cerebros_client import documents, words
from cerebros_client.blocks import RunBlock, TrialBlock
from cerebros_client.clock import Clock
from cerebros_client.delivery import Delivery, Spool, opened
from cerebros_client.leaving import close_at_exit, is_closing
from cerebros_client.offloaded import Offloaded
from cerebros_client.sharing import Shared, join, leave
from cerebros_client.transport import RAW_TOPIC, Report, Target

_SPOOLED_CLOSE_S = 10.0  # what is still in the spool is safe there


class TrialReporter(Offloaded):
    """Reports trials to the raw topic, by Kafka or through the gateway; threads may share it.

    A report stays queued until it is confirmed, for as long as the process lives; with a `spool` it is on disk before
    `report` returns, and whatever a killed process left is sent by the next reporter. The queue is bounded by
    `queue_max_reports` and `queue_max_kib`; while it is full, `report` blocks. Reports of one trial are ordered by
    their timestamps: this machine's clock, for each trial kept from running backwards within one reporter.

    After a fork the child's first report opens a connection and a spool file of its own; what the parent reported is
    sent by the parent. A reporter can be pickled, for processes that are spawned: a copy is a reporter of its own, and
    the pickle holds `options` and `token`. Copies in one process, as a pool's tasks have them, share one connection.
    """

    _is_copy = False
    _shared: Shared | None = None

    def __init__(
        self,
        url: str,
        *,
        topic: str = RAW_TOPIC,
        options: Mapping[str, str | int | float | bool] | None = None,
        token: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        spool_max_mib: int = 1024,
        queue_max_reports: int = 10_000,
        queue_max_kib: int = 64 * 1024,
        close_timeout_s: float | None = None,
    ) -> None:
        """`url`: `host:9092,host2:9092`, the same behind `kafka://`, or the gateway's `https://host`.

        `options`: librdkafka properties (TLS, SASL, ...); `token`: the gateway's; `spool`: a folder, `spool_max_mib`
        the most that one process keeps there; `close_timeout_s` bounds the wait in `close`: 60, with a spool 10.
        Connects in the background. Raises `ValueError` for a URL or a property that makes no sense.
        """
        self._target = Target(
            url=url.removeprefix("kafka://"),
            topic=topic,
            options=dict(options or {}),
            token=token,
            queue_max_reports=queue_max_reports,
            queue_max_kib=queue_max_kib,
        )
        self._spool = Spool(Path(spool).expanduser().absolute(), spool_max_mib) if spool is not None else None
        default = 60.0 if spool is None else _SPOOLED_CLOSE_S
        self._close_timeout_s = default if close_timeout_s is None else close_timeout_s
        self._clock, self._lock = Clock(), threading.RLock()
        self._closed = False
        self._delivery: Delivery | None = self._opened()
        _living.add(self)

    def report(
        self,
        run_id: str | int | UUID,
        trial_id: str | int | UUID,
        *,
        status: Any = "succeeded",
        metrics: Any = None,
        parameters: Any = None,
        spectral_norm: Any = None,
        mlflow_run_id: str | UUID | None = None,
        artifact_uri: Any = None,
        duration_ms: Any = None,
        rank: Any = None,
        warnings: Any = (),
        candidate_id: str | int | UUID | None = None,
        pulse_id: str | int | UUID | None = None,
        error_message: Any = None,
        error_type: Any = None,
        stacktrace: Any = None,
        extra: Mapping[str, Any] | None = None,
        at: datetime | int | None = None,
    ) -> None:
        """Keeps or queues one trial's result and returns; it blocks only while the queue is full.

        Reporting a trial again replaces what was reported before. `status` is succeeded, failed, skipped
        or cancelled (or a synonym: pruned, completed, ..., or an enum's member; None: failed where an error is
        told, else succeeded), `duration_ms` is in milliseconds or a timedelta, `rank` 1 is the best trial of its
        run. `error_message` (else the first of `warnings`), `error_type` and `stacktrace` say why a trial failed.

        `metrics` and `parameters` are maps of anything: numbers, NaN, arrays, tensors, dates, objects. What JSON has
        no form for is kept as its `repr`, cut, and told by a warning in the report; so is what is too large.

        `spectral_norm`: whether the trial's weights were normalised. None: not said, which comes to a row as false, and
        is told apart there from false that was said.

        `extra`: further fields, kept beside the row. `at`: when the trial ended, for reports of the past, as a
        datetime (local, where it has no zone) or in milliseconds since 1970; an older report never replaces a newer.

        Raises `ValueError` or `TypeError` for a wrong id or status, naming the field, `RuntimeError` once closed,
        `UndeliveredError` where this report can't even be queued; `flush` tells what failed later.
        """
        failed = error_message is not None or error_type is not None or stacktrace is not None
        said = {
            "run_id": words.identifier(run_id, "run_id"),
            "trial_id": words.identifier(trial_id, "trial_id"),
            "status": ("failed" if failed else "succeeded") if status is None else words.ended_as(status),
            "metrics": {} if metrics is None else metrics,
            "parameters": {} if parameters is None else parameters,
            "spectral_norm": spectral_norm,
            "mlflow_run_id": words.mlflow_id(mlflow_run_id),
            "artifact_uri": artifact_uri,
            "duration_ms": duration_ms,
            "rank": rank,
            "warnings": warnings,
            "candidate_id": words.optional_id(candidate_id, "candidate_id"),
            "pulse_id": words.optional_id(pulse_id, "pulse_id"),
            "error_message": error_message,
            "error_type": error_type,
            "stacktrace": stacktrace,
            "extra": extra or {},
        }
        value = documents.encode(documents.trial_report(said))
        self._accept(said["run_id"], said["trial_id"], value, single=True, timestamp_ms=words.moment(at, "at"))

    def trial(self, run_id: str | int | UUID, trial_id: str | int | UUID, **described: Any) -> TrialBlock:
        """`with reporter.trial(run, trial, parameters=...) as trial:` see `TrialBlock`."""
        return TrialBlock(self, words.identifier(run_id, "run_id"), words.identifier(trial_id, "trial_id"), **described)

    def run(self, run_id: str | int | UUID, **described: Any) -> RunBlock:
        """`with reporter.run(run, requested_trials=50) as run:` see `RunBlock`."""
        return RunBlock(self, words.identifier(run_id, "run_id"), described)

    def start_run(self, run_id: str | int | UUID, **described: Any) -> None:
        """Says that a run has started: `requested_trials`, `search_space_version`, `max_params`, `parameters`, ..."""
        self._tell_run("ml.run.start", run_id, described)

    def stop_run(self, run_id: str | int | UUID, *, status: Any = "succeeded", **described: Any) -> None:
        """Says how a run has stopped: `completed_trials`, `best_metric`, `best_trial_id`, `error_message`, ..."""
        ended = words.ended_as(status)
        if ended == "skipped":
            raise ValueError("status: a run is not skipped; it has succeeded, failed or been cancelled")
        self._tell_run("ml.run.stop", run_id, {"status": ended, **described})

    def _tell_run(self, event: str, run_id: Any, described: Mapping[str, Any]) -> None:
        run = words.identifier(run_id, "run_id")
        self._accept(run, "", documents.encode(documents.run_event(event, run, described)), single=True)

    def start_trial(self, run_id: Any, trial_id: Any, *, spectral_norm: Any = None, parameters: Any = None) -> None:
        """Says that a trial has started; `trial` does it by itself."""
        run, trial = words.identifier(run_id, "run_id"), words.identifier(trial_id, "trial_id")
        document = documents.trial_start(run, trial, spectral_norm, parameters)
        self._accept(run, trial, documents.encode(document), single=True)

    def progress(self, run_id: Any, trial_id: Any, step: Any = None, **metrics: Any) -> None:
        """Says what a trial has reached at a step (epoch, batch) before it has ended: one record for all metrics."""
        run, trial = words.identifier(run_id, "run_id"), words.identifier(trial_id, "trial_id")
        told = [documents.encode(documents.metric(run, trial, step, name, value)) for name, value in metrics.items()]
        if told:
            self._accept(run, trial, b"[" + b",".join(told) + b"]" if len(told) > 1 else told[0], single=len(told) == 1)

    def send(self, run_id: str, trial_id: str, value: bytes, *, timestamp_ms: int | None = None) -> None:
        """Bytes that are reports already; `trial_id` names them if they fail. Raises as `report`.

        `timestamp_ms`: when they were made, in milliseconds since 1970; now, where it is not given.
        """
        run, trial = words.identifier(run_id, "run_id"), words.identifier(trial_id, "trial_id")
        self._accept(run, trial, value, single=False, timestamp_ms=words.moment(timestamp_ms, "timestamp_ms"))

    def _accept(
        self, run_id: str, trial_id: str, value: bytes, *, single: bool, timestamp_ms: int | None = None
    ) -> None:
        delivery = self._usable()
        moment = self._clock.next((run_id, trial_id)) if timestamp_ms is None else timestamp_ms
        delivery.accept(Report(run_id, trial_id, value, moment, single))

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until every report of this process so far is confirmed.

        Raises `UndeliveredError` naming those that failed since the last call (without a spool they will not be
        tried again) and those that `timeout_s` seconds were too short for (they stay queued: flush again).
        """
        self._usable().flush(timeout_s)

    def close(self) -> None:
        """Flushes, for `close_timeout_s` seconds at the most, and ends the connection; twice is harmless.

        Raises `UndeliveredError` as `flush` does; what is still queued then is dropped, what is in the spool stays
        there, told by a log line.
        """
        with self._lock:
            delivery, self._delivery, self._closed = self._delivery, None, True
        self._close_executor()
        if delivery is None:
            return
        if self._is_copy and not leave(self._settings, self):
            delivery.confirm(self._close_timeout_s)
            return
        is_closing(delivery)
        delivery.close(self._close_timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _usable(self) -> Delivery:
        if (delivery := self._delivery) is not None:
            return delivery
        with self._lock:
            if self._closed:
                raise RuntimeError("the TrialReporter is closed")
            if self._delivery is None:  # the first report after a fork
                self._delivery = self._opened()
            return self._delivery

    def _opened(self) -> Delivery:
        if not self._is_copy:
            return self._opened_alone()
        self._shared = join(self._settings, self, self._opened_alone, self._clock)
        self._clock = self._shared.clock
        return self._shared.delivery

    @property
    def lasting(self) -> object:
        """What is the same for a pool's next copy: what has been reported by it need not be reported again."""
        return self._shared or self

    def _opened_alone(self) -> Delivery:
        delivery = opened(self._target, self._spool)
        close_at_exit(delivery, self._close_timeout_s)
        return delivery

    @property
    def _settings(self) -> Hashable:
        """What copies have to agree in to share a connection."""
        target = self._target
        options = tuple(sorted(target.options.items()))
        queue = target.queue_max_reports, target.queue_max_kib
        return target.url, target.topic, options, target.token, *queue, self._spool

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        target, spool = self._target, self._spool
        said = {
            "topic": target.topic,
            "options": target.options,
            "token": target.token,
            "queue_max_reports": target.queue_max_reports,
            "queue_max_kib": target.queue_max_kib,
            "close_timeout_s": self._close_timeout_s,
            **({} if spool is None else {"spool": spool.folder, "spool_max_mib": spool.max_mib}),
        }
        return _made, (target.url, said)

    def _after_fork(self) -> None:
        self._lock, self._clock, self._delivery = threading.RLock(), Clock(self._clock), None
        self._forget_executor()


class _Copy(TrialReporter):
    """One that came out of a pickle."""

    _is_copy = True


def _made(url: str, said: Mapping[str, Any]) -> TrialReporter:
    return _Copy(url, **said)


_living: weakref.WeakSet[TrialReporter] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for reporter in list(_living):
        reporter._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
