"""What the dashboard's questions cost on many trials, without the indexes that serve it (migration 0008) and with them.

    python -m benchmarks.dashboard [--rows 2200000] [--largest 1000000] [--runs 1000] [--reps 20]

Rows come by COPY, without the secondary indexes, which are built afterwards. Runs of 60 and of 100,000 trials stand
beside the largest. Each question is asked `--reps` times after one that is not counted. The price of the indexes is the
processor time that Postgres takes for COPY of 100,000 further rows with them and without, by turns: ingest, which does
more for a row than that, loses a smaller share. Then, in turns with what is asked without them, what orders and filters
by indexes of a metric and a parameter (`processor dashboard-index`) take, and what those of one path cost a row.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import RESULTS, circumstances, open_stack
from processor.dashboard.filters.indexed import NOTHING, Indexed, json_path, read_indexable
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.adoption import adoption
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.indexed import read_indexed
from processor.dashboard.queries.pool import open_pool
from processor.dashboard.queries.runs import run_page
from processor.dashboard.queries.samples import read_sample
from processor.dashboard.queries.sorting import Cursor, read_sort
from processor.dashboard.queries.trials import count_trials, trial_keys, trial_page, trial_with_all
from processor.dashboard.statistics.compare import compare
from processor.store.migrations import migrate
from processor.store.path_indexes import add_indexes, drop_indexes
from processor.store.pool import Pool
from processor.store.queries import load_queries
from processor.store.session import Session

START = datetime(2026, 10, 1, tzinfo=UTC)
DAYS = 50
PORTION = 5000
FILL_SECONDS = 3600.0
COLUMNS = (
    "model_run_id", "trial_id", "status", "metrics", "parameters", "spectral_norm", "duration_ms", "mlflow_run_id",
    "artifact_uri", "schema_version", "revision", "source_topic", "source_partition", "source_offset", "inserted_at",
    "updated_at",
)  # fmt: skip
SECONDARY = {
    "cerebros_model_trials_status_index": "(status)",
    "cerebros_model_trials_spectral_norm_index": "(spectral_norm)",
    "cerebros_model_trials_mlflow_run_id_index": "(mlflow_run_id)",
}
#: those of migration 0008: a run's newest; all runs' newest and adoption
NEWEST = {
    "cerebros_model_trials_newest_of_run": "(model_run_id, inserted_at, id)",
    "cerebros_model_trials_newest": "(inserted_at, id) include (schema_version, spectral_norm, spectral_norm_reported)",
}
LARGE = "large run"
#: further runs of sizes of their own
SIZES = {"run of 60": 60, "run of 100,000": 100_000}
#: rows of COPY whose price is taken, written as ingest does: a few runs at a time
FURTHER, ACTIVE = 100_000, 8
MEBIBYTES = "select pg_relation_size($1::regclass) / 1048576"
ACCURACY = Path("metrics", ("accuracy",))
BY_ACCURACY = read_sort("-metrics.accuracy")
#: paths that have an index in the last part
CHOSEN = ("metrics.accuracy", "lr")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_200_000, help="trials in all")
    parser.add_argument(
        "--largest", type=int, help="trials of the largest run; by default half of them, 1,000,000 at most"
    )
    parser.add_argument("--runs", type=int, default=1000, help="runs")
    parser.add_argument("--reps", type=int, default=20, help="times that each question is asked")
    arguments = parser.parse_args()
    largest = arguments.largest or min(arguments.rows // 2, 1_000_000)
    console = Console()
    with open_stack(console) as stack:
        with Session(stack.database_url) as store:
            migrate(store)
        filling = asyncio.run(fill(stack.database_url, arguments.rows, largest, arguments.runs))
        console.print(f"filled in {filling:.0f} s")
        document = {
            **circumstances("benchmarks.dashboard", stack),
            "rows": arguments.rows,
            "largest": largest,
            "fill_s": round(filling, 1),
            **asyncio.run(measure(stack.database_url, arguments.rows, arguments.reps, console)),
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "dashboard.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print("written: benchmarks/results/dashboard.json")


async def fill(url: str, rows: int, largest: int, runs: int) -> float:
    """So many trials over so many runs, one of which is large; returns the seconds it took."""
    began = time.monotonic()
    connection = await asyncpg.connect(url)
    for name in (*SECONDARY, *NEWEST):
        await connection.execute(f"drop index {name}")
    sizes = {LARGE: largest, **{name: size for name, size in SIZES.items() if size < largest}}
    names = [*sizes, *(f"run {number}" for number in range(len(sizes), runs))]
    ids = await connection.fetch(
        "insert into cerebros_model_runs (run_id, state, inserted_at) "
        "select name, 'running', $2::timestamptz + place * interval '1 hour' "
        "from unnest($1::text[]) with ordinality as given (name, place) returning id",
        names,
        START,
    )
    sized = sum(sizes.values())
    places = itertools.chain(
        enumerate_runs(sizes.values()),
        ((len(sizes) + number % (runs - len(sizes)), sized + number) for number in range(rows - sized)),
    )
    await connection.execute("set session_replication_role = replica")  # counted at once, behind it
    await copy(connection, [str(row["id"]) for row in ids], places, rows)
    await connection.execute("reset session_replication_role")
    for name in ("recount_runs", "recount_times", "fold_counts"):
        await connection.execute(load_queries()[name], timeout=FILL_SECONDS)
    for name, columns in SECONDARY.items():
        await connection.execute(f"create index {name} on cerebros_model_trials {columns}")
    await connection.execute("vacuum analyze cerebros_model_trials")
    await connection.execute("checkpoint")
    await connection.close()
    return time.monotonic() - began


def enumerate_runs(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    numbers = itertools.count()
    return ((run, next(numbers)) for run, size in enumerate(sizes) for _ in range(size))


async def copy(
    connection: asyncpg.Connection, ids: list[str], places: Any, rows: int, *, at_once: bool = False
) -> None:
    """COPY of one line a (run, number); times grow with the numbers, `rows` of which fill the days, or are the end."""
    draw = random.Random(7)

    async def lines() -> AsyncIterator[bytes]:
        while portion := list(itertools.islice(places, PORTION)):
            ages = (1.0 if at_once else number / rows for _, number in portion)
            yield "".join(
                line(ids[run], number, age, draw) for (run, number), age in zip(portion, ages, strict=True)
            ).encode()

    await connection.copy_to_table("cerebros_model_trials", source=lines(), columns=list(COLUMNS), format="text")


def line(run: str, number: int, age: float, draw: random.Random) -> str:
    """`age` is the share of the days that had passed: rows come in the order of time, as ingest writes them."""
    norm = draw.random() < 0.5
    status = "succeeded" if (dice := draw.random()) < 0.9 else "failed" if dice < 0.97 else "skipped"
    accuracy = '"NaN"' if draw.random() < 0.01 else f"{draw.betavariate(8, 2) + 0.005 * norm:.6f}"
    metrics = f'{{"accuracy": {accuracy}, "loss": {draw.expovariate(1):.6f}, "epochs": {number % 80}}}'
    parameters = (
        f'{{"lr": {10 ** draw.uniform(-5, -1):.8f}, "batch_size": {32 << number % 4}, "dropout": {draw.random():.4f}, '
        f'"optimizer": "{("adam", "sgd", "lion")[number % 3]}", "activation": "gelu", "num_layers": {number % 8}}}'
    )
    at = START + timedelta(days=DAYS) * age
    cells = (
        run, f"trial_{number}", status, metrics, parameters, "t" if norm else "f", str(number % 900_000),
        f"{number:032x}" if norm else "\\N", f"s3://models/{number}", "3", "1", "raw", "0", str(number),
        at.isoformat(), at.isoformat(),
    )  # fmt: skip
    return "\t".join(cells) + "\n"


Question = Callable[[Pool], Awaitable[Any]]


def questions(indexed: Indexed = NOTHING) -> dict[str, Question]:
    """By what a person does."""
    everything = Scope(indexed=indexed)
    return {
        "runs, newest 50": lambda pool: run_page(pool),
        "all: newest 50": lambda pool: trial_page(pool, everything),
        "all: by accuracy": lambda pool: trial_page(pool, everything, BY_ACCURACY),
        "all: accuracy > 2 (none)": lambda pool: trial_page(pool, filtered(everything, "accuracy > 2")),
        "all: count, none found": lambda pool: count_trials(pool, filtered(everything, "accuracy > 2")),
        "all: columns that vary": lambda pool: trial_keys(pool, everything),
        "adoption, 7 days by hour": lambda pool: adoption(
            pool, START + timedelta(days=DAYS - 7), START + timedelta(days=DAYS)
        ),
        "adoption, all by day": lambda pool: adoption(pool, START, START + timedelta(days=DAYS), 86_400),
        **{
            f"{run}: {name}": question
            for run in (*SIZES, LARGE)
            for name, question in of_run(Scope(run, indexed=indexed)).items()
        },
    }


def filtered(scope: Scope, text: str) -> Scope:
    return scope._replace(filter=parse(text))


def of_run(scope: Scope) -> dict[str, Question]:
    async def deep(pool: Pool) -> Any:
        """A page in the middle: accuracy is 0.8 there."""
        cursor = Cursor(0, "0.8", "ffffffff-ffff-ffff-ffff-ffffffffffff")
        return await trial_page(pool, scope, BY_ACCURACY, cursor)

    narrow = filtered(scope, "lr < 0.00002 and optimizer = adam")
    return {
        "newest 50": lambda pool: trial_page(pool, scope),
        "by trial id": lambda pool: trial_page(pool, scope, read_sort("trial_id")),
        "by accuracy": lambda pool: trial_page(pool, scope, BY_ACCURACY),
        "by accuracy, a page in the middle": deep,
        "failed, newest 50": lambda pool: trial_page(pool, filtered(scope, "status = failed")),
        "lr < 0.00002 and adam, by accuracy": lambda pool: trial_page(pool, narrow, BY_ACCURACY),
        "lr < 0.00002 and adam, newest 50": lambda pool: trial_page(pool, narrow),
        "count": lambda pool: count_trials(pool, scope),
        "columns that vary": lambda pool: trial_keys(pool, scope),
        "one trial": lambda pool: trial_with_all(pool, scope.run_id or "", "trial_7"),
        "values": lambda pool: read_sample(pool, scope, Path("spectral_norm"), ACCURACY),
        "values with 4 parameters": lambda pool: read_sample(pool, scope, Path("spectral_norm"), ACCURACY, others()),
    }


def others() -> list[tuple[str, Path, bool]]:
    numbers = [(name, Path("parameters", (name,)), True) for name in ("lr", "dropout", "num_layers")]
    return [*numbers, ("optimizer", Path("parameters", ("optimizer",)), False)]


async def measure(url: str, rows: int, reps: int, console: Console) -> dict[str, Any]:
    plain = await ask_all(url, reps)
    connection = await asyncpg.connect(url)
    prices = await price_indexes(connection, rows)
    counting = await price_counts(connection, rows)
    sizes = {name: await connection.fetchval(MEBIBYTES, name) for name in NEWEST}
    await connection.execute("vacuum analyze cerebros_model_trials")
    await connection.close()
    indexed = await ask_all(url, reps)
    async with open_pool(url, timeout_ms=60_000) as pool:
        sample = await read_sample(pool, Scope(LARGE), Path("spectral_norm"), ACCURACY, others())
    seconds = [timed(lambda: compare(sample, parameter="spectral_norm", metric="accuracy")) for _ in range(3)]
    by_path = await measure_paths(url, rows, reps, console)
    show(plain, indexed, console)
    console.print("copy, us of Postgres a row:", prices, "MiB:", sizes, "comparison, s:", seconds)
    console.print("the same by how many rows a statement has, without and with counts:", counting)
    return {
        "plain": plain,
        "indexed": indexed,
        "copy_us_a_row": prices,
        "counting_us_a_row": counting,
        "index_mib": sizes,
        "comparison_s": seconds,
        "by_path": by_path,
    }


async def measure_paths(url: str, rows: int, reps: int, console: Console) -> dict[str, Any]:
    """What indexes of metrics and parameters save a page, and cost a row."""
    connection = await asyncpg.connect(url)
    prices = await price_path(connection, url, rows)
    await asyncio.to_thread(add_paths, url, CHOSEN)
    await connection.execute("vacuum cerebros_model_trials")
    await connection.close()
    asked = await ask_in_turns(url, reps)
    table = Table("question", "p50 ms", "p95 ms", "with an index of the path: p50", "p95")
    for name, (without, with_it) in asked.items():
        table.add_row(name, *(f"{value:,.1f}" for one in (without, with_it) for value in one.values()))
    console.print(table)
    console.print("copy with an index of one path, us of Postgres a row:", prices)
    return {"questions": asked, "copy_us_a_row": prices}


def add_paths(url: str, paths: Sequence[str]) -> None:
    with Session(url) as store:
        add_indexes(store, [json_path(read_indexable(path)) for path in paths], lambda _: None)


def drop_path(url: str, path: str) -> None:
    with Session(url) as store:
        drop_indexes(store, json_path(read_indexable(path)), lambda _: None)


async def price_path(connection: asyncpg.Connection, url: str, rows: int, turns: int = 5) -> dict[str, list[float]]:
    """As `price_indexes`, of the indexes of one metric."""
    ids = [str(row["id"]) for row in await connection.fetch("select id from cerebros_model_runs limit $1", ACTIVE)]
    prices: dict[str, list[float]] = {"without": [], "with": []}
    for _ in range(turns):
        await asyncio.to_thread(drop_path, url, CHOSEN[0])
        prices["without"].append(await price(connection, ids, rows))
        await asyncio.to_thread(add_paths, url, CHOSEN[:1])
        prices["with"].append(await price(connection, ids, rows))
    return prices


async def ask_in_turns(url: str, reps: int) -> dict[str, list[dict[str, float]]]:
    """What orders or filters by a metric or a parameter: without an index of it, and with one."""
    found = {}
    async with open_pool(url, timeout_ms=60_000) as pool:
        plain, indexed = questions(), questions(await read_indexed(pool))
        for name in (name for name in plain if "accuracy" in name or "lr <" in name):
            taken: list[list[float]] = [[], []]
            for _ in range(reps + 1):
                for question, milliseconds in zip((plain[name], indexed[name]), taken, strict=True):
                    began = time.monotonic()
                    await question(pool)
                    milliseconds.append((time.monotonic() - began) * 1000)
            found[name] = [quantiles(milliseconds[1:]) for milliseconds in taken]
    return found


async def price_indexes(connection: asyncpg.Connection, rows: int, turns: int = 5) -> dict[str, list[float]]:
    """Microseconds of Postgres a row by turns, without and with the indexes, which are there afterwards."""
    ids = [str(row["id"]) for row in await connection.fetch("select id from cerebros_model_runs limit $1", ACTIVE)]
    prices: dict[str, list[float]] = {"without": [], "with": []}
    for turn in range(turns):
        prices["without"].append(await price(connection, ids, rows))
        for name, columns in NEWEST.items():
            await connection.execute(f"create index {name} on cerebros_model_trials {columns}")
        prices["with"].append(await price(connection, ids, rows))
        if turn < turns - 1:
            for name in NEWEST:
                await connection.execute(f"drop index {name}")
    return prices


async def price_counts(connection: asyncpg.Connection, rows: int, turns: int = 3) -> dict[str, dict[str, list[float]]]:
    """Microseconds of Postgres a row by turns, without and with the trigger that counts, by rows of a COPY."""
    ids = [str(row["id"]) for row in await connection.fetch("select id from cerebros_model_runs limit $1", ACTIVE)]
    prices: dict[str, dict[str, list[float]]] = {}
    for size, number in ((1, 2000), (24, 24_000), (1000, FURTHER)):
        of_size = prices[str(size)] = {"without": [], "with": []}
        for _ in range(turns):
            for way, does in (("without", "disable"), ("with", "enable")):
                await connection.execute(
                    f"alter table cerebros_model_trials {does} trigger cerebros_model_trials_count_added"
                )
                of_size[way].append(await price(connection, ids, rows, number, size))
    return prices


def timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 3)


async def price(
    connection: asyncpg.Connection, ids: list[str], rows: int, number: int = FURTHER, size: int = FURTHER
) -> float:
    """Processor time of the session for one row of so many by COPY of `size` each, which are undone."""
    server = psutil.Process(await connection.fetchval("select pg_backend_pid()"))
    transaction = connection.transaction()
    await transaction.start()
    before = sum(server.cpu_times()[:2])
    for first in range(rows, rows + number, size):
        places = range(first, min(first + size, rows + number))
        lines = ((place % len(ids), place) for place in places)
        await copy(connection, ids, lines, rows, at_once=size < FURTHER)  # ingest gives a batch one time
    spent = sum(server.cpu_times()[:2]) - before
    await transaction.rollback()
    return float(round(spent * 1e6 / number, 2))


async def ask_all(url: str, reps: int) -> dict[str, dict[str, float]]:
    found = {}
    async with open_pool(url, timeout_ms=60_000) as pool:
        for name, question in questions().items():
            milliseconds = []
            for _ in range(reps + 1):
                began = time.monotonic()
                await question(pool)
                milliseconds.append((time.monotonic() - began) * 1000)
            found[name] = quantiles(milliseconds[1:])
    return found


def quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(milliseconds)
    at = min(len(ordered) - 1, round(0.95 * len(ordered)))
    return {"p50_ms": round(statistics.median(ordered), 1), "p95_ms": round(ordered[at], 1)}


def show(plain: dict[str, Any], indexed: dict[str, Any], console: Console) -> None:
    table = Table("question", "p50 ms", "p95 ms", "with indexes: p50", "p95")
    for name, figures in plain.items():
        table.add_row(name, *(f"{value:,.1f}" for one in (figures, indexed[name]) for value in one.values()))
    console.print(table)


if __name__ == "__main__":
    main()
