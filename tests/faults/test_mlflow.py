"""The mirror killed, doubled and cut off, with a real MLflow: each trial ends with exactly one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from processor.core.settings import Settings
from processor.local.mlflow import MlflowServer
from processor.mlflow.rest import RestTracking
from tests.factories import load, produce
from tests.support.mlflow import check_mirrored, fingerprint, mirrored, open_mlflow, wait_mirrored
from tests.support.processes import Process
from tests.support.settle import wait_settled

Start = Callable[..., Process]
POINTS = [
    "mlflow.before_create",
    "mlflow.after_create",
    "mlflow.after_link",
    "mlflow.between_batches",
    "mlflow.before_commit",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with open_mlflow(tmp_path_factory.mktemp("mlflow")) as opened:
        yield opened


@pytest.fixture
def tracking(server: MlflowServer) -> RestTracking:
    return RestTracking(server.url)


@pytest.fixture
def mirror(start: Start, server: MlflowServer, settings: Settings) -> Callable[..., Process]:
    """Starts a mirror with experiments of this test's own."""
    own = {
        "PROCESSOR_MLFLOW_TRACKING_URI": server.url,
        "PROCESSOR_MLFLOW_EXPERIMENT": template(settings),
        "PROCESSOR_MLFLOW_TIMEOUT_MS": "5000",
    }
    return lambda **extra: start("mlflow", **{**own, **extra})


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
    point: str, settings: Settings, start: Start, mirror: Start, tracking: RestTracking
) -> None:
    fill(settings, start, 60, seed=41)
    extra = {"PROCESSOR_MLFLOW_BATCH_MAX_EVENTS": "20"}
    if point == "mlflow.between_batches":
        many = {
            "run_id": "run-0",
            "trial_id": "wide",
            "status": "ok",
            "parameters": {f"p{n}": {"v": n} for n in range(250)},
        }
        produce(
            settings.kafka_bootstrap_servers, settings.raw_topic, [("run-0", __import__("json").dumps(many).encode())]
        )
        wait_settled(settings)
    nth = "" if point in ("mlflow.between_batches",) else "#7" if "create" in point else "#2"
    victim = mirror(PROCESSOR_TEST_HALT_AT=f"{point}{nth}", **extra)
    victim.wait_halted(point)
    victim.kill()
    mirror(**extra)
    wait_mirrored(settings)
    if point != "mlflow.between_batches":
        assert check_mirrored(settings, tracking, template(settings)) > 40


def test_a_replay_of_everything_changes_nothing_in_mlflow(
    settings: Settings, start: Start, mirror: Start, tracking: RestTracking
) -> None:
    fill(settings, start, 60, seed=42)
    first = mirror()
    wait_mirrored(settings)
    before = fingerprint(mirrored(settings, tracking, template(settings)))
    assert first.stop() == 0
    from processor.kafka.offsets import GroupOffsets
    from processor.mlflow.experiments import identify
    from processor.service.mlflow import group_of

    group = settings.model_copy(update={"group_id": group_of(settings, identify(tracking))})
    offsets = GroupOffsets(group, settings.events_topic)
    assert sum(one.lag for one in offsets.bounds().values()) == 0
    offsets.move({one: bound.earliest for one, bound in offsets.bounds().items()})
    mirror()
    from tests.support.processes import wait_until

    wait_until(lambda: sum(one.lag for one in offsets.bounds().values()) == 0, "all is read again", 60)
    assert fingerprint(mirrored(settings, tracking, template(settings))) == before
    check_mirrored(settings, tracking, template(settings))
