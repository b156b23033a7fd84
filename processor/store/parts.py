"""What migrations have made and somebody may drop: what of it is gone, and making it again.

Indexes are built while others read and write, locks are waited for as migrations wait for them (`steps`), and a run
that was killed is resumed by the next. No row is changed or dropped: where rows have come meanwhile that a key or a
constraint does not allow, that one is refused, and its name and a row of them are told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

import asyncpg

from processor.core.errors import SetupError
from processor.core.text import printable
from processor.store.counts import recount
from processor.store.errors import ReportError
from processor.store.migrations import turn
from processor.store.queries import Step
from processor.store.session import Session
from processor.store.steps import PATIENCE_SECONDS, Tell, run_step

_PART = re.compile(r"^-- (key|primary|unique|index|constraint|trigger): (\w+) on (\w+)(?: \((.+)\))?\n", re.MULTILINE)
#: kinds whose index is built first, and the constraint that it then belongs to
_BACKED = {"primary": "primary key", "unique": "unique"}
_WORDS = {"key": "unique key", "primary": "index", "unique": "index"}
DIGESTS = "cerebros_model_trials_forget_digest"
REPLAYED = (
    f"rows that other programs changed while trigger {DIGESTS} was gone are taken for up to date by a replay: "
    "`processor verify` names them"
)


class Part(NamedTuple):
    """A key, index, constraint or trigger: of which `kind`, on which table, and what makes it.

    `columns` are those of a key, in order of their names: it counts by them, whatever it is called.
    """

    kind: str
    name: str
    held_by: str
    columns: str
    sql: str

    def __str__(self) -> str:
        return f"{_WORDS.get(self.kind, self.kind)} {self.columns or self.name} of {self.held_by}"

    def steps(self) -> Iterator[Step]:
        """Those that make it, each of which may be made again."""
        if self.kind == "key":
            yield Step("key", f"{self.name} on {self.held_by} ({self.columns})", self.sql)
        elif self.kind == "index" or self.kind in _BACKED:
            yield Step("index", self.name, self.sql)
        else:
            yield Step("step", str(self), self.sql)
        if self.kind in _BACKED:
            add = f"alter table {self.held_by} add constraint {self.name} {_BACKED[self.kind]} using index {self.name}"
            yield Step("step", f"constraint {self.name} of {self.held_by}", add)
        if self.kind == "constraint":
            look = f"alter table {self.held_by} validate constraint {self.name}"
            yield Step("step", f"a look at the rows of {self.held_by}", look)


@cache
def all_parts() -> tuple[Part, ...]:
    """Each before those that need it."""
    file = resources.files("processor.store") / "sql" / "parts" / "made.sql"
    found = _PART.split(file.read_text(encoding="utf-8"))[1:]
    parts = zip(found[::5], found[1::5], found[2::5], found[3::5], found[4::5], strict=True)
    return tuple(Part(kind, name, held_by, columns or "", sql) for kind, name, held_by, columns, sql in parts)


def missing_parts(store: Session) -> list[Part]:
    """Those that somebody has dropped or disabled since."""
    parts = all_parts()
    names = [part.columns or part.name for part in parts]
    kinds, tables = [part.kind for part in parts], [part.held_by for part in parts]
    return [parts[row["place"] - 1] for row in store.fetch("parts_missing", kinds, tables, names)]


def check_parts(store: Session) -> None:
    """Raises `SetupError` where something is gone."""
    if missing := missing_parts(store):
        raise SetupError(
            f"the database {store.where} has lost what migrations made: {', '.join(map(str, missing))}; "
            "`processor migrate --mend` makes it again"
        )


def mend_parts(store: Session, tell: Tell = lambda _: None) -> list[Part]:
    """Makes again what is gone, and returns it; trials that no trigger counted are counted. `tell` hears of each step.

    Raises `SetupError` where rows do not allow it; what was made before stays.
    """
    missing = missing_parts(store)
    try:
        store.run(lambda connection: _make(connection, missing, tell), timeout_s=PATIENCE_SECONDS)
    except ReportError as error:
        raise SetupError(
            f"the database {store.where} refuses what it has lost; what was made before stays, and the same command "
            f"goes on: {error}{_of_which_rows(error)}"
        ) from None
    if any(part.kind == "trigger" and part.name != DIGESTS for part in missing):
        tell(f"{sum(recount(store)):,} counts were not right, and are")
    if any(part.name == DIGESTS for part in missing):
        tell(REPLAYED)
    return missing


def _of_which_rows(error: ReportError) -> str:
    """What the server says of them: of a key that is there twice, or refers to nothing, which one."""
    detail = getattr(error.__cause__, "detail", None)
    return f": {printable(detail)}" if detail else ""


async def _make(connection: asyncpg.Connection, parts: list[Part], tell: Tell) -> None:
    async with turn(connection):
        for part in parts:
            for step in part.steps():
                await run_step(connection, step, tell)
