"""Where the tests find a real Kafka and PostgreSQL: PROCESSOR_* variables, a Docker engine, or the local stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from processor.local.files import free_ports
from processor.local.jars import VERSION
from processor.local.kafka import PROPERTIES
from processor.local.stack import LocalStack


class Servers(NamedTuple):
    """Addresses; `local` is there where the tests may stop and kill the servers themselves."""

    bootstrap_servers: str
    database_url: str
    local: LocalStack | None = None


@contextmanager
def open_servers() -> Iterator[Servers]:
    bootstrap = os.environ.get("PROCESSOR_KAFKA_BOOTSTRAP_SERVERS")
    url = os.environ.get("PROCESSOR_DATABASE_URL")
    if bootstrap and url:
        yield Servers(bootstrap, url)
    elif docker_answers():
        with containers() as servers:
            yield servers
    else:
        with LocalStack() as stack:
            yield Servers(stack.bootstrap_servers, stack.database_url, stack)


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


@contextmanager
def containers() -> Iterator[Servers]:
    """The broker with the properties of the local stack (testcontainers' own start script is for Confluent's image)."""
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs
    from testcontainers.postgres import PostgresContainer

    [port] = free_ports(1)
    where = f"127.0.0.1:{port}"
    broker = DockerContainer(f"apache/kafka:{VERSION}").with_bind_ports(port, port)
    listeners = {
        "node.id": "1",
        "process.roles": "broker,controller",
        "controller.quorum.voters": "1@127.0.0.1:29093",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"CONTROLLER://127.0.0.1:29093,PLAINTEXT://:{port}",
        "advertised.listeners": f"PLAINTEXT://{where}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    }
    for name, value in {**PROPERTIES, **listeners}.items():
        broker = broker.with_env("KAFKA_" + name.replace(".", "_").upper(), value)
    with broker, PostgresContainer("postgres:18", driver=None) as postgres:
        wait_for_logs(broker, "Kafka Server started", timeout=60)
        yield Servers(where, postgres.get_connection_url())
