"""Each further cause of an outage is told once, whatever numbers are in it, and only so many."""

from __future__ import annotations

from structlog.testing import capture_logs

from processor.core.outages import MOST, Causes


def told(first: str, *causes: str) -> list[str]:
    one = Causes()
    with capture_logs() as lines:
        one.begin("database", first)
        for cause in causes:
            one.go_on(cause)
    return [line["cause"] for line in lines if line["event"] == "cause_changed"]


def test_a_cause_is_told_when_it_is_another_one() -> None:
    causes = [
        "refused by 127.0.0.1:5432",
        "it starts up",
        "refused by 127.0.0.1:5433",
        "it is read-only",
        "it starts up",
    ]
    assert told("refused by 127.0.0.1:1", *causes) == ["it starts up", "it is read-only"]


def test_only_so_many_are_told() -> None:
    assert len(told("first", *(letter * 3 for letter in "abcdefghij"))) == MOST


def test_the_next_outage_begins_anew() -> None:
    one = Causes()
    with capture_logs() as lines:
        one.begin("relay", "a")
        one.go_on("b")
        one.begin("relay", "b")
        one.go_on("a")
    assert [(line["outage"], line["cause"]) for line in lines] == [("relay", "b"), ("relay", "a")]
