"""Cutting a stream into batches: bounded, in order, whole records, and nothing lost when partitions go away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.messages import Batch, Outcome, RawRecord, Reason, Rejection, TopicPartition, TrialReport
from processor.pipeline.batch import Accumulator, partitions_of, without

RECORD_COST = 200  # what a record counts beside its bytes
Place = tuple[int, int, int]  # partition, offset, index in the record
Stream = list[tuple[int, list[bool], int]]  # partition, whether each of its reports is good, bytes


def outcomes_of(record: RawRecord, good: Iterable[bool]) -> list[Outcome]:
    return [
        TrialReport(record, index, "run-1", f"t{index}", {}, 1)
        if fine
        else Rejection(record, index, Reason.NOT_JSON, "no")
        for index, fine in enumerate(good)
    ]


def raw(partition: int, offset: int, size: int = 0) -> RawRecord:
    return RawRecord("raw", partition, offset, 0, None, b"x" * size)


def fill(accumulator: Accumulator, stream: Stream) -> dict[TopicPartition, int]:
    """Adds the stream's records, offsets counting from 0 in each partition; the next offset of each."""
    ends: dict[TopicPartition, int] = defaultdict(int)
    for partition, good, size in stream:
        record = raw(partition, ends["raw", partition], size)
        ends["raw", partition] += 1
        accumulator.add(record, outcomes_of(record, good))
    return dict(ends)


def drain(accumulator: Accumulator) -> list[Batch]:
    batches = []
    while (batch := accumulator.take()) is not None:
        batches.append(batch)
    return batches


def places(items: Iterable[Outcome]) -> list[Place]:
    return [(item.record.partition, item.record.offset, item.index) for item in items]


def reports_in(batches: Iterable[Batch]) -> list[Place]:
    return [place for batch in batches for place in places(batch.reports)]


def rejections_in(batches: Iterable[Batch]) -> list[Place]:
    return [place for batch in batches for place in places(batch.rejections)]


STREAMS = st.lists(st.tuples(st.integers(0, 3), st.lists(st.booleans(), max_size=5), st.integers(0, 300)), max_size=40)


@given(STREAMS, st.integers(1, 12), st.integers(1, 3000))
def test_however_a_stream_is_cut_nothing_is_lost_doubled_or_reordered(
    stream: Stream, max_reports: int, max_bytes: int
) -> None:
    whole = Accumulator(10**9, 10**9)
    fill(whole, stream)
    cut = Accumulator(max_reports, max_bytes)
    ends = fill(cut, stream)
    expected, actual = drain(whole), drain(cut)
    assert reports_in(expected) == reports_in(actual)
    assert rejections_in(expected) == rejections_in(actual)
    assert len(stream) == sum(batch.records for batch in actual)
    last = {partition: end for batch in actual for partition, end in batch.next_offsets.items()}
    assert ends == last
    assert cut.empty


@given(STREAMS, st.integers(1, 12), st.integers(1, 3000))
def test_a_batch_is_bounded_by_reports_and_bytes_but_for_a_single_larger_record(
    stream: Stream, max_reports: int, max_bytes: int
) -> None:
    accumulator = Accumulator(max_reports, max_bytes)
    fill(accumulator, stream)
    for batch in drain(accumulator):
        if batch.records > 1:
            assert len(batch.reports) + len(batch.rejections) <= max_reports
            assert batch.records <= max_reports
            assert batch.bytes <= max_bytes


@given(STREAMS, st.integers(1, 12))
def test_a_record_is_never_split_and_its_batch_says_where_to_go_on(stream: Stream, max_reports: int) -> None:
    accumulator = Accumulator(max_reports, 10**9)
    fill(accumulator, stream)
    batches = drain(accumulator)
    seen: set[tuple[int, int]] = set()
    before: dict[TopicPartition, int] = defaultdict(int)
    for batch in batches:
        records = {place[:2] for place in [*places(batch.reports), *places(batch.rejections)]}
        assert seen.isdisjoint(records)
        seen |= records
        for partition, offset in records:
            assert before["raw", partition] <= offset < batch.next_offsets["raw", partition]
        before.update(batch.next_offsets)


@given(STREAMS, st.integers(1, 12), st.sets(st.integers(0, 3)))
def test_dropping_partitions_removes_them_and_nothing_else(stream: Stream, max_reports: int, gone: set[int]) -> None:
    accumulator, untouched = Accumulator(max_reports, 2000), Accumulator(max_reports, 2000)
    ends = fill(accumulator, stream)
    fill(untouched, stream)
    partitions = {("raw", partition) for partition in gone}
    accumulator.drop(partitions)
    expected, actual = drain(untouched), drain(accumulator)
    assert [place for place in reports_in(expected) if place[0] not in gone] == reports_in(actual)
    assert [place for place in rejections_in(expected) if place[0] not in gone] == rejections_in(actual)
    last = {partition: end for batch in actual for partition, end in batch.next_offsets.items()}
    assert {partition: end for partition, end in ends.items() if partition not in partitions} == last
    assert all(batch.next_offsets for batch in actual)


def test_a_partition_that_comes_back_after_it_was_dropped_begins_anew() -> None:
    accumulator = Accumulator(10, 10_000)
    fill(accumulator, [(0, [True], 0), (0, [True], 0)])
    accumulator.drop({("raw", 0)})
    fill(accumulator, [(0, [False], 0)])
    [batch] = drain(accumulator)
    assert (
        places(batch.reports),
        places(batch.rejections),
        batch.next_offsets,
    ) == ([], [(0, 0, 0)], {("raw", 0): 1})


def test_a_record_larger_than_a_batch_is_a_batch_of_its_own() -> None:
    accumulator = Accumulator(4, 10_000)
    fill(accumulator, [(0, [True], 0), (0, [True] * 9, 0), (0, [False], 20_000), (0, [True], 0)])
    expected = [[1, 0], [9, 0], [0, 1], [1, 0]]
    assert expected == [[len(batch.reports), len(batch.rejections)] for batch in drain(accumulator)]


@pytest.mark.parametrize(
    ("good", "size", "number"),
    [([], 0, 4), ([True], 0, 4), ([False, True], 0, 2), ([True], 2000 - RECORD_COST, 2), ([True], 5000, 1)],
)
def test_a_batch_is_full_when_one_more_such_record_would_not_fit(good: list[bool], size: int, number: int) -> None:
    accumulator = Accumulator(4, 4000)
    for added in range(number):
        assert not accumulator.full
        assert accumulator.empty == (added == 0)
        fill(accumulator, [(added, good, size)])
    assert accumulator.full
    accumulator.take()
    assert accumulator.empty


def test_what_is_not_full_yet_can_be_taken_all_the_same() -> None:
    accumulator = Accumulator(100, 10_000)
    assert accumulator.take() is None
    fill(accumulator, [(2, [], 5)])
    batch = accumulator.take()
    assert batch == Batch([], [], {("raw", 2): 1}, 1, RECORD_COST + 5)


def test_without_leaves_a_batch_alone_that_holds_none_of_the_partitions() -> None:
    accumulator = Accumulator(100, 10_000)
    fill(accumulator, [(0, [True], 0), (1, [True, False], 0)])
    [batch] = drain(accumulator)
    assert without(batch, {("raw", 5), ("other", 0)}) is batch
    less = without(batch, {("raw", 1), ("raw", 5)})
    assert ([(0, 0, 0)], [], {("raw", 0)}) == (places(less.reports), places(less.rejections), partitions_of(less))
    assert partitions_of(without(less, {("raw", 0)})) == set()


@pytest.mark.parametrize("held", [{"key": b"x" * 900}, {"headers": (("h", b"x" * 900),)}, {"value": b"x" * 900}])
def test_bytes_count_wherever_a_record_holds_them(held: dict[str, Any]) -> None:
    accumulator = Accumulator(1000, 4000)
    for offset in range(10):
        record = RawRecord("raw", 0, offset, 0, **{"key": None, "value": None, **held})
        accumulator.add(record, outcomes_of(record, [True]))
    batches = drain(accumulator)
    assert [batch.records for batch in batches] == [3, 3, 3, 1]
    assert max(batch.bytes for batch in batches) <= 4000
