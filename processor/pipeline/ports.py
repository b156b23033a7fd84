"""The two protocols that the pipeline runs between, and what it decodes with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol

from processor.core.messages import Batch, NextOffsets, Outcome, RawRecord, Written


class Source(Protocol):
    """Where records come from; called by one thread only."""

    def poll(self, limit: int, timeout_s: float) -> Sequence[RawRecord] | None:
        """At most `limit` records, [] after `timeout_s` without any, None when there will never be more.

        Called while paused too: a record that is returned then counts as read all the same.
        """

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        """Remembers that everything below these offsets is written."""

    def pause(self, partitions: Collection[int] | None) -> None:
        """From now on brings nothing of these partitions (None: of all), and of all others again."""

    def close(self) -> None: ...


class Sink(Protocol):
    """What makes a batch durable; each is used by one thread only."""

    def write(self, batch: Batch, *, around_locks: bool = False) -> Written:
        """Writes all of it or nothing. Raises `TransientError` when the world is down: the batch is tried again.

        With `around_locks` reports of runs that somebody else holds are set aside, each run's from the first on, and
        come back in `Written`; without, such a run is an error whose trouble is a lock, as what
        holds up all runs is with it.
        """

    def answers(self) -> bool:
        """Whether it does anything at all just now, asked after a failure that the batch may have caused."""

    def close(self) -> None: ...


#: the outcomes of each record, in order; raises `TransientError` in place of those that can't be known yet
DecodeEach = Callable[[Sequence[RawRecord]], Iterator[Sequence[Outcome]]]
