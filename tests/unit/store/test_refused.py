"""When refusals of the database are an outage and no longer single bad rows."""

from __future__ import annotations

from processor.store.refused import LEAST_REFUSED, WINDOW_REPORTS, Refused


def test_a_few_refusals_are_never_an_outage_whatever_their_share() -> None:
    assert not Refused(0.5).too_many(LEAST_REFUSED - 1, LEAST_REFUSED - 1)
    assert Refused(0.5).too_many(LEAST_REFUSED, LEAST_REFUSED)


def test_refusals_that_come_one_by_one_add_up() -> None:
    window = Refused(0.5)
    for _ in range(LEAST_REFUSED - 1):
        assert not window.too_many(1, 1)
        window.add(1, 1)
    assert window.too_many(1, 1)


def test_a_reporters_bad_hour_in_a_busy_topic_is_no_outage() -> None:
    window = Refused(0.5)
    window.add(4000, 0)
    assert not window.too_many(600, 500)
    assert window.too_many(6000, 5100)


def test_what_was_long_ago_is_forgotten() -> None:
    window = Refused(0.5)
    window.add(WINDOW_REPORTS, 0)
    for _ in range(WINDOW_REPORTS // 10):
        window.add(10, 4)
    assert window.too_many(1000, 700)
    assert not window.too_many(1000, 500)


def test_an_outage_that_ends_in_the_middle_of_a_transaction_rejects_nothing_of_it() -> None:
    window = Refused(0.5)
    assert window.must_wait(1000, 600, done=False)
    assert not window.must_wait(1000, 50, done=False)
    assert window.must_wait(1000, 200, done=True)
    assert not window.must_wait(1000, 3, done=True)  # these are bad by themselves


def test_a_share_of_one_is_never_exceeded() -> None:
    assert not Refused(1.0).too_many(5000, 5000)


def test_transactions_without_a_report_are_not_kept() -> None:
    window = Refused(0.5)
    for _ in range(10):
        window.add(0, 0)
    assert len(window._written) == 0
