"""What Cerebros calls when a trial has ended: `TrialReporter`, a producer that loses no report silently.

    with TrialReporter("localhost:9092") as reporter:
        reporter.report("run-7", "trial-1", metrics={"accuracy": 0.97}, duration_ms=840)

Leaving the block waits until Kafka has every report; `UndeliveredError` names those that it has not.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from cerebros_client.errors import Undelivered, UndeliveredError

log = logging.getLogger(__name__)

RAW_TOPIC = "cerebros.trials.raw"
_POLL_S = 0.1  # how soon Ctrl-C is noticed while waiting for room or for the broker


class TrialReporter:
    """Reports trials to the raw topic; an idempotent producer with acks=all, one per process.

    Threads may share it. Processes may not: a fork copies neither librdkafka's threads nor its connections,
    so a forked child that uses its parent's reporter gets a `RuntimeError`; make one in each child.

    A report stays queued until the broker has it, for as long as the process lives. The queue is bounded by
    `queue_max_reports` and `queue_max_kib`; while it is full, `report` blocks. Reports of one trial are
    ordered by their timestamps: this machine's clock, kept from running backwards within one reporter.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic: str = RAW_TOPIC,
        options: Mapping[str, str | int | float | bool] | None = None,
        queue_max_reports: int = 10_000,
        queue_max_kib: int = 64 * 1024,
        close_timeout_s: float = 60.0,
    ) -> None:
        """`options`: librdkafka properties (TLS, SASL, ...); `close_timeout_s` bounds the wait in `close`.

        Connects in the background. Raises `ValueError` for a property that librdkafka does not take.
        """
        self._topic, self._close_timeout_s = topic, close_timeout_s
        self._lock = threading.Lock()
        self._sequence = itertools.count()
        self._pending: dict[int, Undelivered] = {}
        self._failed: list[Undelivered] = []
        self._latest_ms = 0
        self._process, self._closed = os.getpid(), False
        properties = {
            "message.timeout.ms": 0,  # no report expires: the outage may last longer than any guess
            "message.max.bytes": 64 * 1024 * 1024,  # how large a report may be is the topic's to say
            "partitioner": "murmur2_random",  # as Java clients have it: a run stays on one partition
            "compression.type": "lz4",
            "linger.ms": 5,
            "client.id": "cerebros-trial-reporter",
            "log_level": 2,  # librdkafka's own lines on stderr; its errors reach us by error_cb
            **(options or {}),
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "acks": "all",
            "queue.buffering.max.messages": queue_max_reports,
            "queue.buffering.max.kbytes": queue_max_kib,
            "error_cb": _log_error,
        }
        try:
            self._producer = Producer(properties)
        except KafkaException as error:
            raise ValueError(f"librdkafka refuses the options: {error.args[0].str()}") from None

    def report(
        self,
        run_id: str,
        trial_id: str | int,
        *,
        status: str = "succeeded",
        metrics: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        spectral_norm: bool = False,
        mlflow_run_id: str | None = None,
        artifact_uri: str | None = None,
        duration_ms: int | None = None,
        rank: int | None = None,
        warnings: Sequence[str] = (),
        candidate_id: str | None = None,
        pulse_id: str | None = None,
        error_message: str | None = None,
        error_type: str | None = None,
        stacktrace: str | None = None,
    ) -> None:
        """Queues one trial's result and returns; it blocks only while the queue is full.

        Reporting a trial again replaces what was reported before. `status` is succeeded, failed, skipped
        or cancelled (or a synonym: pruned, completed, ...), `duration_ms` is in milliseconds, `rank` 1 is
        the best trial of its run. `error_message` (else the first of `warnings`), `error_type` and `stacktrace`
        say why a trial failed. `metrics` and `parameters` nest up to 200 levels and may hold NaN, infinities,
        numpy scalars and arrays.

        Raises `ValueError` for an empty id, `TypeError` for a value that JSON has no form for,
        `UndeliveredError` where this report can't even be queued; `flush` tells what failed later.
        """
        document = {
            "run_id": run_id,
            "trial_id": trial_id,
            "status": status,
            "spectral_norm": spectral_norm,
            "mlflow_run_id": mlflow_run_id,
            "metrics": metrics or {},
            "parameters": parameters or {},
            "duration_ms": duration_ms,
            "artifact_uri": artifact_uri,
            "rank": rank,
            "warnings": list(warnings),
            "candidate_id": candidate_id,
            "pulse_id": pulse_id,
        }
        errors = {"error_message": error_message, "error_type": error_type, "stacktrace": stacktrace}
        document |= {name: said for name, said in errors.items() if said is not None}
        self.send(run_id, str(trial_id), json.dumps(document, default=_plain).encode())

    def send(self, run_id: str, trial_id: str, value: bytes) -> None:
        """Queues bytes that are reports already; `trial_id` names them if they fail. Raises as `report`."""
        if not run_id or not trial_id:
            raise ValueError(f"a report needs a run_id and a trial_id, not {run_id!r} and {trial_id!r}")
        self._check_usable()
        sequence, timestamp_ms = self._remember(report := Undelivered(run_id, trial_id, "no confirmation yet", value))
        try:
            self._produce(sequence, run_id, timestamp_ms, value)
        except KafkaException as error:
            self._settle(sequence, None)
            raise UndeliveredError([report._replace(reason=error.args[0].str())]) from error
        except BaseException:  # Ctrl-C while waiting for room: the caller knows that this report is not sent
            self._settle(sequence, None)
            raise
        self._producer.poll(0)  # serves delivery reports, which otherwise keep their place in the queue

    def _produce(self, sequence: int, run_id: str, timestamp_ms: int, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    key=run_id.encode(),
                    timestamp=timestamp_ms,
                    on_delivery=partial(self._settle, sequence),
                )
                return
            except BufferError:
                self._producer.poll(_POLL_S)

    def _remember(self, undelivered: Undelivered) -> tuple[int, int]:
        """Number and timestamp of the report; after a clock set back, a later report would pass for stale."""
        with self._lock:
            self._pending[sequence := next(self._sequence)] = undelivered
            self._latest_ms = max(self._latest_ms, time.time_ns() // 1_000_000)
            return sequence, self._latest_ms

    def _settle(self, sequence: int, error: KafkaError | None, _message: Message | None = None) -> None:
        with self._lock:
            report = self._pending.pop(sequence, None)
            if report and error:
                self._failed.append(report._replace(reason=error.str()))

    def flush(self, timeout_s: float = 60.0) -> None:
        """Waits until Kafka has confirmed every report queued so far.

        Raises `UndeliveredError` naming those that failed since the last call (they will not be tried
        again) and those that `timeout_s` seconds were too short for (they stay queued: flush again).
        """
        self._check_usable()
        deadline = time.monotonic() + timeout_s
        waiting = self._producer.flush(min(_POLL_S, timeout_s))
        while waiting and time.monotonic() < deadline:
            waiting = self._producer.flush(_POLL_S)
        with self._lock:
            failed, self._failed = self._failed, []
            undelivered = [*failed, *(self._pending.values() if waiting else ())]
        if undelivered:
            raise UndeliveredError(undelivered)

    def close(self) -> None:
        """Flushes, for `close_timeout_s` seconds at the most, and ends the producer; twice is harmless.

        Raises `UndeliveredError` as `flush` does; what is still queued then is dropped.
        """
        if self._closed:
            return
        self._check_usable()
        try:
            self.flush(self._close_timeout_s)
        finally:
            self._closed = True
            self._producer.purge()  # or closing would wait for the broker, without end
            self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_usable(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a TrialReporter does not survive a fork: make one in each process")
        if self._closed:
            raise RuntimeError("the TrialReporter is closed")


def _plain(value: Any) -> Any:
    """JSON's form of what numpy computes: scalars become numbers, arrays lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON: {value!r:.60}")


def _log_error(error: KafkaError) -> None:
    if error.code() != KafkaError._TRANSPORT:  # comes with every attempt to connect; the outage is told once
        log.warning("Kafka: %s", error.str())
