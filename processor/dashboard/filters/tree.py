"""What a filter says, as a tree of frozen values."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal, TypeAlias

import msgspec

from processor.core.errors import UsageError

#: a filter is typed by a person, or kept in a link: 2,000 characters are a URL that every server takes
MAX_LENGTH = 2000
MAX_TERMS = 50
MAX_DEPTH = 20
MAX_LISTED = 100
#: keys one after the other in a path
MAX_STEPS = 16

State = Literal["missing", "finite", "nan", "empty"]
Operator = Literal["=", "!=", "<", "<=", ">", ">="]
#: a number keeps the digits that were typed
Scalar: TypeAlias = str | Decimal | bool | datetime


class FilterError(UsageError):
    """The text is no filter: what is wrong, at which character (from 0), and what to do about it."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


class Path(msgspec.Struct, frozen=True):
    """Where a value is: a column of the trial, or `keys` into `metrics`, `parameters` or first one, then the other.

    `place` is the column's name, or metrics, parameters, either.
    """

    place: str
    keys: tuple[str, ...] = ()


class Compare(msgspec.Struct, frozen=True):
    """A value that is there, of the literal's type, and stands so to it; `!=`: that is there, and is not equal to it.

    NaN is less than nothing, greater than nothing and equal to nothing.
    """

    path: Path
    operator: Operator
    value: Scalar


class Among(msgspec.Struct, frozen=True):
    """A value that equals one of these."""

    path: Path
    values: tuple[Scalar, ...]


class Contains(msgspec.Struct, frozen=True):
    """A text, or one in a list of texts, that has this in it; ASCII letters in either case."""

    path: Path
    text: str


class Is(msgspec.Struct, frozen=True):
    """missing: not there, or null. finite: a finite number. nan: NaN or infinite. empty: of no length."""

    path: Path
    what: State


class Search(msgspec.Struct, frozen=True):
    """A text that one of the trial's own texts has in it."""

    text: str


class Not(msgspec.Struct, frozen=True):
    term: Node


class And(msgspec.Struct, frozen=True):
    terms: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    terms: tuple[Node, ...]


Node: TypeAlias = Compare | Among | Contains | Is | Search | Not | And | Or
#: the filter that holds every trial
EVERYTHING = And(())
