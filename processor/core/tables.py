"""Tables and sentences on a terminal; the one place where somebody else's text is made harmless for it.

What records and rows hold is printed as text: no markup and no escape sequence of it works.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from processor.core.text import printable

if TYPE_CHECKING:  # a quarter of a second, for commands that print none
    from rich.table import Table
    from rich.text import Text


def make_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]] = (),
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table, of which nothing is cut off however narrow it is: words too long for their column go on below.

    `right` names the columns whose cells stand at their right edge, `whole` those of words that people copy: the others
    get narrower first. Further rows: `add_row`.
    """
    from rich.table import Table

    table = Table(title=None if title is None else cell(title), title_justify="left")
    for name in columns:
        justify: Literal["left", "right"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in whole)
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
