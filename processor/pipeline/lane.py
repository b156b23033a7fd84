"""One sink, its thread, and the batches that wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from processor.core import metrics
from processor.core.messages import Batch, Outcome, RawRecord, TopicPartition, Written
from processor.pipeline.aside import Aside
from processor.pipeline.batch import Accumulator, partitions_of, without
from processor.pipeline.counting import count_written, tell_rejections
from processor.pipeline.ports import Sink
from processor.pipeline.writer import Writer

log = structlog.get_logger(__name__)

#: how often reports of a locked run are tried again where nothing else is to be written
LOCKED_RETRY_SECONDS = 0.5
#: of the runs that are waited for, so many are named in the log
RUNS_TOLD = 5
_NOTHING = Batch((), (), {})


class Lane:
    """One sink, its thread, and the batches that wait for it."""

    def __init__(
        self,
        number: int,
        open_sink: Callable[[], Sink],
        accumulator: Accumulator,
        aside: Aside,
        wait_s: float,
        on_written: Callable[[Batch, Written], None] | None = None,
    ) -> None:
        """`on_written` hears in the lane's thread of each batch that is written, and what that came to."""
        self._open_sink, self._accumulator, self._wait_s = open_sink, accumulator, wait_s
        self._aside, self._aside_since = aside, 0.0
        self._on_written = on_written
        self._changed = threading.Condition()
        self._in_hand: Batch | None = None
        self._new: Batch = _NOTHING  # the part of it that was not tried before
        self._orphaned: set[TopicPartition] = set()
        self._done: dict[TopicPartition, int] = {}
        self._closing = self._hurried = False
        self.error: BaseException | None = None
        self._writer: Writer | None = None
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, decoded: Sequence[tuple[RawRecord, Sequence[Outcome]]]) -> None:
        with self._changed:
            for record, outcomes in decoded:
                self._accumulator.add(record, outcomes)
            self._changed.notify_all()

    @property
    def in_outage(self) -> bool:
        return self._writer is not None and self._writer.in_outage

    @property
    def full(self) -> bool:
        return self._accumulator.full

    @property
    def idle(self) -> bool:
        """Nothing is left to write, not even for a locked run."""
        with self._changed:  # between the two halves the thread might take its last batch in hand
            return self._in_hand is None and self._accumulator.empty and not len(self._aside)

    @property
    def settled(self) -> bool:
        """Nothing is left that could be written now: what is set aside may wait for long."""
        with self._changed:
            return self._in_hand is None and (self._accumulator.empty or self._aside.full)

    def take_done(self) -> Mapping[TopicPartition, int]:
        """The offsets that became safe since the last call."""
        with self._changed:
            done, self._done = self._done, {}
            return done

    def wait(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Waits for a condition of this lane; an error of the lane ends the wait too."""
        with self._changed:
            return self._changed.wait_for(lambda: self.error is not None or until(), timeout_s)

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """What is not yet written of these partitions is forgotten, what is being written is never committed."""
        with self._changed:
            self._accumulator.drop(partitions)
            if self._in_hand is None:
                self._set_aside(lambda: self._aside.drop(partitions))
            for partition in partitions:
                self._done.pop(partition, None)
            if self._in_hand is not None:
                self._orphaned |= partitions_of(self._in_hand) & set(partitions)

    def hurry(self) -> None:
        """What has gathered is written now, not when the batch is fuller."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def begin_close(self) -> None:
        """The thread writes what is left and ends; in an outage it ends at once and leaves the rest unwritten."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            sink = self._open_sink()
            self._writer = writer = Writer(sink, self._rest, lambda: self._orphaned)
            try:
                while (batch := self._next()) is not None:
                    written = writer.write(batch)
                    self._finish(batch, written)
                    if written is None:  # a later batch must not be written now: its offsets would cover this one
                        break
                if len(self._aside):
                    log.warning("batch_left_uncommitted", reports=len(self._aside), runs=self._aside.runs[:RUNS_TOLD])
            finally:
                metrics.SET_ASIDE.dec(len(self._aside))
                sink.close()
        except BaseException as error:  # noqa: BLE001 - handed to the reading thread, which raises it
            with self._changed:
                self.error = error
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        """The next batch as soon as there is one; None when the lane is closing and has no more.

        What is set aside comes in front of it, and by itself where nothing else comes or may be taken.
        """
        with self._changed:
            while self._in_hand is None:
                self._changed.wait_for(self._may_take, LOCKED_RETRY_SECONDS if len(self._aside) else None)
                if self._wait_s and not self._accumulator.empty:
                    self._changed.wait_for(self._is_ripe, self._wait_s)
                # None where all of it was dropped meanwhile
                new = None if self._aside.full else self._accumulator.take()
                self._hurried = False
                if new is None and (self._closing or not len(self._aside)):
                    self._changed.notify_all()
                    if self._closing:
                        break
                    continue
                self._new, self._in_hand = new or _NOTHING, self._aside.before(new)
                self._changed.notify_all()
            return self._in_hand

    def _may_take(self) -> bool:
        return self._closing or not (self._accumulator.empty or self._aside.full)

    def _is_ripe(self) -> bool:
        return self._closing or self._hurried or self._accumulator.full

    def _finish(self, batch: Batch, written: Written | None) -> None:
        if written is not None:
            count_written(self._new, written)
            if self._on_written is not None:
                self._on_written(self._new, written)
            tell_rejections((*batch.rejections, *written.rejected_by_database))
        with self._changed:
            if written is not None:
                next_offsets = without(batch, self._orphaned).next_offsets
                self._set_aside(lambda: self._done.update(self._aside.settle(next_offsets, written.set_aside)))
            self._orphaned.clear()
            self._in_hand = None
            self._changed.notify_all()

    def _set_aside(self, change: Callable[[], None]) -> None:
        """Changes what is set aside, and tells where it begins and ends."""
        before = len(self._aside)
        change()
        after = len(self._aside)
        metrics.SET_ASIDE.inc(after - before)
        if after and not before:
            self._aside_since = time.monotonic()
            log.warning("runs_locked", runs=self._aside.runs[:RUNS_TOLD], reports=after)
        elif before and not after:
            log.info("runs_free", after_s=round(time.monotonic() - self._aside_since, 1))

    def _rest(self, seconds: float) -> bool:
        """Waits for so long; True where the lane closes meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)
