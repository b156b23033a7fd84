"""`replay --window`, its dry run, and `verify`: source, pipeline and store wired together for one pass over a range."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from processor.contracts.catalogue import Catalogue
from processor.core.checkpoints import arm
from processor.core.messages import Batch, Written
from processor.core.settings import PipelineSettings, TopicSettings
from processor.core.stopping import stop_on_signals
from processor.core.verdict import VERDICTS
from processor.kafka.offsets import GroupOffsets
from processor.kafka.range_source import RangeSource, read
from processor.kafka.ranges import Progress, Range, find_ranges
from processor.kafka.topics import compaction_warning, is_compacted
from processor.replay.fold import Fold
from processor.replay.forecast import Forecaster
from processor.replay.verify import Difference, Verification
from processor.replay.windows import Window, ahead_of_live, group_of, parse_window, up_to_live
from processor.service.pipeline import make_pipeline
from processor.service.wiring import make_decoder, make_event_writer, open_migrated
from processor.store.compare import Comparison
from processor.store.counts import counts_missed
from processor.store.life_tables import LifeTables
from processor.store.parts import missing_parts
from processor.store.session import Session

APPLICATION = "cerebros-window"
#: of what a verification saw
_COUNTED = ("records", "reports", "rejections", "trials", "runs", "progress", "newer")


class Teller(NamedTuple):
    """How a person hears of it meanwhile: sentences, and a meter that is told how many records are done."""

    notes: Callable[[Sequence[str]], None]
    meter: Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


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


def replay_window(
    settings: PipelineSettings, window: str, partitions: Sequence[int], teller: Teller, *, resume: bool = True
) -> dict[str, Any]:
    """Reads a window of the raw topic beside the live group, through the same pipeline; what it came to.

    Stopped or killed, the same call goes on where it was; once all is done the next one starts anew. `resume=False`
    starts anew at once. `finished` of the document says whether the whole window is done. Raises `UsageError`.
    """
    parsed = parse_window(window)
    arm(settings.test_halt_at)
    with open_migrated(settings, APPLICATION):
        pass
    ranges = _find(settings, parsed, partitions, teller)
    teller.notes(ahead_of_live(settings, settings.raw_topic, ranges))
    progress = Progress(settings, settings.raw_topic, group_of(settings.group_id, parsed, partitions))
    if not resume:
        progress.forget()
    return _replay(settings, progress.resume(ranges), progress, teller)


def _find(settings: PipelineSettings, window: Window, partitions: Sequence[int], teller: Teller) -> list[Range]:
    ranges = find_ranges(settings, settings.raw_topic, window, partitions)
    teller.notes([*(one.note for one in ranges if one.note), *compacted_note(settings)])
    return ranges


def compacted_note(settings: TopicSettings) -> list[str]:
    """What to say of a raw topic that is compacted: it lacks history, and holds fewer records than offsets."""
    return [compaction_warning(settings.raw_topic)] if is_compacted(settings, settings.raw_topic) else []


def _replay(settings: PipelineSettings, ranges: Sequence[Range], progress: Progress, teller: Teller) -> dict[str, Any]:
    """Runs the ranges through the pipeline; when all is written the progress is forgotten."""
    total, before = sum(one.size for one in ranges), sum(one.at - one.begin for one in ranges)
    if before:
        teller.notes([f"resumed: {before:,} of {total:,} records were done before"])
    catalogue, summary = Catalogue.load(settings.schemas_dir), Summary()
    decoder, event_writer = make_decoder(settings, catalogue), make_event_writer(settings, catalogue)
    with stop_on_signals() as stop, teller.meter("replay", total) as tell:
        tell(before)
        source = RangeSource(settings, settings.raw_topic, ranges, progress_group=progress.group, tell=tell)
        try:
            pipeline = make_pipeline(
                settings, source, decoder, event_writer, APPLICATION, stop=stop, on_written=summary.add
            )
            pipeline.run()
        finally:
            source.close()
    if source.finished:
        progress.forget()
    teller.notes(source.notes)
    return {
        "finished": source.finished,
        "group": progress.group,
        **_described(ranges, source),
        "records": summary.records,
        "results": {name: summary.results[name] for name in (*VERDICTS, "rejected")},
        "events": summary.events,
        "new_dead_letters": summary.dead_letters,
    }


def _described(ranges: Sequence[Range], source: RangeSource) -> dict[str, Any]:
    return {
        "done": source.done,
        "total": sum(one.size for one in ranges),
        "partitions": [one._asdict() for one in ranges],
        "notes": [*(one.note for one in ranges if one.note), *source.notes],
    }


def foretell_window(
    settings: PipelineSettings, window: str, partitions: Sequence[int], teller: Teller
) -> dict[str, Any]:
    """What the replay would do; nothing is written, neither rows nor offsets."""
    parsed = parse_window(window)
    with open_migrated(settings, APPLICATION) as store:
        ranges = _find(settings, parsed, partitions, teller)
        decoder = make_decoder(settings, Catalogue.load(settings.schemas_dir))
        with Fold() as fold, _reading(settings, ranges, "dry run", teller) as source:
            create_runs = settings.unknown_run == "create"
            forecaster = Forecaster(Comparison(store), LifeTables(store), fold, decoder, create_runs=create_runs)
            for records in read(source):
                forecaster.take(records)
            forecast = forecaster.forecast
            return {
                **_described(ranges, source),
                "records": forecast.records,
                "rows_to_change": forecast.new_rows + forecast.changed_rows,
                "new_rows": forecast.new_rows,
                "changed_rows": forecast.changed_rows,
                "results": {name: forecast.results[name] for name in (*VERDICTS, "rejected")},
                "events": forecast.events,
                "new_dead_letters": forecast.dead_letters,
                "changes": [change._asdict() for change in forecast.shown],
            }


def verify(settings: PipelineSettings, window: str | None, partitions: Sequence[int], teller: Teller) -> dict[str, Any]:
    """Compares the raw topic with the tables; what differs, and what of the input Kafka lost. Writes nothing.

    Without a window: all that is in the topic and that the live group has read. Raises `UsageError`.
    """
    parsed = parse_window(window or "..")
    with open_migrated(settings, "cerebros-verify") as store:
        ranges = find_ranges(settings, settings.raw_topic, parsed, partitions)
        fixed = parsed.end.kind != "open"
        ranges, unread = up_to_live(settings, settings.raw_topic, ranges, fixed=fixed)
        gone = GroupOffsets(settings, settings.raw_topic).troubles(partitions)
        compacted = compacted_note(settings)
        teller.notes([*(one.note for one in ranges if one.note), *unread, *gone, *compacted])
        document = _compare(settings, store, ranges, teller, whole=not partitions and not compacted)
        return {**document, "notes": [*document["notes"], *unread, *gone, *compacted], "lost_input": gone}


def _compare(
    settings: PipelineSettings, store: Session, ranges: Sequence[Range], teller: Teller, *, whole: bool
) -> dict[str, Any]:
    """What differs in these ranges; `whole` where they cover every partition."""
    decoder = make_decoder(settings, Catalogue.load(settings.schemas_dir))
    with Fold() as fold, _reading(settings, ranges, "verify", teller) as source:
        tables = LifeTables(store)
        verification = Verification(Comparison(store), tables, fold, decoder, settings.raw_topic, ranges)
        for records in read(source):
            verification.take(records)
        whole = whole and not source.notes and all(one.begin == 0 for one in ranges)
        findings = verification.settle(whole_history=whole)
        for part in missing_parts(store):
            gone = f"a migration made it and it is gone: {part}; `processor migrate --mend` makes it again"
            findings.add(Difference("database", "", "", -1, -1, gone))
        for one in counts_missed(store):
            findings.add(Difference("count", one["run_id"], "", -1, -1, f"counted trials: {one['detail']}"))
        teller.notes(source.notes)
        return {
            **_described(ranges, source),
            "revisions_compared": whole,
            **{name: getattr(findings, name) for name in _COUNTED},
            "differences": findings.kinds.total(),
            "kinds": dict(findings.kinds),
            "shown": [one._asdict() for one in findings.shown],
        }


@contextmanager
def _reading(settings: PipelineSettings, ranges: Sequence[Range], what: str, teller: Teller) -> Iterator[RangeSource]:
    """A source that leaves no trace, under a meter."""
    with teller.meter(what, sum(one.size for one in ranges)) as tell:
        source = RangeSource(settings, settings.raw_topic, ranges, tell=tell)
        try:
            yield source
        finally:
            source.close()
