"""Which records a window comes to: `FROM..TO`, and where it stands beside what the live group has read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from processor.core.errors import UsageError
from processor.core.numbers import LONG_MAX, read_count
from processor.core.settings import KafkaSettings
from processor.core.times import parse_datetime
from processor.kafka.offsets import GroupOffsets
from processor.kafka.ranges import Edge, Range


class Window(NamedTuple):
    """From `begin`, up to and without `end`."""

    begin: Edge
    end: Edge

    @property
    def name(self) -> str:
        """The same for the same window however it was written; part of the progress group's name."""
        return f"{_name(self.begin, 'start')}-{_name(self.end, 'end')}"


def _name(edge: Edge, when_open: str) -> str:
    if edge.kind == "open":
        return when_open
    if edge.kind == "offset":
        return str(edge.value)
    moment = datetime.fromtimestamp(edge.value // 1000, UTC)
    fraction = f".{edge.value % 1000:03d}" if edge.value % 1000 else ""
    return f"{moment:%Y%m%dT%H%M%S}{fraction}Z"


def parse_window(text: str) -> Window:
    """FROM..TO; a side of digits alone is an offset, any other an ISO 8601 time (UTC where it names no zone).

    Raises `UsageError`.
    """
    begin, dots, end = text.strip().partition("..")
    if not dots:
        raise UsageError(f"--window is FROM..TO (offsets or times, either side may be empty), not {text!r}")
    window = Window(_edge(begin), _edge(end))
    if window.begin.kind == window.end.kind and window.begin.value > window.end.value:
        raise UsageError(f"--window {text} ends before it begins")
    return window


def _edge(text: str) -> Edge:
    if not text:
        return Edge("open")
    if text.isascii() and text.isdigit():
        offset = read_count(text)
        return Edge("offset", LONG_MAX if offset is None else offset)
    try:
        return Edge("moment", max(0, parse_datetime(text)))
    except UsageError:
        raise UsageError(
            f"--window: {text!r} is neither an offset nor a date and time such as 2026-05-01T12:00:00Z"
        ) from None


def group_of(live_group: str, window: Window, only: Sequence[int] = ()) -> str:
    """The group that remembers how far a window (or these partitions of it) has been written."""
    scope = f"-p{'.'.join(map(str, sorted(set(only))))}" if only else ""
    return f"{live_group}-window-{window.name}{scope}"


def ahead_of_live(settings: KafkaSettings, topic: str, ranges: Sequence[Range]) -> list[str]:
    """Where the window begins beyond what the live group has read: what lies between will meet newer rows."""
    committed = GroupOffsets(settings, topic).committed([one.partition for one in ranges])
    return [
        f"partition {one.partition}: group {settings.group_id} is at {committed[one.partition]}, before the window; "
        "what it has yet to read of a trial that is in the window too will count as older, without an event"
        for one in ranges
        if one.size and committed.get(one.partition, one.begin) < one.begin
    ]


def up_to_live(
    settings: KafkaSettings, topic: str, ranges: Sequence[Range], *, fixed: bool
) -> tuple[list[Range], list[str]]:
    """The ranges cut where the live group has read to (an end that a person `fixed` stays), and a word on each cut.

    A group that has committed nothing at all cuts nothing: then window replays alone have filled the tables.
    """
    committed = GroupOffsets(settings, topic).committed([one.partition for one in ranges])
    kept, notes = [], []
    for one in ranges:
        read_to = max(one.begin, committed.get(one.partition, 0)) if committed else one.end
        if read_to < one.end:
            verb = "are compared all the same" if fixed else "are left out"
            notes.append(
                f"partition {one.partition}: {read_to}..{one.end}, which the live group has yet to read, {verb}"
            )
        kept.append(one if fixed or read_to >= one.end else one._replace(end=read_to))
    return kept, notes
