"""The conditions that a filter joins by `and`: what a brush replaces, and what a page offers to leave out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from processor.dashboard.filters.text import write, write_path
from processor.dashboard.filters.tree import Among, And, Compare, Contains, Is, Node, Not, Or, Path, Scalar, Search


class Term(msgspec.Struct, frozen=True):
    """One of them: `text` stands in brackets where `and` needs that.

    `path`, as it is written, and `sign` (`=`, `<`, ..., `in`) where it is about the value of one; `value` is that of a
    bound, a time in seconds since 1970.
    """

    text: str
    path: str = ""
    sign: str = ""
    value: float | None = None


def terms_of(node: Node) -> list[Term]:
    """In their order; none of the filter that holds every trial."""
    return [_term(one) for one in joined(node)]


def joined(node: Node) -> Iterator[Node]:
    """The conditions themselves; a group in brackets that is joined by `and` too gives its own."""
    if isinstance(node, And):
        for term in node.terms:
            yield from joined(term)
    else:
        yield node


def _term(node: Node) -> Term:
    text = write(And((node,)))
    match node:
        case Compare(path, sign, value):
            return Term(text, write_path(path), sign, _bound(value))
        case Among(path, _):
            return Term(text, write_path(path), "in")
        case _:
            return Term(text)


def _bound(value: Scalar) -> float | None:
    """As a double: what lies beyond all of them is the last one."""
    if isinstance(value, datetime):
        return value.timestamp()
    if not isinstance(value, Decimal):
        return None
    return max(-sys.float_info.max, min(float(value), sys.float_info.max))


def paths_in(node: Node) -> Iterator[Path]:
    """Of which values it asks anything, in their order."""
    match node:
        case And(terms) | Or(terms):
            for term in terms:
                yield from paths_in(term)
        case Not(term):
            yield from paths_in(term)
        case Compare(path) | Among(path) | Contains(path) | Is(path):
            yield path
        case Search():
            return
