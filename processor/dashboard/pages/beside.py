"""`/side-by-side`: a few trials beside each other, and in what they differ."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from processor.core.errors import UsageError
from processor.core.text import natural_order, printable
from processor.dashboard.charts.scatter import as_number
from processor.dashboard.filters.text import called
from processor.dashboard.filters.tree import MAX_LENGTH, Path
from processor.dashboard.pages.curves import curves_picture, values_words
from processor.dashboard.pages.listing import MOST_BESIDE, WORDS, was_defaulted
from processor.dashboard.pages.mirroring import mlflow_of_row
from processor.dashboard.pages.paths import read_name, write_name
from processor.dashboard.pages.rendering import duration, signed
from processor.dashboard.pages.views import Question, Site, Table, View, no_trial
from processor.dashboard.queries.named import Named, named_trials
from processor.dashboard.queries.progress import Curve
from processor.dashboard.statistics.directions import guess_direction

#: rows of either table that are shown; the CSV has them all
SHOWN = 500
#: metrics whose curves are drawn, and steps of each that are told apart: eight curves a picture are many points
DRAWN, COLUMNS = 24, 200
#: names that an object is opened to, as in a list of trials
DEEP = 3
_TRIAL = ("status", "spectral_norm", "error_type", "error_message", "duration_ms", "rank", "warnings")
_ORIGIN = ("run_id", "candidate_id", "pulse_id", "mlflow_run_id", "artifact_uri", "schema_version", "revision",
           "inserted_at", "updated_at")  # fmt: skip
#: (part, its words), in the order in which they are shown
PARTS = {"trial": "The trial", "metrics": "Metrics", "parameters": "Parameters", "origin": "Where it came from"}


class Row(NamedTuple):
    """What the trials have of one name, None where one has none; `best` are the places of a metric's best values, where
    its name says which those are.
    """

    part: str
    name: str
    values: tuple[Any, ...]
    differs: bool
    best: frozenset[int] = frozenset()

    @property
    def is_duration(self) -> bool:
        return self.part == "trial" and self.name == "duration_ms"

    def above(self, place: int) -> str:
        """By how much a metric or the duration is above that of the first trial; empty where that is nothing to say."""
        first, here = as_number(self.values[0]), as_number(self.values[place])
        if first is None or here is None or first == here or not (self.part == "metrics" or self.is_duration):
            return ""
        by = here - first
        if not math.isfinite(by):
            return ""
        return f"{'+' if by > 0 else '−'}{duration(abs(by))}" if self.is_duration else signed(by)


async def show_beside(site: Site, question: Question) -> View:
    """The page; without trials it says how to choose some. Raises `NotFound` for one that is not there."""
    names = read_names(question)
    trials = await named_trials(site.pool, names, COLUMNS)
    for one in trials:
        if one.row is None and one.progress is None:
            raise no_trial(one.run_id, one.trial_id)
    rows = await asyncio.to_thread(lambda: list(rows_of(trials)))  # there may be some hundred thousand
    curves = curves_of(trials)
    written = [write_name(*name) for name in names]
    differing, same = [row for row in rows if row.differs], [row for row in rows if not row.differs]
    context = {
        "trials": trials,
        "names": written,
        "most": MOST_BESIDE,
        "shown": SHOWN,
        "parts": PARTS,
        "differing": differing,
        "same": same,
        "defaulted": lambda one: one.row is not None and was_defaulted(one.row),
        "mlflow_of": lambda one: mlflow_of_row(site.mlflow_url, one.row) if one.row else None,
        "label_of": label_of,
        "query": query_of(written),
        "without": lambda place: query_of(written[:place] + written[place + 1 :]),
        "curves": curves,
        "curves_left": max((one.curves.left for one in trials), default=0),
        "drawn": DRAWN,
        "curves_picture": curves_picture,
        "values_words": values_words,
    }
    document = {
        "trials": [one.row for one in trials],
        "progress": [one.progress for one in trials],
        "curves": [one.curves.shown for one in trials],
        "curves_left": [one.curves.left for one in trials],
        "differing": [{"part": row.part, "name": row.name, "values": row.values} for row in differing],
    }
    return View(context, document, lambda: _table(written, rows))


def query_of(names: Sequence[str]) -> str:
    """With its question mark; names as `paths.write_name` writes them."""
    return "?" + "&".join(f"trial={quote(name, safe='/~')}" for name in names) if names else ""


def read_names(question: Question) -> list[tuple[str, str]]:
    """The trials that are asked for, each once. Raises `UsageError`."""
    found: dict[tuple[str, str], None] = {}
    for parameter, value in question.pairs:
        if parameter != "trial":
            raise UsageError(f"there is no parameter {parameter[:60]}: there is trial")
        if len(value) > MAX_LENGTH:
            raise UsageError(f"trial has at most {MAX_LENGTH} characters, this one {len(value)}")
        if not value:
            continue
        name = read_name(value)  # an id may begin or end with blanks
        if name is None:
            raise UsageError(f"a trial is named RUN/TRIAL, a slash in an id is ~2F: {printable(value)[:200]} is none")
        found[name] = None
    if len(found) > MOST_BESIDE:
        raise UsageError(f"at most {MOST_BESIDE} trials are shown side by side, these are {len(found)}")
    return list(found)


def rows_of(trials: Sequence[Named]) -> Iterator[Row]:
    """By part and name; of objects what stands in them."""
    held = [_held(one) for one in trials]
    succeeded = [one["trial"]["status"] == "succeeded" for one in held]
    for part in PARTS:
        names = {name: None for one in held for name in one[part]}
        for name in names if part in ("trial", "origin") else sorted(names, key=natural_order):
            values = tuple(one[part].get(name) for one in held)
            if any(value is not None for value in values):
                differs = any(not _same(value, values[0]) for value in values)
                best = _best(name, values, succeeded) if differs and part == "metrics" else frozenset()
                yield Row(part, name, values, differs, best)


def _held(trial: Named) -> dict[str, dict[str, Any]]:
    """Its values by part and name; of one that has not ended what it said at its start."""
    row = trial.row or {**(trial.progress or {}), "status": "running"}
    return {
        "trial": {name: row.get(name) for name in _TRIAL},
        "metrics": dict(_opened(row.get("metrics") or {})),
        "parameters": dict(_opened(row.get("parameters") or {})),
        "origin": {**{name: row.get(name) for name in _ORIGIN}, "run_id": trial.run_id},
    }


def _opened(held: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for key, value in held.items():
        keys = (*above, key)
        if isinstance(value, dict) and value and len(keys) < DEEP:
            yield from _opened(value, keys)
        else:
            yield called(Path("either", keys)), value


def _same(one: Any, other: Any) -> bool:
    """1 and 1.0 are, 1 and true are not."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _best(name: str, values: Sequence[Any], succeeded: Sequence[bool]) -> frozenset[int]:
    """Of two trials or more that succeeded with a finite value, as the best so far is everywhere."""
    better = guess_direction(name).better
    numbers = [as_number(value) if fine else None for value, fine in zip(values, succeeded, strict=True)]
    finite = [one for one in numbers if one is not None]
    if better == "unknown" or len(finite) < 2:
        return frozenset()
    best = max(finite) if better == "higher" else min(finite)
    return frozenset(place for place, one in enumerate(numbers) if one == best)


def curves_of(trials: Sequence[Named]) -> list[tuple[str, list[tuple[int, Curve]]]]:
    """By metric, in the order of names, the curves of the trials that have one, with their numbers from 1 on."""
    found: dict[str, list[tuple[int, Curve]]] = {}
    for number, trial in enumerate(trials, 1):
        for curve in trial.curves.shown:
            found.setdefault(curve.metric, []).append((number, curve))
    return sorted(found.items(), key=lambda one: natural_order(one[0]))


def label_of(row: Row) -> str:
    return WORDS.get(row.name, row.name) if row.part in ("trial", "origin") else row.name


def _table(names: Sequence[str], rows: Sequence[Row]) -> Table:
    return Table(("part", "name", "differs", *names), [(row.part, row.name, row.differs, *row.values) for row in rows])
