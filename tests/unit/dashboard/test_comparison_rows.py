"""The comparison as CSV: all that its JSON has, with the columns that there have always been."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from processor.dashboard.exports import cell
from processor.dashboard.pages.figures import NAMES, table_of
from processor.dashboard.statistics.compare import compare
from processor.dashboard.statistics.results import Comparison
from processor.dashboard.statistics.sample import FAILED, Parameter
from tests.unit.dashboard.samples import sample

DOCUMENTED = Path(__file__).parents[3] / "docs/explanation/comparing.md"


def compared(levels: bool = False) -> Comparison:
    """Three arms of six runs, with failures, a parameter, and what is left out."""
    random = np.random.default_rng(1)
    count = 600
    arm, run = random.integers(-1, 3, count), random.integers(0, 6, count)
    value = random.normal(size=count) + 0.3 * arm
    trials = sample(
        arm, value.round() if levels else value, run=run, arms=("false", "true", "maybe"),
        ending=np.where(random.random(count) < 0.1, FAILED, 0),
        parameters=(Parameter("lr", numbers=random.random(count) + arm), Parameter("opt", levels=arm % 2)),
    )  # fmt: skip
    return compare(trials, parameter="spectral_norm", metric="accuracy", told=("a note",))


def leaves(value: Any) -> list[Any]:
    """The numbers and texts of a document, but those that are none."""
    if isinstance(value, dict):
        return [leaf for one in value.values() for leaf in leaves(one)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one)]
    return [] if value is None else [value]


@pytest.mark.parametrize("levels", [False, True])
def test_the_rows_have_each_number_and_each_text_of_the_document(levels: bool) -> None:
    found = compared(levels)
    rows = list(table_of(found).rows)
    cells = {cell(each) for row in rows for each in row} | {
        part for row in rows for part in row[2].split("_")
    }  # best_of_k
    wanted = leaves(json.loads(msgspec.json.encode(found)))
    assert len(wanted) > 400
    assert [one for one in wanted if cell(one) not in cells] == []


def test_the_columns_that_links_and_scripts_know_are_where_they_were() -> None:
    table = table_of(compared())
    assert tuple(table.names) == NAMES
    assert NAMES[:7] == ("reference", "other", "figure", "estimate", "low", "high", "note")
    assert {len(row) for row in table.rows} == {len(NAMES)}
    known = {row[2]: row for row in table.rows if row[:2] == ("false", "true")}
    assert known["shift"][3:6] == msgspec.structs.astuple(compared().contrasts[0].effect.shift)
    for name in ("superiority", "mean_difference", "p", "pooled_over_runs", "failures_difference", "best_of_10_other"):
        assert name in known


def test_a_row_is_found_by_its_first_three_columns_and_what_it_is_of() -> None:
    rows = [(*row[:3], row[7]) for row in table_of(compared()).rows if row[2] != "left out"]
    assert len(rows) == len(set(rows))


def test_columns_and_rows_are_documented() -> None:
    text = DOCUMENTED.read_text()
    assert f"`{','.join(NAMES)}`" in text
    names = {re.sub(r" \d+$", "", row[2]) for row in table_of(compared(True)).rows}
    parts = ("best_of_", "failures_", "divergences_")
    names = {name.split("_")[-1] if name.startswith(parts) else name for name in names}
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
