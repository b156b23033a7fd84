"""The plan of an offset reset: which offsets the live group would start from. The writing makes any replay harmless.

The options are those of Kafka's own `kafka-consumer-groups --reset-offsets`, so that a person knows them already.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from processor.core.errors import UsageError
from processor.kafka.offsets import Bounds, GroupOffsets

Choice = Callable[[GroupOffsets, dict[int, Bounds]], dict[int, int]]


class Move(NamedTuple):
    """One line of the plan."""

    partition: int
    current: int | None
    target: int
    latest: int
    note: str = ""

    @property
    def records(self) -> int:
        """How many records will be read again (or for the first time)."""
        return max(0, self.latest - self.target)


def read_plan_file(path: Path, topic: str) -> dict[int, int]:
    """Lines `topic,partition,offset`, as `kafka-consumer-groups --export` writes them. Raises `UsageError`."""
    targets: dict[int, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or row[0].startswith("#"):
                    continue
                try:
                    name, partition, offset = row[0].strip().strip('"'), int(row[-2]), int(row[-1])
                except (ValueError, IndexError):
                    raise UsageError(f"{path}, line {number}: want topic,partition,offset") from None
                if name != topic:
                    raise UsageError(f"{path}, line {number}: topic {name} is not the raw topic {topic}")
                targets[partition] = offset
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}") from None
    if not targets:
        raise UsageError(f"{path} holds no line topic,partition,offset")
    return targets


def clamp(partition: int, bounds: Bounds, wanted: int) -> Move:
    """The nearest offset that the partition holds, and a word where that is not the wanted one."""
    target = min(max(wanted, bounds.earliest), bounds.latest)
    note = "" if target == wanted else f"{wanted} is out of range {bounds.earliest}..{bounds.latest}: clamped"
    return Move(partition, bounds.current, target, bounds.latest, note)


def plan_reset(
    group: GroupOffsets,
    choose: Choice,
    only: Sequence[int] = (),
) -> list[Move]:
    """The moves that `choose` (bounds by partition -> wanted offsets) comes to, for all partitions or `only` these."""
    bounds = group.bounds()
    unknown = set(only) - set(bounds)
    known = ", ".join(map(str, bounds))
    if unknown:
        raise UsageError(f"no partition {', '.join(map(str, sorted(unknown)))}; there are {known}")
    chosen = {partition: bound for partition, bound in bounds.items() if not only or partition in only}
    wanted = choose(group, chosen)
    strange = set(wanted) - set(bounds)
    if strange:
        raise UsageError(f"the file names partition {', '.join(map(str, sorted(strange)))}; there are {known}")
    return [
        clamp(partition, chosen[partition], wanted[partition]) for partition in sorted(chosen) if partition in wanted
    ]


def to_earliest(_: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
    return {partition: bound.earliest for partition, bound in bounds.items()}


def to_latest(_: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
    return {partition: bound.latest for partition, bound in bounds.items()}


def to_offset(offset: int) -> Choice:
    return lambda _, bounds: dict.fromkeys(bounds, offset)


def shift_by(number: int) -> Choice:
    """Relative to where the group stands; to where it would begin if it never committed."""
    return lambda _, bounds: {
        partition: (bound.earliest if bound.current is None else bound.current) + number
        for partition, bound in bounds.items()
    }


def to_timestamp(timestamp_ms: int) -> Choice:
    """The first record that is not older; the end where there is none."""

    def choose(group: GroupOffsets, bounds: dict[int, Bounds]) -> dict[int, int]:
        found = group.at_time(bounds, timestamp_ms)
        return {one: found[one] if found[one] >= 0 else bounds[one].latest for one in bounds}

    return choose


def from_file(targets: dict[int, int]) -> Choice:
    return lambda _, __: targets
