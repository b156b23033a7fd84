"""One batch into one sink: again while the world is down, in halves where the batch itself may be the cause."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import structlog

from processor.core import metrics
from processor.core.checkpoints import reach
from processor.core.errors import TransientError, Trouble
from processor.core.messages import Batch, TopicPartition, Written
from processor.core.outages import Causes
from processor.core.parts import Halves
from processor.core.times import Backoff
from processor.pipeline.batch import without
from processor.pipeline.counting import add_written
from processor.pipeline.portions import Portions, outcomes_of, portion_of, without_runs
from processor.pipeline.ports import Sink

log = structlog.get_logger(__name__)

RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS = 0.1, 5.0


class Writer:
    """Writes with one sink, in one thread."""

    def __init__(
        self, sink: Sink, rest: Callable[[float], bool], orphaned: Callable[[], Collection[TopicPartition]]
    ) -> None:
        """`rest` waits so many seconds and says whether the process ends meanwhile.

        `orphaned` are the partitions that another process has by now.
        """
        self._sink, self._rest, self._orphaned = sink, rest, orphaned
        self._portions = Portions()
        self._began = 0.0
        self._around_locks = False
        self._outage = ""  # what is waited for
        self._causes = Causes()

    def write(self, batch: Batch) -> Written | None:
        """Tries until all of it is written, or set aside for a locked run; None when the process ends before."""
        written, halves = Written(), Halves(outcomes_of(batch))
        for part in halves:
            if len(part) > self._portions.limit and halves.split():
                continue
            # a run that is waited for stays behind as a whole, or its reports would be turned round
            portion, waiting = without_runs(portion_of(batch, part), written.set_aside)
            with metrics.STAGE_SECONDS.labels("write").time():
                more = self._write_portion(portion, len(part), halves.split)
            if more is None:
                log.warning("batch_left_uncommitted", records=batch.records)
                return None
            written = add_written(add_written(written, more), Written(set_aside=waiting))
        self._around_locks = bool(written.set_aside)
        return written

    def _write_portion(self, portion: Batch, size: int, split: Callable[[], bool]) -> Written | None:
        """What was written: nothing yet where it comes again in halves."""
        backoff, failures = Backoff(RETRY_FIRST_SECONDS, RETRY_MOST_SECONDS), 0
        while True:
            try:
                reach("ingest.before_write")
                written = self._sink.write(portion, around_locks=self._around_locks)
                reach("ingest.after_write")
            except TransientError as error:
                if error.trouble is Trouble.LOCK and not self._around_locks:
                    self._around_locks = True
                    continue
                self._report_outage(error)
                failures += error.trouble is Trouble.WORK
                if failures >= self._portions.patience and self._sink.answers() and split():
                    self._portions.failed(size)
                    log.warning("batch_halved", reports=size, cause=str(error))
                    return Written()
                if self._rest(backoff.next_s()):
                    return None
                portion = without(portion, self._orphaned())
            else:
                self._portions.took(size)
                self._end_outage()
                return written

    @property
    def in_outage(self) -> bool:
        return bool(self._outage)

    def _report_outage(self, error: TransientError) -> None:
        metrics.LAST_ERROR.set_to_current_time()
        outage = "database_refusals" if error.trouble is Trouble.REFUSALS else "database"
        if self._outage == outage:  # one line a cause, not a thousand
            self._causes.go_on(error)
            return
        self._causes.begin(outage, error)
        if self._outage:
            metrics.OUTAGE.labels(self._outage).dec()
        else:
            self._began = time.monotonic()
        self._outage = outage
        metrics.OUTAGES.labels(outage).inc()
        metrics.OUTAGE.labels(outage).inc()
        if outage == "database":
            log.warning("waiting_for_database", cause=str(error))
        else:
            log.warning("database_refuses", cause=str(error))

    def _end_outage(self) -> None:
        if self._outage:
            metrics.OUTAGE.labels(self._outage).dec()
            self._outage = ""
            log.info("database_back", after_s=round(time.monotonic() - self._began, 1))
