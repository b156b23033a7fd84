"""What is told of a trial's run in MLflow: the state of its link in words, and where a browser finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

#: what MLflow makes; any other id leads nowhere
_RUN_ID = re.compile(r"[0-9a-f]{32}")


class Words(NamedTuple):
    """What a state means, what to do about it, and the class that it is shown with."""

    meaning: str
    advice: str
    cls: str


#: by state, as `processor mlflow` writes it (docs/reference/mlflow.md, Link states)
STATES: Mapping[str, Words] = {
    "linked": Words("MLflow has all that the trial reported", "", "succeeded"),
    "pending": Words(
        "its run is about to be made",
        "when this lasts, the mirror waits for something: its log says for what",
        "running",
    ),
    "missing": Words(
        "MLflow has no such run, or no longer",
        "report the right id, or start the mirror with --create-missing",
        "failed",
    ),
    "deleted": Words("somebody has deleted the run in MLflow", "restore it there, or leave it", "cancelled"),
    "foreign": Words("the run that its report names belongs to another trial", "report the right id", "failed"),
    "malformed": Words(
        "what its report names is no id of an MLflow run (32 hexadecimal digits)", "report the right id", "failed"
    ),
    "refused": Words(
        "MLflow will never take what the trial holds", "processor mlflow verify --mend tries it again", "failed"
    ),
    "forbidden": Words(
        "MLflow does not let the mirror's user at the run that its report names",
        "give that user EDIT on the experiment, then processor mlflow verify --mend",
        "failed",
    ),
    "failing": Words(
        "MLflow fails at what the trial holds, and answers all else",
        "it is tried again by itself every ten minutes; MLflow's log says why it fails",
        "failed",
    ),
}
#: states in which the trial's run is there, and all is well or will be by itself
_WELL = ("linked", "pending")


def words_of(state: str) -> Words:
    """Also of a state that a newer mirror has written."""
    return STATES.get(state) or Words("a state that this dashboard does not know", "", "")


def mlflow_url(base: str | None, run_id: str | None, experiment: str | None = None) -> str | None:
    """Where MLflow shows the run, as its own interface has it; None where no server is set, or no run is known."""
    if not base or not run_id:
        return None
    within = f"experiments/{quote(experiment, safe='')}/" if experiment else ""
    return f"{base.rstrip('/')}/#/{within}runs/{quote(run_id, safe='')}"


def named_run(base: str | None, run_id: str | None) -> str | None:
    """The same of a run that a report names and nobody has looked at; None for what can be no run's id."""
    return mlflow_url(base, run_id) if run_id is not None and _RUN_ID.fullmatch(run_id) else None


def mlflow_of_row(base: str | None, row: Mapping[str, Any]) -> str | None:
    """The same of a row of a list of trials: the run that its link holds, else the one that its report names."""
    held = mlflow_url(base, row["mirrored_run_id"], row["mlflow_experiment_id"])
    return held or (None if row["mlflow_state"] else named_run(base, row["mlflow_run_id"]))


def troubled(states: Sequence[Mapping[str, Any]]) -> int:
    """How many trials have a link that somebody has to look at."""
    return sum(one["trials"] for one in states if one["state"] not in _WELL)
