"""What a batch of ingest costs with the dashboard's indexes and counts, and without, batch by batch.

Whole runs differ by a tenth and more from one to the next, whatever they do. Here the same batch is written into all
databases, the one after the other, and so each of some hundred turns sees the same machine. Counted is the time on a
processor of the server's process of the session, as the kernel has it in nanoseconds, and of the writing thread; not
what checkpoints and writers of the log do later, which WAL stands for.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import SecretStr

from benchmarks import load
from benchmarks.contestants import ask
from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, Report, TrialReport
from processor.core.settings import PipelineSettings
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.service.wiring import open_sink


class Kind(NamedTuple):
    """`batches` of so many reports are written into each database, of so many runs at once."""

    reports: int
    runs: int
    batches: int


KINDS = (
    Kind(4000, 50, 25),
    Kind(4000, 8, 25),
    Kind(500, 50, 120),
    Kind(500, 8, 120),
    Kind(50, 8, 400),
    Kind(1, 8, 2000),
)
#: batches of each kind that are written first, and counted nowhere: plans are made, tables are no longer empty
BEFORE = 5
PARTS = 5


class Cost(NamedTuple):
    """Microseconds of a report: of Postgres, and of the thread that writes."""

    postgres: float
    writer: float

    @property
    def both(self) -> float:
        return self.postgres + self.writer


class Writer:
    """A sink of ingest's on a database, and the processor time of its session there."""

    def __init__(self, url: str, name: str) -> None:
        settings = PipelineSettings(_env_file=None, database_url=SecretStr(url))  # type: ignore[call-arg] # pydantic's keyword
        self._url, self._name = url, name
        self.sink = open_sink(settings, EventWriter(), name)
        self.postgres_ns = self.writer_ns = self.reports = 0
        self._schedstat: Path | None = None

    def reset(self) -> None:
        self.postgres_ns = self.writer_ns = self.reports = 0

    def write(self, reports: Sequence[Report]) -> None:
        before, began = self._server_ns(), time.thread_time_ns()
        self.sink.write(Batch(reports, (), {}))
        self.writer_ns += time.thread_time_ns() - began
        self.postgres_ns += self._server_ns() - before
        self.reports += len(reports)

    def cost(self) -> Cost:
        return Cost(self.postgres_ns / self.reports / 1000, self.writer_ns / self.reports / 1000)

    def _server_ns(self) -> int:
        if self._schedstat is None:
            self.sink.answers()  # a session opens when it is first needed
            found = ask(self._url, "select pid from pg_stat_activity where application_name = $1", self._name)
            self._schedstat = Path(f"/proc/{found[0][0]}/schedstat")
        return int(self._schedstat.read_text().split()[0])


def reports_of(kind: Kind) -> Iterator[TrialReport]:
    """Decoded, in the order of a topic; those of another kind are of other runs."""
    decode = Decoder(Catalogue.load())
    count = kind.reports * (BEFORE + kind.batches)
    messages = load.messages(count, f" of {kind.reports}, {kind.runs}", kind.runs)
    for record in load.records(value for _, value in messages):
        for one in decode(record):
            if not isinstance(one, TrialReport):
                raise RuntimeError("the load holds what is rejected")
            yield one


def in_turns(urls: Mapping[str, str], base: str) -> list[dict[str, Any]]:
    """By the kind of batches: what a report costs in each of the databases, and its ratio to that of `base`."""
    sides = {name: Writer(url, f"bench-{number}") for number, (name, url) in enumerate(urls.items())}
    try:
        return [{**kind._asdict(), "sides": _of_kind(sides, base, kind)} for kind in KINDS]
    finally:
        for one in sides.values():
            one.sink.close()


def _of_kind(sides: Mapping[str, Writer], base: str, kind: Kind) -> dict[str, Any]:
    """The batches are cut into parts, whose ratios tell how firm the ratio of all is."""
    reports = reports_of(kind)
    _write(sides, reports, kind.reports, BEFORE)
    parts = [_write(sides, reports, kind.reports, kind.batches // PARTS) for _ in range(PARTS)]
    means = {name: Cost(*map(statistics.fmean, zip(*(part[name] for part in parts), strict=True))) for name in sides}
    return {
        name: {
            **{what: round(us, 2) for what, us in mean._asdict().items()},
            "ratio": round(mean.both / means[base].both, 3),
            "of_parts": sorted(round(part[name].both / part[base].both, 3) for part in parts),
        }
        for name, mean in means.items()
    }


def _write(sides: Mapping[str, Writer], reports: Iterator[TrialReport], size: int, count: int) -> dict[str, Cost]:
    """Which side comes first changes with each batch."""
    order = list(sides.values())
    for one in order:
        one.reset()
    for _ in range(count):
        batch = list(islice(reports, size))
        for one in order:
            one.write(batch)
        order.append(order.pop(0))
    return {name: one.cost() for name, one in sides.items()}
