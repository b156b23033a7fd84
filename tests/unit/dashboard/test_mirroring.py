"""What a page says of a trial's run in MLflow."""

from __future__ import annotations

import pytest

from processor.dashboard.pages.mirroring import STATES, mlflow_of_row, mlflow_url, named_run, troubled, words_of
from processor.mlflow.ports import LinkState
from tests.unit.test_docs import chapter, first_codes, page

BASE = "http://mlflow:5000"
ID = "0123456789abcdef" * 2


def test_every_state_that_the_mirror_writes_has_words_and_is_documented() -> None:
    assert set(STATES) == {state.value for state in LinkState}
    assert first_codes(chapter(page("reference/mlflow"), "Link states"))[: len(STATES)] == list(STATES)


def test_whoever_has_to_do_something_is_told_what() -> None:
    assert [state for state, words in STATES.items() if not words.advice] == ["linked"]
    assert words_of("of a newer version").meaning == "a state that this dashboard does not know"


def test_mlflow_is_linked_as_its_interface_has_it() -> None:
    assert mlflow_url(f"{BASE}/", "a/b", "12") == f"{BASE}/#/experiments/12/runs/a%2Fb"
    assert mlflow_url(BASE, "r") == f"{BASE}/#/runs/r"
    assert mlflow_url(None, "r", "12") is None
    assert mlflow_url(BASE, None) is None


@pytest.mark.parametrize("named", [None, "", "abc", ID.upper(), f"{ID}0", "javascript:alert(1)", f"{ID}\n"])
def test_what_can_be_no_id_leads_nowhere(named: str | None) -> None:
    assert named_run(BASE, named) is None


def test_a_trial_of_a_list_leads_to_the_run_of_its_link_else_to_the_one_that_its_report_names() -> None:
    row = {"mlflow_state": "linked", "mirrored_run_id": "m", "mlflow_experiment_id": "3", "mlflow_run_id": ID}
    assert mlflow_of_row(BASE, row) == f"{BASE}/#/experiments/3/runs/m"
    unseen = {"mlflow_state": None, "mirrored_run_id": None, "mlflow_experiment_id": None}
    assert mlflow_of_row(BASE, {**unseen, "mlflow_run_id": ID}) == f"{BASE}/#/runs/{ID}"
    # the mirror has looked: there is nothing behind it
    assert mlflow_of_row(BASE, {**unseen, "mlflow_state": "missing", "mlflow_run_id": ID}) is None


def test_only_what_somebody_has_to_look_at_is_trouble() -> None:
    counts = [{"state": state.value, "trials": 1} for state in LinkState]
    assert troubled(counts) == len(LinkState) - 2
