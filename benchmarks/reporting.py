"""`python -m benchmarks.reporting`: what `report` costs a search, without and with a spool, on one core of its own.

Beside it a producer that loses what it likes: json.dumps and produce. Each contestant is a process that is bound to one
core and reports to a real Kafka; the least processor time and the highest rate of three.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cerebros_client import TrialReporter, spool_file
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import circumstances, open_stack

RESULT = Path(__file__).parent / "results" / "reporting.json"
METRICS = {"accuracy": 0.97, "val_accuracy": 0.95, "loss": 0.125, "epochs": [0.5, 0.25, 0.125, 0.0625]}
PARAMETERS = {"learning_rate": 0.001, "layers": [{"units": 64, "activation": "relu"}], "optimizer": "adam"}
#: name -> reports and threads; with a spool each report waits for the disk, so fewer are enough
CONTESTANTS = {
    "json.dumps and produce": (100_000, 1),
    "report": (100_000, 1),
    "report, spool": (10_000, 1),
    "report, spool, four threads": (10_000, 4),
    "report, spool that a power cut may rob (NORMAL)": (20_000, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reporting", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the reports, once; no result file")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, servers, reports, threads = arguments.one
        print(json.dumps(measured(name, servers, int(reports), int(threads))))
        return
    console = Console()
    with open_stack(console) as stack:
        create_topic(stack.bootstrap_servers)
        runs = [
            run for _ in range(1 if arguments.quick else 3) for run in one_round(stack.bootstrap_servers, arguments)
        ]
        rows = best(runs)
        console.print(table(rows))
        if not arguments.quick:
            document = {**circumstances("benchmarks.reporting", stack), "best": rows, "runs": runs}
            RESULT.write_text(json.dumps(document, indent=1) + "\n")


def create_topic(servers: str) -> None:
    admin = AdminClient({"bootstrap.servers": servers})  # it must outlive the answer
    [made] = admin.create_topics([NewTopic("reporting", 4, 1)]).values()
    made.result(30)


def one_round(servers: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Each contestant in a process of its own, one after the other."""
    runs = []
    for name, (reports, threads) in CONTESTANTS.items():
        count = str(reports // 10 if arguments.quick else reports)
        command = [sys.executable, "-m", "benchmarks.reporting", "--one", name, servers, count, str(threads)]
        runs.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return runs


def measured(name: str, servers: str, reports: int, threads: int) -> dict[str, Any]:
    """Rate until the last `report` has returned and until all is confirmed; processor time of all its threads."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=".") as folder:
        report, finish = CONTENDERS[name](servers, Path(folder))
        for number in range(200):
            report(-number)
        finish()
        began, cpu = time.perf_counter(), time.process_time()
        workers = [threading.Thread(target=some, args=(report, reports, one, threads)) for one in range(1, threads)]
        for worker in workers:
            worker.start()
        some(report, reports, 0, threads)
        for worker in workers:
            worker.join()
        returned = time.perf_counter()
        finish()
        ended, cpu = time.perf_counter(), time.process_time() - cpu
    return {
        "what": name,
        "reports": reports,
        "returned_per_s": round(reports / (returned - began)),
        "confirmed_per_s": round(reports / (ended - began)),
        "cpu_us": round(cpu / reports * 1e6, 1),
    }


def some(report: Callable[[int], None], reports: int, first: int, step: int) -> None:
    for number in range(first, reports, step):
        report(number)


Contender = tuple[Callable[[int], None], Callable[[], None]]


def bare(servers: str, folder: Path) -> Contender:
    producer = Producer({"bootstrap.servers": servers, "compression.type": "lz4", "linger.ms": 5})

    def report(number: int) -> None:
        document = {"run_id": "run", "trial_id": str(number), "metrics": METRICS, "parameters": PARAMETERS}
        while True:
            try:
                producer.produce("reporting", json.dumps(document), b"run")
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.01)

    return report, lambda: (producer.flush(60), None)[1]


def through(servers: str, folder: Path | None) -> Contender:
    reporter = TrialReporter(servers, topic="reporting", spool=folder)

    def report(number: int) -> None:
        reporter.report("run", number, metrics=METRICS, parameters=PARAMETERS, duration_ms=840, spectral_norm=True)

    return report, lambda: reporter.flush(120)


def robbed(servers: str, folder: Path) -> Contender:
    spool_file.SYNCHRONOUS = "normal"
    return through(servers, folder)


CONTENDERS: dict[str, Callable[[str, Path], Contender]] = {
    "json.dumps and produce": bare,
    "report": lambda servers, _: through(servers, None),
    "report, spool": through,
    "report, spool, four threads": through,
    "report, spool that a power cut may rob (NORMAL)": robbed,
}


def best(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each contestant; the ratio is that of processor time to the bare producer's."""
    rows: list[dict[str, Any]] = []
    for name in CONTESTANTS:
        own = [run for run in runs if run["what"] == name]
        row = {"what": name, "cpu_us": min(run["cpu_us"] for run in own)}
        row |= {rate: max(run[rate] for run in own) for rate in ("returned_per_s", "confirmed_per_s")}
        rows.append({**row, "cpu_ratio": round(row["cpu_us"] / (rows or [row])[0]["cpu_us"], 2)})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    shown = Table("", "returned/s", "confirmed/s", "CPU us a report", "x bare", title="reporting on one core")
    for row in rows:
        rates = (f"{row[rate]:,}" for rate in ("returned_per_s", "confirmed_per_s"))
        shown.add_row(row["what"], *rates, f"{row['cpu_us']:.1f}", f"{row['cpu_ratio']:.2f}")
    return shown


if __name__ == "__main__":
    main()
