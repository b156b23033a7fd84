"""What a report does to the row of its trial, judged in Python.

The fragment `verdict` in store/sql/fragments.sql is its twin in SQL; one test holds both to the same table of cases.
"""

from __future__ import annotations

from enum import IntEnum

#: (record timestamp in ms, partition, offset, place in the record), see `messages.Order`; a plain tuple will do
Position = tuple[int, int, int, int]


class Verdict(IntEnum):
    """The numbers are those of SQL."""

    INSERTED = 0
    CHANGED = 1
    TOUCHED = 2
    UNCHANGED = 3
    STALE = 4

    __hash__ = int.__hash__  # they are counted by the thousand, and an enum's own hash is Python code

    @property
    def word(self) -> str:
        """As metrics, summaries and `messages.Written` name it."""
        return self.name.lower()


VERDICTS = tuple(one.word for one in Verdict)


_CHANGED, _TOUCHED, _UNCHANGED, _STALE = Verdict.CHANGED, Verdict.TOUCHED, Verdict.UNCHANGED, Verdict.STALE


def judge(order: Position, held: Position | None, same: bool) -> Verdict:
    """The verdict on a report at `order` where its trial has a row whose report stood at `held`.

    `held` is None where the row is from before this processor: any report is newer. `same`: both say the same.
    Only a report of a trial without a row is `INSERTED`, which nobody has to ask.
    """
    if held is not None and order < held:
        return _STALE
    if not same:
        return _CHANGED
    return _UNCHANGED if order == held else _TOUCHED
