"""Pools of processes pickle a reporter anew for each task: its copies in one process share a connection."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import optuna
import pytest
from cerebros_client import TrialReporter, UndeliveredError, connect
from cerebros_client import delivery as module
from cerebros_client.optuna import optimize
from cerebros_client.transport import Target

from tests.unit.client.sending import Recorder, recorded


class Closed(Recorder):
    is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Closed]:
    """Each connection, in the order they were made."""
    connections: list[Closed] = []

    def connected(_: Target) -> Closed:
        connections.append(Closed())
        return connections[-1]

    monkeypatch.setattr(module, "connected", connected)
    return connections


@pytest.fixture
def pickled(made: list[Closed]) -> Iterator[bytes]:
    """What a task is given; the copies of a test are closed at its end."""
    with TrialReporter("nowhere:9092", close_timeout_s=0.2) as reporter:
        yield pickle.dumps(reporter)
    with pickle.loads(pickle.dumps(reporter)):
        pass


def test_each_tasks_copy_has_the_connection_of_the_one_before(made: list[Closed], pickled: bytes) -> None:
    for number in range(30):
        pickle.loads(pickled).report("run", number)
    assert len(made) == 2
    assert made[0].reports == []
    assert [one.trial_id for one in made[1].reports] == [str(number) for number in range(30)]


def test_a_copy_that_is_closed_confirms_and_takes_nothing_from_the_others(made: list[Closed], pickled: bytes) -> None:
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    made[1].is_down = True
    first.report("run", 1)
    with pytest.raises(UndeliveredError, match="run/1: no confirmation yet"):
        first.close()
    with pytest.raises(RuntimeError, match="the TrialReporter is closed"):
        first.report("run", 2)
    second.report("run", 3)
    made[1].is_down = False
    second.close()
    assert [one.trial_id for one in made[1].confirmed] == ["1", "3"]
    assert made[1].is_closed
    pickle.loads(pickled).report("run", 4)
    assert [one.trial_id for one in made[2].confirmed] == ["4"]


def test_other_settings_are_another_connection(made: list[Closed], pickled: bytes, tmp_path: Path) -> None:
    with TrialReporter("nowhere:9092", spool=tmp_path) as spooled, pickle.loads(pickle.dumps(spooled)) as copy:
        kept = [copy, pickle.loads(pickled)]
        assert len(made) == 4
    assert kept[0]._closed


def test_copies_of_one_trial_give_it_no_time_twice(
    made: list[Closed], pickled: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 5_000_000_000)
    for _ in range(3):
        pickle.loads(pickled).report("run", 7)
    assert [one.timestamp_ms for one in made[1].reports] == [5000, 5001, 5002]


def test_tasks_of_a_study_report_each_trial_once(made: list[Closed], pickled: bytes) -> None:
    """Each looks for what nobody has reported; for a copy of its own that would be all trials before."""
    study = optuna.create_study(study_name="digits")
    for _ in range(5):
        optimize(study, lambda trial: trial.suggest_float("rate", 0, 1), pickle.loads(pickled), n_trials=1)
    assert [one.trial_id for one in made[1].reports] == ["0", "1", "2", "3", "4"]


def threads_of(reporter: TrialReporter, number: int) -> int:
    reporter.report("run", number)
    return threading.active_count()


def test_a_pools_process_does_not_gather_threads(tmp_path: Path) -> None:
    """The gateway's and the spool's, which were two for each task."""
    reporter = connect("http://127.0.0.1:9", spool=tmp_path, close_timeout_s=0.1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        counts = list(pool.map(threads_of, [reporter] * 20, range(20)))
    reporter.close()
    assert counts[-1] <= counts[0]


def test_it_can_be_closed_in_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other call that may wait, in an event loop."""
    reporter, recorder = recorded(monkeypatch)

    async def search() -> None:
        await reporter.report_async("run", 1)
        await reporter.call_async(reporter.close)
        with pytest.raises(RuntimeError, match="the TrialReporter is closed"):
            await reporter.report_async("run", 2)

    asyncio.run(search())
    assert [one.trial_id for one in recorder.reports] == ["1"]
