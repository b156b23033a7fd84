"""How every command speaks: a document as JSON, or as tables; notes and progress on stderr; one sentence when it fails.

Somebody else's text is printed as text: tables and sentences by `core.tables`, JSON with what is invisible escaped.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from processor.core.errors import UsageError
from processor.core.tables import sentence
from processor.core.text import printable_json

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    Piece = str | Table | Text

#: how often progress is told where there is no terminal to draw a bar on
LINE_SECONDS = 5.0
#: columns of a pipe or a file, whose readers fold nothing; COLUMNS says otherwise
PIPE_COLUMNS = 160
#: on a narrower terminal words that are kept whole would leave no room for the rest
WHOLE_COLUMNS = 80

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

        encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode
        text = msgspec.json.format(encode(document), indent=2).decode()
        print("\n".join(map(printable_json, text.split("\n"))))
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_COLUMNS
    for piece in pieces():
        if isinstance(piece, Table) and console.width < WHOLE_COLUMNS:
            for column in piece.columns:
                column.no_wrap = False
        console.print(sentence(piece) if isinstance(piece, str) else piece, soft_wrap=isinstance(piece, str))


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
