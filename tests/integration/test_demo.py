"""`processor demo` proves what it says: it passes on real servers, and each kind of mismatch would be seen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from processor.core.fields import NAMES, STARTED_NAMES, STOPPED_NAMES
from processor.core.messages import Event, Outgoing, RawRecord, Reason, Rejection, RunReport, TrialReport
from processor.demo.ledger import Ledger, Observed, Rejected, reconcile
from processor.demo.life import Told
from processor.demo.workers import DemoError, Worker, run
from processor.events.bodies import EventWriter
from processor.events.headers import cloud_event_headers, dead_letter_message
from processor.local.mlflow import MlflowServer
from tests.support.mlflow import check_found_by_mlflow
from tests.support.patience import patient
from tests.support.processes import COMMAND, run_command, wait_until

RUN = "digits-1"


def test_the_demo_passes_and_keep_leaves_all_running_until_ctrl_c(environment: dict[str, str], tmp_path: Path) -> None:
    """Its sum comes out and its tables show every kind; the commands that it prints work while it waits."""
    with demo(tmp_path, environment, "--keep") as (process, output):
        wait_until(lambda: "Ctrl-C stops everything" in output.read_text(), "the demo waits", 120)
        status = json.loads(run_command(environment, "status", "-f", "json").stdout)
        assert (status["rows"], status["lag_total"], len(status["members"])) == (14, 0, 1)
        found = re.search(r"a dashboard: (http://\S+)", output.read_text())
        assert found
        assert httpx.get(f"{found[1]}trials.json", timeout=60).json()["count"] == {"count": 14, "how": "exactly"}
        process.send_signal(signal.SIGINT)
        assert process.wait(patient(40)) == 0
    said = output.read_text()
    assert "37 reports sent = 14 rows + 7 changes to them + 2 repetitions + 14 dead letters." in said
    assert re.search(r"\d+ starts, stops and metrics = 2 runs that started and 2 that stopped \+ 10 trials", said)
    for word in (
        "PASSED",
        "ml.run.started",
        "ml.run.stopped",
        "ml.trial.complete",
        "ml.trial.failed",
        "skipped",
        "unknown_status",
        "too_deep",
    ):
        assert word in said
    assert "differs" not in said


@pytest.mark.soak
def test_mlflows_own_client_finds_what_the_demo_mirrored(
    environment: dict[str, str], mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    experiment = f"demo {environment['PROCESSOR_GROUP_ID']}"
    own = {"PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url, "PROCESSOR_MLFLOW_EXPERIMENT": experiment}
    with demo(tmp_path, {**environment, **own}, "--keep", "--mlflow") as (process, output):
        wait_until(lambda: "Ctrl-C stops everything" in output.read_text(), "the demo waits", 600)
        check_found_by_mlflow(mlflow_server.url, experiment, environment["PROCESSOR_DATABASE_URL"])
        process.send_signal(signal.SIGINT)
        assert process.wait(patient(40)) == 0
    assert "PASSED" in output.read_text()


@pytest.mark.parametrize(
    ("given", "number", "moment"),
    [
        (False, signal.SIGINT, "starting Apache Kafka"),
        (True, signal.SIGTERM, "ingest and relay are running"),
    ],
)
def test_a_signal_stops_everything_without_a_traceback(
    environment: dict[str, str], tmp_path: Path, given: bool, number: int, moment: str
) -> None:
    """At any moment: nothing it started is left, and it says that it was stopped."""
    with demo(tmp_path, environment if given else {}) as (process, output):
        wait_until(lambda: moment in output.read_text(), moment, 200)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(patient(40)) == 130
    assert [child for child in started if child.is_running()] == []
    assert output.read_text().endswith("stopped\n")
    assert "Traceback" not in output.read_text()


def test_a_second_signal_ends_the_demo_at_once_and_what_it_started_soon(tmp_path: Path) -> None:
    with demo(tmp_path, {}) as (process, output):
        wait_until(lambda: "ingest and relay are running" in output.read_text(), "the demo runs", 200)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(patient(5)) == 1
    assert psutil.wait_procs(started, timeout=patient(30))[1] == []


@contextmanager
def demo(folder: Path, environment: dict[str, str], *options: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running demo and the file that its output goes to."""
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, "demo", "--trials", "14", *options],
            env={**os.environ, **environment},
            stdout=file,
            stderr=file,
        )
    try:
        yield process, output
    finally:
        process.kill()
        process.wait()


def test_half_of_the_addresses_is_refused(environment: dict[str, str]) -> None:
    """Kafka of one's own and a database of the demo's is no combination that anybody meant."""
    del environment["PROCESSOR_DATABASE_URL"]
    done = run_command(environment, "demo", "--trials", "10")
    assert done.returncode == 2
    assert "PROCESSOR_DATABASE_URL" in done.stdout + done.stderr


def test_a_worker_that_ends_early_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """The demo stops with the exit code and the end of the log, instead of waiting for rows that never come."""
    environment = {**os.environ, "PROCESSOR_RAW_TOPIC": "no/topic"}
    worker = Worker("ingest", environment, tmp_path)
    with worker, pytest.raises(DemoError, match=r"(?s)processor ingest ended with exit code 2.*PROCESSOR_RAW_TOPIC"):
        check_for(worker, seconds=20)
    with pytest.raises(DemoError, match=r"(?s)processor topics create ended with exit code 2.*PROCESSOR_RAW_TOPIC"):
        run(environment, "topics", "create")


def check_for(worker: Worker, seconds: float) -> None:
    deadline = time.monotonic() + patient(seconds)
    while time.monotonic() < deadline:
        worker.check()
        time.sleep(0.05)


def test_a_worker_ends_with_the_demo_even_when_that_is_killed(tmp_path: Path) -> None:
    """kill -9 leaves no orphan behind: the pipe to the worker's standard input ends."""
    start = (
        "import os, sys, time; from pathlib import Path; from processor.demo.workers import Worker\n"
        "Worker('ingest', dict(os.environ), Path(sys.argv[1])).start(); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start, str(tmp_path)])
    wait_until(lambda: bool(psutil.Process(parent.pid).children()), "the worker runs")
    [worker] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([worker], timeout=patient(20))[0] == [worker]


class World:
    """What was sent, and what must be found of it where nothing went wrong: made by the processor's own rooms."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.rows: list[dict[str, Any]] = []
        self.events: list[RawRecord] = []
        self.send("trial-1", {"status": "succeeded", "metrics": {"accuracy": 0.5, "norms": [1e30, {"raw": 1}]}})
        self.send("trial-1", {"status": "succeeded", "metrics": {"accuracy": 0.5, "norms": [1e30, {"raw": 1}]}})
        self.send("trial-1", {"status": "succeeded", "metrics": {"accuracy": 0.75}})
        self.send("trial-2", {"status": "failed", "metrics": {"loss": float("nan")}, "warnings": ["loss is NaN"]})
        self.send("trial-3", {"status": "skipped"})
        self.ledger.expect_rejection(Rejected(b"no JSON", -1, "not_json"))
        self.dead_letters = [{"id": 7, "reason": "not_json", "detail": "", "report_index": -1, "value": b"no JSON"}]
        rejection = Rejection(record(b"no JSON"), -1, Reason.NOT_JSON, "")
        self.published = [published(dead_letter_message(rejection, 7), 0)]
        life, start = self.ledger.life, {"requested_trials": 3, "search_space_version": 1, "max_params": 9}
        life.started[RUN], life.stopped[RUN] = start, {"completed_trials": 2, "best_metric": 0.75}
        life.trials[RUN, "trial-1"], life.metrics[RUN, "trial-1", 1] = True, 0.5
        self.runs = [{"run_id": RUN, "state": "succeeded", **start, **life.stopped[RUN]}]
        self.starts = [{"run_id": RUN, "trial_id": "trial-1", "spectral_norm": True}]
        self.metrics = [{"run_id": RUN, "trial_id": "trial-1", "step": 1, "value": 0.5}]
        for revision, (state, said) in enumerate((("running", start), ("succeeded", life.stopped[RUN])), start=1):
            content = {**dict.fromkeys((*STARTED_NAMES, *STOPPED_NAMES)), **said, "state": state}
            event = EventWriter().of_run(RunReport(record(b""), 0, RUN, content, {}, 1), revision, state)
            self.events.append(published(event, len(self.events)))

    def send(self, trial_id: str, said: dict[str, Any]) -> None:
        content = dict.fromkeys(NAMES) | {"spectral_norm": False, "warnings": [], "metrics": {}} | said
        before = self.ledger.total_revisions
        self.ledger.expect(RUN, trial_id, content)
        if self.ledger.total_revisions == before:
            return
        stored = json.loads(json.dumps(content), parse_constant=str)
        self.rows = [row for row in self.rows if row["trial_id"] != trial_id]
        revision = len(self.ledger.revisions[RUN, trial_id])
        self.rows.append({"run_id": RUN, "trial_id": trial_id, "revision": revision, **stored})
        report = TrialReport(record(b""), 0, RUN, trial_id, stored, 2)
        if (event := EventWriter()(report, revision)) is not None:
            self.events.append(published(event, len(self.events)))

    def differences(self) -> list[str]:
        told = Told(self.runs, self.starts, self.metrics)
        return reconcile(self.ledger, Observed(self.rows, self.dead_letters, self.events, self.published, told))


def record(value: bytes) -> RawRecord:
    return RawRecord("raw", 0, 0, 0, RUN.encode(), value)


def published(message: Outgoing, offset: int) -> RawRecord:
    headers = cloud_event_headers(message, b"/test") if isinstance(message, Event) else message.headers
    return RawRecord("out", 0, offset, 0, message.key, message.value, tuple(headers))


def test_what_must_be_there_reconciles() -> None:
    """No difference: rows, events and dead letters as the processor makes them are what the ledger expects."""
    world = World()
    assert world.differences() == []
    assert (world.ledger.sent, world.ledger.trials, world.ledger.repeated) == (6, 3, 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda world: world.rows.pop(), "trial digits-1/trial-3 was sent, but has no row"),
        (lambda world: world.rows.append({**world.rows[0], "trial_id": "x"}), "row digits-1/x was never sent"),
        (lambda world: world.rows[0].update(revision=3), "row digits-1/trial-1 has revision 3 instead of 2"),
        (lambda world: world.rows[0].update(metrics={}), "row digits-1/trial-1: metrics differs from what was sent"),
        (lambda world: world.rows[1].update(warnings=[]), "row digits-1/trial-2: warnings differs from what was sent"),
        (lambda world: world.events.pop(0), "no event for digits-1/trial-1 revision 1"),
        (lambda world: world.events.append(world.events[2]), "is there 2 times"),
        (lambda world: world.events.reverse(), "events of digits-1/trial-1 are out of order"),
        (lambda world: world.ledger.revisions.popitem(), "row digits-1/trial-3 was never sent"),
        (lambda world: world.ledger.revisions.pop((RUN, "trial-2")), "belongs to no revision"),
        (lambda world: world.dead_letters.pop(), "no dead letter for not_json: b'no JSON'"),
        (lambda world: world.dead_letters[0].update(value=b"?"), "unexpected dead letter, not_json: b'?'"),
        (lambda world: world.dead_letters[0].update(reason="too_deep"), "unexpected dead letter, too_deep"),
        (lambda world: world.published.pop(), "dead letter 7 was never published"),
        (lambda world: world.published.append(world.published[0]), "dead letter 7 was published 2 times"),
        (lambda world: world.runs[0].update(state="running"), "run digits-1: state is running instead of succeeded"),
        (lambda world: world.runs.clear(), "run digits-1: requested_trials is None instead of 3"),
        (lambda world: world.starts.clear(), "start digits-1/trial-1 is None instead of True"),
        (lambda world: world.metrics[0].update(value=0.25), "metric digits-1/trial-1/1 is 0.25 instead of 0.5"),
        (
            lambda world: world.metrics.append({**world.metrics[0], "step": 2}),
            "metric digits-1/trial-1/2 is 0.5 instead",
        ),
        (lambda world: world.events.pop(), "no event for digits-1 revision 2"),
    ],
)
def test_every_mismatch_is_seen(change: Callable[[World], object], sentence: str) -> None:
    """Each kind of loss, repetition or alteration makes a sentence that says what it is."""
    world = World()
    change(world)
    assert any(sentence in difference for difference in world.differences()), world.differences()


def test_an_event_whose_body_was_changed_is_seen() -> None:
    """One field that differs is enough."""
    world = World()
    body = json.loads(world.events[0].value or b"") | {"rank": 1}
    world.events[0] = RawRecord("out", 0, 0, 0, RUN.encode(), json.dumps(body).encode(), world.events[0].headers)
    [difference] = world.differences()
    assert "differs from what was sent" in difference
