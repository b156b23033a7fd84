"""The plan of an offset reset: what each option comes to, and what is refused or clamped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import UsageError
from processor.core.times import parse_datetime, parse_duration
from processor.kafka.offsets import Bounds
from processor.replay import reset
from processor.replay.reset import Choice, Move, clamp, plan_reset, read_plan_file

BOUNDS = {0: Bounds(10, 100, 50), 1: Bounds(0, 5, None), 2: Bounds(7, 7, 7)}


class Group:
    """Stands in for the admin interface: bounds, and where the timestamps lead."""

    def __init__(self, at: dict[int, int] | None = None) -> None:
        self._at = at or {}

    def bounds(self) -> dict[int, Bounds]:
        return BOUNDS

    def at_time(self, partitions: Any, timestamp_ms: int) -> dict[int, int]:
        return {partition: self._at[partition] for partition in partitions}


def targets(choice: Choice, only: tuple[int, ...] = (), at: dict[int, int] | None = None) -> dict[int, int]:
    group: Any = Group(at)
    return {move.partition: move.target for move in plan_reset(group, choice, only)}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (reset.to_earliest, {0: 10, 1: 0, 2: 7}),
        (reset.to_latest, {0: 100, 1: 5, 2: 7}),
        (reset.to_offset(3), {0: 10, 1: 3, 2: 7}),
        (reset.shift_by(-20), {0: 30, 1: 0, 2: 7}),
        (reset.shift_by(2), {0: 52, 1: 2, 2: 7}),
        (reset.from_file({1: 4}), {1: 4}),
    ],
)
def test_each_way_to_choose_offsets_stays_within_what_the_partitions_hold(
    choice: Choice, expected: dict[int, int]
) -> None:
    assert expected == targets(choice)


def test_a_moment_after_the_last_record_leads_to_the_end() -> None:
    assert targets(reset.to_timestamp(1), at={0: 60, 1: -1, 2: -1}) == {0: 60, 1: 5, 2: 7}


def test_only_the_named_partitions_are_moved() -> None:
    assert targets(reset.to_earliest, (0, 2)) == {0: 10, 2: 7}


def test_a_partition_that_is_not_there_is_refused_by_number() -> None:
    with pytest.raises(UsageError, match="no partition 3, 4; there are 0, 1, 2"):
        targets(reset.to_earliest, (0, 3, 4))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(-99, 199))
def test_a_target_out_of_range_is_clamped_and_said_so(earliest: int, size: int, wanted: int) -> None:
    latest = earliest + size
    move = clamp(1, Bounds(earliest, latest, None), wanted)
    assert earliest <= move.target <= latest
    assert (move.note == "") == (move.target == wanted)
    if move.note:
        assert f"{wanted} is out of range {earliest}..{latest}" in move.note
        assert move.target in (earliest, latest)
    assert move.records == latest - move.target


def test_a_move_past_the_end_reads_nothing_again() -> None:
    assert Move(0, None, 9, 5).records == 0


@given(st.integers(1_262_304_000_000, 2_114_380_800_000), st.sampled_from([None, "Z", "+05:30", "-11:00"]))
def test_a_moment_is_read_to_the_millisecond_and_as_utc_without_a_zone(milliseconds: int, zone: str | None) -> None:
    hours, minutes = {None: (0, 0), "Z": (0, 0), "+05:30": (5, 30), "-11:00": (-11, 0)}[zone]
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds, hours=hours, minutes=minutes)
    text = local.replace(tzinfo=None).isoformat(timespec="milliseconds") + (zone or "")
    assert milliseconds == parse_datetime(text)


@pytest.mark.parametrize(("text", "expected"), [("2026-05-01", 1_777_593_600_000), ("1960-01-01T00:00:00Z", 0)])
def test_a_day_alone_is_its_begin_and_nothing_is_before_1970(text: str, expected: int) -> None:
    assert expected == parse_datetime(text)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "12:00", "1714564800000ms"])
def test_what_is_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="2026-05-01T12:00:00Z"):
        parse_datetime(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P1D", timedelta(days=1)),
        ("PT2H30M", timedelta(hours=2, minutes=30)),
        ("P1W2DT3H4M5S", timedelta(weeks=1, days=2, hours=3, minutes=4, seconds=5)),
        ("pt90s", timedelta(seconds=90)),
        ("PT0S", timedelta()),
    ],
)
def test_a_duration_is_read_as_iso_8601(text: str, expected: timedelta) -> None:
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["", "P", "PT", "1D", "P1Y", "P1M", "-P1D", "P1.5D", "P1D PT1H", "P999999999999W"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"PT2H30M|too long ago"):
        parse_duration(text)


def plan_file(folder: Path, text: str) -> Path:
    file = folder / "offsets.csv"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    "text",
    ["raw,0,5\nraw,1,7\n", '"raw",0,5\n\n# a comment\n"raw",1,7', "raw, 0, 5\r\nraw, 1, 7\r\n"],
)
def test_a_file_as_kafkas_own_tool_exports_it_is_read(text: str, tmp_path: Path) -> None:
    assert read_plan_file(plan_file(tmp_path, text), "raw") == {0: 5, 1: 7}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raw,0,5\nraw,x,7\n", "line 2: want topic,partition,offset"),
        ("raw\n", "line 1: want topic,partition,offset"),
        ("other,0,5\n", "line 1: topic other is not the raw topic raw"),
        ("", "holds no line"),
        ("# nothing\n", "holds no line"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        read_plan_file(plan_file(tmp_path, text), "raw")


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe")
    for name in ("missing.csv", "bytes.csv"):
        with pytest.raises(UsageError, match=name):
            read_plan_file(tmp_path / name, "raw")


def test_a_file_that_names_a_partition_which_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"partition 9; there are 0, 1, 2"):
        targets(reset.from_file({1: 4, 9: 4}))


@pytest.mark.parametrize(("current", "lag"), [(None, 90), (10, 90), (60, 40), (3, 90), (100, 0), (4711, 0)])
def test_lag_counts_what_can_still_be_read(current: int | None, lag: int) -> None:
    """Not what retention deleted, and not less than nothing where the topic was made anew."""
    assert Bounds(10, 100, current).lag == lag
