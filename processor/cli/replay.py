"""`processor replay` and `processor verify`: the past once more, written or only compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from processor.cli.context import load
from processor.cli.output import Format, check_format, meter, show, tell_notes
from processor.core.errors import ProcessorError, UsageError
from processor.core.times import before_now, parse_datetime

if TYPE_CHECKING:
    from processor.replay.reset import Choice

Window = Annotated[
    str | None,
    typer.Option(
        "--window", help="offsets or ISO 8601 moments, TO exclusive, either side may be empty", metavar="FROM..TO"
    ),
]
Partition = Annotated[list[int] | None, typer.Option(help="only this partition; may be given again")]


def replay(
    earliest: Annotated[bool, typer.Option("--to-earliest", help="from the first record")] = False,
    latest: Annotated[bool, typer.Option("--to-latest", help="skip everything there is")] = False,
    moment: Annotated[
        str | None, typer.Option("--to-datetime", help="from the first record not older than this", metavar="ISO8601")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--by-duration", help="from this long ago, such as PT2H", metavar="ISO8601")
    ] = None,
    shift: Annotated[int | None, typer.Option("--shift-by", help="N records forward, -N back")] = None,
    offset: Annotated[int | None, typer.Option("--to-offset", help="from this offset")] = None,
    file: Annotated[
        Path | None, typer.Option("--from-file", help="lines topic,partition,offset as Kafka's own tool exports them")
    ] = None,
    window: Window = None,
    partition: Partition = None,
    execute: Annotated[bool, typer.Option("--execute", help="reset the offsets; without this only the plan")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="with --window: say what would change")] = False,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="with --window: go on where the same command stopped, or anew")
    ] = True,
    format_: Format = "table",
) -> None:
    """Read a part of the raw topic again. Rows and events stay as they are.

    With --to-..., --by-duration, --shift-by or --from-file the live group's offsets are reset (no ingest may run) and
    the next ingest reads from there. With --window the range is read at once, beside a running ingest whose offsets
    are not touched; stopped, the same command goes on where it was.
    """
    choices = (earliest or None, latest or None, moment, duration, shift, offset, file, window)
    if sum(choice is not None for choice in choices) != 1:
        raise UsageError(
            "say exactly one of --to-earliest --to-latest --to-datetime --by-duration --shift-by --to-offset "
            "--from-file --window"
        )
    if window is not None and execute:
        raise UsageError("--window needs no --execute; --dry-run says what it would do")
    if window is None and (dry_run or not resume):
        raise UsageError("--dry-run and --no-resume go with --window; without --execute a reset is only planned")
    check_format(format_)
    if window is not None:
        _replay_window(window, partition or (), dry_run, format_, resume)
    else:
        way = Way(earliest, moment, duration, shift, offset, file)
        _reset(way, partition or (), execute, format_)


class Way(NamedTuple):
    """Where a reset shall start from: one of these, or the end."""

    earliest: bool
    moment: str | None
    duration: str | None
    shift: int | None
    offset: int | None
    file: Path | None


def _reset(way: Way, partitions: Sequence[int], execute: bool, format_: str) -> None:
    from processor.cli.tables import plan_table
    from processor.core.settings import TopicSettings
    from processor.kafka.offsets import GroupOffsets
    from processor.replay.reset import plan_reset
    from processor.service.windows import compacted_note

    settings = load(TopicSettings, "replay")
    tell_notes(compacted_note(settings))
    group = GroupOffsets(settings, settings.raw_topic)
    plan = plan_reset(group, _choice(way, settings.raw_topic), partitions)
    rows = [{**move._asdict(), "records": move.records} for move in plan]
    if execute:
        group.move({move.partition: move.target for move in plan})
    show(format_, rows, lambda: [plan_table(settings, rows, execute)])


def _choice(way: Way, topic: str) -> Choice:
    from processor.replay import reset

    if way.earliest:
        return reset.to_earliest
    if way.moment is not None:
        return reset.to_timestamp(parse_datetime(way.moment))
    if way.duration is not None:
        return reset.to_timestamp(before_now(way.duration))
    if way.shift is not None:
        return reset.shift_by(way.shift)
    if way.offset is not None:
        return reset.to_offset(way.offset)
    if way.file is not None:
        return reset.from_file(reset.read_plan_file(way.file, topic))
    return reset.to_latest


def _replay_window(window: str, partitions: Sequence[int], dry_run: bool, format_: str, resume: bool) -> None:
    """Raises `ProcessorError` where it was stopped before the end: exit code 0 means that the whole window is done."""
    from processor.cli.tables_windows import forecast_of, summary_of
    from processor.core.settings import PipelineSettings
    from processor.service.windows import Teller, foretell_window, replay_window

    settings, teller = load(PipelineSettings, "replay"), Teller(tell_notes, meter)
    if dry_run:
        document = foretell_window(settings, window, partitions, teller)
        show(format_, document, lambda: forecast_of(window, document))
        return
    document = replay_window(settings, window, partitions, teller, resume=resume)
    show(format_, document, lambda: summary_of(window, document))
    if not document["finished"]:
        raise ProcessorError(
            f"stopped at {document['done']:,} of {document['total']:,} records; the same command goes on from there "
            f"(until then group {document['group']} remembers it)"
        )


def verify(window: Window = None, partition: Partition = None, format_: Format = "table") -> None:
    """Compare the raw topic with the tables. It writes nothing, needs little memory, and exits 1 where they differ."""
    check_format(format_)
    from processor.cli.tables_windows import findings_of
    from processor.core.settings import PipelineSettings
    from processor.service import windows
    from processor.store.errors import place

    settings = load(PipelineSettings, "verify")
    document = windows.verify(settings, window, partition or (), windows.Teller(tell_notes, meter))
    show(format_, document, lambda: findings_of(settings.raw_topic, document))
    if document["differences"]:
        where = place(settings.database_url.get_secret_value())
        raise ProcessorError(f"{document['differences']:,} differences between {settings.raw_topic} and {where}")
    if document["lost_input"]:
        raise ProcessorError(f"{settings.raw_topic} no longer holds all that the group should read; see the notes")
