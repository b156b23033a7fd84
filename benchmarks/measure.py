"""One run: throughput over a full topic, or latency under a steady trickle."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as KafkaPartition

from benchmarks import load
from benchmarks.contestants import Round, ask, tree_cpu, wal_bytes
from processor.local.stack import LocalStack

LIMIT_SECONDS = 600.0


class EventReader:
    """A read_committed consumer of the events topic that notes when it could read what."""

    def __init__(self, servers: str, topic: str, *, keep: bool = False) -> None:
        self.count, self.last_at = 0, 0.0
        self.arrivals: dict[tuple[str, str], float] = {}
        self._keep = keep
        self._stopping = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"{topic}-reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
            }
        )
        self._consumer.assign([KafkaPartition(topic, number, 0) for number in range(load.PARTITIONS)])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            first = self._consumer.poll(0.05)
            if first is None:
                continue
            got = [first, *self._consumer.consume(10_000, 0)]
            messages = [message for message in got if message.error() is None]
            now = time.time()
            self.count += len(messages)
            self.last_at = now
            if self._keep:
                for message in messages:
                    body: Any = json.loads(message.value() or b"{}")
                    run_id = body.get("model_run_id") or body["run_id"]
                    self.arrivals.setdefault((run_id, body["trial_id"]), now)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(5)
        self._consumer.close()


def throughput(stack: LocalStack, one: Round, count: int) -> dict[str, Any]:
    """Fills nothing, resets nothing: the topic is full, the database is new."""
    rows_due, events_due = load.expected(count)
    reader = EventReader(stack.bootstrap_servers, one.events_topic) if one.contestant.events else None
    wal = wal_bytes(one.url)
    servers = {"kafka": stack.kafka.pid or 0, "postgres": stack.postgres.pid or 0}
    before = {name: tree_cpu(pid) for name, pid in servers.items()}
    one.start()
    try:
        began = one.assigned_at()
        deadline = time.monotonic() + LIMIT_SECONDS
        while one.rows() < rows_due or (reader is not None and reader.count < events_due):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{one.contestant.name}: {one.rows()} of {rows_due} rows")
            time.sleep(0.5)  # counting takes CPU from the contestant, and the clock stops at a commit, not here
        settle(one, rows_due)
        commits = one.commits()
        last_row = commits[-1][0]
        end = max(last_row, reader.last_at) if reader is not None else last_row
        return {
            "contestant": one.contestant.name,
            "reports": count,
            "seconds": round(end - began, 3),
            "reports_per_s": round(count / (end - began)),
            "rows_per_s": round(count / (last_row - began)),
            "events": reader.count if reader is not None else None,
            "events_expected": events_due if reader is not None else None,
            "cpu_s": {
                "contestant": round(one.cpu_seconds(), 2),
                **{name: round(tree_cpu(pid) - before[name], 2) for name, pid in servers.items()},
            },
            "peak_mib": one.peak_mib(),
            "wal_bytes_per_report": round((wal_bytes(one.url) - wal) / count),
            "commits": [(round(at - began, 3), rows) for at, rows in commits],
        }
    finally:
        one.stop()
        if reader is not None:
            reader.close()


def settle(one: Round, rows_due: int) -> None:
    """The last rows may still be rewritten by later reports: waits until nothing commits any more."""
    last: Any = None
    while True:
        now = ask(one.url, f"select max(pg_xact_commit_timestamp(xmin)) from {one.contestant.table}")[0][0]
        if now == last and one.rows() == rows_due:
            return
        last = now
        time.sleep(0.5)


def latency(stack: LocalStack, one: Round, rate: int, seconds: int) -> dict[str, Any]:
    """Milliseconds from just before `produce` to the committed row and to the readable event."""
    reader = EventReader(stack.bootstrap_servers, one.events_topic, keep=True) if one.contestant.events else None
    one.start()
    try:
        one.assigned_at()
        time.sleep(2)
        sent = trickle(stack, one.topic, rate, seconds)
        deadline = time.monotonic() + 60
        while one.rows() < len(sent) and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(1)
        rows = row_times(one)
        result: dict[str, Any] = {
            "contestant": one.contestant.name,
            "rate": rate,
            "row_ms": percentiles([(at - sent[key]) * 1000 for key, at in rows.items() if key in sent]),
        }
        if reader is not None:
            events = [(at - sent[key]) * 1000 for key, at in reader.arrivals.items() if key in sent]
            result["event_ms"] = percentiles(events)
        return result
    finally:
        one.stop()
        if reader is not None:
            reader.close()


def trickle(stack: LocalStack, topic: str, rate: int, seconds: int) -> dict[tuple[str, str], float]:
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "linger.ms": 0})
    sent: dict[tuple[str, str], float] = {}
    reports = [load.make_report(number) for number in range(rate * seconds)]
    began = time.time()
    for number, report in enumerate(reports):
        key = (report["run_id"], report["trial_id"])
        if key in sent:
            continue
        pause = began + number / rate - time.time()
        if pause > 0:
            time.sleep(pause)
        sent[key] = time.time()
        producer.produce(topic, json.dumps(report).encode(), key[0])
        producer.poll(0)
    producer.flush(30)
    return sent


def row_times(one: Round) -> dict[tuple[str, str], float]:
    at = "extract(epoch from pg_xact_commit_timestamp({}.xmin))::float8"
    if one.contestant.table == "cerebros_model_trials":
        query = (
            f"select run.run_id, t.trial_id, {at.format('t')} from cerebros_model_trials t "
            "join cerebros_model_runs run on run.id = t.model_run_id"
        )
    else:
        query = f"select run_id, trial_id, {at.format('t')} from {one.contestant.table} t"
    return {(row[0], row[1]): row[2] for row in ask(one.url, query)}


def percentiles(values: list[float]) -> dict[str, Any]:
    values.sort()

    def pick(share: float) -> float:
        return round(values[min(len(values) - 1, int(len(values) * share))], 1)

    histogram = [round(value, 1) for value in values[:: max(1, len(values) // 400)]]
    return {"p50": pick(0.5), "p95": pick(0.95), "p99": pick(0.99), "max": round(values[-1], 1), "sample": histogram}
