"""How every command speaks: a document as JSON, or as tables; notes and progress on stderr; one sentence when it fails.

What records and rows hold is somebody else's text. Each cell of a table and each sentence is printed as text: no markup
and no escape sequence of it works on a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from processor.core.errors import UsageError
from processor.core.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    Piece = str | Table | Text

#: how often progress is told where there is no terminal to draw a bar on
LINE_SECONDS = 5.0

Format = Annotated[str, typer.Option("-f", "--format", help="table or json", metavar="table|json")]


def check_format(format_: str) -> None:
    """Raises `UsageError`; to be asked before anything else is done."""
    if format_ not in ("table", "json"):
        raise UsageError(f"--format is table or json, not {format_}")


def show(format_: str, document: Any, pieces: Callable[[], Sequence[Piece]]) -> None:
    """Prints the document as JSON, or the sentences and tables that `pieces` makes of it."""
    check_format(format_)
    if format_ == "json":
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2).decode())
        return
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    for piece in pieces():
        console.print(sentence(piece) if isinstance(piece, str) else piece, soft_wrap=isinstance(piece, str))


def make_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]] = (), *, title: str | None = None, right: Sequence[str] = ()
) -> Table:
    """A table; `right` names the columns whose cells stand at their right edge. Further rows: `add_row`."""
    from rich.table import Table

    table = Table(title=None if title is None else cell(title), title_justify="left")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left")
    for row in rows:
        add_row(table, *row)
    return table


def add_row(table: Table, *values: Any, style: str | None = None) -> None:
    table.add_row(*map(cell, values), style=style)


def cell(value: Any) -> Text:
    """A value as it stands in a table: "-" for null, times to the second, integers in groups of three digits."""
    from rich.text import Text

    if isinstance(value, Text):
        return value
    if value is None:
        return Text("-")
    if isinstance(value, datetime):
        return Text(f"{value:%Y-%m-%d %H:%M:%S}")
    return Text(f"{value:,}" if type(value) is int else printable(str(value)))


def sentence(text: str) -> str:
    """The text with everything invisible as an escape, but in lines as it is."""
    return "\n".join(map(printable, text.split("\n")))


def fail(said: str, code: int) -> NoReturn:
    """One sentence on stderr, and the exit code."""
    print(f"processor: {sentence(said)}", file=sys.stderr)
    sys.exit(code)


def tell_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(sentence(note), file=sys.stderr, flush=True)


@contextmanager
def meter(what: str, total: int, unit: str = "records") -> Iterator[Callable[[int], None]]:
    """A function that is told how many are done: a progress bar on a terminal, else a line now and then."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        lines = Lines(what, total, unit)
        yield lines.tell
        lines.say()
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    count = TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit)
    rate = TextColumn("{task.fields[rate]}")
    with Progress(TextColumn(what), BarColumn(), count, rate, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(what, total=total, rate="")

        def tell(done: int) -> None:
            speed = progress.tasks[0].speed
            progress.update(task, completed=done, rate=f"{speed:,.0f}/s" if speed else "")

        yield tell


class Lines:
    """Progress as plain lines on stderr, one every `LINE_SECONDS` and one at the end."""

    def __init__(self, what: str, total: int, unit: str = "records") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._first: tuple[float, int] | None = None
        self._said = time.monotonic()

    def tell(self, done: int) -> None:
        self._done = done
        self._first = self._first or (time.monotonic(), done)
        if time.monotonic() - self._said >= LINE_SECONDS:
            self.say()

    def say(self) -> None:
        self._said = time.monotonic()
        began, before = self._first or (self._said, self._done)
        seconds = self._said - began
        rate = f" ({(self._done - before) / seconds:,.0f}/s)" if seconds > 0.1 else ""
        line = f"{self._what}: {self._done:,} of {self._total:,} {self._unit}{rate}"
        print(line, file=sys.stderr, flush=True)
