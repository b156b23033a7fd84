"""Several processes on one storage, one of them killed: the rows equal the study."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
from cerebros_client.optuna import reconcile
from optuna.trial import TrialState

from tests.support.patience import patient
from tests.support.sink import SinkReporter, as_reporter
from tests.unit.client.optuna.conftest import check_rows

ROOT = Path(__file__).parents[4]
WORKER = textwrap.dedent(
    """
    import os, signal, sys, time
    from pathlib import Path
    import optuna
    from cerebros_client.optuna import optimize
    from tests.support.sink import SinkReporter

    url, reports, killed = sys.argv[1:]
    heartbeat = {"heartbeat_interval": 1, "grace_period": 1} if killed == "heartbeat" else {}
    study = optuna.load_study(study_name="shared", storage=optuna.storages.RDBStorage(url, **heartbeat))

    def objective(trial):
        rate = trial.suggest_float("rate", 0, 1)
        if killed != "no" and trial.number >= 2:
            time.sleep(1)  # its heart beats in a thread: once at least
            os.kill(os.getpid(), signal.SIGKILL)
        return rate

    optimize(study, objective, SinkReporter(Path(reports)), n_trials=6)
    """
)


def start(url: str, sink: SinkReporter, killed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, url, str(sink.path), killed], cwd=ROOT)


def test_three_processes_on_one_storage_report_every_trial(tmp_path: Path, sink: SinkReporter) -> None:
    url = f"sqlite:///{tmp_path}/study.db?timeout=120"
    study = optuna.create_study(study_name="shared", storage=url)
    workers = [start(url, sink, "no") for _ in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert len(study.trials) == 18
    check_rows(sink, study)


def test_a_killed_workers_trial_is_counted_as_running_without_a_heartbeat(tmp_path: Path, sink: SinkReporter) -> None:
    url = f"sqlite:///{tmp_path}/study.db?timeout=120"
    study = optuna.create_study(study_name="shared", storage=url)
    assert start(url, sink, "killed").wait(120) == -signal.SIGKILL
    assert reconcile(study, as_reporter(sink)) == (2, 1)
    check_rows(sink, study)


def test_a_killed_workers_trial_becomes_a_failed_row_with_a_heartbeat(tmp_path: Path, sink: SinkReporter) -> None:
    url = f"sqlite:///{tmp_path}/study.db?timeout=120"
    storage = optuna.storages.RDBStorage(url, heartbeat_interval=1, grace_period=1)
    study = optuna.create_study(study_name="shared", storage=storage)
    assert start(url, sink, "heartbeat").wait(120) == -signal.SIGKILL
    deadline = time.monotonic() + patient(30)
    while reconcile(study, as_reporter(sink)).running and time.monotonic() < deadline:
        time.sleep(0.2)  # until the heartbeat is older than the grace period
    assert study.trials[2].state == TrialState.FAIL
    check_rows(sink, study)
