"""What a window means, how reports fold into trials, and what progress looks like: without a broker."""

from __future__ import annotations

from typing import Any

import pytest

from processor.cli.output import Lines, meter
from processor.contracts.catalogue import Catalogue
from processor.core.errors import UsageError
from processor.core.messages import TrialReport
from processor.core.sameness import content_digest
from processor.decode.decoder import Decoder
from processor.kafka.ranges import Edge, clamp_range
from processor.replay.fold import Fold, Trial, succeed
from processor.replay.windows import parse_window
from tests.factories import record, report

NOON = 1_777_636_800_000  # 2026-05-01T12:00:00Z
_decode = Decoder(Catalogue.load())


def decoded(offset: int, *, partition: int = 0, timestamp_ms: int = 1000, **fields: Any) -> TrialReport:
    value = report(**{"trial_id": "t", "run_id": "r", "mlflow_run_id": "m", "metrics": {"a": 1}, **fields})
    (outcome,) = _decode(record(value, offset=offset, partition=partition, timestamp_ms=timestamp_ms))
    assert isinstance(outcome, TrialReport)
    return outcome


@pytest.mark.parametrize(
    ("text", "begin", "end", "name"),
    [
        ("100..200", Edge("offset", 100), Edge("offset", 200), "100-200"),
        ("..", Edge("open"), Edge("open"), "start-end"),
        ("7..", Edge("offset", 7), Edge("open"), "7-end"),
        ("..2026-05-01T12:00:00Z", Edge("open"), Edge("moment", NOON), "start-20260501T120000Z"),
        ("2026-05-01T14:00:00+02:00..", Edge("moment", NOON), Edge("open"), "20260501T120000Z-end"),
        ("2026-05-01T12:00:00.250..9", Edge("moment", NOON + 250), Edge("offset", 9), "20260501T120000.250Z-9"),
        (f"{'9' * 5000}..", Edge("offset", 2**63 - 1), Edge("open"), f"{2**63 - 1}-end"),
        ("1960-01-01..", Edge("moment", 0), Edge("open"), "19700101T000000Z-end"),
    ],
)
def test_a_window_has_one_name_however_it_is_written(text: str, begin: Edge, end: Edge, name: str) -> None:
    window = parse_window(text)
    assert (window.begin, window.end, window.name) == (begin, end, name)


@pytest.mark.parametrize("text", ["", "100", "a..b", "-5..10", "200..100", "2026-05-02..2026-05-01", "1..2..3"])
def test_a_window_that_makes_no_sense_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="--window"):
        parse_window(text)


@pytest.mark.parametrize(
    ("holds", "wanted", "expected", "said"),
    [
        ((0, 50), (0, 50), (0, 50), False),
        ((10, 50), (0, 100), (10, 50), True),
        ((0, 50), (60, 70), (50, 50), True),
        ((40, 50), (10, 20), (40, 40), True),
        ((0, 0), (0, 0), (0, 0), False),
        ((0, 50), (30, 20), (30, 30), True),
    ],
)
def test_a_range_is_clamped_to_what_the_partition_holds_and_says_so(
    holds: tuple[int, int], wanted: tuple[int, int], expected: tuple[int, int], said: bool
) -> None:
    made = clamp_range(3, holds, wanted)
    assert ((made.begin, made.end), made.at, bool(made.note)) == (expected, expected[0], said)


def test_reports_fold_as_the_store_would_apply_them() -> None:
    held: Trial | None = None
    verdicts = []
    for one in (
        decoded(1),
        decoded(1),
        decoded(2),
        decoded(3, metrics={"a": 2}),
        decoded(4, metrics={"a": 3}, timestamp_ms=999),
        decoded(5, metrics={"a": 1}),
    ):
        verdict, held = succeed(held, one)
        verdicts.append(verdict)
    assert [one.word for one in verdicts] == ["inserted", "unchanged", "touched", "changed", "stale", "changed"]
    assert held is not None
    assert (held.versions, held.order.offset, held.ordered) == (3, 5, True)


def test_versions_of_a_trial_from_several_partitions_are_not_counted_on() -> None:
    _, first = succeed(None, decoded(1))
    assert succeed(first, decoded(9, partition=1))[1].ordered is False
    assert succeed(first, decoded(0, partition=1, timestamp_ms=1))[1].ordered is False


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 0.0}, {"a": -0.0}, True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1e15}, {"a": 10**15}, True),
        ({"a": 2.0**60}, {"a": 2**60}, False),  # 1.152921504606847e+18 is not 1152921504606846976
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [[1], 2]}, {"a": [[1, 2]]}, False),
        ({"a": None}, {}, False),
        ({"a": float("nan")}, {"a": "NaN"}, True),
    ],
)
def test_content_is_equal_by_the_rules_of_jsonb(one: dict[str, Any], other: dict[str, Any], equal: bool) -> None:
    digests = [content_digest(decoded(1, metrics=metrics)) for metrics in (one, other)]
    assert (digests[0] == digests[1]) is equal


def test_a_fold_gives_back_what_was_put_in_bounded_pages() -> None:
    reports = [decoded(number, trial_id=f"t{number}") for number in range(10)]
    with Fold() as fold:
        for one in reports:
            assert fold.get(one) is None
            fold.put(one, succeed(None, one)[1]._replace(row=b"x" * 10))
        again = succeed(fold.get(reports[3]), decoded(50, trial_id="t3", metrics={"a": 9}))[1]
        fold.put(reports[3], again)
        assert fold.get(reports[3]) == again
        pages = list(fold.pages(4, 1000))
        assert [len(page) for page in pages] == [4, 4, 2]
        assert [trial.order.offset for page in pages for trial in page] == [0, 1, 2, 50, 4, 5, 6, 7, 8, 9]
        assert [len(page) for page in fold.pages(100, 20)] == [2, 3, 2, 2, 1]  # t3 has no row now


def test_without_a_terminal_progress_comes_as_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with meter("replay", 5000) as tell:
        tell(1200)
        tell(5000)
    assert capsys.readouterr().err == "replay: 5,000 of 5,000 records\n"


def test_progress_lines_tell_the_rate_of_this_run_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    lines = Lines("replay", 5000)
    lines.tell(1000)
    now += 10
    lines.tell(3000)
    assert capsys.readouterr().err == "replay: 3,000 of 5,000 records (200/s)\n"
