"""A study on each storage, a sink, and the one comparison: the rows equal the study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from tests.support.sink import SinkReporter

optuna.logging.set_verbosity(optuna.logging.ERROR)

STATUS = {TrialState.COMPLETE: "succeeded", TrialState.PRUNED: "skipped", TrialState.FAIL: "failed"}


@pytest.fixture
def sink(tmp_path: Path) -> SinkReporter:
    return SinkReporter(tmp_path / "reports.jsonl")


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    # a busy machine may hold the file longer than the five seconds that SQLite waits by default
    return None if request.param == "memory" else f"sqlite:///{tmp_path}/study.db?timeout=120"


@pytest.fixture
def study(storage: Any) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=1)
    return optuna.create_study(study_name="digits", storage=storage, sampler=sampler)


def check_rows(sink: SinkReporter, study: optuna.Study, cancelled: tuple[int, ...] = ()) -> None:
    """Every finished trial is one row, with its state, parameters, values and the time it ended; no other row is."""
    finished = [trial for trial in study.trials if trial.state.is_finished()]
    assert [str(trial.number) for trial in finished] == sorted(sink.rows, key=int)
    names = study.metric_names or (["value"] if len(study.directions) == 1 else ["value_0", "value_1"])
    for trial in finished:
        row = sink.rows[str(trial.number)]
        assert row["run_id"] == study.study_name
        assert row["status"] == ("cancelled" if trial.number in cancelled else STATUS[trial.state])
        assert row["parameters"] == trial.params
        assert {name: row["metrics"][name] for name in names if name in row["metrics"]} == dict(
            zip(names, trial.values or [], strict=False)
        )
        steps = sorted(trial.intermediate_values)
        assert row["metrics"].get("intermediate_steps", []) == steps
        assert row["metrics"].get("intermediate_values", []) == [trial.intermediate_values[step] for step in steps]
        assert trial.datetime_complete is not None
        assert row["at"] == trial.datetime_complete.astimezone().isoformat()
        assert row["duration_ms"] == round(trial.duration.total_seconds() * 1000)  # type: ignore[union-attr]
