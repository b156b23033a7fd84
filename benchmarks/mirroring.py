"""`python -m benchmarks.mirroring`: trials mirrored into MLflow a second, beside a bare client of the same server.

The bare client makes and fills the same runs with as many connections, and remembers nothing. Both write into the same
server in turns, so that whatever else the machine does meets both; the mirror reads its events from Kafka and keeps its
links in Postgres. Then the latency of single trials; then a back-fill: all events are there before the mirror starts,
and it is killed (-9) on the way and started again. At the end the runs are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import psutil
from confluent_kafka import Producer
from rich.console import Console

from benchmarks.__main__ import RESULTS, circumstances
from benchmarks.contestants import ask
from benchmarks.measure import percentiles
from processor.events.headers import event_id
from processor.local.stack import LocalStack, MlflowStore
from processor.mlflow.content import Happening, Moment, key_of
from processor.mlflow.filling import Filler
from processor.mlflow.mapping import trial_content
from processor.mlflow.rest import RestTracking

TOPIC = "cerebros.trials.events"
RUNS = 4
#: of what the server can do, while latency is measured
SHARE = 0.2
LATENCY_TRIALS = 100
LIMIT_SECONDS = 7200.0
_SYNCED = "from mlflow_links where synced_revision = 1"


def body(number: int) -> dict[str, Any]:
    """An event of a usual trial: 8 metrics, 12 parameters."""
    return {
        "event": "ml.trial.complete",
        "model_run_id": f"bench-{number % RUNS}",
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


class Bench:
    """Both contestants at one stack; each trial gets a number that no other has."""

    def __init__(self, stack: LocalStack, connections: int) -> None:
        assert stack.mlflow is not None
        self.stack, self.connections = stack, connections
        self.tracking = RestTracking(stack.mlflow.url, connections=connections)
        self.environment = {**os.environ, **stack.environment, "PROCESSOR_MLFLOW_CONNECTIONS": str(connections)}
        self.mirrored = 0
        self._bare_numbers = count()
        self._experiments = {
            f"bench-{one}": self.tracking.create_experiment(f"bare/bench-{one}", {}).id for one in range(RUNS)
        }

    def bare(self, number: int) -> float:
        """So many runs made and filled, a second, by a client that remembers nothing."""
        filler = Filler(self.tracking, "never")

        def make(place: int) -> None:
            said = body(place)
            happening = Happening(said["event"], said["model_run_id"], said["trial_id"], Moment(1, 1), "", said)
            content = trial_content(happening)
            tags = {"cerebros.key": key_of(*happening.trial)}
            experiment = self._experiments[happening.run_id]
            run = self.tracking.create_run(experiment, content.name, content.start_ms, tags)
            filler.fill(run, content, again=False)

        numbers = [next(self._bare_numbers) for _ in range(number)]
        began = time.monotonic()
        with ThreadPoolExecutor(self.connections) as pool:
            list(pool.map(make, numbers))
        return number / (time.monotonic() - began)

    def produce(self, number: int, pause_s: float = 0.0) -> dict[str, float]:
        """When each was sent, by trial."""
        producer, sent = Producer({"bootstrap.servers": self.stack.bootstrap_servers}), dict[str, float]()
        for place in range(self.mirrored, self.mirrored + number):
            said, now = body(place), time.time()
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
        producer.flush(60)
        self.mirrored += number
        return sent

    def wait(self, wanted: int) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while (asked := time.monotonic()) < deadline:
            if (found := self.synced()) >= wanted:
                return
            time.sleep(max(0.2, 50 * (time.monotonic() - asked)))  # asking is no more than 2 % of a core
        raise TimeoutError(f"{found} of {wanted} trials are mirrored")

    def synced(self) -> int:
        return int(ask(self.stack.database_url, f"select count(*) {_SYNCED}")[0][0])

    def mirror(self, number: int) -> float:
        """So many trials mirrored, a second: from the first that is sent to the last that is settled."""
        began = time.monotonic()
        self.produce(number)
        self.wait(self.mirrored)
        return number / (time.monotonic() - began)

    @contextmanager
    def process(self) -> Iterator[subprocess.Popen[bytes]]:
        child = subprocess.Popen(
            [sys.executable, "-m", "processor", "mlflow"], env=self.environment, stderr=subprocess.DEVNULL
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                child.terminate()
            child.wait(30)

    def latency(self, number: int, rate: float) -> dict[str, float]:
        """Milliseconds from the event to the settled run, of so many at so many a second."""
        sent = self.produce(number, 1 / rate)
        self.wait(self.mirrored)
        found: dict[str, float] = dict(
            ask(self.stack.database_url, f"select trial_id, extract(epoch from updated_at)::float8 {_SYNCED}")
        )
        measured = percentiles([(found[trial] - at) * 1000 for trial, at in sent.items()])
        measured.pop("sample")
        return {"trials": number, "rate": round(rate, 1), **measured}

    def runs(self) -> int:
        """What the server has of the mirror's."""
        found = [self.tracking.experiment(f"cerebros/bench-{one}") for one in range(RUNS)]
        number, page = 0, ""
        for experiment in [one.id for one in found if one is not None]:
            while True:
                runs, page = self.tracking.search([experiment], "", page=page)
                number += len(runs)
                if not page:
                    break
        return number


def in_turns(bench: Bench, turns: int, size: int) -> dict[str, Any]:
    """Both, one after the other, so often; what the mirror makes of what the server can."""
    found = [(bench.bare(size), bench.mirror(size)) for _ in range(turns)]
    return {
        "trials": turns * size,
        "bare_per_s": [round(one, 1) for one, _ in found],
        "mirrored_per_s": [round(one, 1) for _, one in found],
        "ratio": round(statistics.median(mirrored / bare for bare, mirrored in found), 2),
    }


def back_fill(bench: Bench, number: int, size: int, kills: int) -> dict[str, Any]:
    """All events first; a mirror that is killed so often, evenly spread, and started again each time.

    The bare client runs before the first mirror, at each kill and after the last, so that whatever else the machine
    does in these hours meets both.
    """
    already = bench.mirrored
    bench.produce(number)
    bare, rates, killed_at, peak = [bench.bare(size)], [], [], 0
    for part in range(1, kills + 2):
        with bench.process() as child:
            rates.append(_rate(bench, already + number * part // (kills + 1)))
            peak = max(peak, psutil.Process(child.pid).memory_info().rss // 2**20)
            if part <= kills:
                child.kill()
        if part <= kills:
            killed_at.append(bench.synced() - already)
        bare.append(bench.bare(size))
        print(f"{bench.synced() - already} of {number}: {rates[-1]:.1f} a second, bare {bare[-1]:.1f}", file=sys.stderr)
    return {
        "trials": number,
        "killed_at": killed_at,
        "bare_per_s": [round(one, 1) for one in bare],
        "mirrored_per_s": [round(one, 1) for one in rates],
        "ratio": round(statistics.mean(rates) / statistics.mean(bare), 2),
        "runs_of_the_mirror": bench.runs(),
        "trials_mirrored": bench.mirrored,
        "rss_mib": peak,
    }


def _rate(bench: Bench, wanted: int) -> float:
    """Trials a second until so many are settled, from the first batch on: the start of a process is no part of it."""
    bench.wait(min(bench.synced() + 1, wanted))
    began, first = time.monotonic(), bench.synced()
    bench.wait(wanted)
    return (bench.synced() - first) / max(time.monotonic() - began, 0.2)


def measure(stack: LocalStack, sizes: Sequence[int], kills: int, connections: int, console: Console) -> dict[str, Any]:
    turns, size, filled = sizes
    bench = Bench(stack, connections)
    for command in (["migrate"], ["topics", "create"]):
        subprocess.run(
            [sys.executable, "-m", "processor", *command], env=bench.environment, check=True, capture_output=True
        )
    result: dict[str, Any] = {"connections": connections, "load_before": round(os.getloadavg()[0], 1)}
    with bench.process() as child:
        bench.mirror(20)  # processes have started, experiments are made
        result["in_turns"] = tell(in_turns(bench, turns, size), console)
        rate = SHARE * statistics.median(result["in_turns"]["bare_per_s"])
        result["latency_ms"] = tell(bench.latency(LATENCY_TRIALS, rate), console)
        result["rss_mib"] = psutil.Process(child.pid).memory_info().rss // 2**20
    if filled:
        result["back_fill"] = tell(back_fill(bench, filled, size, kills), console)
    result["load_after"] = round(os.getloadavg()[0], 1)
    return result


def tell(result: dict[str, Any], console: Console) -> dict[str, Any]:
    console.print(json.dumps(result), soft_wrap=True, highlight=False)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirroring", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run: 800 trials")
    parser.add_argument("--turns", type=int, default=5, help="how often the two take turns")
    parser.add_argument("--size", type=int, default=500, help="trials of a turn")
    parser.add_argument("--n", type=int, default=5_000, help="trials of the back-fill; 100000 takes about an hour")
    parser.add_argument("--kills", type=int, default=1, help="how often the mirror of the back-fill is killed (-9)")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite", help="where MLflow keeps its runs")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    sizes = (2, 100, 600) if arguments.quick else (arguments.turns, arguments.size, arguments.n)
    store: MlflowStore = arguments.store
    with LocalStack(progress=console.print, mlflow=True, mlflow_store=store) as stack:
        result = measure(stack, sizes, arguments.kills, arguments.connections, console)
        document = {**circumstances("benchmarks.mirroring", stack), "store": store, "result": result}
    if not arguments.quick:
        (RESULTS / f"mirroring-{store}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
