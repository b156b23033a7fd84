"""What charts are drawn over, and how: what is asked for, else the parameters that vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from processor.core.errors import UsageError
from processor.dashboard.charts.axes import Power
from processor.dashboard.charts.best import WORDS, By
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.text import called, write_path
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages.compare import COLUMNS, Choice, choices
from processor.dashboard.pages.listing import label_of
from processor.dashboard.pages.views import Pairs
from processor.dashboard.queries.trials import Key

#: axes of the parallel coordinates beside the metric: those that are chosen by themselves, and that can be
MOST_AXES, MOST_CHOSEN = 7, 12
SCALES: tuple[Power, ...] = ("linear", "log")
NUMBERS = ("parameters", "metrics", "either", *COLUMNS)
AXES = (*NUMBERS, "status", "spectral_norm")


class Own(NamedTuple):
    """What is asked of charts alone; a scale is None where the values decide."""

    by: By = "trial"
    x: str = ""
    x_scale: Power | None = None
    metric_scale: Power | None = None

    def given(self) -> dict[str, str]:
        """The parameters of a query that asks it."""
        return {name: value for name, value in self._asdict().items() if value and value != Own._field_defaults[name]}


def read_own(pairs: Pairs) -> tuple[Own, list[tuple[str, str]]]:
    """It, and the pairs that are of others. Raises `UsageError`."""
    given: dict[str, Any] = {}
    for name, value in pairs:
        if name in Own._fields and value.strip():
            if name in given:
                raise UsageError(f"the parameter {name} is there twice")
            given[name] = value.strip()
    if given.get("by", "trial") not in WORDS:
        raise UsageError(f"by is one of {', '.join(WORDS)}")
    for name in ("x_scale", "metric_scale"):
        if given.get(name, "log") not in SCALES:
            raise UsageError(f"{name} is {' or '.join(SCALES)}")
    return Own(**given), [pair for pair in pairs if pair[0] not in Own._fields]


class Axes(NamedTuple):
    """`paths` are what is read of each trial of the sample; the others are places among them.

    `x` is what the metric is drawn over (None: nothing that varies is a number), `parallel` are the axes of the
    parallel coordinates; `left` other parameters vary and have none.
    """

    paths: tuple[Path, ...]
    x: int | None
    parallel: tuple[int, ...]
    left: int

    @property
    def over(self) -> Path | None:
        return None if self.x is None else self.paths[self.x]

    @property
    def shown(self) -> list[Path]:
        return [self.paths[at] for at in self.parallel]


def choose_axes(keys: Sequence[Key], x: str, columns: Sequence[Path] | None) -> Axes:
    """`x` and `columns` are what is asked for. Without `columns` the parameters that most trials have, numbers before
    texts, and `x` before all. Raises `UsageError` for what can be no axis.
    """
    varying = _varying(keys)
    known = [key.path for key in varying]
    asked = _known(read_path(x), known) if x else None
    if asked and asked.place not in NUMBERS:
        raise UsageError("x is a parameter, a metric or a column that is a number")
    if columns is not None:
        axes = list(dict.fromkeys(_known(path, known) for path in columns))
        if len(axes) > MOST_CHOSEN or any(path.place not in AXES for path in axes):
            raise UsageError(f"columns of charts are at most {MOST_CHOSEN} parameters, metrics or columns of numbers")
    else:
        axes = list(dict.fromkeys([*([asked] if asked else []), *known]))[:MOST_AXES]
    if asked is None:
        numeric = [key.path for key in varying if key.numbers]
        asked = next((path for path in axes if path in numeric), next(iter(numeric), None))
    paths = list(dict.fromkeys([*axes, *([asked] if asked else [])]))
    left = sum(path not in axes for path in known)
    return Axes(tuple(paths), None if asked is None else paths.index(asked), tuple(range(len(axes))), left)


def overs(keys: Sequence[Key], chosen: Path | None) -> list[Choice]:
    """What the metric can be drawn over: parameters that vary and are numbers, then metrics and columns that are."""
    offered = [(write_path(key.path), key.name) for key in _varying(keys) if key.numbers]
    metrics = [key for key in keys if key.place == "metrics" and key.numbers]
    offered += [(write_path(key.path), f"{key.name} (a metric)") for key in metrics]
    offered += [(name, label_of(read_path(name))) for name in COLUMNS]
    return choices(offered, write_path(chosen) if chosen else "")


def axes_offered(keys: Sequence[Key], axes: Axes) -> list[Choice]:
    """The parameters that vary, and whatever else is an axis, for the boxes of a form."""
    shown = axes.shown
    offered = list(dict.fromkeys([*(key.path for key in _varying(keys)), *shown]))
    return [Choice(write_path(path), called(path), path in shown) for path in offered]


def _varying(keys: Sequence[Key]) -> list[Key]:
    """Numbers before texts; of either the most frequent first."""
    found = [key for key in keys if key.place == "parameters" and key.varies and not key.nested]
    return sorted(found, key=lambda key: key.numbers == 0)


def _known(path: Path, known: Sequence[Path]) -> Path:
    """The parameter that is meant by a name without its place, where one varies that is called so."""
    return next((one for one in known if path.place == "either" and one.keys == path.keys), path)
