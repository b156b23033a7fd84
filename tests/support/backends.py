"""Where the tests find a real Kafka and PostgreSQL: PROCESSOR_* variables, a Docker engine, or the local stack."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from processor.local import LocalStack


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
    from testcontainers.kafka import KafkaContainer
    from testcontainers.postgres import PostgresContainer

    with (
        KafkaContainer("apache/kafka:4.1.1").with_kraft() as kafka,
        PostgresContainer("postgres:18", driver=None) as postgres,
    ):
        yield Servers(kafka.get_bootstrap_server(), postgres.get_connection_url())
