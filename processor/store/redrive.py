"""What a redrive makes of dead letters, written like ingest writes: in one transaction, which settles the dead letters.

Killed at any point it leaves either all of a batch or nothing, and whatever it wrote may be written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from processor.core.messages import Batch, Rejection, Written
from processor.core.text import storable
from processor.store.applied import EventOf
from processor.store.dead_letters import DeadLetter
from processor.store.queries import load_queries
from processor.store.rejections import Places, resolve_written
from processor.store.session import Session
from processor.store.trials import TrialStore


class Redriven(NamedTuple):
    """What one batch of a redrive came to: `failed` are the dead letters that were rejected again, and by what."""

    written: Written
    failed: Sequence[tuple[DeadLetter, Rejection]]


class RedriveStore(TrialStore):
    """Writes what dead letters give when they are decoded again. Use it in one thread only.

    In the transaction of the rows and their events: who is not rejected again is resolved, who is counts one more
    attempt. One that `rehearses` does all of it and takes it back at the end.
    """

    def __init__(self, store: Session, event_of: EventOf, *, create_runs: bool = True, rehearses: bool = False) -> None:
        super().__init__(store, event_of, create_runs=create_runs)
        self.rehearses = rehearses
        self._letters: Sequence[DeadLetter] = ()

    def redrive(self, letters: Sequence[DeadLetter], batch: Batch) -> Redriven:
        """Writes the batch that the dead letters came to, and settles them; raises as `write` does."""
        self._letters = letters
        if not batch.reports and not batch.rejections:  # readable now, and empty: nothing to write
            if not self.rehearses:
                self._store.execute("resolve_letters", [letter.id for letter in letters])
            return Redriven(Written(), [])
        written = self.write(batch)
        return Redriven(written, failures(letters, (*batch.rejections, *written.rejected_by_database)))

    async def _write(self, connection: asyncpg.Connection, batch: Batch, isolate: bool, around: bool) -> Written:
        if not self.rehearses:
            return await super()._write(connection, batch, isolate, around)
        transaction = connection.transaction()  # the real one is a savepoint within this
        await transaction.start()
        try:
            return await super()._write(connection, batch, isolate, around)
        finally:
            await transaction.rollback()

    async def _resolve(self, connection: asyncpg.Connection, batch: Batch, refused: Sequence[Rejection]) -> None:
        # a record's other reports, and what stands for them all, are not judged by some of them
        await resolve_written(connection, batch, refused, whole_records=False)
        queries = load_queries()
        failed = failures(self._letters, (*batch.rejections, *refused))
        failed_ids = {letter.id for letter, _ in failed}
        settled = [letter.id for letter in self._letters if letter.id not in failed_ids]
        await connection.execute(queries["resolve_letters"], settled)
        if failed:
            rows = [(letter.id, letter.attempts, said_again(letter, rejection)) for letter, rejection in failed]
            await connection.execute(queries["count_attempts"], *zip(*rows, strict=True))


def failures(letters: Sequence[DeadLetter], rejections: Sequence[Rejection]) -> list[tuple[DeadLetter, Rejection]]:
    """The dead letters that are rejected again, each with its new rejection."""
    place_of = Places()
    found = {(place_of(one.record), one.index): one for one in rejections}
    pairs = ((letter, found.get((place_of(letter.record), letter.index))) for letter in letters)
    return [(letter, rejection) for letter, rejection in pairs if rejection is not None]


def said_again(letter: DeadLetter, rejection: Rejection) -> str:
    """The new sentence; behind the new reason where that is another one."""
    said = rejection.detail if rejection.reason == letter.reason else f"{rejection.reason.value}: {rejection.detail}"
    return str(storable(said))
