"""The loop: source -> decode -> batch -> sink -> commit. Knows neither Kafka nor Postgres.

One thread reads, decodes and commits (every call on the source is made by it). Each *lane* is a thread with a sink of
its own; a partition always goes to the same lane, so what one partition holds is written in its order while another
batch is read. A lane writes whatever has gathered as soon as it is free: batches are small when traffic is light and
grow by themselves under load.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import structlog

from processor.core import metrics
from processor.core.checkpoints import reach
from processor.core.errors import TransientError
from processor.core.messages import Batch, Outcome, RawRecord, TopicPartition, Written
from processor.core.outages import Outage
from processor.core.stopping import Stop
from processor.core.times import Backoff
from processor.pipeline.aside import Aside
from processor.pipeline.batch import Accumulator
from processor.pipeline.lane import Lane
from processor.pipeline.ports import DecodeEach, Sink, Source

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1
#: reading may wait this long for a lane before the partitions are paused (a pause throws the prefetched records away)
PATIENCE_SECONDS = 1.0
#: how long records wait that can't be decoded because the schema registry is down
DECODE_RETRY_SECONDS = 1.0
#: decoded reports take some ten times the memory of their bytes: no more than this much at a time is ahead of the lanes
DECODE_BYTES = 1024 * 1024


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
        stop: Stop | None = None,
        on_written: Callable[[Batch, Written], None] | None = None,
    ) -> None:
        """`stop` is how the process is told to stop."""
        self._source, self._decode = source, decode
        self._lanes = [
            Lane(
                number,
                open_sink,
                Accumulator(max_reports, max_bytes),
                Aside(max_reports, max_bytes),
                max_wait_s,
                on_written,
            )
            for number in range(lanes)
        ]
        self._lane_of: dict[int, int] = {}  # by partition
        self._poll_limit = max(1, min(1000, max_reports))
        self._shutdown_s = shutdown_s
        self._stopping = stop or Stop()
        self._ended = self._drained = False
        self._paused: Collection[int] | None = frozenset()  # partitions that the source brings nothing of; None: of all
        self._read: Sequence[RawRecord] = ()  # and not yet decoded
        self._undecodable_until: float | None = None  # None: the schema registry is not missed
        self._registry_outage = Outage("schema_registry")
        self._registry_wait = Backoff(DECODE_RETRY_SECONDS, DECODE_RETRY_SECONDS)
        self.last_poll = time.monotonic()

    def stop(self) -> None:
        """Drain, commit, return; may be called from another thread."""
        self._stopping.set("asked to")

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
            self._stopping.tell()
        finally:
            self._drain()
        self._raise_lane_error()

    def _step(self) -> bool:
        self._raise_lane_error()
        self._commit(wait=False)
        room = self._make_room()
        ready = self._ready() if self._read and (room or self._may_try_again()) else ()
        if ready:
            self._spread(ready)
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

    def _ready(self) -> Sequence[RawRecord]:
        """What was read and can go on: what belongs to a lane that is full waits, in its order."""
        paused = self._paused
        if not paused:
            return self._read
        return [record for record in self._read if record.partition not in paused]

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
        """Pauses the partitions of lanes that have been full for long, or all while records can't be decoded yet.

        False where nothing at all can go on.
        """
        full = [lane for lane in self._lanes if lane.full]
        if full and self._paused is not None:
            fresh = [lane for lane in full if not self._partitions_of(lane) <= set(self._paused)]
            with metrics.STAGE_SECONDS.labels("backpressure").time():
                deadline = time.monotonic() + PATIENCE_SECONDS
                for lane in fresh:
                    lane.wait(lambda lane=lane: not lane.full, deadline - time.monotonic())  # type: ignore[misc]
            full = [lane for lane in full if lane.full]
        if self._undecodable_until is not None or len(full) == len(self._lanes):
            self._pause(None)
        else:
            self._pause(frozenset().union(*(self._partitions_of(lane) for lane in full)))
        return self._paused is not None

    def _partitions_of(self, lane: Lane) -> frozenset[int]:
        place = self._lanes.index(lane)
        return frozenset(partition for partition, lane_place in self._lane_of.items() if lane_place == place)

    def _pause(self, partitions: frozenset[int] | None) -> None:
        if partitions != self._paused:
            self._source.pause(partitions)
            self._paused = partitions

    def _spread(self, ready: Sequence[RawRecord]) -> None:
        """Decodes what can go on, or as much of it as fits into memory, and gives each to its partition's lane."""
        share: list[list[tuple[RawRecord, Sequence[Outcome]]]] = [[] for _ in self._lanes]
        done, size, lane_of = 0, 0, self._lane_of
        try:
            with metrics.STAGE_SECONDS.labels("decode").time():
                for record, outcomes in zip(ready, self._decode(ready), strict=False):
                    place = lane_of.get(record.partition)
                    if place is None:
                        place = lane_of[record.partition] = self._least_used_lane()
                    share[place].append((record, outcomes))
                    done += 1
                    size += record.size
                    if size >= DECODE_BYTES:
                        break
            self._note_registry(None)
        except TransientError as error:
            self._note_registry(error)
        if len(ready) == len(self._read):
            self._read = self._read[done:]
        else:  # a partition waits as a whole or not at all, so each keeps its order
            waiting = [record for record in self._read if record.partition in (self._paused or ())]
            self._read = [*waiting, *ready[done:]]
        metrics.RECORDS.inc(done)
        for lane, decoded in zip(self._lanes, share, strict=True):
            if decoded:
                lane.add(decoded)

    def _least_used_lane(self) -> int:
        used = Counter(self._lane_of.values())
        return min(range(len(self._lanes)), key=lambda place: (self._lanes[place].full, used[place]))

    def _note_registry(self, error: TransientError | None) -> None:
        """Remembers whether the schema registry, which only decoding asks, is there; one line a cause."""
        if error is None:
            self._undecodable_until = None
            if self._registry_outage.end() is not None:
                log.info("schema_registry_back")
            return
        self._undecodable_until = time.monotonic() + self._registry_wait.next_s()
        if self._registry_outage.note(error):
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
                    lane.wait(lambda lane=lane: lane.settled, deadline - time.monotonic())  # type: ignore[misc]
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
