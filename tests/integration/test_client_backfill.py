"""`cerebros-client import` on the real servers: killed half-way, gone on with, repeated; each trial is one row."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from cerebros_client.backfill.items import Item
from cerebros_client.backfill.retention import retention_ms, watch_age
from cerebros_client.transport import Target
from confluent_kafka.admin import AdminClient

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from tests.support.ledger import check_ledger, events_of, rows_of
from tests.support.patience import patient
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import wait_settled
from tests.support.topics import set_number

BEGAN_MS = 1_714_564_800_000  # 2024-05-01: far older than a topic keeps by default


def client(settings: Settings, *arguments: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "CEREBROS_URL": f"kafka://{settings.kafka_bootstrap_servers}",
        "CEREBROS_TOPIC": settings.raw_topic,
    }
    command = [sys.executable, "-m", "cerebros_client.commands.main", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def confirmed(state: Path) -> int:
    if not state.exists():
        return 0
    connection = sqlite3.connect(state, timeout=30)
    try:
        return int(connection.execute("select count(*) from sent").fetchone()[0])
    except sqlite3.OperationalError:  # its table is not made yet
        return 0
    finally:
        connection.close()


@pytest.mark.timeout(400)
def test_an_import_that_is_killed_goes_on_and_repeated_changes_nothing(
    settings: Settings, environment: dict[str, str], start: Callable[..., Process], tmp_path: Path
) -> None:
    path, state = tmp_path / "reports.jsonl", tmp_path / "state.db"
    with path.open("w") as file:
        for number in range(12_000):
            report = {"run_id": f"run-{number % 7}", "trial_id": str(number), "status": "succeeded"}
            file.write(json.dumps({**report, "metrics": {"accuracy": number}, "ts": BEGAN_MS + number}) + "\n")
    ingest, relay = start("ingest"), start("relay")
    importing = client(settings, "import", "jsonl", str(path), "--state", str(state))
    while not confirmed(state) and importing.poll() is None:
        time.sleep(0.005)
    importing.kill()
    assert importing.wait() == -signal.SIGKILL
    before = confirmed(state)
    assert 0 < before < 12_000

    importing = client(settings, "import", "jsonl", str(path), "--state", str(state))
    output, errors = importing.communicate(timeout=patient(120))
    assert importing.returncode == 0, errors
    assert output == f"{12_000 - before} sent and confirmed, {before} known from before\n"
    assert "older" not in errors  # this topic keeps everything
    wait_settled(settings, timeout_s=150)
    expected = check_ledger(settings)
    assert len(expected.rows) == 12_000
    rows, events = rows_of(settings), events_of(settings)
    assert {record.timestamp_ms for record in read_topic(settings, settings.raw_topic)} == {
        BEGAN_MS + number for number in range(12_000)
    }

    importing = client(settings, "import", "jsonl", str(path), "--state", str(state), "--again")
    output, errors = importing.communicate(timeout=patient(120))
    assert (importing.returncode, output) == (0, "12000 sent and confirmed, 0 known from before\n"), errors
    wait_settled(settings, timeout_s=150)
    assert (rows_of(settings), events_of(settings)) == (rows, events)
    assert (ingest.stop(), relay.stop()) == (0, 0)
    verified = run_command(environment, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_study_of_the_past_is_imported(settings: Settings, start: Callable[..., Process], tmp_path: Path) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="digits", storage=f"sqlite:///{tmp_path}/study.db")
    study.optimize(lambda trial: trial.suggest_float("rate", 0, 1), n_trials=5)
    start("ingest"), start("relay")
    importing = client(settings, "import", "optuna", f"{tmp_path}/study.db", "--state", f"{tmp_path}/state.db")
    output, errors = importing.communicate(timeout=patient(120))
    assert (importing.returncode, output) == (0, "5 sent and confirmed, 0 known from before\n"), errors
    wait_settled(settings)
    assert check_ledger(settings).rows.keys() == {("digits", str(number)) for number in range(5)}


def test_reports_that_kafka_would_remove_are_told_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    target = Target(url=settings.kafka_bootstrap_servers, topic=settings.raw_topic)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    set_number(admin, settings.raw_topic, "retention.ms", 86_400_000)
    wait_until(lambda: retention_ms(target) == 86_400_000, "the broker has taken it")
    look = watch_age(target)
    look(Item("run", "new", time.time_ns() // 1_000_000))
    assert caplog.messages == []
    look(Item("run", "old", BEGAN_MS))
    look(Item("run", "older", BEGAN_MS - 1))
    [told] = caplog.messages
    assert f"older than the 1 days that topic {settings.raw_topic} keeps" in told
    set_number(admin, settings.raw_topic, "retention.ms", -1)
    wait_until(lambda: retention_ms(target) is None, "the broker has taken it")


def test_a_source_that_can_not_be_read_is_one_sentence(settings: Settings, tmp_path: Path) -> None:
    importing = client(settings, "import", "jsonl", f"{tmp_path}/none.jsonl", "--state", f"{tmp_path}/state.db")
    output, errors = importing.communicate(timeout=patient(60))
    assert (importing.returncode, output, errors) == (1, "", f"{tmp_path}/none.jsonl is no file\n")
