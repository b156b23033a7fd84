"""Kafka and PostgreSQL in containers, set up as the local stack is, on ports that survive a restart."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg

from processor.local.files import free_ports
from processor.local.kafka import PROPERTIES, broker_answers
from tests.support.stoppable import ContainerServer

CLUSTER_ID = "7tWvLrGqQ0mZbXo2nUeJ1A"
SECRET = "postgres"


class Containers(NamedTuple):
    """Both servers; `kafka_tool` runs one of Kafka's own tools, named as in processor.local.kafka.TOOLS."""

    bootstrap_servers: str
    database_url: str
    kafka: ContainerServer
    postgres: ContainerServer
    kafka_tool: Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def open_containers(kafka_version: str, postgres_tag: str) -> Iterator[Containers]:
    """Both as containers, until the end of the block: apache/kafka:`kafka_version` and postgres:`postgres_tag`.

    testcontainers' own Kafka is Confluent's image with a start script that a restart would break.
    """
    from testcontainers.core.container import DockerContainer

    kafka_port, postgres_port = free_ports(2)
    address, url = f"127.0.0.1:{kafka_port}", f"postgresql://postgres:{SECRET}@127.0.0.1:{postgres_port}/cerebros"
    broker = DockerContainer(f"apache/kafka:{kafka_version}", env=broker_environment(kafka_port, kafka_version))
    database = DockerContainer(f"postgres:{postgres_tag}", env=database_environment())
    with broker.with_bind_ports(kafka_port, kafka_port), database.with_bind_ports(5432, postgres_port):
        container = broker.get_wrapped_container()
        kafka = ContainerServer(container, lambda: broker_answers(kafka_port), f"Kafka {kafka_version}")
        postgres = ContainerServer(
            database.get_wrapped_container(), lambda: database_answers(url), f"PostgreSQL {postgres_tag}"
        )
        for server in (kafka, postgres):
            server.start()
        yield Containers(address, url, kafka, postgres, tool_of(container, address))


def broker_environment(port: int, version: str) -> dict[str, str]:
    """The image's variables for a broker that is reached as 127.0.0.1:`port`, from inside as from outside."""
    properties = {
        **PROPERTIES,
        "controller.quorum.voters": "1@127.0.0.1:29093",
        "listeners": f"CONTROLLER://127.0.0.1:29093,BROKER://:{port}",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "log.dirs": "/var/lib/kafka/data",
    }
    if not has_new_groups(version):
        properties["group.coordinator.rebalance.protocols"] = "classic"
    environment = {"KAFKA_" + name.replace(".", "_").upper(): value for name, value in properties.items()}
    return {"CLUSTER_ID": CLUSTER_ID, **environment}


def has_new_groups(version: str) -> bool:
    """Whether the groups of KIP-848 are what clients speak: Kafka 3 only has a preview of them."""
    return int(version.partition(".")[0]) >= 4


def database_environment() -> dict[str, str]:
    return {"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": SECRET, "POSTGRES_DB": "cerebros"}


def database_answers(url: str) -> bool:
    """Whether a query is answered: a port alone proves nothing, as Docker itself opens it."""

    async def ask() -> bool:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            return bool(await connection.fetchval("select true"))
        finally:
            await connection.close()

    try:
        return asyncio.run(ask())
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


def tool_of(container: Any, address: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [f"/opt/kafka/bin/kafka-{tool}.sh", "--bootstrap-server", address, *arguments]
        code, output = container.exec_run(command)
        return subprocess.CompletedProcess(command, code, output.decode(), output.decode())

    return run
