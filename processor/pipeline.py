"""The loop: source -> decode -> batch -> sink -> commit. Knows neither Kafka nor Postgres.

One thread reads, decodes and commits (every call on the source is made by it). Each *lane* is a thread with a sink of
its own; a partition always goes to the same lane, so what one partition holds is written in its order while another
batch is read. A lane writes whatever has gathered as soon as it is free: batches are small when traffic is light and
grow by themselves under load.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from processor import metrics
from processor.batch import Accumulator, partitions_of, without
from processor.checkpoints import reach
from processor.errors import TransientError
from processor.messages import Batch, NextOffsets, RawRecord, Rejection, TopicPartition, TrialReport, Written

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
#: reading may wait this long for a lane before the partitions are paused (a pause throws the prefetched records away)
PATIENCE_SECONDS = 1.0
RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS = 0.1, 5.0
#: a topic full of rubbish is not to fill the log too
REJECTIONS_TOLD = 5
#: how long records wait that can't be decoded because the schema registry is down
DECODE_RETRY_SECONDS = 1.0
#: decoded reports take some ten times the memory of their bytes: no more than this much at a time is ahead of the lanes
DECODE_BYTES = 1024 * 1024


class Source(Protocol):
    """Where records come from; called by one thread only."""

    def poll(self, limit: int, timeout_s: float) -> Sequence[RawRecord] | None:
        """At most `limit` records, [] after `timeout_s` without any, None when there will never be more.

        Called while paused too: a record that is returned then counts as read all the same.
        """

    def commit(self, next_offsets: NextOffsets, *, wait: bool) -> None:
        """Remembers that everything below these offsets is written."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


class Sink(Protocol):
    """What makes a batch durable; each is used by one thread only."""

    def write(self, batch: Batch) -> Written:
        """Writes all of it or nothing. Raises `TransientError` when the world is down: the batch is tried again."""

    def close(self) -> None: ...


#: the outcomes of each record, in order; raises `TransientError` in place of those that can't be known yet
DecodeEach = Callable[[Sequence[RawRecord]], Iterator[Sequence[TrialReport | Rejection]]]


class Lane:
    """One sink, its thread, and the batches that wait for it."""

    def __init__(self, number: int, open_sink: Callable[[], Sink], accumulator: Accumulator, wait_s: float) -> None:
        self._open_sink, self._accumulator, self._wait_s = open_sink, accumulator, wait_s
        self._changed = threading.Condition()
        self._in_hand: Batch | None = None
        self._orphaned: set[TopicPartition] = set()
        self._done: dict[TopicPartition, int] = {}
        self._closing = self._hurried = False
        self.error: BaseException | None = None
        self.in_outage = False
        self._thread = threading.Thread(target=self._run, name=f"lane-{number}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, decoded: Sequence[tuple[RawRecord, Sequence[TrialReport | Rejection]]]) -> None:
        with self._changed:
            for record, outcomes in decoded:
                self._accumulator.add(record, outcomes)
            self._changed.notify_all()

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

    def holds(self, partitions: Collection[TopicPartition]) -> bool:
        in_hand = self._in_hand
        return self._accumulator.holds(partitions) or (
            in_hand is not None and not partitions_of(in_hand).isdisjoint(partitions)
        )

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
            try:
                while (batch := self._next()) is not None:
                    written = self._write(sink, batch)
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
        with self._changed:
            if written is not None:
                self._done.update(without(batch, self._orphaned).next_offsets)
            self._orphaned.clear()
            self._in_hand = None
            self._changed.notify_all()

    def _write(self, sink: Sink, batch: Batch) -> Written | None:
        """Tries until it is written; None when the process ends before the world is back."""
        delay, began = RETRY_FIRST_SECONDS, time.monotonic()
        while True:
            try:
                reach("ingest.before_write")
                with metrics.STAGE_SECONDS.labels("write").time():
                    written = sink.write(batch)
                reach("ingest.after_write")
            except TransientError as error:
                self._report_outage(error)
                with self._changed:
                    gone = self._changed.wait_for(lambda: self._closing, delay * random.uniform(0.5, 1.0))
                if gone:
                    log.warning("batch_left_uncommitted", records=batch.records, cause=str(error))
                    return None
                batch = without(batch, self._orphaned)  # another process has these now
                delay = min(delay * 2, RETRY_MOST_SECONDS)
            else:
                if self.in_outage:
                    self.in_outage = False
                    metrics.OUTAGE.labels("database").dec()
                    log.info("database_back", after_s=round(time.monotonic() - began, 1))
                count_written(batch, written)
                tell_rejections((*batch.rejections, *written.rejected_by_database))
                return written

    def _report_outage(self, error: TransientError) -> None:
        metrics.LAST_ERROR.set_to_current_time()
        if self.in_outage:  # one line, not a thousand
            log.debug("still_waiting", cause=str(error))
            return
        self.in_outage = True
        metrics.OUTAGES.labels("database").inc()
        metrics.OUTAGE.labels("database").inc()
        log.warning("waiting_for_database", cause=str(error))


def tell_rejections(rejections: Sequence[Rejection]) -> None:
    """Where the first few are; all of them are stored."""
    for one in rejections[:REJECTIONS_TOLD]:
        log.warning(
            "rejected",
            reason=one.reason.value,
            detail=one.detail[:200],
            topic=one.record.topic,
            partition=one.record.partition,
            offset=one.record.offset,
            report_index=one.index,
        )
    if len(rejections) > REJECTIONS_TOLD:
        log.warning("rejected_more", number=len(rejections) - REJECTIONS_TOLD)


def count_written(batch: Batch, written: Written) -> None:
    """One batch in the metrics."""
    for result in ("inserted", "changed", "touched", "unchanged", "stale"):
        if number := getattr(written, result):
            metrics.REPORTS.labels(result).inc(number)
    metrics.EVENTS.inc(written.events)
    metrics.BATCH_REPORTS.observe(len(batch.reports))
    rejections = Counter(rejection.reason for rejection in (*batch.rejections, *written.rejected_by_database))
    for reason, number in rejections.items():
        metrics.REJECTIONS.labels(reason.value).inc(number)
    bent = Counter(field for report in batch.reports if report.bent for field in report.bent)
    for field, number in bent.items():
        metrics.BENT_FIELDS.labels(field).inc(number)
    if batch.reports:
        metrics.LATENCY_SECONDS.observe(max(0.0, time.time() - batch.reports[0].record.timestamp_ms / 1000))


class Pipeline:
    """Runs a source into sinks until it is told to stop, the source ends, or something fatal happens."""

    def __init__(
        self,
        source: Source,
        decode: DecodeEach,
        open_sink: Callable[[], Sink],
        *,
        lanes: int = 2,
        max_reports: int = 4000,
        max_bytes: int = 8 * 1024 * 1024,
        max_wait_s: float = 0.0,
        shutdown_s: float = 10.0,
    ) -> None:
        self._source, self._decode = source, decode
        self._lanes = [
            Lane(number, open_sink, Accumulator(max_reports, max_bytes), max_wait_s) for number in range(lanes)
        ]
        self._lane_of: dict[int, int] = {}  # by partition
        self._poll_limit = max(1, min(1000, max_reports))
        self._shutdown_s = shutdown_s
        self._stopping = threading.Event()
        self._paused = self._ended = self._drained = False
        self._read: Sequence[RawRecord] = ()  # and not yet decoded
        self._undecodable_until: float | None = None  # None: the schema registry is not missed
        self.last_poll = time.monotonic()

    def stop(self) -> None:
        """Drain, commit, return; may be called from a signal handler or another thread."""
        self._stopping.set()

    @property
    def in_outage(self) -> bool:
        return self._undecodable_until is not None or any(lane.in_outage for lane in self._lanes)

    def run(self) -> None:
        """Returns when stopped and drained; raises what ended a lane or the source."""
        for lane in self._lanes:
            lane.start()
        try:
            while not self._stopping.is_set() and self._step():
                pass
        finally:
            self._drain()
        self._raise_lane_error()

    def _step(self) -> bool:
        self._raise_lane_error()
        self._commit(wait=False)
        room = self._make_room()
        if self._read and (room or self._may_try_again()):
            self._spread()
            return True
        if self._ended:
            return self._await_lanes()
        with metrics.STAGE_SECONDS.labels("poll" if room else "backpressure").time():
            # paused: brings hardly a record, but keeps the group membership
            records = self._source.poll(self._poll_limit if room else 1, POLL_SECONDS)
        self.last_poll = time.monotonic()
        if records is None:
            self._ended = True
        elif records:
            reach("ingest.after_poll")
            self._read = [*self._read, *records]
        return True

    def _may_try_again(self) -> bool:
        return self._undecodable_until is not None and time.monotonic() >= self._undecodable_until

    def _await_lanes(self) -> bool:
        """Everything is read: False when it is written too, however long an outage takes."""
        busy = [lane for lane in self._lanes if not lane.idle]
        for lane in busy:
            lane.hurry()
            lane.wait(lambda lane=lane: lane.idle, POLL_SECONDS)  # type: ignore[misc]
        if self._read:
            self._stopping.wait(POLL_SECONDS)
        self.last_poll = time.monotonic()
        return bool(busy or self._read)

    def _make_room(self) -> bool:
        """False while the partitions are paused: a lane has been full for long, or records can't be decoded yet."""
        full = [lane for lane in self._lanes if lane.full]
        if full and not self._paused:
            with metrics.STAGE_SECONDS.labels("backpressure").time():
                deadline = time.monotonic() + PATIENCE_SECONDS
                for lane in full:
                    lane.wait(lambda lane=lane: not lane.full, deadline - time.monotonic())  # type: ignore[misc]
            full = [lane for lane in full if lane.full]
        blocked = bool(full) or self._undecodable_until is not None
        if blocked and not self._paused:
            self._source.pause()
            self._paused = True
        elif self._paused and not blocked:
            self._source.resume()
            self._paused = False
        return not self._paused

    def _spread(self) -> None:
        """Decodes what was read, or as much of it as fits into memory, and gives each to its partition's lane."""
        share: list[list[tuple[RawRecord, Sequence[TrialReport | Rejection]]]] = [[] for _ in self._lanes]
        done, size, lane_of = 0, 0, self._lane_of
        try:
            with metrics.STAGE_SECONDS.labels("decode").time():
                for record, outcomes in zip(self._read, self._decode(self._read), strict=False):
                    place = lane_of.get(record.partition)
                    if place is None:
                        place = lane_of[record.partition] = self._least_used_lane()
                    share[place].append((record, outcomes))
                    done += 1
                    size += len(record.value or b"")
                    if size >= DECODE_BYTES:
                        break
            self._note_registry(None)
        except TransientError as error:
            self._note_registry(error)
        self._read = self._read[done:]
        metrics.RECORDS.inc(done)
        for lane, decoded in zip(self._lanes, share, strict=True):
            if decoded:
                lane.add(decoded)

    def _least_used_lane(self) -> int:
        used = Counter(self._lane_of.values())
        return min(range(len(self._lanes)), key=lambda place: used[place])

    def _note_registry(self, error: TransientError | None) -> None:
        """Remembers whether the schema registry, which only decoding asks, is there; one line, not a thousand."""
        was_down = self._undecodable_until is not None
        if error is None:
            self._undecodable_until = None
        else:
            self._undecodable_until = time.monotonic() + DECODE_RETRY_SECONDS * random.uniform(0.5, 1.0)
            metrics.LAST_ERROR.set_to_current_time()
        if was_down == (error is not None):
            return
        metrics.OUTAGE.labels("schema_registry").set(error is not None)
        if error is None:
            log.info("schema_registry_back")
        else:
            metrics.OUTAGES.labels("schema_registry").inc()
            log.warning("waiting_for_schema_registry", cause=str(error))

    def _commit(self, *, wait: bool) -> None:
        done: dict[TopicPartition, int] = {}
        for lane in self._lanes:
            done.update(lane.take_done())
        if done:
            with metrics.STAGE_SECONDS.labels("commit").time():
                self._source.commit(done, wait=wait)
            reach("ingest.after_commit")

    def release(self, partitions: Collection[TopicPartition], *, lost: bool) -> None:
        """The source gives partitions away (it calls this from within `poll`).

        Revoked: one deadline covers finishing and committing what is in hand; what is not written by then is dropped
        uncommitted and the next owner reads it again. Lost: somebody else has them already, nothing is committed.
        Lanes that have nothing left share the remaining partitions anew, or one might be left with all of them.
        """
        gone = set(partitions)
        self._read = [record for record in self._read if (record.topic, record.partition) not in gone]
        if not lost and not self._drained:
            deadline = time.monotonic() + self._shutdown_s
            for lane in self._lanes:
                if not lane.in_outage:
                    lane.hurry()
                    lane.wait(lambda lane=lane: lane.idle, deadline - time.monotonic())  # type: ignore[misc]
            self._commit(wait=True)
        for lane in self._lanes:
            lane.drop(partitions)
        if all(lane.idle for lane in self._lanes):
            self._lane_of.clear()

    def _drain(self) -> None:
        deadline = time.monotonic() + self._shutdown_s
        for lane in self._lanes:
            lane.begin_close()
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))
        self._drained = True
        self._commit(wait=True)

    def _raise_lane_error(self) -> None:
        for lane in self._lanes:
            if lane.error is not None:
                raise lane.error
