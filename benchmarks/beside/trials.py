"""The trials that all three show: lines of `benchmarks.dashboard`, read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from benchmarks.dashboard import DAYS, START, line

#: of what the lines hold: `lr` and `dropout` are numbers, `spectral_norm` is a column there and a parameter elsewhere
CHOICES: dict[str, list[bool | int | str]] = {
    "batch_size": [32, 64, 128, 256],
    "optimizer": ["adam", "sgd", "lion"],
    "activation": ["gelu"],
    "spectral_norm": [False, True],
}
#: what is written while the pages are open comes from another sequence
SEED, LIVE_SEED = 7, 8


class Trial(NamedTuple):
    """`metrics` may hold NaN; `text` is the line, as COPY takes it, of a run whose id is the one given."""

    number: int
    trial_id: str
    status: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, object]
    began: datetime
    duration_ms: int
    text: str

    @property
    def ended(self) -> datetime:
        return self.began + timedelta(milliseconds=self.duration_ms)


def trials(size: int, run: str = "") -> Iterator[Trial]:
    """So many, in the order of time; the same each time. `run` is the id of our run."""
    draw = random.Random(SEED)
    return (read(line(run, number, number / size, draw), number) for number in range(size))


def newest(number: int, run: str = "") -> Trial:
    """One that begins now."""
    age = (datetime.now(UTC) - START) / timedelta(days=DAYS)
    return read(line(run, number, age, random.Random(LIVE_SEED + number)), number)


def read(text: str, number: int) -> Trial:
    _, trial_id, status, metrics, parameters, norm, duration, *_, began, _ = text.rstrip("\n").split("\t")
    return Trial(
        number,
        trial_id,
        status,
        {name: float(value) for name, value in json.loads(metrics).items()},
        {**json.loads(parameters), "spectral_norm": norm == "t"},
        datetime.fromisoformat(began),
        int(duration),
        text,
    )
