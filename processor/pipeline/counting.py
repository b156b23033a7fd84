"""What a written batch came to, in metrics and in the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import structlog

from processor.core import metrics
from processor.core.messages import Batch, Rejection, Written
from processor.core.verdict import VERDICTS

log = structlog.get_logger(__name__)

#: a topic full of rubbish is not to fill the log too
REJECTIONS_TOLD = 5


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


def add_written(one: Written, more: Written) -> Written:
    """What two transactions did, as if it had been one."""
    numbers = {name: getattr(one, name) + getattr(more, name) for name in (*VERDICTS, "events", "dead_letters")}
    rejected = [*one.rejected_by_database, *more.rejected_by_database]
    return Written(**numbers, rejected_by_database=rejected, set_aside=[*one.set_aside, *more.set_aside])


def count_written(batch: Batch, written: Written) -> None:
    """One batch in the metrics; what was written may hold reports that were set aside before."""
    for result in VERDICTS:
        if number := getattr(written, result):
            metrics.REPORTS.labels(result).inc(number)
    metrics.EVENTS.inc(written.events)
    if batch.records:
        metrics.BATCH_REPORTS.observe(len(batch.reports))
    rejections = Counter(rejection.reason for rejection in (*batch.rejections, *written.rejected_by_database))
    for reason, number in rejections.items():
        metrics.REJECTIONS.labels(reason.value).inc(number)
    bent = Counter(field for report in batch.reports if report.bent for field in report.bent)
    for field, number in bent.items():
        metrics.BENT_FIELDS.labels(field).inc(number)
    if batch.reports:
        metrics.LATENCY_SECONDS.observe(max(0.0, time.time() - batch.reports[0].record.timestamp_ms / 1000))
