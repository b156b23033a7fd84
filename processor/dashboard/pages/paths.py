"""URLs of pages: which page a path names, in which form, and ids as parts of a path.

An id may hold anything but NUL: slashes, dots, markup. What a server or proxy on the way might take for something else
is written as `~` and two hexadecimal digits (a slash, a percent sign, dots that would be a step or an ending, what is
invisible); the rest is percent-encoded as usual. Read are both.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import quote, unquote

Form = Literal["html", "json", "csv", "jsonl"]
FORMS: dict[str, Form] = {".json": "json", ".csv": "csv", ".jsonl": "jsonl"}
#: pages without an id in their path
SINGLE = ("runs", "trials", "side-by-side", "compare", "charts", "adoption", "health")
#: what is no page
OTHERS = ("go", "changes", "openapi.json", "live", "ready", "metrics")
_ESCAPED = re.compile(r"~([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(r"[/\\%~\x00-\x1f\x7f]")
_ENDING = re.compile(r"\.(?=(?:json|csv|jsonl)$)", re.IGNORECASE)


class Place(NamedTuple):
    """What a path leads to: the page or file by its name, the ids in the path, the form that is asked for."""

    name: str
    ids: tuple[str, ...] = ()
    form: Form = "html"


def write_id(identity: str) -> str:
    """An id as a part of a path."""
    escaped = _escaped(identity)
    if not escaped.strip("."):
        escaped = escaped.replace(".", "~2E")
    return quote(_ENDING.sub("~2E", escaped), safe="~")


def _escaped(identity: str) -> str:
    return _UNSAFE.sub(lambda one: f"~{ord(one[0]):02X}", identity)


def read_id(text: str) -> str:
    """The id that a part of a path stands for; what is no UTF-8 is in no id, and finds none."""
    return _ESCAPED.sub(lambda one: chr(int(one[1], 16)), unquote(text, errors="replace"))


def run_path(run_id: str) -> str:
    return f"/runs/{write_id(run_id)}"


def trial_path(run_id: str, trial_id: str) -> str:
    return f"{run_path(run_id)}/trials/{write_id(trial_id)}"


def write_name(run_id: str, trial_id: str) -> str:
    """`RUN/TRIAL`, as a trial is named in a query: as in a path, but that a query is percent-encoded as a whole."""
    return f"{_escaped(run_id)}/{_escaped(trial_id)}"


def read_name(text: str) -> tuple[str, str] | None:
    """The ids of the run and the trial; None where the text names none."""
    parts = tuple(_ESCAPED.sub(lambda one: chr(int(one[1], 16)), part) for part in text.split("/"))
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else None


def read_path(raw: str) -> Place | None:
    """What an undecoded path names; None where nothing."""
    parts = raw.removeprefix("/").split("/")
    if parts == [""]:
        return Place("runs")
    if len(parts) == 2 and parts[0] == "static":
        return Place("static", (parts[1],))
    if len(parts) == 1 and parts[0] in OTHERS:
        return Place(parts[0])
    last, form = _form(parts.pop())
    if not parts:
        return Place(last, (), form) if last in SINGLE else None
    if parts == ["runs"] and last:
        return Place("run", (read_id(last),), form)
    if len(parts) == 3 and parts[::2] == ["runs", "trials"] and parts[1] and last:
        return Place("trial", (read_id(parts[1]), read_id(last)), form)
    return None


def _form(part: str) -> tuple[str, Form]:
    for ending, form in FORMS.items():
        if part.endswith(ending):
            return part.removesuffix(ending), form
    return part, "html"


def label_of(path: str) -> str:
    """What a path is counted as, in a metric: never a word of the caller's."""
    place = read_path(path)
    return place.name if place else "other"
