"""`python -m benchmarks.mirroring`: trials mirrored into MLflow a second, beside a bare client of the same server.

The bare client makes and fills the same runs with as many connections, and remembers nothing. Both write into the same
server, one after the other; the mirror reads its events from Kafka and keeps its links in Postgres.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psutil
from confluent_kafka import Producer
from rich.console import Console

from benchmarks.__main__ import RESULTS, circumstances
from benchmarks.contestants import ask
from benchmarks.measure import percentiles
from processor.events.headers import event_id
from processor.local.stack import LocalStack
from processor.mlflow.content import Happening, Moment, key_of
from processor.mlflow.filling import Filler
from processor.mlflow.mapping import trial_content
from processor.mlflow.rest import RestTracking

TOPIC = "cerebros.trials.events"
#: events a second while latency is measured: a fifth of what the server can do
RATE = 8
LIMIT_SECONDS = 3600.0


def body(number: int) -> dict[str, Any]:
    """An event of a usual trial: 8 metrics, 12 parameters."""
    return {
        "event": "ml.trial.complete",
        "model_run_id": f"bench-{number % 4}",
        "trial_id": f"trial-{number}",
        "spectral_norm": number % 2 == 0,
        "mlflow_run_id": None,
        "metrics": {f"metric_{place}": number / (place + 1) for place in range(8)},
        "parameters": {f"parameter_{place}": place for place in range(12)},
        "duration_ms": 1500,
        "status": "completed",
        "warnings": [],
        "revision": 1,
    }


def produce(stack: LocalStack, numbers: Sequence[int], pause_s: float = 0.0) -> dict[str, float]:
    """When each was sent, by trial."""
    producer, sent = Producer({"bootstrap.servers": stack.bootstrap_servers}), dict[str, float]()
    for number in numbers:
        said, now = body(number), time.time()
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        headers: list[tuple[str, str | bytes | None]] = [
            ("ce_type", b"ml.trial.complete"),
            ("ce_time", moment.encode()),
            ("ce_id", event_id(said["model_run_id"], said["trial_id"], 1).encode()),
        ]
        producer.produce(TOPIC, json.dumps(said).encode(), said["model_run_id"], headers=headers)
        producer.poll(0)
        sent[said["trial_id"]] = now
        time.sleep(pause_s)
    producer.flush(30)
    return sent


def bare(stack: LocalStack, numbers: Sequence[int], connections: int) -> float:
    """Runs made and filled a second, by a client that remembers nothing."""
    assert stack.mlflow is not None
    tracking = RestTracking(stack.mlflow.url, connections=connections)
    experiments = {f"bench-{one}": tracking.create_experiment(f"bare/bench-{one}", {}).id for one in range(4)}
    filler = Filler(tracking, "never")

    def make(number: int) -> None:
        said = body(number)
        happening = Happening(said["event"], said["model_run_id"], said["trial_id"], Moment(1, 1), "", said)
        content = trial_content(happening)
        tags = {"cerebros.key": key_of(*happening.trial)}
        run = tracking.create_run(experiments[happening.run_id], content.name, content.start_ms, tags)
        filler.fill(run, content, again=False)

    began = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(make, numbers))
    return len(numbers) / (time.monotonic() - began)


def synced(stack: LocalStack) -> list[tuple[str, float]]:
    query = "select trial_id, extract(epoch from updated_at)::float8 from mlflow_links where synced_revision = 1"
    return [(row[0], row[1]) for row in ask(stack.database_url, query)]


def wait(stack: LocalStack, wanted: int) -> list[tuple[str, float]]:
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(found := synced(stack)) < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {wanted} trials are mirrored")
        time.sleep(0.5)
    return found


def measure(stack: LocalStack, count: int, connections: int, console: Console) -> dict[str, Any]:
    environment = {**os.environ, **stack.environment, "PROCESSOR_MLFLOW_CONNECTIONS": str(connections)}
    for command in (["migrate"], ["topics", "create"]):
        subprocess.run([sys.executable, "-m", "processor", *command], env=environment, check=True, capture_output=True)
    before = bare(stack, range(count), connections)
    produce(stack, range(count))
    child = subprocess.Popen([sys.executable, "-m", "processor", "mlflow"], env=environment, stderr=subprocess.DEVNULL)
    try:
        ends = sorted(at for _, at in wait(stack, count))
        # from the first settled batch on: the start of the process and of the group is no part of it
        first = sum(1 for at in ends if at - ends[0] < 0.05)
        mirrored = (count - first) / (ends[-1] - ends[0])
        sent = produce(stack, range(count, count + RATE * 20), 1 / RATE)
        found = dict(wait(stack, count + len(sent)))
        peak = psutil.Process(child.pid).memory_info().rss // 2**20
    finally:
        child.terminate()
        child.wait(30)
    after = bare(stack, range(count, 2 * count), connections)
    latency = percentiles([(found[trial] - at) * 1000 for trial, at in sent.items()])
    latency.pop("sample")
    result = {
        "trials": count,
        "connections": connections,
        "bare_per_s": [round(before, 1), round(after, 1)],
        "mirrored_per_s": round(mirrored, 1),
        "ratio": round(mirrored / ((before + after) / 2), 2),
        "latency_ms": latency,
        "rss_mib": peak,
    }
    console.print(json.dumps(result), soft_wrap=True, highlight=False)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirroring", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute's run: 400 trials")
    parser.add_argument("--n", type=int, default=5_000, help="trials; 100000 takes about an hour")
    parser.add_argument("--connections", type=int, default=4)
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with LocalStack(progress=console.print, mlflow=True) as stack:
        result = measure(stack, 400 if arguments.quick else arguments.n, arguments.connections, console)
        document = {**circumstances("benchmarks.mirroring", stack), "result": result}
    if not arguments.quick:
        (RESULTS / "mirroring.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
