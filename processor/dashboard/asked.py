"""What a URL asks of a view, and the URL that asks it: nothing else decides what is shown, so a link shows the same.

q        a filter (docs/reference/filters.md)        sort     a column, metric or parameter; - before it: downwards
columns  names, separated by commas                  after    the place where the page before ended
metric, parameter, reference, better, validity       of a comparison; `defaulted=out` leaves out who did not say
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from processor.core.errors import UsageError
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.text import write, write_path
from processor.dashboard.filters.tree import EVERYTHING, MAX_LENGTH, FilterError, Node, Path
from processor.dashboard.queries.sorting import NEWEST, Cursor, Sort, read_cursor, read_sort, write_cursor, write_sort
from processor.dashboard.statistics.results import Better, Validity

#: beside those that are always there
MOST_COLUMNS = 50
#: columns that every page of trials has: who asks for one of these alone asks for no others
ALWAYS = ("trial_id", "status", "spectral_norm")
#: rows of a page: 500 are what a browser draws at once
ROWS, MOST_ROWS = 50, 500
#: no name of a metric is longer, and no arm's is told apart by more
LONGEST = 250
_DIGITS = re.compile(r"[0-9]{1,6}")


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parameters of a view, read; `columns` None: those that vary."""

    filter: Node = EVERYTHING
    sort: Sort = NEWEST
    after: Cursor | None = None
    columns: tuple[Path, ...] | None = None
    limit: int = ROWS
    metric: str = ""
    parameter: str = "spectral_norm"
    reference: str | None = None
    better: Better | None = None
    validity: Validity = "fixed"
    defaulted: Literal["in", "out"] = "in"


NAMES = (
    "q",
    "sort",
    "after",
    "columns",
    "limit",
    "metric",
    "parameter",
    "reference",
    "better",
    "validity",
    "defaulted",
)


def read_asked(parameters: Iterable[tuple[str, str]]) -> Asked:
    """Raises `UsageError`, or `FilterError` for `q`: of a name that is unknown or there twice, or a value that is none.

    An empty value is as good as none: forms send those.
    """
    given: dict[str, str] = {}
    pairs = list(parameters)
    _count(value.strip() for name, value in pairs if name == "columns")  # a form's boxes: one by one
    for name, value in pairs:
        if name not in NAMES:
            raise UsageError(f"there is no parameter {name[:60]}: there are {', '.join(NAMES)}")
        if name in given and name != "columns":
            raise UsageError(f"the parameter {name} is there twice")
        if value.strip():
            given[name] = f"{given[name]},{value}" if name in given else value
        if len(given.get(name, "")) > MAX_LENGTH:
            fewer = ": choose fewer" if name == "columns" else ""
            raise UsageError(f"{name} has at most {MAX_LENGTH} characters, this one {len(given[name])}{fewer}")
    sort = _read("sort", given.get("sort", ""), read_sort)
    return Asked(
        filter=parse(given.get("q", "")),
        sort=sort,
        after=read_cursor(given["after"], sort) if "after" in given else None,
        columns=_columns(given["columns"]) if "columns" in given else None,
        limit=_limit(given.get("limit", str(ROWS))),
        metric=_path("metric", given.get("metric", "")),
        parameter=_path("parameter", given.get("parameter", "spectral_norm")),
        reference=_short("reference", given.get("reference")),
        better=_choice("better", given.get("better"), ("higher", "lower")),
        validity=_choice("validity", given.get("validity"), ("fixed", "always")) or "fixed",
        defaulted=_choice("defaulted", given.get("defaulted"), ("in", "out")) or "in",
    )


def _read(name: str, text: str, read: Any) -> Any:
    """A part of a filter's language elsewhere: the place in it is none of `q`."""
    try:
        return read(text)
    except FilterError as error:
        raise UsageError(f"{name}: {error}") from None


def _columns(text: str) -> tuple[Path, ...]:
    """Commas separate; one inside of a quoted name does not."""
    names = re.findall(r'(?:"(?:[^"\\]|\\.)*"|[^,])+', text)
    _count(name.strip() for name in names)
    return tuple(_read("columns", name, read_path) for name in names if name.strip())


def _count(names: Iterable[str]) -> None:
    """Raises `UsageError` where they are too many for a page."""
    count = sum(name != "" and name not in ALWAYS for name in names)
    if count > MOST_COLUMNS:
        raise UsageError(f"a page has at most {MOST_COLUMNS} columns, and these are {count}: choose fewer")


def _limit(text: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= MOST_ROWS:
        raise UsageError(f"limit is a number from 1 to {MOST_ROWS}")
    return int(text)


def _path(name: str, text: str) -> str:
    """The text itself, once it is known to be a path."""
    if text:
        _read(name, _short(name, text) or "", read_path)
    return text


def _short(name: str, text: str | None) -> str | None:
    if text is not None and (len(text) > LONGEST or "\0" in text):
        raise UsageError(f"{name} has at most {LONGEST} characters, and no NUL")
    return text


def _choice(name: str, text: str | None, choices: tuple[str, ...]) -> Any:
    if text is not None and text not in choices:
        raise UsageError(f"{name} is {' or '.join(choices)}")
    return text


def write_asked(asked: Asked) -> str:
    """The query string, without its question mark; empty where all is as by default."""
    columns = None if asked.columns is None else ",".join(write_path(path) for path in asked.columns)
    values = {
        "q": write(asked.filter),
        "sort": "" if asked.sort == NEWEST else write_sort(asked.sort),
        "after": write_cursor(asked.after) if asked.after else "",
        "columns": columns,
        "limit": "" if asked.limit == ROWS else str(asked.limit),
        "metric": asked.metric,
        "parameter": "" if asked.parameter == "spectral_norm" else asked.parameter,
        "reference": asked.reference,
        "better": asked.better,
        "validity": "" if asked.validity == "fixed" else asked.validity,
        "defaulted": "" if asked.defaulted == "in" else asked.defaulted,
    }
    return urlencode({name: value for name, value in values.items() if value}, quote_via=quote)
