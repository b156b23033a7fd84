"""What a poll brings: bounded in bytes whatever records hold, and nothing of partitions that went away meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from processor.core import metrics
from processor.core.messages import RawRecord
from processor.kafka import records
from processor.kafka.intake import POLL_BYTES, PORTION, Intake

LARGE = 1_000_000


class FakeMessage:
    """As confluent-kafka gives it; `headers` may be an exception that it raises."""

    def __init__(
        self,
        offset: int = 0,
        *,
        key: bytes | None = None,
        value: bytes | None = b"",
        headers: Any = None,
        timestamp_ms: int = 1_700_000_000_000,
    ) -> None:
        self._place, self._key, self._value, self._headers = (0, offset), key, value, headers
        self._timestamp_ms = timestamp_ms

    def error(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, self._timestamp_ms)

    def topic(self) -> str:
        return "raw"

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers


class FakeConsumer:
    """A queue of messages; `before_portion` is called whenever the client is asked for more."""

    def __init__(self, messages: Sequence[FakeMessage], before_portion: Callable[[], None] = lambda: None) -> None:
        self.queue, self._before = deque(messages), before_portion

    def poll(self, _timeout_s: float) -> FakeMessage | None:
        return self.queue.popleft() if self.queue else None

    def consume(self, number: int, _timeout_s: float) -> list[FakeMessage]:
        self._before()
        return [self.queue.popleft() for _ in range(min(number, len(self.queue)))]


def intake_of(consumer: FakeConsumer) -> Intake:
    return Intake(consumer, lambda _: True)  # type: ignore[arg-type]


def taken(intake: Intake, limit: int = 1000) -> list[RawRecord]:
    return intake.take(limit, 0.0) or []


@pytest.mark.parametrize("where", ["value", "key", "header", "header name", "many headers"])
def test_large_records_behind_any_number_of_small_ones_come_a_few_at_a_time(where: str) -> None:
    """A mean of what came before would let a thousand of them in at once; a size of values alone does not see them."""
    kinds: dict[str, dict[str, Any]] = {
        "value": {"value": b"x" * LARGE},
        "key": {"key": b"x" * LARGE},
        "header": {"headers": [("h", b"x" * LARGE)]},
        "header name": {"headers": [("h" * LARGE, None)]},
        "many headers": {"headers": [("", b"")] * (LARGE // 100)},
    }
    large = kinds[where]
    small = [FakeMessage(offset) for offset in range(1000)]
    consumer = FakeConsumer([*small, *(FakeMessage(1000 + number, **large) for number in range(300))])
    intake = intake_of(consumer)
    assert len(taken(intake)) == 1000
    polls = []
    while records_ := taken(intake):
        polls.append(sum(record.size for record in records_))
    assert len(polls) > 40
    assert max(polls) < POLL_BYTES + PORTION * 2 * LARGE
    assert max(polls[1:]) < POLL_BYTES + 2 * 2 * LARGE  # the second poll knows


def test_small_records_come_as_many_as_are_asked_for_again_behind_large_ones() -> None:
    messages = [FakeMessage(0, value=b"x" * LARGE), *(FakeMessage(offset) for offset in range(1, 3000))]
    intake = intake_of(FakeConsumer(messages))
    assert [len(taken(intake)) for _ in range(4)] == [1000, 1000, 1000, 0]


def test_what_was_taken_of_a_partition_that_goes_away_meanwhile_is_dropped() -> None:
    def give_away() -> None:
        if len(consumer.queue) == 49:
            intake.gone.add(("raw", 0))

    consumer = FakeConsumer([FakeMessage(offset) for offset in range(100)], give_away)
    intake = intake_of(consumer)
    assert [record.offset for record in taken(intake, 64)] == list(range(51, 100))
    assert not intake.gone


def test_a_record_counts_its_value_key_and_headers_and_what_holding_them_costs() -> None:
    empty = RawRecord("raw", 0, 0, 0, None, None)
    assert empty.size == 200
    whole = RawRecord("raw", 0, 0, 0, b"k" * 10, b"v" * 100, (("né", b"x" * 1000), ("n", None)))
    assert whole.size == 200 + 110 + 2 * 150 + 3 + 1000


@pytest.mark.parametrize("problem", [SystemError("an exception set"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "no")])
def test_headers_that_the_client_cannot_read_cost_only_the_headers(problem: Exception) -> None:
    record = records.to_record(FakeMessage(7, key=b"k", value=b"v", headers=problem))  # type: ignore[arg-type]
    assert (record.key, record.value, record.headers) == (b"k", b"v", ())
    assert record.unreadable == records.UNREADABLE_HEADERS


def test_a_timestamp_minutes_ahead_is_counted_and_stays_as_it_is() -> None:
    def ahead() -> float:
        return metrics.REGISTRY.get_sample_value("processor_timestamps_ahead_total") or 0.0

    before, now = ahead(), int(time.time() * 1000)
    moments = [now, now + 60_000, now + 600_000, 2**60]
    messages = [FakeMessage(number, timestamp_ms=moment) for number, moment in enumerate(moments)]
    found = [record.timestamp_ms for record in taken(intake_of(FakeConsumer(messages)))]
    assert found == [*moments[:3], records.LATEST_TIMESTAMP_MS]
    assert ahead() - before == 2
