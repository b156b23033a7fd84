"""`make bench`: ceilings and processor alternately on one stack, one table, pictures, and a result file."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.contestants import BOTH, CEILING_A, CEILING_B, INGEST, Round, versions
from benchmarks.measure import latency, throughput
from processor.local.stack import LocalStack

RESULTS = Path(__file__).parent / "results"
CONTESTANTS = (CEILING_A, CEILING_B, INGEST, BOTH)
REPLAY = "processor, replay"
RATE = 500
_numbers = itertools.count(1)


def main() -> None:
    arguments = read_arguments()
    console = Console()
    reports = 20_000 if arguments.quick else arguments.n
    repetitions = 1 if arguments.quick else arguments.reps
    with open_stack(console) as stack:
        topic = f"bench-{reports}"
        console.print(f"filling {topic} with {reports:,} reports")
        load.fill(stack.bootstrap_servers, topic, reports)
        runs = list(all_throughputs(stack, topic, reports, repetitions, console))
        latencies = [] if arguments.no_latency else list(all_latencies(stack, 8 if arguments.quick else 30, console))
        document = {
            **circumstances("benchmarks", stack),
            "runs": runs,
            "latency": latencies,
        }
    console.print(throughput_table(runs))
    console.print(ratios_table(runs))
    if latencies:
        console.print(latency_table(latencies))
    write(document, arguments.name or ("quick" if arguments.quick else f"bench-{reports}"), console)


def open_stack(console: Console) -> LocalStack:
    options = {"track_commit_timestamp": "on"}  # the one addition: commit times are read from it
    return LocalStack(progress=console.print, postgres_options=options, kafka_heap="1g")


def circumstances(module: str, stack: LocalStack) -> dict[str, Any]:
    """What a result file says of how its figures came about."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python -m {module} " + " ".join(sys.argv[1:]),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "versions": versions(stack.database_url),
        "commit": commit(),
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute's run: 20,000 reports, once")
    parser.add_argument("--n", type=int, default=100_000, help="reports in the topic")
    parser.add_argument("--reps", type=int, default=3, help="repetitions, the contestants taking turns")
    parser.add_argument("--no-latency", action="store_true", help="throughput only")
    parser.add_argument("--name", help="name of the result files")
    return parser.parse_args()


def all_throughputs(
    stack: LocalStack, topic: str, reports: int, repetitions: int, console: Console
) -> Iterator[dict[str, Any]]:
    for repetition in range(repetitions):
        turn = repetition % len(CONTESTANTS)
        for contestant in CONTESTANTS[turn:] + CONTESTANTS[:turn]:
            one = Round(stack, contestant, topic, next(_numbers))
            one.prepare()
            try:
                yield note({"repetition": repetition, **throughput(stack, one, reports)}, console)
                if contestant is INGEST:
                    yield note({"repetition": repetition, **replay(stack, one, reports)}, console)
            finally:
                one.drop()


def replay(stack: LocalStack, first: Round, reports: int) -> dict[str, Any]:
    """Everything read again into the same database: nothing changes, so lag 0 is the end, not a commit of rows."""
    import time

    from processor.core.settings import Settings, load_settings
    from processor.kafka.offsets import GroupOffsets
    from processor.replay.reset import plan_reset, to_earliest

    values: dict[str, Any] = {
        key.removeprefix("PROCESSOR_").lower(): value
        for key, value in first.environment().items()
        if key.startswith("PROCESSOR_")
    }
    group = GroupOffsets(load_settings(Settings, **values), first.topic)
    group.move({move.partition: move.target for move in plan_reset(group, to_earliest)})
    latest = {number: bound.latest for number, bound in group.bounds().items()}
    watcher = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": first.group})
    partitions = [TopicPartition(first.topic, number) for number in latest]
    first.log.write_text("")
    first.start()
    try:
        began = first.assigned_at()
        while any(one.offset < latest[one.partition] for one in watcher.committed(partitions, 10)):
            time.sleep(0.02)
        seconds = time.time() - began
        return {
            "contestant": REPLAY,
            "reports": reports,
            "seconds": round(seconds, 3),
            "reports_per_s": round(reports / seconds),
            "cpu_s": {"contestant": round(first.cpu_seconds(), 2)},
            "peak_mib": first.peak_mib(),
        }
    finally:
        first.stop()
        watcher.close()


def all_latencies(stack: LocalStack, seconds: int, console: Console) -> Iterator[dict[str, Any]]:
    for contestant in (CEILING_B, BOTH):
        number = next(_numbers)
        topic = f"bench-latency-{number}"
        load.create_topic(stack.bootstrap_servers, topic)
        one = Round(stack, contestant, topic, number)
        one.prepare()
        try:
            yield note(latency(stack, one, RATE, seconds), console)
        finally:
            one.drop()


def note(result: dict[str, Any], console: Console) -> dict[str, Any]:
    shown = {key: value for key, value in result.items() if key not in ("commits", "row_ms", "event_ms")}
    for key in ("row_ms", "event_ms"):
        if key in result:
            shown[key] = {name: value for name, value in result[key].items() if name != "sample"}
    console.print(json.dumps(shown), soft_wrap=True, highlight=False)
    return result


def commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def by_contestant(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["contestant"], []).append(run)
    return groups


def throughput_table(runs: list[dict[str, Any]]) -> Table:
    table = Table(title="reports per second; CPU seconds of the processes, Postgres and Kafka")
    table.add_column("", min_width=17)
    for heading in ("min", "median", "max", "CPU s", "peak MiB"):
        table.add_column(heading, justify="right")
    for name, group in by_contestant(runs).items():
        speeds = sorted(run["reports_per_s"] for run in group)
        middle = group[len(group) // 2]
        cpu = middle["cpu_s"]
        table.add_row(
            name,
            *(f"{speed:,.0f}" for speed in (speeds[0], statistics.median(speeds), speeds[-1])),
            ", ".join(f"{cpu[part]:.1f}" for part in ("contestant", "postgres", "kafka") if part in cpu),
            "\n".join(f"{command} {size}" for command, size in middle["peak_mib"].items()),
        )
    return table


def ratios_table(runs: list[dict[str, Any]]) -> Table:
    medians = {
        name: statistics.median(run["reports_per_s"] for run in group) for name, group in by_contestant(runs).items()
    }
    table = Table("ratio", "target", "measured", title="targets")
    wanted = (
        (BOTH.name, CEILING_B.name, 1.0),
        (INGEST.name, CEILING_A.name, 0.75),
        (REPLAY, INGEST.name, 2.0),
    )
    for name, base, target in wanted:
        if name in medians and base in medians:
            table.add_row(f"{name} / {base}", f"{target:.2f}", f"{medians[name] / medians[base]:.2f}")
    return table


def latency_table(latencies: list[dict[str, Any]]) -> Table:
    table = Table("", "p50", "p95", "p99", "max", title=f"milliseconds at a steady {RATE} reports/s")
    for result in latencies:
        for kind in ("row_ms", "event_ms"):
            if kind in result:
                label = f"{result['contestant']}: to the {'committed row' if kind == 'row_ms' else 'readable event'}"
                table.add_row(label, *(f"{result[kind][name]:.1f}" for name in ("p50", "p95", "p99", "max")))
    return table


def write(document: dict[str, Any], name: str, console: Console) -> None:
    from benchmarks.pictures import draw_latency, draw_throughput

    RESULTS.mkdir(exist_ok=True)
    draw_throughput(document["runs"], RESULTS / f"{name}-throughput.png")
    if document["latency"]:
        draw_latency(document["latency"], RESULTS / f"{name}-latency.png")
    for run in document["runs"]:
        run.pop("commits", None)
    for result in document["latency"]:
        for kind in ("row_ms", "event_ms"):
            result.get(kind, {}).pop("sample", None)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    main()
