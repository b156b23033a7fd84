"""What people read of a value: short, exact on hovering, and never more than text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from processor.dashboard.charts import axes
from processor.dashboard.pages import rendering as shown
from processor.dashboard.pages.drawing import bar, element, spread, ticks
from processor.dashboard.pages.trial import linkable
from processor.dashboard.statistics.results import Interval


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"), (True, "true"), (0, "0"), (7001, "7,001"), (0.25, "0.25"), (2.0, "2"), (-0.5, "−0.5"),
        (1 / 3, "0.333333"), (1e300, "1e+300"), (10**30, "1e+30"), (float("nan"), "NaN"),
        (1e6, "1e+06"), (Decimal("1e400"), "1e+400"), (-0.0, "0"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: Any, expected: str) -> None:
    assert shown.number(value) == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(None, "–"), (0, "0 ms"), (999, "999 ms"), (2500, "2.5 s"), (59_999, "60 s"), (90_000, "1 min 30 s"),
     (3_600_000, "1 h"), (11_520_000, "3 h 12 min"), (9e10, "1,041 d 16 h")],
)  # fmt: skip
def test_durations_have_two_units_at_the_most(milliseconds: float | None, expected: str) -> None:
    assert shown.duration(milliseconds) == expected


def test_shares_and_intervals_are_read_aloud() -> None:
    assert [shown.share(one) for one in (None, 0.0, 0.5, 1.0, 0.0004)] == ["–", "0 %", "50.0 %", "100 %", "0.0 %"]
    assert shown.interval(Interval(0.1, -0.5, 0.25), "signed") == "−0.5 to +0.25"
    assert shown.interval(Interval(0.1, None, 0.25)) == "any lower value to 0.25"
    assert shown.interval(Interval(0.1, None, None)) == ""


def test_an_estimate_has_four_digits_and_a_difference_its_sign() -> None:
    found = [shown.brief(one) for one in (None, 0.0, 1 / 3, -0.000177277, 999.96, 123456.7, float("nan"))]
    assert found == ["–", "0", "0.3333", "−0.0001773", "1000", "123457", "NaN"]
    assert [shown.signed(one) for one in (None, 0.0, 0.00872345, -0.5)] == ["–", "0", "+0.008723", "−0.5"]


def test_moments_are_in_utc_whatever_zone_they_come_in() -> None:
    there = datetime(2026, 11, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert shown.moment(there) == '<time datetime="2026-10-31T23:30:00.000+00:00">2026-10-31 23:30:00</time>'
    assert shown.moment(datetime(2026, 1, 1, tzinfo=UTC)) != shown.NOTHING


def test_a_long_number_is_short_and_has_all_its_digits_on_hovering() -> None:
    assert shown.value(Decimal("0.12345678901234567890123")) == (
        '<span title="0.12345678901234567890123">0.123457</span>'
    )


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_more_than_text(text: str) -> None:
    for found in (
        shown.text(text),
        shown.name(text),
        shown.line(text),
        shown.value(text),
        shown.whole(text),
        shown.value([text]),
        shown.lines(text),
    ):
        markup = str(escape(found))
        assert "<" not in markup.replace("<span title=", "").replace("</span>", "")
        assert all(one.isprintable() or one == "\n" for one in markup)
        ElementTree.fromstring(f"<p>{markup}</p>")


@settings(deadline=None)
@given(st.text(max_size=50), st.floats(allow_nan=False, allow_infinity=False))
def test_pictures_are_well_formed_whatever_they_are_called(title: str, number: float) -> None:
    drawn = element("svg", element("title", shown.whole(title)), cls=shown.whole(title), x=number)
    assert ElementTree.fromstring(str(drawn)).attrib["class"] == shown.whole(title)


@settings(deadline=None)
@given(st.lists(st.floats(), max_size=8))
def test_an_axis_holds_every_finite_value_and_has_few_marks(values: list[float]) -> None:
    low, high = spread(values)
    assert low < high
    assert all(low <= one <= high for one in values if abs(one) < 1.7e308)
    assert len(ticks(low, high)) <= 12
    assert all(low <= one <= high for one in ticks(low, high))


def test_a_bar_of_nothing_is_drawn_too() -> None:
    assert "none" in bar([("succeeded", 0)], "no trials")
    assert bar([("succeeded", 3), ("failed", 1)], "4").count("<rect") == 2


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "//host/x",
     "x", " https://a", "https://a b", "java\tscript:alert(1)", "https://a\n", "", None, "https://\u202eevil"],
)  # fmt: skip
def test_an_address_that_a_browser_might_run_is_no_link(address: str | None) -> None:
    assert linkable(address) is None


@pytest.mark.parametrize(
    "address", ["https://host/x?y#z", "s3://bucket/key", "gs://b/k", "HTTP://h", "hdfs://nn:8020/a"]
)
def test_an_address_of_a_store_is_a_link(address: str) -> None:
    assert linkable(address) == address


def test_where_no_markup_can_stand_a_text_is_cut_but_not_mended() -> None:
    assert [shown.plain(one) for one in ("recall<5>", "recall<10>", "<pad>", "  ", "", None)] == [
        "recall<5>", "recall<10>", "<pad>", "␣␣", "–", "–",
    ]  # fmt: skip
    assert shown.plain("x" * 100 + "1", 80) == "x" * 40 + "…" + "x" * 38 + "1"
    assert "<span" not in shown.plain("<" * 100)


@given(st.text(min_size=1, max_size=300), st.integers(3, 100))
def test_names_that_differ_at_their_end_or_beginning_alone_stay_apart(text: str, limit: int) -> None:
    found = shown.plain(text, limit)
    assert len(found) <= limit
    assert found == shown.line(text) or (found[0], found[-1]) == (shown.line(text)[0], shown.line(text)[-1])
    assert shown.plain(f"{text}1", limit) != shown.plain(f"{text}2", limit)
    assert shown.plain(f"1{text}", limit) != shown.plain(f"2{text}", limit)
    assert axes.name(f"{text}1", limit) != axes.name(f"{text}2", limit)
    assert shown.name(f"{text}1", limit) != shown.name(f"{text}2", limit)
