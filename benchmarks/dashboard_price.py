"""What the dashboard's indexes and counts cost ingest: the same topic with them and without, in turns.

    python -m benchmarks.dashboard_price [--n 100000] [--reps 8]

Each turn is a database of its own, migrated; without: the indexes of migration 0008 dropped, the triggers of 0009
disabled. Processor time is that of ingest and Postgres together, which notes less of what else the machine does than
the clock; of each turn the two are compared, and the median of the ratios is told.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.__main__ import RESULTS, circumstances, open_stack
from benchmarks.contestants import BOTH, INGEST, Contestant, Round, run_sql
from benchmarks.dashboard import NEWEST
from benchmarks.measure import throughput
from processor.local.stack import LocalStack

TABLE = "cerebros_model_trials"
#: what the dashboard would not need: each a statement of the tables' owner
WITHOUT = (
    *(f"drop index {name}" for name in NEWEST),
    *(f"alter table {TABLE} disable trigger {TABLE}_count_{kind}" for kind in ("added", "removed", "changed")),
)
#: the most that is allowed
WANTED = 1.05


def measure(stack: LocalStack, contestant: Contestant, topic: str, reports: int, number: int, *, bare: bool) -> Any:
    one = Round(stack, contestant, topic, number)
    one.prepare()
    try:
        if bare:
            run_sql(one.url, *WITHOUT)
        found = throughput(stack, one, reports)
    finally:
        one.drop()
    cpu = found["cpu_s"]
    return {
        "cpu_s": round(cpu["contestant"] + cpu["postgres"], 2),
        "postgres_cpu_s": cpu["postgres"],
        "rows_per_s": found["rows_per_s"],
        "wal_bytes_per_report": found["wal_bytes_per_report"],
    }


def in_turns(stack: LocalStack, contestant: Contestant, topic: str, reports: int, reps: int, console: Console) -> Any:
    """Pairs of turns; which of the two comes first alternates."""
    numbers = itertools.count(1 + 1000 * (contestant is BOTH))
    pairs = []
    for rep in range(reps):
        pair = {}
        for bare in (False, True) if rep % 2 else (True, False):
            pair["without" if bare else "with"] = measure(stack, contestant, topic, reports, next(numbers), bare=bare)
        console.print(json.dumps(pair), soft_wrap=True, highlight=False)
        pairs.append(pair)

    def ratios(name: str) -> list[float]:
        return sorted(round(pair["with"][name] / pair["without"][name], 3) for pair in pairs)

    names = ("cpu_s", "postgres_cpu_s", "rows_per_s", "wal_bytes_per_report")
    return {
        "pairs": pairs,
        "with_to_without": {name: {"median": statistics.median(ratios(name)), "all": ratios(name)} for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_price", description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="reports in the topic")
    parser.add_argument("--reps", type=int, default=8, help="turns of each")
    parser.add_argument("--name", default="dashboard-price", help="name of the result file")
    arguments, console = parser.parse_args(), Console()
    with open_stack(console) as stack:
        topic = f"bench-{arguments.n}"
        load.fill(stack.bootstrap_servers, topic, arguments.n)
        found = {one.name: in_turns(stack, one, topic, arguments.n, arguments.reps, console) for one in (INGEST, BOTH)}
        document = {**circumstances("benchmarks.dashboard_price", stack), "reports": arguments.n, **found}
    table = Table("with to without, median (least to most)", "processor time", "of Postgres", "rows a second", "WAL")
    for name, one in found.items():
        cells = (
            f"{ratio['median']:.3f} ({ratio['all'][0]:.3f} to {ratio['all'][-1]:.3f})"
            for ratio in one["with_to_without"].values()
        )
        table.add_row(name, *cells)
    console.print(table)
    console.print(f"wanted of the processor time: at most {WANTED}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: benchmarks/results/{arguments.name}.json")


if __name__ == "__main__":
    main()
