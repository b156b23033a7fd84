"""Deterministic reports for measurements, about 620 bytes of JSON each, keyed by run."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from processor.core.messages import RawRecord

PARTITIONS = 4
RUNS = 50
_NAMESPACE = uuid.UUID("b7c1f0a2-2f54-4c8e-8f0e-6a5d1b9f0c11")


def make_report(number: int, runs: int = RUNS) -> dict[str, Any]:
    """Of one of so many runs.

    5 % report an earlier trial again, 10 % failed, 3 % skipped or cancelled, a third comes from older clients.
    """
    rng = random.Random(number)
    trial = number if number < 100 or rng.random() > 0.05 else rng.randrange(max(0, number - 5000), number)
    run = trial % runs
    chance = rng.random()
    status = "succeeded" if chance < 0.87 else "failed" if chance < 0.97 else rng.choice(["skipped", "cancelled"])
    report: dict[str, Any] = {
        "trial_id": f"trial_{trial:08d}",
        "run_id": str(uuid.uuid5(_NAMESPACE, f"run {run}")),
        "pulse_id": f"pulse_{run % 7}",
        "candidate_id": f"candidate_{trial % 997}",
        "status": status,
        "metrics": {
            "accuracy": rng.random(),
            "loss": rng.random() * 3,
            "val_accuracy": rng.random(),
            "val_loss": rng.random() * 3,
            "test_accuracy": rng.random(),
            "epochs": rng.randrange(1, 80),
        },
        "parameters": {
            "lr": 10 ** -rng.uniform(1, 5),
            "batch_size": 2 ** rng.randrange(4, 9),
            "hidden_size": rng.choice([64, 128, 256, 512]),
            "num_layers": rng.randrange(1, 8),
            "dropout": rng.random() / 2,
            "activation": rng.choice(["relu", "gelu", "elu", "swish"]),
            "optimizer": rng.choice(["adam", "sgd", "adamw"]),
        },
        "artifact_uri": f"s3://models/{run}/trial_{trial:08d}.keras",
        "duration_ms": rng.randrange(500, 900_000),
        "rank": rng.randrange(0, 100),
        "warnings": [rng.choice(["CUDA out of memory", "loss is NaN at epoch 3"])] if status == "failed" else [],
    }
    if rng.random() < 0.66:
        report["spectral_norm"] = rng.random() < 0.5
        report["mlflow_run_id"] = uuid.UUID(int=rng.getrandbits(128)).hex if rng.random() < 0.7 else None
    return report


def messages(count: int, run_suffix: str = "", runs: int = RUNS) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        report = make_report(number, runs)
        report["run_id"] += run_suffix
        yield report["run_id"], json.dumps(report, separators=(",", ":")).encode()


def records(values: Iterable[bytes]) -> Iterator[RawRecord]:
    """As a topic holds them, without Kafka; a millisecond apart, beginning now."""
    now = int(time.time() * 1000)
    return (RawRecord("raw", 0, number, now + number, None, value) for number, value in enumerate(values))


def create_topic(servers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    if topic not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result()


def fill(servers: str, topic: str, count: int, run_suffix: str = "") -> None:
    """Creates the topic and sends `count` reports, timestamps in order whatever the clock does meanwhile."""
    create_topic(servers, topic)
    producer = Producer(
        # idempotent: a retry would put reports out of their order, and those that come late would count as older
        {
            "bootstrap.servers": servers,
            "linger.ms": 20,
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": True,
        }
    )
    began_ms = int(time.time() * 1000) - count
    for number, (key, value) in enumerate(messages(count, run_suffix)):
        while True:
            try:
                producer.produce(topic, value, key, timestamp=began_ms + number)
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        raise RuntimeError("the topic could not be filled")


def expected(count: int) -> tuple[int, int]:
    """(rows, events) that the load must end as."""
    trials, events = set(), 0
    for number in range(count):
        report = make_report(number)
        trials.add(report["trial_id"])
        events += report["status"] in ("succeeded", "failed")
    return len(trials), events
