"""Which servers tests get, and what stopping one in a container asks of Docker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from processor.local.jars import VERSION
from processor.local.kafka import PROPERTIES
from tests.support import backends, containers, stoppable
from tests.support.backends import OwnServers, Servers, choose, missing, open_servers
from tests.support.containers import broker_environment
from tests.support.stoppable import ContainerServer

DOCKER, LOCAL = {"CEREBROS_TEST_SERVERS": "docker"}, {"CEREBROS_TEST_SERVERS": "local"}
OLD = {"CEREBROS_TEST_KAFKA": "3.9.1", "CEREBROS_TEST_POSTGRES": "14"}


def answering(yes: bool) -> Callable[..., bool]:
    return lambda *_: yes


class FakeContainer:
    """Refuses what Docker refuses; `done` is what was asked of it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.status = "unknown"  # what the client knows is as old as the last `reload`
        self._real = "running"

    def _do(self, what: str, allowed: tuple[str, ...], then: str) -> None:
        assert self._real in allowed, f"Docker refuses to {what} a container that is {self._real}"
        self.done.append(what)
        self._real = then

    def reload(self) -> None:
        self.status = self._real

    def start(self) -> None:
        self._do("start", ("running", "exited"), "running")

    def stop(self, timeout: int) -> None:
        self._do("stop", ("running", "exited"), "exited")

    def kill(self) -> None:
        self._do("kill", ("running", "paused"), "exited")

    def wait(self) -> dict[str, int]:
        assert self._real == "exited"
        return {"StatusCode": 137}

    def pause(self) -> None:
        self._do("pause", ("running",), "paused")

    def unpause(self) -> None:
        self._do("unpause", ("paused",), "running")

    def logs(self, tail: int) -> bytes:
        return b"what it said last"


class FakeServer:
    """Answers the third time that it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def answers(self) -> bool:
        self.asked += 1
        return self.asked % 3 == 0


@pytest.mark.parametrize(
    ("environment", "engine", "expected"),
    [
        ({}, True, "docker"),
        ({}, False, "local"),
        ({"CEREBROS_TEST_SERVERS": "auto"}, True, "docker"),
        (DOCKER, True, "docker"),
        (LOCAL, True, "local"),
        (OLD, True, "docker"),
        # a cell of a matrix that says nothing
        ({"CEREBROS_TEST_SERVERS": "", "CEREBROS_TEST_KAFKA": "", "CEREBROS_TEST_POSTGRES": ""}, False, "local"),
    ],
)
def test_servers_are_the_ones_that_are_asked_for(environment: dict[str, str], engine: bool, expected: str) -> None:
    assert choose(environment, answering(engine)) == expected


@pytest.mark.parametrize(
    ("environment", "engine", "sentence"),
    [
        (DOCKER, False, "CEREBROS_TEST_SERVERS=docker, and no Docker engine answers"),
        ({"CEREBROS_TEST_SERVERS": "podman"}, True, "is 'podman': it takes docker, local or auto"),
        ({"CEREBROS_TEST_POSTGRE": "14"}, True, "CEREBROS_TEST_POSTGRE: there is no such variable"),
        (OLD, False, "CEREBROS_TEST_KAFKA and CEREBROS_TEST_POSTGRES choose images"),
        ({**OLD, **LOCAL}, True, "the servers are the local stack"),
    ],
)
def test_servers_that_cannot_be_had_fail_the_test_and_never_skip_it(
    environment: dict[str, str], engine: bool, sentence: str
) -> None:
    with pytest.raises(pytest.fail.Exception, match=sentence):
        choose(environment, answering(engine))


def test_servers_of_somebody_else_are_not_the_tests_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.BOOTSTRAP, "kafka:9092")
    monkeypatch.setenv(backends.DATABASE, "postgresql://postgres:5432/db")
    with open_servers() as servers:
        assert servers == Servers(bootstrap_servers="kafka:9092", database_url="postgresql://postgres:5432/db")
        assert not isinstance(servers, OwnServers)


def test_what_is_missing_skips_for_a_person_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a server"):
        missing("needs a server")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="needs a server"):
        missing("needs a server")


@pytest.mark.parametrize(
    ("before", "then", "asked_of_docker"),
    [
        ((), "start", ["start"]),
        (("stop",), "start", ["stop", "start"]),
        (("kill",), "start", ["kill", "start"]),
        (("freeze",), "thaw", ["pause", "unpause"]),
        (("freeze",), "start", ["pause", "unpause"]),
        (("freeze", "kill"), "start", ["pause", "kill", "start"]),
        (("stop", "kill"), "start", ["stop", "start"]),
        ((), "thaw", []),
    ],
)
def test_a_server_in_a_container_is_back_when_it_answers(
    before: tuple[str, ...], then: str, asked_of_docker: list[str]
) -> None:
    container, behind = FakeContainer(), FakeServer()
    server = ContainerServer(container, behind.answers, "Kafka")
    for step in before:
        getattr(server, step)()
    assert behind.asked == 0  # nothing is waited for that has just been stopped
    getattr(server, then)()
    assert (container.done, behind.asked) == (asked_of_docker, 3)


def test_a_server_that_never_answers_fails_the_test_with_the_end_of_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stoppable, "ANSWER_SECONDS", 0.1)
    server = ContainerServer(FakeContainer(), answering(False), "Kafka")
    with pytest.raises(AssertionError, match="Kafka answers") as failed:
        server.start()
    assert failed.value.__notes__ == ["what it said last"]


@pytest.mark.parametrize(("version", "protocols"), [(VERSION, "classic,consumer"), ("3.9.1", "classic")])
def test_a_broker_in_a_container_is_set_up_as_the_local_one(version: str, protocols: str) -> None:
    environment = broker_environment(29092, version)
    assert environment.pop("CLUSTER_ID")
    found = {name.removeprefix("KAFKA_").replace("_", ".").lower(): value for name, value in environment.items()}
    own = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
    assert found.keys() - own == PROPERTIES.keys()
    assert {name: found[name] for name in PROPERTIES} == {
        **PROPERTIES,
        "group.coordinator.rebalance.protocols": protocols,
    }
    listeners = [one.partition("://")[0] for one in found["listeners"].split(",")]
    secured = [one.partition(":")[0] for one in found["listener.security.protocol.map"].split(",")]
    assert sorted(listeners) == sorted(secured)
    assert found["advertised.listeners"] == f"{found['inter.broker.listener.name']}://127.0.0.1:29092"


def test_containers_are_of_the_versions_asked_for_and_on_ports_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class FakeImage:
        def __init__(self, image: str, env: dict[str, str]) -> None:
            self.image, self.env, self.ports, self.left = image, env, dict[int, int](), False
            self.container = FakeContainer()
            made.append(self)

        def with_bind_ports(self, inside: int, outside: int) -> FakeImage:
            self.ports[inside] = outside
            return self

        def get_wrapped_container(self) -> FakeContainer:
            return self.container

        def __enter__(self) -> FakeImage:
            return self

        def __exit__(self, *_: object) -> None:
            self.left = True

    monkeypatch.setattr("testcontainers.core.container.DockerContainer", FakeImage)
    monkeypatch.setattr(containers, "broker_answers", answering(True))
    monkeypatch.setattr(containers, "database_answers", answering(True))
    with containers.open_containers("3.9.1", "14") as opened:
        broker, database = made
        assert (broker.image, database.image) == ("apache/kafka:3.9.1", "postgres:14")
        [(inside, outside)] = broker.ports.items()
        assert inside == outside  # what is advertised is one address, inside the container too
        assert opened.bootstrap_servers == f"127.0.0.1:{outside}"
        password, port = database.env["POSTGRES_PASSWORD"], database.ports[5432]
        assert opened.database_url == f"postgresql://postgres:{password}@127.0.0.1:{port}/cerebros"
        opened.kafka.kill()
        opened.kafka.start()
        opened.postgres.freeze()
        assert (broker.container.done, database.container.done) == (["start", "kill", "start"], ["start", "pause"])
    assert (broker.left, database.left) == (True, True)
