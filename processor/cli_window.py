"""`replay --window` and `verify`: wires source, pipeline and store together, and tells people about it.

Results go to stdout, progress and notes to stderr.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from processor.catalogue import Catalogue
from processor.checkpoints import arm
from processor.errors import ProcessorError
from processor.fold import Fold
from processor.forecast import Forecast, Forecaster
from processor.messages import Batch, Written
from processor.pipeline import Pipeline, Sink
from processor.service import make_decoder, make_event_writer, open_sink, open_store, stop_on_signals
from processor.settings import Settings
from processor.show_window import (
    check_format,
    findings_of,
    forecast_of,
    meter,
    show,
    summary_of,
    tell_notes,
)
from processor.store import Store, check_migrated
from processor.store.compare import Comparison
from processor.store.writer import VERDICTS
from processor.verify import Verification
from processor.window import Range, WindowSource, read
from processor.window_plan import WindowProgress, ahead_of_live, parse_window, plan_window, up_to_live

APPLICATION = "cerebros-window"


class Summary:
    """What a window replay did, added up over its writers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.results: Counter[str] = Counter()
        self.records = self.events = self.dead_letters = 0

    def add(self, batch: Batch, written: Written) -> None:
        with self._lock:
            self.results.update({verdict: getattr(written, verdict) for verdict in VERDICTS})
            self.results["rejected"] += len(batch.rejections) + len(written.rejected_by_database)
            self.records += batch.records
            self.events += written.events
            self.dead_letters += written.dead_letters


class CountedSink:
    """A sink that adds to a summary what it wrote."""

    def __init__(self, sink: Sink, summary: Summary) -> None:
        self._sink, self._summary = sink, summary

    def write(self, batch: Batch) -> Written:
        written = self._sink.write(batch)
        self._summary.add(batch, written)
        return written

    def close(self) -> None:
        self._sink.close()


def window_replay(
    settings: Settings,
    window: str,
    *,
    partitions: Sequence[int] = (),
    dry_run: bool = False,
    format_: str = "table",
    resume: bool = True,
) -> None:
    """Reads a window of the raw topic beside the live group, through the same pipeline, and prints a summary.

    Stopped or killed, the same call goes on where it was; once all is done the next one starts anew. `resume=False`
    starts anew at once. `dry_run` only says what would change. Raises `UsageError`; `ProcessorError` where it was
    stopped before the end, so that exit code 0 means that the whole window is done.
    """
    check_format(format_)
    parsed = parse_window(window)
    arm(settings.test_halt_at)
    with open_store(settings, APPLICATION) as store:
        check_migrated(store)
        ranges = plan_window(settings, parsed, partitions)
        tell_notes([one.note for one in ranges if one.note])
        if dry_run:
            document = foretell(settings, store, ranges)
            show(format_, document, lambda: forecast_of(window, document))
            return
    tell_notes(ahead_of_live(settings, ranges))
    progress = WindowProgress(settings, parsed, partitions)
    if not resume:
        progress.forget()
    document = replay_window(settings, progress.resume(ranges), progress)
    show(format_, document, lambda: summary_of(window, document))
    if not document["finished"]:
        raise ProcessorError(
            f"stopped at {document['done']:,} of {document['total']:,} records; the same command goes on from there "
            f"(until then group {progress.group} remembers it)"
        )


def replay_window(settings: Settings, ranges: Sequence[Range], progress: WindowProgress) -> dict[str, Any]:
    """Runs the ranges through the pipeline; when all is written the progress is forgotten."""
    total, before = sum(one.size for one in ranges), sum(one.at - one.begin for one in ranges)
    if before:
        tell_notes([f"resumed: {before:,} of {total:,} records were done before"])
    catalogue, summary = Catalogue.load(settings.schemas_dir), Summary()
    decoder, event_writer = make_decoder(settings, catalogue), make_event_writer(settings, catalogue)
    with meter("replay", total) as tell:
        tell(before)
        source = WindowSource(settings, ranges, progress_group=progress.group, tell=tell)
        try:
            pipeline = Pipeline(
                source,
                decoder.each,
                lambda: CountedSink(open_sink(settings, event_writer, APPLICATION), summary),
                lanes=settings.writers,
                max_reports=settings.batch_max_records,
                max_bytes=settings.batch_bytes,
                shutdown_s=settings.shutdown_timeout_ms / 1000,
            )
            stop_on_signals(pipeline.stop)
            pipeline.run()
        finally:
            source.close()
    if source.finished:
        progress.forget()
    tell_notes(source.notes)
    return {
        "finished": source.finished,
        "group": progress.group,
        **described(ranges, source),
        "records": summary.records,
        "results": {name: summary.results[name] for name in (*VERDICTS, "rejected")},
        "events": summary.events,
        "new_dead_letters": summary.dead_letters,
    }


def described(ranges: Sequence[Range], source: WindowSource) -> dict[str, Any]:
    return {
        "done": source.done,
        "total": sum(one.size for one in ranges),
        "partitions": [one._asdict() for one in ranges],
        "notes": [*(one.note for one in ranges if one.note), *source.notes],
    }


def foretell(settings: Settings, store: Store, ranges: Sequence[Range]) -> dict[str, Any]:
    """What the replay would do; nothing is written, neither rows nor offsets."""
    decoder = make_decoder(settings, Catalogue.load(settings.schemas_dir))
    with Fold() as fold, reading(settings, ranges, "dry run") as source:
        forecaster = Forecaster(Comparison(store), fold, decoder, create_runs=settings.unknown_run == "create")
        for records in read(source):
            forecaster.take(records)
        forecast: Forecast = forecaster.forecast
        return {
            **described(ranges, source),
            "records": forecast.records,
            "rows_to_change": forecast.new_rows + forecast.changed_rows,
            "new_rows": forecast.new_rows,
            "changed_rows": forecast.changed_rows,
            "results": {name: forecast.results[name] for name in (*VERDICTS, "rejected")},
            "events": forecast.events,
            "new_dead_letters": forecast.dead_letters,
            "changes": [change._asdict() for change in forecast.shown],
        }


def verify(
    settings: Settings, *, window: str | None = None, partitions: Sequence[int] = (), format_: str = "table"
) -> None:
    """Compares the raw topic with the tables and prints what differs; writes nothing.

    Without a window: all that is in the topic and that the live group has read. Raises `ProcessorError` where
    anything differs, `UsageError`.
    """
    check_format(format_)
    parsed = parse_window(window or "..")
    with open_store(settings, "cerebros-verify") as store:
        check_migrated(store)
        ranges = plan_window(settings, parsed, partitions)
        ranges, unread = up_to_live(settings, ranges, fixed=parsed.end.kind != "open")
        tell_notes([*(one.note for one in ranges if one.note), *unread])
        document = compare_all(settings, store, ranges, whole=not partitions)
    document["notes"] += unread
    show(format_, document, lambda: findings_of(settings.raw_topic, document))
    if document["differences"]:
        raise ProcessorError(f"{document['differences']:,} differences between {settings.raw_topic} and {store.where}")


def compare_all(settings: Settings, store: Store, ranges: Sequence[Range], *, whole: bool) -> dict[str, Any]:
    """What differs in these ranges; `whole` where they cover every partition."""
    decoder = make_decoder(settings, Catalogue.load(settings.schemas_dir))
    with Fold() as fold, reading(settings, ranges, "verify") as source:
        verification = Verification(Comparison(store), fold, decoder, settings.raw_topic, ranges)
        for records in read(source):
            verification.take(records)
        whole = whole and not source.notes and all(one.begin == 0 for one in ranges)
        findings = verification.settle(whole_history=whole)
        tell_notes(source.notes)
        return {
            **described(ranges, source),
            "revisions_compared": whole,
            **{name: getattr(findings, name) for name in ("records", "reports", "rejections", "trials", "newer")},
            "differences": findings.kinds.total(),
            "kinds": dict(findings.kinds),
            "shown": [one._asdict() for one in findings.shown],
        }


@contextmanager
def reading(settings: Settings, ranges: Sequence[Range], what: str) -> Iterator[WindowSource]:
    """A source that leaves no trace, under a meter."""
    with meter(what, sum(one.size for one in ranges)) as tell:
        source = WindowSource(settings, ranges, tell=tell)
        try:
            yield source
        finally:
            source.close()
