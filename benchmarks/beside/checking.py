"""What the three say themselves, by their own interfaces, of what was put into their stores."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any
from urllib.parse import quote

import httpx
import optuna

from benchmarks.beside.contestants import Contestant, Mlflow, OptunaDashboard, Ours
from benchmarks.beside.filling import OPTUNA_STATES, mlflow_id
from benchmarks.beside.trials import Trial, trials

TIMEOUT_S = 120.0
#: MLflow has no count: its pages are read to their end where they are few
COUNTED = 10_000
PAGE = 1000


def check(one: Contestant) -> dict[str, Any]:
    """How many it says there are (None: it does not say), and the values of one trial, compared with what was given."""
    trial = next(islice(trials(one.size), one.size // 2, None))
    count: int | None
    if isinstance(one, Ours):
        count = check_ours(one.url, one.run, trial)
    elif isinstance(one, OptunaDashboard):
        count = check_optuna(f"sqlite:///{one.store}", one.run, trial)
    else:
        assert isinstance(one, Mlflow)
        count = check_mlflow(one.url, one.experiment, trial, one.size)
    assert count in (one.size, None), (one.name, count)
    return {"trials": count, "compared": trial.trial_id}


def check_ours(url: str, run: str, trial: Trial) -> int:
    page = httpx.get(f"{url}/runs/{quote(run)}/trials/{trial.trial_id}.json", timeout=TIMEOUT_S)
    held = page.json()["trial"]
    _same(held["metrics"], trial.metrics)
    assert {**held["parameters"], "spectral_norm": held["spectral_norm"]} == trial.parameters
    assert held["status"] == trial.status
    runs = httpx.get(f"{url}/runs.json", timeout=TIMEOUT_S).json()["runs"]
    return int(next(one["trials"] for one in runs if one["run_id"] == run))


def check_optuna(storage: str, study: str, trial: Trial) -> int:
    """By Optuna's storage: a study of a million reads them all."""
    opened = optuna.storages.RDBStorage(storage)
    identity = opened.get_study_id_from_name(study)
    held = opened.get_trial(opened.get_trial_id_from_study_id_trial_number(identity, trial.number))
    assert held.params == trial.parameters
    _same(held.user_attrs, {name: trial.metrics[name] for name in ("loss", "epochs")})
    assert held.datetime_start is not None
    assert held.datetime_start.astimezone() == trial.began
    if held.value is None:
        assert math.isnan(trial.metrics["accuracy"]) or trial.status != "succeeded"
    else:
        assert (held.value, held.state.name) == (trial.metrics["accuracy"], OPTUNA_STATES[trial.status])
    return opened.get_n_trials(identity)


def check_mlflow(url: str, experiment: int, trial: Trial, size: int) -> int | None:
    with httpx.Client(base_url=f"{url}/api/2.0/mlflow/", timeout=TIMEOUT_S) as client:
        held = client.get("runs/get", params={"run_id": mlflow_id(trial.number)}).json()["run"]
        assert held["info"]["run_name"] == trial.trial_id
        assert held["info"]["start_time"] == round(trial.began.timestamp() * 1000)
        _same({metric["key"]: float(metric["value"]) for metric in held["data"]["metrics"]}, trial.metrics)
        assert {one["key"]: one["value"] for one in held["data"]["params"]} == {
            name: str(value) for name, value in trial.parameters.items()
        }
        if size > COUNTED:
            return None
        return _count_runs(client, experiment)


def _count_runs(client: httpx.Client, experiment: int) -> int:
    count, asked = 0, {"experiment_ids": [str(experiment)], "max_results": PAGE}
    while True:
        answer = client.post("runs/search", json=asked).json()
        count += len(answer.get("runs", ()))
        if not (token := answer.get("next_page_token")):
            return count
        asked["page_token"] = token


def _same(held: Any, given: Any) -> None:
    """Numbers by name; NaN is like itself."""
    assert {name: repr(float(value)) for name, value in held.items()} == {
        name: repr(float(value)) for name, value in given.items()
    }
