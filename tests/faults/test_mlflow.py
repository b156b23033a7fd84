"""The mirror killed, doubled and cut off, with a real MLflow: each trial ends with exactly one run."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from processor.core.settings import Settings
from processor.kafka.offsets import GroupOffsets
from processor.local.mlflow import MlflowServer
from processor.mlflow.doubts import DOUBTS
from processor.mlflow.experiments import identify
from processor.mlflow.rest import RestTracking
from processor.service.wiring import mlflow_group
from tests.factories import load, produce
from tests.support.backends import OwnServers
from tests.support.http_proxy import HttpProxy
from tests.support.ledger import check_ledger
from tests.support.mlflow import (
    check_mirrored,
    fingerprint,
    link_rows,
    mirrored,
    newest_events,
    wait_mirrored,
)
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]
POINTS = [
    "mlflow.before_create",
    "mlflow.after_create",
    "mlflow.after_link",
    "mlflow.between_batches",
    "mlflow.before_commit",
]


@pytest.fixture
def mirror(start: Start, mlflow_server: MlflowServer, settings: Settings) -> Callable[..., Process]:
    """Starts a mirror with experiments of this test's own."""
    own = {
        "PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": template(settings),
        "PROCESSOR_MLFLOW_TIMEOUT_MS": "5000",
    }
    return lambda **extra: start("mlflow", **{**own, **extra})


@pytest.fixture
def ends_well(
    settings: Settings, environment: dict[str, str], mlflow_server: MlflowServer, tracking: RestTracking
) -> Callable[[], int]:
    """Every trial has one run with its values, by our own look and by `processor mlflow verify`; how many trials."""

    def look() -> int:
        trials = check_mirrored(settings, tracking, template(settings), identify(tracking))
        own = {
            "PROCESSOR_MLFLOW_TRACKING_URI": mlflow_server.url,
            "PROCESSOR_MLFLOW_EXPERIMENT": template(settings),
        }
        done = run_command({**environment, **own}, "mlflow", "verify", "-f", "json")
        assert done.returncode == 0, done.stdout + done.stderr
        # a trial that was skipped since has a run, and no row that MLflow shall hold
        assert 0.8 * trials < json.loads(done.stdout)["runs"] <= trials
        return trials

    return look


def template(settings: Settings) -> str:
    return f"{settings.group_id}/{{run_id}}"


def fill(settings: Settings, start: Start, count: int, seed: int) -> None:
    """Events of so many reports on the topic; ingest and relay go on."""
    start("ingest")
    start("relay")
    more(settings, count, seed)


def more(settings: Settings, count: int, seed: int) -> None:
    messages = [(key, value.replace(b'"mlflow_run_id"', b'"other_id"')) for key, value in load(count, seed=seed)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    wait_settled(settings)


@pytest.mark.parametrize("point", POINTS)
def test_a_mirror_killed_at_any_point_leaves_each_trial_one_run(
    point: str, settings: Settings, start: Start, mirror: Start, tracking: RestTracking, ends_well: Callable[[], int]
) -> None:
    fill(settings, start, 60, seed=41)
    extra = {"PROCESSOR_MLFLOW_BATCH_MAX_EVENTS": "20"}
    if point == "mlflow.between_batches":
        send_wide(settings)
    nth = "" if point == "mlflow.between_batches" else "#7" if "create" in point else "#2"
    victim = mirror(PROCESSOR_TEST_HALT_AT=f"{point}{nth}", **extra)
    victim.wait_halted(point)
    victim.kill()
    mirror(**extra)
    wait_mirrored(settings)
    assert ends_well() > 40


def send_wide(settings: Settings) -> None:
    """A trial with more params than one request takes."""
    wide = {"run_id": "run-0", "trial_id": "wide", "status": "ok", "parameters": {f"p{n}": n for n in range(250)}}
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("run-0", json.dumps(wide).encode())])
    wait_settled(settings)


def test_a_replay_of_everything_changes_nothing_in_mlflow(
    settings: Settings, start: Start, mirror: Start, tracking: RestTracking, ends_well: Callable[[], int]
) -> None:
    fill(settings, start, 60, seed=42)
    first = mirror()
    wait_mirrored(settings)
    before = fingerprint(mirrored(settings, tracking, template(settings)))
    offsets = offsets_of(settings, tracking)
    # the end of the relay's last transaction is an offset without a message, and comes behind the last trial
    wait_until(lambda: sum(one.lag for one in offsets.bounds().values()) == 0, "all is read")
    assert first.stop() == 0
    assert sum(one.lag for one in offsets.bounds().values()) == 0
    offsets.move({one: bound.earliest for one, bound in offsets.bounds().items()})
    mirror()
    wait_until(lambda: sum(one.lag for one in offsets.bounds().values()) == 0, "all is read again", 60)
    assert fingerprint(mirrored(settings, tracking, template(settings))) == before
    ends_well()


def offsets_of(settings: Settings, tracking: RestTracking) -> GroupOffsets:
    group = settings.model_copy(update={"group_id": mlflow_group(settings.group_id, identify(tracking))})
    return GroupOffsets(group, settings.events_topic)


def test_two_mirrors_at_the_same_trials_leave_each_one_run(
    settings: Settings, start: Start, mirror: Start, tracking: RestTracking, ends_well: Callable[[], int]
) -> None:
    """One is halted with a run that it has made and not remembered; its partitions go to another; then it goes on."""
    fill(settings, start, 60, seed=43)
    first = mirror(PROCESSOR_TEST_HALT_AT="mlflow.after_create#9")
    first.wait_halted("mlflow.after_create")
    mirror().wait_said("mlflow_started")
    first.resume()
    more(settings, 100, seed=44)
    wait_mirrored(settings)
    assert ends_well() > 40


HOW: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429},
    "some 500": {"status": 500, "share": 0.2, "in_row": DOUBTS - 1},
    "slow": {"wait_s": 0.3},
    "lost answers": {"lose": 0.1},
    "silent": {"wait_s": 8.0},
}


@pytest.mark.parametrize("how", HOW)
def test_a_tracking_server_in_trouble_is_an_outage_and_loses_doubles_and_refuses_nothing(
    how: str,
    settings: Settings,
    start: Start,
    mirror: Start,
    mlflow_server: MlflowServer,
    tracking: RestTracking,
    ends_well: Callable[[], int],
) -> None:
    fill(settings, start, 60, seed=45)
    with HttpProxy(mlflow_server.port) as proxy:
        running = mirror(PROCESSOR_MLFLOW_TRACKING_URI=proxy.url, PROCESSOR_MLFLOW_BATCH_MAX_EVENTS="20")
        running.wait_said("mlflow_started")
        for name, value in HOW[how].items():
            setattr(proxy, name, value)
        more(settings, 60, seed=46)
        wait_until(lambda: proxy.refused + proxy.lost + proxy.slowed >= 5, "the mirror has met it several times", 60)
        proxy.status, proxy.wait_s, proxy.lose = 0, 0.0, 0.0
        wait_mirrored(settings, 90)
        assert ends_well() > 40
        assert running.running
        assert "mlflow_not_linked" not in running.log.read_text()


def test_a_tracking_server_that_hangs_does_not_hold_up_the_end(
    settings: Settings, start: Start, mirror: Start, mlflow_server: MlflowServer, ends_well: Callable[[], int]
) -> None:
    fill(settings, start, 60, seed=49)
    hangs = {"PROCESSOR_MLFLOW_TIMEOUT_MS": "600000", "PROCESSOR_SHUTDOWN_TIMEOUT_MS": "1000"}
    with HttpProxy(mlflow_server.port) as proxy:
        running = mirror(PROCESSOR_MLFLOW_TRACKING_URI=proxy.url, PROCESSOR_MLFLOW_BATCH_MAX_EVENTS="5", **hangs)
        wait_until(lambda: len(linked(settings)) > 5, "some are mirrored")
        proxy.wait_s = 3600.0
        before = -1
        while before != (before := len(linked(settings))):  # until what had begun has ended
            time.sleep(1.0)
        assert running.stop(15) == 0
        assert "mlflow_batch_left" in running.said()
        assert "mlflow_stopped" in running.said()
    mirror()
    wait_mirrored(settings, 90)
    assert ends_well() > 20


def test_a_trial_that_breaks_the_server_is_told_holds_up_nobody_and_is_tried_again(
    settings: Settings,
    start: Start,
    mirror: Start,
    mlflow_server: MlflowServer,
    environment: dict[str, str],
    ends_well: Callable[[], int],
) -> None:
    fill(settings, start, 30, seed=51)
    poisoned = {"run_id": "run-0", "trial_id": "poisoned", "status": "ok", "parameters": {"poison": 1}}
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("run-0", json.dumps(poisoned).encode())])
    wait_settled(settings)
    with HttpProxy(mlflow_server.port) as proxy:
        proxy.poison = b'"poison"'
        running = mirror(PROCESSOR_MLFLOW_TRACKING_URI=proxy.url, PROCESSOR_MLFLOW_RETRY_MS="3000")
        wait_until(lambda: link_states(settings).pop("poisoned", "") == "failing", "it is told", 60)
        more(settings, 30, seed=52)
        rest = {trial for _, trial in newest_events(settings)} - {"poisoned"}
        wait_until(lambda: linked(settings) == rest, "all others are mirrored", 60)
        assert "MLflow links: failing" in run_command(environment, "status").stdout
        proxy.poison = b""
        wait_mirrored(settings, 60)
        assert ends_well() > 20
        assert running.running


def link_states(settings: Settings) -> dict[str, str]:
    return {row["trial_id"]: row["state"] for row in link_rows(settings) if row["trial_id"]}


def linked(settings: Settings) -> set[str]:
    return {trial for trial, state in link_states(settings).items() if state == "linked"}


@pytest.mark.parametrize("which", ["mlflow", "postgres", "kafka"])
def test_a_server_that_is_down_meanwhile_is_waited_for(
    which: str,
    settings: Settings,
    start: Start,
    mirror: Start,
    mlflow_server: MlflowServer,
    tracking: RestTracking,
    own_servers: OwnServers,
    ends_well: Callable[[], int],
) -> None:
    fill(settings, start, 60, seed=47)
    running = mirror(PROCESSOR_MLFLOW_BATCH_MAX_EVENTS="10")
    running.wait_said("mlflow_started")
    servers: dict[str, Any] = {"mlflow": mlflow_server, "postgres": own_servers.postgres, "kafka": own_servers.kafka}
    down = servers[which]
    down.kill()
    time.sleep(3)
    down.start()
    more(settings, 60, seed=48)
    wait_mirrored(settings, 90)
    check_ledger(settings)
    assert ends_well() > 40
    assert running.running


def test_a_server_that_comes_back_with_another_database_gets_every_trial(
    settings: Settings,
    start: Start,
    mirror: Start,
    mlflow_server: MlflowServer,
    tracking: RestTracking,
    ends_well: Callable[[], int],
) -> None:
    fill(settings, start, 60, seed=49)
    running = mirror()
    wait_mirrored(settings)
    former = identify(tracking)
    mlflow_server.stop()
    mlflow_server.backend = f"sqlite:///{mlflow_server.folder / 'another.db'}"
    mlflow_server.start()
    more(settings, 30, seed=50)
    running.wait_said("mlflow_server_changed", 60)
    wait_mirrored(settings, 90, identify(tracking))
    assert identify(tracking) != former
    assert ends_well() > 40


@pytest.mark.soak
def test_twenty_kills_leave_each_trial_one_run(
    settings: Settings, start: Start, mirror: Start, tracking: RestTracking, ends_well: Callable[[], int]
) -> None:
    seed = int(os.environ.get("SOAK_SEED", "1"))
    chance = random.Random(seed)
    fill(settings, start, 1200, seed=seed)
    for _ in range(20):
        point = chance.choice([one for one in POINTS if one != "mlflow.between_batches"])
        nth = chance.randrange(1, 20 if "create" in point else 3)
        victim = mirror(PROCESSOR_TEST_HALT_AT=f"{point}#{nth}", PROCESSOR_MLFLOW_BATCH_MAX_EVENTS="15")
        victim.wait_halted(point, 120)
        victim.kill()
    mirror()
    wait_mirrored(settings, 600)
    check_ledger(settings)
    assert ends_well() > 500
