"""Makes reports and records for tests."""

from __future__ import annotations

import itertools
import json
import logging
import random
from collections.abc import Iterable, Iterator
from typing import Any

from confluent_kafka import Producer

from processor.core.messages import RawRecord
from tests.support.patience import patient

_numbers = itertools.count()


def report(**fields: Any) -> dict[str, Any]:
    """A valid report as a current client sends it; `fields` replace or add."""
    number = next(_numbers)
    return {
        "trial_id": f"trial-{number:05d}",
        "run_id": "run-1",
        "status": "succeeded",
        "metrics": {"accuracy": 0.5 + number % 400 / 1000, "loss": 0.25},
        "parameters": {"lr": 0.001, "layers": 3, "activation": "relu"},
        "spectral_norm": True,
        "mlflow_run_id": f"mlflow-{number}",
        "duration_ms": 1500,
        "rank": 1,
        "artifact_uri": "s3://models/1",
        "warnings": [],
        "candidate_id": "candidate-1",
        "pulse_id": "pulse-1",
        **fields,
    }


def record(value: Any = None, **fields: Any) -> RawRecord:
    """A record whose value is `value`: bytes as they are, anything else as JSON (None: a valid report)."""
    if value is None:
        value = report()
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    made: dict[str, Any] = {
        "topic": "raw",
        "partition": 0,
        "offset": next(_numbers),
        "timestamp_ms": 1_700_000_000_000 + next(_numbers),
        "key": None,
        "value": raw,
        "headers": (),
        **fields,
    }
    return RawRecord(**made)


def load(
    count: int, *, runs: int = 8, seed: int = 1, bad: float = 0.01, again: float = 0.1, life: float = 0.0
) -> Iterator[tuple[str, bytes]]:
    """(key, value) of a believable load: some trials reported again, some failed or skipped, some reports broken.

    The share `life` of it is no trial's end: starts and stops of runs, and what trials say before they end.
    """
    rng = random.Random(seed)
    for number in range(count):
        trial = number if number < 10 or rng.random() > again else rng.randrange(max(0, number - 200), number)
        run_id = f"run-{trial % runs}"
        if life and rng.random() < life:
            yield run_id, json.dumps(life_of(rng, run_id, f"trial-{trial}", number)).encode()
            continue
        if rng.random() < bad:
            yield run_id, rng.choice([b"not json", b"", b'{"run_id": "run-1"}', b"[1]"])
            continue
        status = rng.choices(["succeeded", "failed", "skipped"], [8, 2, 1])[0]
        made = report(
            trial_id=f"trial-{trial}", run_id=run_id, status=status, metrics={"accuracy": rng.random(), "seq": number}
        )
        yield run_id, json.dumps(made).encode()


def life_of(rng: random.Random, run_id: str, trial_id: str, number: int) -> dict[str, Any]:
    """One report of a run's life or a trial's progress; one metric in fifty has a step that can't be."""
    ids = {"run_id": run_id, "trial_id": trial_id}
    what = rng.choices(["start", "stop", "trial", "metric"], [1, 1, 2, 8])[0]
    if what == "start":
        return {"event": "ml.run.start", "run_id": run_id, "requested_trials": rng.randrange(3), "own": None}
    if what == "stop":
        state = rng.choice(["succeeded", "failed", "cancelled"])
        return {"event": "ml.run.stop", "run_id": run_id, "state": state, "completed_trials": rng.randrange(3)}
    if what == "trial":
        return {"event": "ml.trial.start", **ids, "spectral_norm": rng.choice([True, False, None])}
    value, step = rng.choice([rng.random(), number, float("nan")]), rng.choice([None, number % 40, number])
    metric = {"event": "ml.run.metric", **ids, "metric_name": rng.choice(["loss", "val_loss"]), "metric_value": value}
    return {**metric, "step": -1 if rng.random() < 0.02 else step}


def produce(
    bootstrap_servers: str, topic: str, messages: Iterable[tuple[str | bytes | None, bytes | None]], **extra: Any
) -> None:
    """Sends (key, value) pairs and waits until the broker has them all."""
    quiet = logging.getLogger("tests.librdkafka")
    quiet.setLevel(logging.CRITICAL)
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "linger.ms": 5,
            "enable.idempotence": True,
            "message.max.bytes": 8_000_000,
            "logger": quiet,
        }
    )
    failures: list[Any] = []
    for key, value in messages:
        while True:
            try:
                producer.produce(
                    topic, value, key, on_delivery=lambda error, _: failures.append(error) if error else None, **extra
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(patient(60)) == 0
    assert failures == []
