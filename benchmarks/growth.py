"""Whether time per report stays flat: with many rows, with two ingest processes, and from the start of a process.

    python -m benchmarks.growth [--rows 10000000] [--n 100000] [--reps 3]

Growth: the same load into a table that already holds 100,000 rows, and into one that holds `--rows`. Processes: one
ingest and two side by side, on four partitions. Start: from spawning `processor ingest` to the first committed row.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import time
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.__main__ import RESULTS, circumstances, note, open_stack
from benchmarks.contestants import INGEST, PROCESSOR, Contestant, Round, ask, run_sql
from benchmarks.measure import throughput
from processor.local.stack import LocalStack

FEW = 100_000
RUN_TRIALS = 100
TWO = Contestant(
    "processor, two ingests", "cerebros_model_trials", False, ((*PROCESSOR, "ingest"), (*PROCESSOR, "ingest"))
)
_numbers = itertools.count(1)

RUNS = """
insert into cerebros_model_runs (run_id, state, started_at)
select 'old run ' || number, 'succeeded', now() from generate_series(1, $1::bigint) as number
"""
TRIALS = """
insert into cerebros_model_trials (
    model_run_id, trial_id, status, metrics, parameters, spectral_norm, mlflow_run_id, artifact_uri, duration_ms, rank,
    candidate_id, pulse_id, source_digest, schema_version, revision, source_topic, source_partition, source_offset,
    source_index, source_timestamp)
select run.id, 'trial_' || number, (array['succeeded', 'failed', 'skipped', 'cancelled'])[1 + number % 4],
       jsonb_build_object('accuracy', random(), 'loss', random(), 'val_accuracy', random(), 'val_loss', random(),
                          'test_accuracy', random(), 'epochs', number % 80),
       jsonb_build_object('lr', random(), 'batch_size', 64, 'hidden_size', 128, 'num_layers', number % 8,
                          'dropout', random(), 'activation', 'gelu', 'optimizer', 'adam'),
       number % 2 = 0, case when number % 2 = 0 then md5(number::text) end, 's3://models/' || number, number % 900000,
       number % 100, 'candidate_' || number % 997, 'pulse_' || number % 7, md5(number::text)::uuid, 2, 1, 'old', 0,
       number, 0, now()
from cerebros_model_runs run, generate_series(1, $1::bigint) as number
where run.run_id = any($2::text[])
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the large table")
    parser.add_argument("--n", type=int, default=100_000, help="reports a run")
    parser.add_argument("--reps", type=int, default=3, help="repetitions")
    arguments = parser.parse_args()
    console = Console()
    with open_stack(console) as stack:
        topics = [f"growth-{number}" for number in range(arguments.reps)]
        for topic in topics:
            load.fill(stack.bootstrap_servers, topic, arguments.n, f"/{topic}")
        document: dict[str, Any] = {
            **circumstances("benchmarks.growth", stack),
            "start_s": [start(stack, topics[0], console) for _ in range(arguments.reps)],
            "processes": processes(stack, topics[0], arguments.n, arguments.reps, console),
            "growth": growth(stack, topics, arguments.n, arguments.rows, console),
        }
    show(document, console)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print("written: benchmarks/results/growth.json")


def start(stack: LocalStack, topic: str, console: Console) -> float:
    """Seconds from spawning ingest to its first committed row."""
    one = Round(stack, INGEST, topic, next(_numbers))
    one.prepare()
    try:
        spawned = time.time()
        one.start()
        one.assigned_at()
        while not one.rows():
            time.sleep(0.2)
        seconds = one.commits()[0][0] - spawned
        console.print(f"start to the first row: {seconds:.2f} s")
        return round(seconds, 2)
    finally:
        one.stop()
        one.drop()


def processes(stack: LocalStack, topic: str, count: int, repetitions: int, console: Console) -> list[dict[str, Any]]:
    """One ingest and two, in turns; deadlocks and outages that they had are counted."""
    results = []
    for _ in range(repetitions):
        for contestant in (INGEST, TWO):
            one = Round(stack, contestant, topic, next(_numbers))
            one.prepare()
            try:
                run = throughput(stack, one, count)
                run.pop("commits")
                deadlocks = ask(one.url, "select deadlocks from pg_stat_database where datname = current_database()")
                run["deadlocks"] = deadlocks[0][0]
                run["retries"] = one.log.read_text().count('"waiting_for_database"')
                results.append(note(run, console))
            finally:
                one.drop()
    return results


def growth(stack: LocalStack, topics: list[str], count: int, rows: int, console: Console) -> list[dict[str, Any]]:
    """The load into a table of few rows and into one of many, each time for runs of its own."""
    results = []
    for held in (FEW, rows):
        home = Round(stack, INGEST, topics[0], next(_numbers))
        home.prepare()
        try:
            console.print(f"filling a table with {held:,} rows")
            asyncio.run(fill_table(home.url, held))
            for statement in ("vacuum analyze cerebros_model_trials", "checkpoint"):
                run_sql(home.url, statement)
            for topic in topics:
                one = Round(stack, INGEST._replace(table=rows_of(topic)), topic, next(_numbers))
                one.name, one.url = home.name, home.url
                run = throughput(stack, one, count)
                run.pop("commits")
                results.append(note({"rows_before": held, **run}, console))
            sizes = ask(
                home.url,
                "select indexrelname, pg_relation_size(indexrelid) / 1048576 from pg_stat_user_indexes "
                "where relname = 'cerebros_model_trials' order by 1",
            )
            results[-1]["index_mib"] = {row[0]: row[1] for row in sizes}
        finally:
            home.drop()
    return results


def rows_of(topic: str) -> str:
    """The rows that this topic's reports made, found without reading all the others."""
    runs = f"select id from cerebros_model_runs where run_id like '%/{topic}'"
    return f"(select trial.xmin from cerebros_model_trials trial where model_run_id = any (array({runs}))) as trials"


async def fill_table(url: str, rows: int) -> None:
    """Rows as ingest writes them, 100 a run, over two connections."""
    runs = rows // RUN_TRIALS
    connections = [await asyncpg.connect(url) for _ in range(2)]
    await connections[0].execute(RUNS, runs)
    names = [f"old run {number}" for number in range(1, runs + 1)]

    async def work(connection: asyncpg.Connection, mine: list[str]) -> None:
        for begin in range(0, len(mine), 1000):
            await connection.execute(TRIALS, RUN_TRIALS, mine[begin : begin + 1000])

    await asyncio.gather(*(work(connection, names[place::2]) for place, connection in enumerate(connections)))
    for connection in connections:
        await connection.close()


def show(document: dict[str, Any], console: Console) -> None:
    table = Table("", "min", "median", "max")

    def add(name: str, values: list[float], form: str = ",.0f") -> float:
        values = sorted(values)
        middle = statistics.median(values)
        table.add_row(name, *(format(value, form) for value in (values[0], middle, values[-1])))
        return middle

    add("start to the first row, s", document["start_s"], ".2f")
    speeds = {
        name: add(
            f"{name}, reports/s", [run["reports_per_s"] for run in document["processes"] if run["contestant"] == name]
        )
        for name in (INGEST.name, TWO.name)
    }
    sizes = sorted({run["rows_before"] for run in document["growth"]})
    grown = {
        size: add(
            f"into {size:,} rows, reports/s",
            [run["reports_per_s"] for run in document["growth"] if run["rows_before"] == size],
        )
        for size in sizes
    }
    console.print(table)
    ratios = Table("ratio", "target", "measured")
    ratios.add_row("two ingests / one, speed", "at least 1.00", f"{speeds[TWO.name] / speeds[INGEST.name]:.2f}")
    ratios.add_row(
        f"time per report at {sizes[-1]:,} rows / at {sizes[0]:,}",
        "at most 1.50",
        f"{grown[sizes[0]] / grown[sizes[-1]]:.2f}",
    )
    console.print(ratios)


if __name__ == "__main__":
    main()
