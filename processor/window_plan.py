"""Which records a window comes to, `FROM..TO` -> a range of offsets a partition, and how far it has been written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from processor.errors import SetupError, UsageError
from processor.kafka import client_properties, translate
from processor.replay import TIMEOUT_SECONDS, GroupOffsets, parse_datetime
from processor.settings import Settings
from processor.window import Range, open_consumer

AFTER_ALL = -1


class Edge(NamedTuple):
    """One side of a window; `value` is an offset, or milliseconds since the epoch."""

    kind: Literal["open", "offset", "moment"]
    value: int = 0


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
        return Edge("offset", min(int(text), 2**63 - 1))
    try:
        return Edge("moment", max(0, parse_datetime(text)))
    except UsageError:
        raise UsageError(
            f"--window: {text!r} is neither an offset nor a date and time such as 2026-05-01T12:00:00Z"
        ) from None


def clamp_range(partition: int, holds: tuple[int, int], wanted: tuple[int, int]) -> Range:
    """The part of the wanted offsets that the partition holds (first, end), and a word where that is less."""
    first, end = holds
    begin = min(max(wanted[0], first), end)
    stop = max(begin, min(wanted[1], end))
    what = f"{begin}..{stop} is read" if begin < stop else "nothing is read"
    note = "" if (begin, stop) == wanted else f"partition {partition} holds {first}..{end}: {what}"
    return Range(partition, begin, stop, begin, note)


def plan_window(settings: Settings, window: Window, only: Sequence[int] = ()) -> list[Range]:
    """The range of each partition (or of `only` these), fixed now. Raises `UsageError` for a partition there is not."""
    where, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    consumer = open_consumer(settings, f"{settings.group_id}-reader")
    try:
        found = consumer.list_topics(timeout=TIMEOUT_SECONDS).topics.get(topic)
        if found is None or found.error is not None:
            raise SetupError(f"Kafka at {where} has no topic {topic}: run `processor topics create`")
        there = sorted(found.partitions)
        if unknown := sorted(set(only) - set(there)):
            raise UsageError(f"no partition {', '.join(map(str, unknown))}; there are {', '.join(map(str, there))}")
        chosen = [one for one in there if not only or one in only]
        begins, ends = (_offsets_at(consumer, topic, chosen, edge) for edge in window)
        ranges = []
        for one in chosen:
            # the end that a read_committed reader can reach: records of an open transaction are not yet there
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, one), TIMEOUT_SECONDS, cached=False)
            begin, stop = (end if at == AFTER_ALL else at for at in (begins.get(one, first), ends.get(one, end)))
            ranges.append(clamp_range(one, (first, end), (begin, stop)))
        return ranges
    except KafkaException as error:
        raise translate(error, where) from error
    finally:
        consumer.close()


def _offsets_at(consumer: Consumer, topic: str, partitions: Sequence[int], edge: Edge) -> dict[int, int]:
    """The edge as offsets, `AFTER_ALL` for a time later than every record; nothing where the edge is open."""
    if edge.kind == "open":
        return {}
    if edge.kind == "offset":
        return dict.fromkeys(partitions, edge.value)
    wanted = [TopicPartition(topic, one, edge.value) for one in partitions]
    found = consumer.offsets_for_times(wanted, TIMEOUT_SECONDS)
    _raise_first_error(found)
    return {one.partition: one.offset if one.offset >= 0 else AFTER_ALL for one in found}


def _raise_first_error(answers: Sequence[TopicPartition]) -> None:
    for one in answers:
        if one.error is not None:
            raise KafkaException(one.error)


def ahead_of_live(settings: Settings, ranges: Sequence[Range]) -> list[str]:
    """Where the window begins beyond what the live group has read: what lies between will meet newer rows."""
    committed = GroupOffsets(settings).committed([one.partition for one in ranges])
    return [
        f"partition {one.partition}: group {settings.group_id} is at {committed[one.partition]}, before the window; "
        "what it has yet to read of a trial that is in the window too will count as older, without an event"
        for one in ranges
        if one.size and committed.get(one.partition, one.begin) < one.begin
    ]


def up_to_live(settings: Settings, ranges: Sequence[Range], *, fixed: bool) -> tuple[list[Range], list[str]]:
    """The ranges cut where the live group has read to (an end that a person `fixed` stays), and a word on each cut.

    A group that has committed nothing at all cuts nothing: then window replays alone have filled the tables.
    """
    committed = GroupOffsets(settings).committed([one.partition for one in ranges])
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


class WindowProgress:
    """How far a window has been written: the committed offsets of a group of its own."""

    def __init__(self, settings: Settings, window: Window, only: Sequence[int] = ()) -> None:
        self._settings = settings
        scope = f"-p{'.'.join(map(str, sorted(set(only))))}" if only else ""
        self.group = f"{settings.group_id}-window-{window.name}{scope}"

    def resume(self, ranges: Sequence[Range]) -> list[Range]:
        """The ranges, each `at` where the last run left it."""
        consumer = open_consumer(self._settings, self.group)
        try:
            wanted = [TopicPartition(self._settings.raw_topic, one.partition) for one in ranges]
            found = consumer.committed(wanted, TIMEOUT_SECONDS)
            _raise_first_error(found)
        except KafkaException as error:
            raise translate(error, self._settings.kafka_bootstrap_servers) from error
        finally:
            consumer.close()
        done = {one.partition: one.offset for one in found}
        return [one._replace(at=min(max(done[one.partition], one.begin), one.end)) for one in ranges]

    def forget(self) -> None:
        """Deletes the group, so that the same window starts anew."""
        admin = AdminClient(client_properties(self._settings))
        try:
            admin.delete_consumer_groups([self.group], request_timeout=TIMEOUT_SECONDS)[self.group].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise translate(error, self._settings.kafka_bootstrap_servers) from error
