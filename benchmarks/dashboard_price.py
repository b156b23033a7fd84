"""What the dashboard's indexes and counts cost ingest: batches, and whole runs, with them and without, in turns.

    python -m benchmarks.dashboard_price [--n 100000] [--reps 8]

Without: a database migrated like the other, the indexes of migration 0008 dropped, the triggers of 0009 disabled.
First batches of several kinds, each written into both and into one with the indexes or the counts alone
(`benchmarks.writes`), then whole runs over a topic. Processor time is that of ingest and Postgres together, which notes
less of what else the machine does than the clock; of each turn of a whole run the two are compared, and the median of
the ratios is told. What batches are dearer is told as a share of what ingest does for a report in a whole run, where
reading and decoding is in.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import load, writes
from benchmarks.__main__ import RESULTS, circumstances, open_stack
from benchmarks.contestants import BOTH, INGEST, Contestant, Round, run_sql
from benchmarks.dashboard import NEWEST
from benchmarks.measure import throughput
from processor.local.stack import LocalStack

TABLE = "cerebros_model_trials"
#: statements of the tables' owner that take away what only the dashboard needs, by what they take
TAKEN = {
    "indexes": tuple(f"drop index {name}" for name in NEWEST),
    "counts": tuple(
        f"alter table {TABLE} disable trigger {TABLE}_count_{kind}" for kind in ("added", "removed", "changed")
    ),
}
WITHOUT = (*TAKEN["indexes"], *TAKEN["counts"])
#: databases of the batches, and what each of them lacks
SIDES = {"without": WITHOUT, "indexes alone": TAKEN["counts"], "counts alone": TAKEN["indexes"], "with": ()}
#: the most that is allowed
WANTED = 1.05


def batches(stack: LocalStack) -> list[dict[str, Any]]:
    """`benchmarks.writes` in databases of their own."""
    rounds = {name: Round(stack, INGEST, "none", 9000 + number) for number, name in enumerate(SIDES)}
    try:
        for name, one in rounds.items():
            one.prepare()
            run_sql(one.url, *SIDES[name])
        return writes.in_turns({name: one.url for name, one in rounds.items()}, "without")
    finally:
        for one in rounds.values():
            one.drop()


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


def add_shares(written: list[dict[str, Any]], of_report_us: float) -> None:
    """What is dearer with all of it, as a share of what a report costs ingest in all, without it.

    In all: what its batch costs, and what is left of a whole run (`of_report_us`) beside the largest batches, of which
    that run consists: reading and decoding.
    """
    beside = of_report_us - _us(written[0], "without")
    for one in written:
        without = _us(one, "without")
        one["dearer_us"] = round(_us(one, "with") - without, 2)
        one["share_of_ingest"] = round(one["dearer_us"] / (beside + without), 3)


def _us(written: dict[str, Any], side: str) -> float:
    return float(written["sides"][side]["postgres"] + written["sides"][side]["writer"])


def table_of_batches(written: list[dict[str, Any]]) -> Table:
    """Microseconds of a report without, the ratios to that, and the share of all that ingest does for a report."""
    table = Table("reports of a batch", "runs", *SIDES, "of all that ingest does", title="batches in turns")
    for one in written:
        sides = [side for name, side in one["sides"].items() if name != "without"]
        cells = (f"{side['ratio']:.3f} ({side['of_parts'][0]:.3f} to {side['of_parts'][-1]:.3f})" for side in sides)
        table.add_row(
            f"{one['reports']:,}",
            str(one["runs"]),
            f"{_us(one, 'without'):.1f}",
            *cells,
            f"{one['share_of_ingest']:.1%}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_price", description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000, help="reports in the topic")
    parser.add_argument("--reps", type=int, default=8, help="turns of each")
    parser.add_argument("--name", default="dashboard-price", help="name of the result file")
    arguments, console = parser.parse_args(), Console()
    with open_stack(console) as stack:
        written = batches(stack)
        topic = f"bench-{arguments.n}"
        load.fill(stack.bootstrap_servers, topic, arguments.n)
        found = {one.name: in_turns(stack, one, topic, arguments.n, arguments.reps, console) for one in (INGEST, BOTH)}
        alone = statistics.median(pair["without"]["cpu_s"] for pair in found[INGEST.name]["pairs"])
        add_shares(written, alone / arguments.n * 1e6)
        document = {
            **circumstances("benchmarks.dashboard_price", stack),
            "batches": written,
            "reports": arguments.n,
            **found,
        }
    table = Table("with to without, median (least to most)", "processor time", "of Postgres", "rows a second", "WAL")
    for name, one in found.items():
        cells = (
            f"{ratio['median']:.3f} ({ratio['all'][0]:.3f} to {ratio['all'][-1]:.3f})"
            for ratio in one["with_to_without"].values()
        )
        table.add_row(name, *cells)
    console.print(table_of_batches(written))
    console.print(table)
    console.print(f"wanted of the processor time: at most {WANTED}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print(f"written: benchmarks/results/{arguments.name}.json")


if __name__ == "__main__":
    main()
