"""How many of the latest reports the database's own constraints refused; pure.

One bad row is rejected alone. A constraint or trigger that was added at run time refuses nearly everything, and every
report would end as a dead letter: that is an outage, which somebody ends. Values that no column could hold (too long,
too large: SQLSTATE classes 22 and 54) are not counted: whoever sends reports could stop everything with them.
"""

from __future__ import annotations

from collections import deque

#: as many reports are looked back at: a few batches, so that one reporter's bad hour in a busy topic is no outage
WINDOW_REPORTS = 1000
#: fewer are never an outage, whatever their share
LEAST_REFUSED = 100


class Refused:
    """A window over the transactions of one sink. `most_share` of its reports may be refused, 1: all of them."""

    def __init__(self, most_share: float) -> None:
        self._most_share = most_share
        self._written: deque[tuple[int, int]] = deque()
        self._reports = self._refused = 0
        self._outage = False

    def too_many(self, reports: int, refused: int) -> bool:
        """Whether so many of a transaction's reports are, with those before it, more than single bad rows."""
        refused += self._refused
        return refused >= LEAST_REFUSED and refused > self._most_share * (self._reports + reports)

    def must_wait(self, reports: int, refused: int, *, done: bool) -> bool:
        """Whether a transaction is to be taken back and tried again; `done`: it holds all of its reports.

        An outage may end in the middle of one, whose first reports were refused for it: that one is taken back too.
        """
        if self.too_many(reports, refused):
            self._outage = True
            return True
        if not done:
            return False
        ended, self._outage = self._outage, False
        return ended and refused > 0

    def share(self, reports: int, refused: int) -> str:
        """The numbers, for people."""
        return f"{refused + self._refused} of the last {reports + self._reports} reports"

    def add(self, reports: int, refused: int) -> None:
        """A transaction that was written."""
        self._outage = False
        if not reports:
            return
        self._written.append((reports, refused))
        self._reports += reports
        self._refused += refused
        while self._reports - self._written[0][0] >= WINDOW_REPORTS:
            oldest = self._written.popleft()
            self._reports -= oldest[0]
            self._refused -= oldest[1]
