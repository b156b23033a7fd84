"""One sink, its thread, and the batches that wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence

from processor.core.messages import Batch, Outcome, RawRecord, TopicPartition, Written
from processor.pipeline.batch import Accumulator, partitions_of, without
from processor.pipeline.counting import count_written, tell_rejections
from processor.pipeline.ports import Sink
from processor.pipeline.writer import Writer


class Lane:
    """One sink, its thread, and the batches that wait for it."""

    def __init__(
        self,
        number: int,
        open_sink: Callable[[], Sink],
        accumulator: Accumulator,
        wait_s: float,
        on_written: Callable[[Batch, Written], None] | None = None,
    ) -> None:
        """`on_written` hears in the lane's thread of each batch that is written, and what that came to."""
        self._open_sink, self._accumulator, self._wait_s = open_sink, accumulator, wait_s
        self._on_written = on_written
        self._changed = threading.Condition()
        self._in_hand: Batch | None = None
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
        with self._changed:  # between the two halves the thread might take its last batch in hand
            return self._in_hand is None and self._accumulator.empty

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
            finally:
                sink.close()
        except BaseException as error:  # noqa: BLE001 - handed to the reading thread, which raises it
            with self._changed:
                self.error = error
                self._changed.notify_all()

    def _next(self) -> Batch | None:
        """The next batch as soon as there is one; None when the lane is closing and has no more."""
        with self._changed:
            while self._in_hand is None:
                self._changed.wait_for(lambda: self._closing or not self._accumulator.empty)
                if self._wait_s:
                    self._changed.wait_for(self._is_ripe, self._wait_s)
                self._in_hand = self._accumulator.take()  # None where all of it was dropped meanwhile
                self._hurried = False
                self._changed.notify_all()
                if self._closing:
                    break
            return self._in_hand

    def _is_ripe(self) -> bool:
        return self._closing or self._hurried or self._accumulator.full

    def _finish(self, batch: Batch, written: Written | None) -> None:
        if written is not None:
            count_written(batch, written)
            if self._on_written is not None:
                self._on_written(batch, written)
            tell_rejections((*batch.rejections, *written.rejected_by_database))
        with self._changed:
            if written is not None:
                self._done.update(without(batch, self._orphaned).next_offsets)
            self._orphaned.clear()
            self._in_hand = None
            self._changed.notify_all()

    def _rest(self, seconds: float) -> bool:
        """Waits for so long; True where the lane closes meanwhile."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closing, seconds)
