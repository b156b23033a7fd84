"""The mirror's loop: events are read, applied by a thread of their own while the group is served, then committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from processor.core import metrics
from processor.core.checkpoints import reach
from processor.core.errors import ProcessorError, TransientError
from processor.core.messages import RawRecord, TopicPartition
from processor.core.outages import Outage
from processor.core.stopping import Stop
from processor.core.times import Backoff
from processor.mlflow.content import Happening
from processor.mlflow.events import Unreadable
from processor.mlflow.ports import Busy
from processor.pipeline.ports import Source

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
#: a batch that takes no longer is waited for without pausing: pausing throws away what was fetched ahead
SHORT_SECONDS = 1.0
#: for whoever is given up to see it, where no request holds it up
GIVEN_UP_SECONDS = 1.0
#: how often links in doubt are looked at
RECONCILE_SECONDS = 5.0

#: a record -> what happened
Reader = Callable[[RawRecord], "Happening | Unreadable | None"]


class Loop:
    """Runs until it is told to stop, or the tracking server turns out to be another one (`changed`)."""

    def __init__(
        self,
        read: Reader,
        apply: Callable[[Sequence[Happening]], None],
        reconcile: Callable[[], object],
        is_same_server: Callable[[], bool],
        *,
        limit: int,
        shutdown_s: float,
        stop: Stop,
    ) -> None:
        """`is_same_server` asks the tracking server who it is; like the others it raises `TransientError`."""
        self._read, self._apply, self._reconcile = read, apply, reconcile
        self._is_same_server = is_same_server
        self._limit, self._shutdown_s, self._stop = limit, shutdown_s, stop
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="mirror")
        self._work: Future[bool] | None = None
        self._records: list[RawRecord] = []
        self._later: list[RawRecord] = []
        self._failure: ProcessorError | None = None
        self._reconciled_at = 0.0
        self._given_up = False
        self.left_behind = False  # the worker hangs in a request, and the process ends without it
        self.changed = False
        self._outage = Outage("mlflow")
        self.last_poll = time.monotonic()

    @property
    def in_outage(self) -> bool:
        return self._outage.lasts

    @property
    def going(self) -> bool:
        """For whoever writes: whether what is in hand is still ours."""
        return not self._given_up

    def run(self, source: Source) -> None:
        """Raises `FatalError`. What is in hand when it is told to stop has `shutdown_s` to end.

        What does not is left behind, as if the process had been killed: its requests may take far longer.
        """
        self._source = source
        while not self._stop.is_set() and not self.changed:
            self._turn()
        self._finish(self._shutdown_s)
        self._worker.shutdown(wait=not self.left_behind)

    def _turn(self) -> None:
        self.last_poll = time.monotonic()
        if self._failure is not None:
            raise self._failure
        if self._work is None:
            more = self._source.poll(self._limit, POLL_SECONDS) or ()  # it may call `release`
            self._records = [*self._records, *more]
            if self._records or time.monotonic() > self._reconciled_at:
                self._begin()
            return
        self._await(SHORT_SECONDS if not self.in_outage else POLL_SECONDS)
        if self._work is not None:
            self._source.pause(None)
            more = self._source.poll(1, POLL_SECONDS) or ()
            self._later = [*self._later, *more]  # what comes while all is paused counts as read all the same

    def _begin(self) -> None:
        self._given_up = False
        batch = list(self._records)
        self._work = self._worker.submit(self._patiently, batch)

    def _await(self, timeout_s: float) -> None:
        """Commits what is done within the time."""
        work = self._work
        if work is None:
            return
        deadline = time.monotonic() + timeout_s
        while not work.done() and time.monotonic() < deadline and not self._stop.is_set():
            time.sleep(0.002)
        if not work.done():
            return
        self._work = None
        if work.result():  # raises what the worker raised
            self._commit(wait=False)
        self._source.pause(())

    def _commit(self, *, wait: bool) -> None:
        offsets: dict[TopicPartition, int] = {}
        for record in self._records:
            place = (record.topic, record.partition)
            offsets[place] = max(offsets.get(place, 0), record.offset + 1)
        if offsets:
            reach("mlflow.before_commit")
            self._source.commit(offsets, wait=wait)
        self._records, self._later = self._later, []

    def release(self, partitions: Collection[TopicPartition], *, lost: bool) -> None:
        """Before partitions go to another mirror: what is in hand ends, or is given up; to be called by `poll`."""
        try:
            self._finish(0.0 if lost else self._shutdown_s)
        except ProcessorError as error:  # in a callback it would lose its way
            self._failure = error
        gone = set(partitions)
        self._records = [one for one in self._records if (one.topic, one.partition) not in gone]
        self._later = [one for one in self._later if (one.topic, one.partition) not in gone]

    def _finish(self, timeout_s: float) -> None:
        work, deadline = self._work, time.monotonic() + timeout_s
        if work is None:
            return
        while not work.done() and time.monotonic() < deadline and not self.in_outage:
            time.sleep(0.01)
        self._given_up = not work.done()
        self._work = None
        if self._ends(work) and work.result():
            self._commit(wait=True)
        else:
            log.info("mlflow_batch_left", events=len(self._records))

    def _ends(self, work: Future[bool]) -> bool:
        """A worker that is given up ends with its next request. Where we stop, nobody waits for that: False."""
        until: float | None = None
        while not work.done():
            if self._stop.is_set():
                until = until or time.monotonic() + GIVEN_UP_SECONDS
                self.left_behind = time.monotonic() >= until
            if self.left_behind:
                return False
            time.sleep(0.01)
        return True

    def _patiently(self, batch: Sequence[RawRecord]) -> bool:
        """Applies the batch, however long that takes; False where it was given up, or is for another server."""
        backoff, since = Backoff(), time.monotonic()
        while self.going:
            try:
                if not self._is_same_server():
                    self.changed = True
                    return False
                self._apply_once(batch)
            except TransientError as error:
                self._note_outage(error)
                self._pause(max(backoff.next_s(), error.after_s if isinstance(error, Busy) else 0.0))
                continue
            if self._outage.end() is not None:
                log.info("mlflow_back", after_s=round(time.monotonic() - since, 1))
            return True
        return False

    def _apply_once(self, batch: Sequence[RawRecord]) -> None:
        began = time.monotonic()
        events = [one for one in map(self._readable, batch) if one is not None]
        if events:
            self._apply(events)
            metrics.MLFLOW_BATCH_SECONDS.observe(time.monotonic() - began)
            metrics.MLFLOW_LATENCY_SECONDS.observe(max(0.0, time.time() - events[0].moment.time_ms / 1000))
        if time.monotonic() > self._reconciled_at:
            self._reconcile()
            self._reconciled_at = time.monotonic() + RECONCILE_SECONDS

    def _readable(self, record: RawRecord) -> Happening | None:
        found = self._read(record)
        if isinstance(found, Unreadable):
            metrics.MLFLOW_UNREADABLE.inc()
            where = {"partition": record.partition, "offset": record.offset}
            log.warning("mlflow_unreadable", cause=found.why, **where)
            return None
        return found

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.going and time.monotonic() < until and not self._stop.is_set():
            time.sleep(0.02)
        if self._stop.is_set():
            self._given_up = True

    def _note_outage(self, error: TransientError) -> None:
        if self._outage.note(error):
            log.warning("waiting_for_mlflow", cause=str(error))
