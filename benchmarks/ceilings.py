"""What the machine can do when nothing is promised: the ceilings that the processor is measured against.

Ceiling A: parse, upsert by `jsonb_to_recordset` from one big JSON parameter, two connections, offsets committed after.
Ceiling B: the same, plus one outbox row an event in the same transaction, and a relay that publishes and deletes.
Neither validates, guards the order, stores dead letters or publishes exactly once.

    python -m benchmarks.ceilings A|B      with KAFKA, TOPIC, GROUP, EVENTS and DSN in the environment
"""

from __future__ import annotations

import asyncio
import collections
import json
import multiprocessing
import os
import queue
import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

COLUMNS = {
    "run_id": "text",
    "trial_id": "text",
    "pulse_id": "text",
    "candidate_id": "text",
    "status": "text",
    "metrics": "jsonb",
    "parameters": "jsonb",
    "artifact_uri": "text",
    "duration_ms": "bigint",
    "rank": "integer",
    "warnings": "jsonb",
    "spectral_norm": "boolean",
    "mlflow_run_id": "text",
}
TABLE = "ceiling_trials"
NAMES = ", ".join(COLUMNS)
TYPED = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
DDL = f"""
drop table if exists {TABLE}, ceiling_outbox;
create table {TABLE} ({TYPED}, primary key (run_id, trial_id));
create index on {TABLE} (status);
create index on {TABLE} (spectral_norm);
create index on {TABLE} (mlflow_run_id);
create table ceiling_outbox (id bigint generated always as identity primary key, key text, payload bytea)
"""
UPSERT = (
    f"insert into {TABLE} ({NAMES}) select {NAMES} from jsonb_to_recordset($1::jsonb) as x ({TYPED}) "
    f"on conflict (run_id, trial_id) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in list(COLUMNS)[2:])
)
OUTBOX = "insert into ceiling_outbox (key, payload) select * from unnest($1::text[], $2::bytea[])"
CLAIM = (
    "with gone as (delete from ceiling_outbox where id in (select id from ceiling_outbox order by id limit $1) "
    "returning id, key, payload) select key, payload from gone order by id"
)
BATCH, RELAY_BATCH, WRITERS = 5000, 10_000, 2
_encode = msgspec.json.Encoder().encode


async def connect() -> asyncpg.Connection:
    connection = await asyncpg.connect(os.environ["DSN"])
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="binary", encoder=lambda text: b"\x01" + text, decoder=bytes
    )
    return connection


def event(report: dict[str, Any]) -> bytes:
    names = ("run_id", "trial_id", "status", "metrics", "artifact_uri", "duration_ms", "warnings", "mlflow_run_id")
    return _encode({"event": "trial." + report["status"], **{name: report.get(name) for name in names}})


def relay() -> None:
    async def work() -> None:
        connection = await connect()
        producer = Producer(
            {
                "bootstrap.servers": os.environ["KAFKA"],
                "linger.ms": 5,
                "enable.idempotence": True,
                "queue.buffering.max.messages": 500_000,
            }
        )
        while True:
            async with connection.transaction():
                rows = await connection.fetch(CLAIM, RELAY_BATCH)
                for key, payload in rows:
                    producer.produce(os.environ["EVENTS"], payload, key)
                if rows and producer.flush(30):
                    raise RuntimeError("events not delivered")
            if len(rows) < 1000:
                await asyncio.sleep(0.01)

    asyncio.run(work())


def write(waiting: queue.Queue[Any], done: collections.deque[Any], with_events: bool) -> None:
    async def work() -> None:
        connection = await connect()
        while True:
            document, events, offsets = waiting.get()
            async with connection.transaction():
                await connection.execute(UPSERT, document)
                if with_events and events:
                    await connection.execute(OUTBOX, [key for key, _ in events], [value for _, value in events])
            done.append(offsets)  # the reading thread commits them

    try:
        asyncio.run(work())
    except BaseException as error:  # noqa: BLE001 - a ceiling that lost a writer measures nothing
        print("writer:", repr(error), file=sys.stderr, flush=True)
        os._exit(3)


def say_assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
    """The same line as the processor's, for the clock starts there."""
    line = {
        "event": "assigned",
        "partitions": [one.partition for one in partitions],
        "timestamp": datetime.now(UTC).isoformat(),
    }
    print(json.dumps(line), flush=True)


def read(with_events: bool) -> None:
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["KAFKA"],
            "group.id": os.environ["GROUP"],
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([os.environ["TOPIC"]], on_assign=say_assigned)
    queues: list[queue.Queue[Any]] = [queue.Queue(1) for _ in range(WRITERS)]
    done: collections.deque[Any] = collections.deque()
    for waiting in queues:
        threading.Thread(target=write, args=(waiting, done, with_events), daemon=True).start()
    loads = msgspec.json.Decoder().decode
    while True:
        while done:
            consumer.commit(offsets=done.popleft(), asynchronous=True)
        shares: list[tuple[dict[Any, bytes], list[Any], dict[int, int]]] = [({}, [], {}) for _ in queues]
        for message in consumer.consume(BATCH, 0.02):
            partition: Any = message.partition()
            rows, events, offsets = shares[partition % WRITERS]
            value: Any = message.value()
            report = loads(value)
            rows[report["run_id"], report["trial_id"]] = value
            if with_events and report["status"] in ("succeeded", "failed"):
                events.append((report["run_id"], event(report)))
            offsets[partition] = (message.offset() or 0) + 1
        for waiting, (rows, events, offsets) in zip(queues, shares, strict=True):
            if rows:
                committed = [TopicPartition(os.environ["TOPIC"], number, offset) for number, offset in offsets.items()]
                waiting.put((b"[" + b",".join(rows.values()) + b"]", events, committed))


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with_events = sys.argv[1] == "B"
    if with_events:
        multiprocessing.get_context("fork").Process(target=relay, daemon=True).start()
    read(with_events)


if __name__ == "__main__":
    main()
