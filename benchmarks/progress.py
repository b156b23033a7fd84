"""What a progress record costs beside a trial's report: decoding and writing, without Kafka, alternately.

    python -m benchmarks.progress [--n 50000] [--reps 3]

Both go through the decoder and one sink, in batches of 4000, into tables of their own in one database; then both again,
as a replay, which finds that all of it is there. Wall-clock time of the decoding and of the writing thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.__main__ import RESULTS, circumstances, open_stack
from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, RawRecord, Rejection
from processor.core.settings import PipelineSettings
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.service.wiring import open_sink
from processor.store.migrations import migrate
from processor.store.session import Session
from processor.store.trials import TrialStore

BATCH = 4000
#: a trial's curves: so many metrics of it come, each at steps of its own
STEPS = 50


def metrics(count: int, run_suffix: str = "") -> Iterator[tuple[str, bytes]]:
    """`count` metrics of trials of as many runs as the load has, in the plain form."""
    for number in range(count):
        trial, step = divmod(number, STEPS)
        run_id = f"run {trial % load.RUNS}{run_suffix}"
        body = {"event": "ml.run.metric", "run_id": run_id, "trial_id": f"trial_{trial:08d}", "metric_name": "val_loss"}
        value = {**body, "metric_value": 1 / (1 + step), "step": step}
        yield run_id, json.dumps(value, separators=(",", ":")).encode()


def microseconds(sink: TrialStore, decoder: Decoder, given: Sequence[RawRecord]) -> tuple[float, float]:
    """Of decoding and of writing, for one record."""
    decoding = writing = 0.0
    for at in range(0, len(given), BATCH):
        began = time.perf_counter()
        outcomes = [one for outcomes in decoder.each(given[at : at + BATCH]) for one in outcomes]
        decoded = time.perf_counter()
        reports = [one for one in outcomes if not isinstance(one, Rejection)]
        if len(reports) != len(outcomes):
            raise RuntimeError("the load holds what is rejected")
        sink.write(Batch(reports, (), {}))
        decoding, writing = decoding + decoded - began, writing + time.perf_counter() - decoded
    return decoding / len(given) * 1e6, writing / len(given) * 1e6


def measure(url: str, count: int, repetitions: int) -> dict[str, dict[str, float]]:
    """By what was written, the median cost of one record."""
    with Session(url) as store:
        migrate(store)
    settings = PipelineSettings(_env_file=None, database_url=SecretStr(url))  # type: ignore[call-arg] # pydantic's keyword
    decoder = Decoder(Catalogue.load())
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(repetitions):
        sink = open_sink(settings, EventWriter(), "cerebros-benchmark")
        for name, values in (("report", load.messages), ("progress", metrics)):
            given = list(load.records(value for _, value in values(count, f"/{number}")))
            for what in (f"{name}, new", f"{name}, replayed"):
                found.setdefault(what, []).append(microseconds(sink, decoder, given))
        sink.close()
    return {
        what: {"decode_us": round(statistics.median(one[0] for one in costs), 2),
               "write_us": round(statistics.median(one[1] for one in costs), 2)}
        for what, costs in found.items()
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.progress", description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000, help="records of each kind a repetition")
    parser.add_argument("--reps", type=int, default=3, help="repetitions")
    arguments = parser.parse_args()
    console = Console()
    with open_stack(console) as stack:
        costs = measure(stack.database_url, arguments.n, arguments.reps)
        document: dict[str, Any] = {**circumstances("benchmarks.progress", stack), "n": arguments.n, "costs": costs}
    table = Table("", "decode us", "write us", "beside a report", title="one record")
    for what, cost in costs.items():
        base = costs[f"report,{what.partition(',')[2]}"]
        ratio = sum(cost.values()) / sum(base.values())
        table.add_row(what, f"{cost['decode_us']:.1f}", f"{cost['write_us']:.1f}", f"{ratio:.2f} x")
    console.print(table)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "progress.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print("written: benchmarks/results/progress.json")


if __name__ == "__main__":
    main()
