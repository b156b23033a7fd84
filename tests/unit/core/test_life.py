"""The life of a run: what is held in the end depends on the reports alone, never on the order in which they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from processor.core.life import Held, Life, lead
from processor.core.messages import Order
from processor.core.verdict import Verdict

#: (moment, starts, what it says); one moment holds one report
Told = tuple[int, bool, int]


def held(told: Told) -> Held:
    return Held(Order(told[0], 0, 0, 0), bytes([told[2]]))


def through(history: list[Told], life: Life | None = None) -> tuple[list[Verdict], Life]:
    verdicts, life = [], life or Life()
    for told in history:
        verdict, life = lead(life, held(told), starts=told[1])
        verdicts.append(verdict)
    return verdicts, life


_HISTORIES = st.lists(
    st.tuples(st.integers(0, 20), st.booleans(), st.integers(0, 2)), max_size=8, unique_by=lambda told: told[0]
)


@given(_HISTORIES, st.randoms(use_true_random=False))
def test_any_order_with_any_repetition_leaves_the_same(history: list[Told], random: st.DataObject) -> None:
    _, expected = through(sorted(history))
    shuffled = history * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    _, found = through(shuffled)
    assert (expected.start, expected.stop) == (found.start, found.stop)


@given(_HISTORIES)
def test_a_replay_from_the_beginning_makes_no_revision(history: list[Told]) -> None:
    _, life = through(history)
    verdicts, again = through(sorted(history), life)
    assert life == again
    assert {Verdict.INSERTED, Verdict.CHANGED, Verdict.TOUCHED}.isdisjoint(verdicts)


def test_a_start_and_a_stop_are_a_revision_each() -> None:
    verdicts, life = through([(1, True, 0), (2, False, 0)])
    assert (verdicts, life.revision) == ([Verdict.INSERTED, Verdict.INSERTED], 2)


def test_a_start_that_comes_after_its_stop_is_kept_and_does_not_make_it_run() -> None:
    verdicts, life = through([(2, False, 0), (1, True, 0)])
    assert (verdicts, life) == ([Verdict.INSERTED] * 2, Life(held((1, True, 0)), held((2, False, 0)), 2))


def test_a_newer_start_ends_an_end_even_where_it_says_the_same() -> None:
    verdicts, life = through([(1, True, 0), (2, False, 0), (3, True, 0)])
    assert (verdicts[-1], life) == (Verdict.CHANGED, Life(held((3, True, 0)), None, 3))


def test_an_end_from_before_the_newest_start_is_stale() -> None:
    verdicts, life = through([(3, True, 0), (2, False, 0)])
    assert (verdicts[-1], life) == (Verdict.STALE, Life(held((3, True, 0)), None, 1))


def test_the_same_again_only_moves() -> None:
    verdicts, life = through([(1, True, 0), (2, True, 0), (3, False, 1), (4, False, 1)])
    assert verdicts == [Verdict.INSERTED, Verdict.TOUCHED, Verdict.INSERTED, Verdict.TOUCHED]
    assert life.revision == 2
