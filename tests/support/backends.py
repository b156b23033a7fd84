"""Where the tests find a real Kafka and PostgreSQL: PROCESSOR_* variables, a Docker engine, or the local stack.

CEREBROS_TEST_SERVERS    docker, local, or auto (the default): docker where an engine answers, else local
CEREBROS_TEST_KAFKA      version of the image apache/kafka, with docker only
CEREBROS_TEST_POSTGRES   tag of the image postgres, with docker only
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NoReturn

import pytest

from processor.local.jars import VERSION
from processor.local.stack import LocalStack
from tests.support.containers import has_new_groups, open_containers
from tests.support.stoppable import LocalServer, Stoppable

PREFIX = "CEREBROS_TEST_"
SERVERS, KAFKA, POSTGRES = f"{PREFIX}SERVERS", f"{PREFIX}KAFKA", f"{PREFIX}POSTGRES"
DEFAULT_POSTGRES = "18"
BOOTSTRAP, DATABASE = "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS", "PROCESSOR_DATABASE_URL"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Addresses of servers that nobody may stop, as they may be somebody's."""

    bootstrap_servers: str
    database_url: str
    has_new_groups: bool = True  # those of KIP-848


@dataclass(frozen=True, kw_only=True)
class OwnServers(Servers):
    """Servers that were started for the tests, which may stop them; `stack` where they are the local one."""

    kafka: Stoppable
    postgres: Stoppable
    kafka_tool: Callable[..., subprocess.CompletedProcess[str]]
    stack: LocalStack | None = None


@contextmanager
def open_servers() -> Iterator[Servers]:
    """The servers that this environment asks for; without them the tests fail, each with the same sentence."""
    bootstrap, url = os.environ.get(BOOTSTRAP), os.environ.get(DATABASE)
    if bootstrap and url:
        yield Servers(bootstrap_servers=bootstrap, database_url=url)
    elif choose(os.environ, docker_answers) == "docker":
        kafka = os.environ.get(KAFKA) or VERSION
        with open_containers(kafka, os.environ.get(POSTGRES) or DEFAULT_POSTGRES) as containers:
            yield OwnServers(**containers._asdict(), has_new_groups=has_new_groups(kafka))
    else:
        with LocalStack() as stack:
            yield OwnServers(
                bootstrap_servers=stack.bootstrap_servers,
                database_url=stack.database_url,
                kafka=LocalServer(stack.kafka),
                postgres=LocalServer(stack.postgres),
                kafka_tool=stack.kafka_tool,
                stack=stack,
            )


def choose(environment: Mapping[str, str], engine_answers: Callable[[], bool]) -> Literal["docker", "local"]:
    """What CEREBROS_TEST_* ask for; an empty value asks for nothing. Fails the test where it can't be had."""
    asked = {name: value for name, value in environment.items() if name.startswith(PREFIX) and value}
    if unknown := asked.keys() - {SERVERS, KAFKA, POSTGRES}:
        pytest.fail(f"{', '.join(sorted(unknown))}: there is no such variable", pytrace=False)
    wanted = asked.pop(SERVERS, "auto")
    if wanted not in ("auto", "docker", "local"):
        pytest.fail(f"{SERVERS} is '{wanted}': it takes docker, local or auto", pytrace=False)
    if wanted != "local" and engine_answers():
        return "docker"
    if wanted == "docker":
        pytest.fail(f"{SERVERS}=docker, and no Docker engine answers", pytrace=False)
    if asked:
        pytest.fail(f"{' and '.join(sorted(asked))} choose images, and the servers are the local stack", pytrace=False)
    return "local"


def docker_answers() -> bool:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=2)
        client.ping()
    except DockerException:
        return False
    client.close()
    return True


def missing(what: str) -> NoReturn:
    """What a test needs is not there: it skips where a person works, and fails in CI (CI=true)."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
