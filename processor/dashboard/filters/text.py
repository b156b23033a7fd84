"""Tree -> text, in one spelling: what a link, a chip on a page and a cache's key say."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import assert_never

from processor.dashboard.filters.fields import COLUMNS
from processor.dashboard.filters.tree import Among, And, Compare, Contains, Is, Node, Not, Or, Path, Scalar, Search


def write(node: Node) -> str:
    """A filter that `parse` reads as this tree, but that groups may lose brackets that change nothing."""
    match node:
        case And(terms):
            return " and ".join(_inside(term, Or) for term in terms)
        case Or(terms):
            return " or ".join(write(term) for term in terms)
        case Not(term):
            return f"not {_inside(term, And, Or)}"
        case Compare(path, operator, value):
            return f"{write_path(path)} {operator} {write_scalar(value)}"
        case Among(path, values):
            return f"{write_path(path)} in ({', '.join(map(write_scalar, values))})"
        case Contains(path, text):
            return f"{write_path(path)} contains {_quoted(text)}"
        case Is(path, what):
            return f"{write_path(path)} is {what}"
        case Search(text):
            return _quoted(text)
        case _:
            assert_never(node)


def _inside(node: Node, *bracketed: type) -> str:
    return f"({write(node)})" if isinstance(node, bracketed) else write(node)


def called(path: Path) -> str:
    """A path as a picture or a sentence calls it: without its place and quotes, so that it need not be one again."""
    return ".".join(path.keys) or path.place


def write_path(path: Path) -> str:
    """As a condition begins with it; names in the maps are quoted, whatever they hold."""
    if path.place in COLUMNS:
        return path.place
    keys = ".".join(map(_quoted, path.keys))
    return keys if path.place == "either" else f"{path.place}.{keys}"


def write_scalar(value: Scalar) -> str:
    """As it stands behind an operator."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else _quoted(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
