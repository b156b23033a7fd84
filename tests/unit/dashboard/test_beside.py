"""What trials differ in: of any values, told once, with the best of them and by how much."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.core.errors import UsageError
from processor.dashboard.pages.beside import Row, read_names, rows_of
from processor.dashboard.pages.views import Question
from processor.dashboard.queries.named import Named
from processor.dashboard.queries.progress import Curves

numbers = st.floats() | st.integers() | st.decimals(allow_nan=False) | st.just(10**400)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=3), inside, max_size=3),
    max_leaves=6,
)


def trial(name: str, metrics: Any = (), parameters: Any = (), **fields: Any) -> Named:
    row = {"status": "succeeded", "metrics": dict(metrics), "parameters": dict(parameters), **fields}
    return Named("run", name, row, None, Curves((), 0))


def found(*trials: Named) -> dict[tuple[str, str], Row]:
    return {(row.part, row.name): row for row in rows_of(trials)}


def test_what_differs_is_told_apart_from_what_is_the_same() -> None:
    rows = found(
        trial(
            "a", {"accuracy": 0.5, "n": 1}, {"lr": 0.1, "on": True, "seed": 1, "layers": {"units": 64, "act": "relu"}}
        ),
        trial("b", {"accuracy": 0.7, "n": 1.0}, {"lr": 0.1, "on": 1, "layers": {"units": 32, "act": "relu"}}),
    )
    differing = [name for (_, name), row in rows.items() if row.differs]
    assert differing == ["accuracy", "layers.units", "on", "seed"]
    assert rows["parameters", "seed"].values == (1, None)
    assert not rows["metrics", "n"].differs
    assert ("trial", "rank") not in rows  # that none has is none of their values


def test_the_best_is_marked_where_the_name_says_which_that_is_and_differences_are_to_the_first() -> None:
    rows = found(
        trial("a", {"accuracy": 0.5, "val_loss": 3, "zeta": 1, "text": "x", "odd": "NaN"}, duration_ms=1500),
        trial("b", {"accuracy": 0.75, "val_loss": 1, "zeta": 2, "text": "y", "odd": 1}, {"lr": 1}, duration_ms=500),
        trial("c", {"accuracy": 0.75, "val_loss": "NaN", "zeta": 1, "odd": 2}, {"lr": 2}, duration_ms=None),
    )
    best = {name: sorted(row.best) for (_, name), row in rows.items() if row.best}
    assert best == {"accuracy": [1, 2], "val_loss": [1]}
    assert [rows["metrics", "accuracy"].above(place) for place in range(3)] == ["", "+0.25", "+0.25"]
    assert [rows["metrics", "val_loss"].above(place) for place in range(3)] == ["", "−2", ""]
    assert [rows["trial", "duration_ms"].above(place) for place in range(3)] == ["", "−1 s", ""]
    assert {rows[name].above(place) for name in [("metrics", "odd"), ("parameters", "lr")] for place in range(3)} == {
        ""
    }


def test_what_failed_is_the_best_of_nothing() -> None:
    trials = [trial(name, {"accuracy": value}) for name, value in (("a", 0.5), ("b", 0.7))]
    died = trial("c", {"accuracy": 0.9}, status="failed")
    assert found(*trials, died)["metrics", "accuracy"].best == {1}
    assert not found(trials[0], died)["metrics", "accuracy"].best


def test_a_trial_that_has_not_ended_has_what_it_said_at_its_start() -> None:
    said = {"spectral_norm": True, "parameters": {"lr": 0.5}}
    rows = found(Named("run", "begun", None, said, Curves((), 0)), trial("ended", {}, {"lr": 0.5}, spectral_norm=False))
    assert rows["trial", "status"].values == ("running", "succeeded")
    assert rows["trial", "spectral_norm"].values == (True, False)
    assert rows["parameters", "lr"].values == (0.5, 0.5)


@given(st.lists(st.dictionaries(st.text(max_size=3), values, max_size=4), min_size=1, max_size=4))
def test_any_values_are_rows_that_lose_none_of_them(held: list[dict[str, Any]]) -> None:
    rows = list(rows_of([trial(f"t{place}", one, one) for place, one in enumerate(held)]))
    names = [(row.part, row.name) for row in rows]
    assert len(names) == len(set(names))
    for place, one in enumerate(held):
        shown = {row.name: row.values[place] for row in rows if row.part == "metrics"}
        # texts, as they can be told from one another: what stands in objects is below names of several parts
        wanted = [value for value in one.values() if value is not None and not (isinstance(value, dict) and value)]
        assert all(any(value is other or value == other for other in shown.values()) for value in wanted)
    for row in rows:
        assert all(isinstance(row.above(place), str) for place in range(len(held)))
        assert all(math.isfinite(float(row.values[place])) for place in row.best)


def test_a_parameter_that_is_called_as_a_column_hides_it_not() -> None:
    rows = found(
        trial("a", {"status": 1}, {"spectral_norm": "yes", "run_id": "x"}, spectral_norm=True),
        trial("b", {"status": 2}, {"spectral_norm": "no", "run_id": "y"}, spectral_norm=False),
    )
    assert rows["trial", "spectral_norm"].values == (True, False)
    assert rows["parameters", "spectral_norm"].values == ("yes", "no")
    assert rows["trial", "status"].values == ("succeeded", "succeeded")
    assert rows["origin", "run_id"].values == ("run", "run")


def test_decimals_beyond_doubles_have_no_difference() -> None:
    row = found(trial("a", {"x": 1}), trial("b", {"x": Decimal("1e400")}))["metrics", "x"]
    assert row.differs
    assert row.above(1) == ""


@pytest.mark.parametrize(
    "pairs",
    [[("q", "x")], [("trial", "a")], [("trial", "a/b/c")], [("trial", f"r/{n}") for n in range(9)],
     [("trial", "r/" + "x" * 3000)]],
)  # fmt: skip
def test_what_can_t_be_asked_is_told(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(UsageError):
        read_names(Question((), pairs))


def test_a_trial_that_is_named_twice_is_there_once_and_what_is_left_empty_is_none() -> None:
    pairs = [("trial", ""), ("trial", "a/b"), ("trial", "c~2Fd/ e "), ("trial", "a/b")]
    assert read_names(Question((), pairs)) == [("a", "b"), ("c/d", " e ")]
