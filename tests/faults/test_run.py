"""`processor run` and its two children: whatever happens to the parent and whenever, none of them is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import psutil
import pytest

from processor.core.settings import Settings
from processor.local.files import free_ports
from tests.factories import load, produce, report
from tests.support.callers import Caller
from tests.support.ledger import check_ledger
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]

#: `processor run` that is told to stop at the very moment when its first child has started
TOLD_IN_BETWEEN = """
import os, signal, subprocess, sys, time

class Popen(subprocess.Popen):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        print(self.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)

import processor.service.together
processor.service.together.subprocess.Popen = Popen
sys.argv = ["processor", "run"]
from processor.cli.main import main
main()
"""


def children_of(process: Process, number: int = 2) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children()
    return found if len(found) == number else []


def test_a_signal_between_the_starts_of_its_children_leaves_none_behind(
    settings: Settings, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOLD_IN_BETWEEN],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    [first] = done.stdout.splitlines()  # the second is not even begun
    assert not psutil.pid_exists(int(first))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("moment", ["ingest_started", "leading"])
def test_children_of_a_parent_that_was_killed_stop_by_themselves_and_lose_nothing(
    moment: str, settings: Settings, start: Start
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=77))
    parent = start("run")
    wait_until(lambda: bool(children_of(parent)), "both children run")
    children = children_of(parent)
    parent.wait_said(moment)
    parent.kill()
    assert psutil.wait_procs(children, timeout=patient(20))[1] == []
    assert "the parent process is gone" in parent.said()
    start("run")
    wait_settled(settings)
    check_ledger(settings)


def test_a_second_signal_ends_the_children_too(settings: Settings, start: Start) -> None:
    parent = start("run", PROCESSOR_TEST_HALT_AT="relay.after_claim")
    wait_until(lambda: bool(children_of(parent)), "both children run")
    children = children_of(parent)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(100, seed=78))
    parent.wait_halted("relay.after_claim")
    parent.terminate()
    parent.wait_said("stopping")
    parent.terminate()
    assert parent.wait(5) == 1
    assert psutil.wait_procs(children, timeout=patient(5))[1] == []


def test_the_gateway_runs_beside_them_where_its_address_is_set(settings: Settings, start: Start) -> None:
    port = free_ports(1)[0]
    parent = start("run", PROCESSOR_GATEWAY_LISTEN=f"127.0.0.1:{port}")
    parent.wait_said("gateway_started")
    children = children_of(parent, 3)
    assert len(children) == 3
    wait_until(lambda: Caller(port).post(report()).status == 202, "a report is accepted")
    wait_settled(settings)
    assert parent.stop() == 0
    assert psutil.wait_procs(children, timeout=patient(5))[1] == []
    check_ledger(settings)
