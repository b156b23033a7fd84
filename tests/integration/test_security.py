"""As production runs it: TLS, passwords and least rights on both servers; no secret is ever said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from processor.core.errors import SetupError
from processor.core.settings import Settings
from processor.local.postgres import find_programs
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.conftest import execute, settings_of
from tests.factories import load, produce
from tests.support.complaints import assert_one_sentence
from tests.support.ledger import check_ledger
from tests.support.processes import Process, run_command
from tests.support.secure_stack import SecureStack
from tests.support.settle import wait_settled

KAFKA_PASSWORD, POSTGRES_PASSWORD, OWNER_PASSWORD = "kafka-5ecret", "postgres-5ecret", "owner-5ecret"
WRONG_PASSWORD = "wr0ng-5ecret"
SECRETS = (KAFKA_PASSWORD, POSTGRES_PASSWORD, OWNER_PASSWORD, WRONG_PASSWORD)
GRANTS = Path(__file__).parents[2] / "deploy" / "grants.sql"
TOPICS = {"RAW_TOPIC": "secure.raw", "EVENTS_TOPIC": "secure.events", "DEAD_LETTER_TOPIC": "secure.dlq"}
#: all that the processor's Kafka user may do
RIGHTS = [
    (ResourceType.TOPIC, "secure.raw", AclOperation.READ),
    (ResourceType.TOPIC, "secure.events", AclOperation.WRITE),
    (ResourceType.TOPIC, "secure.dlq", AclOperation.WRITE),
    (ResourceType.GROUP, "secure", AclOperation.READ),
    # what the relay published is remembered as an offset of the events topic, in Kafka's own transaction
    (ResourceType.TOPIC, "secure.events", AclOperation.READ),
    (ResourceType.GROUP, "secure-relay", AclOperation.READ),
    (ResourceType.TRANSACTIONAL_ID, "secure-relay", AclOperation.WRITE),
]


class Deployment(NamedTuple):
    """`environment` is the processor's own, over TLS; `overseer` sees the same by the superusers' ways in."""

    stack: SecureStack
    environment: dict[str, str]
    overseer: Settings


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    done = run_command(environment, *command)
    assert_keeps_secrets(done.stdout + done.stderr)
    return done


def assert_keeps_secrets(said: str) -> None:
    assert [secret for secret in SECRETS if secret in said] == []


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """The owner migrates, grants.sql gives `runtime` its rights, and `runtime` is whom the processor runs as."""
    names = {f"PROCESSOR_{name}": value for name, value in {**TOPICS, "GROUP_ID": "secure"}.items()}
    with SecureStack() as stack:
        stack.add_kafka_user("processor", KAFKA_PASSWORD, RIGHTS)
        execute(
            stack.database_url,
            f"create role owner login password '{OWNER_PASSWORD}'",
            f"create role runtime login password '{POSTGRES_PASSWORD}'",
            "alter database cerebros owner to owner",
            "alter schema public owner to owner",
        )
        overseer = {**names, **stack.environment}
        environment = {
            **names,
            "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": stack.secure_bootstrap_servers,
            "PROCESSOR_KAFKA_OPTIONS": json.dumps(stack.kafka_options("processor", KAFKA_PASSWORD)),
            "PROCESSOR_DATABASE_URL": stack.secure_url("runtime", POSTGRES_PASSWORD),
            "PROCESSOR_LOG_FORMAT": "json",
            "PROCESSOR_LOG_LEVEL": "debug",
        }
        owner = {**environment, "PROCESSOR_DATABASE_URL": stack.secure_url("owner", OWNER_PASSWORD)}
        for done in (run(owner, "migrate"), run(overseer, "topics", "create"), grant(stack), grant(stack)):
            assert done.returncode == 0, done.stderr
        yield Deployment(stack, environment, settings_of(overseer))


def grant(stack: SecureStack) -> subprocess.CompletedProcess[str]:
    """As the comment in grants.sql says it."""
    url = f"postgresql://owner:{OWNER_PASSWORD}@127.0.0.1:{stack.postgres.port}/cerebros"
    command = [str(find_programs(None) / "psql"), url, "-v", "role=runtime", "-f", str(GRANTS)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def begin(deployment: Deployment, tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts a command as the processor; its log must have kept every secret."""
    running: list[Process] = []

    def beginner(command: str) -> Process:
        running.append(Process(deployment.environment, tmp_path / f"{len(running)}-{command}.log", command))
        return running[-1]

    yield beginner
    for process in running:
        process.end()
        assert_keeps_secrets(process.log.read_text())


def test_everything_runs_over_tls_with_passwords_and_least_rights(
    deployment: Deployment, begin: Callable[[str], Process]
) -> None:
    overseer = deployment.overseer
    produce(overseer.kafka_bootstrap_servers, overseer.raw_topic, load(600, seed=21))
    ingest, relay = begin("ingest"), begin("relay")
    wait_settled(overseer)
    status = run(deployment.environment, "status", "-f", "json")
    assert json.loads(status.stdout)["lag_total"] == 0
    assert run(deployment.environment, "status").returncode == 0
    assert ingest.stop() == 0
    assert run(deployment.environment, "replay", "--to-earliest", "--execute").returncode == 0
    begin("ingest")
    wait_settled(overseer)
    check_ledger(overseer)
    assert relay.stop() == 0


def test_servers_that_are_killed_under_tls_are_an_outage_and_no_wrong_certificate(
    deployment: Deployment, begin: Callable[[str], Process]
) -> None:
    overseer, stack = deployment.overseer, deployment.stack
    ingest, relay = begin("ingest"), begin("relay")
    ingest.wait_said("assigned")
    relay.wait_said("leading")
    for server in stack.servers:
        server.kill()
        server.start()
    produce(overseer.kafka_bootstrap_servers, overseer.raw_topic, load(300, seed=22))
    wait_settled(overseer, timeout_s=90)
    assert ingest.running, ingest.said()
    assert relay.running, relay.said()
    check_ledger(overseer)


@pytest.mark.parametrize(
    "statement",
    [
        "create table theirs (id int)",
        "drop table outbox",
        "truncate dead_letters",
        "alter table cerebros_model_trials add theirs int",
        "create index theirs on cerebros_model_trials (rank)",
        "delete from cerebros_model_trials",
        "update cerebros_model_runs set run_id = ''",
        "insert into processor_migrations (name) values ('theirs')",
    ],
)
def test_the_role_of_the_processor_cannot(statement: str, deployment: Deployment) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        execute(deployment.environment["PROCESSOR_DATABASE_URL"], statement)


def test_a_migration_by_a_role_without_rights_says_so_and_changes_nothing(deployment: Deployment) -> None:
    """One that has nothing to do is no harm, and what `processor migrate --check` is for."""
    assert run(deployment.environment, "migrate", "--check").returncode == 0
    execute(deployment.stack.database_url, "create database later owner owner")
    url = deployment.environment["PROCESSOR_DATABASE_URL"].replace("/cerebros?", "/later?")
    refused = run({**deployment.environment, "PROCESSOR_DATABASE_URL": url}, "migrate")
    assert refused.returncode == 1
    assert "permission denied for schema public (SQLSTATE 42501)" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_every_query_of_the_processor_is_allowed_to_its_role(deployment: Deployment) -> None:
    """Explaining a statement asks for the rights that running it needs (GENERIC_PLAN: without its parameters).

    `migrate --recount` is for the owner, as all of `migrate` is.
    """
    refused = []
    with Session(deployment.environment["PROCESSOR_DATABASE_URL"]) as store:
        for name, query in load_queries().items():
            # a lock has no plan: it is taken, and given back
            asked = f"begin; {query}; rollback" if query.startswith("lock ") else f"explain (generic_plan) {query}"
            try:
                store.run(lambda connection, asked=asked: connection.execute(asked))  # type: ignore[misc]
            except SetupError as error:
                refused.append(f"{name}: {error}")
    assert [one.partition(":")[0] for one in refused] == ["recount_runs", "recount_times"], refused


def test_every_table_that_the_migrations_make_is_in_the_grants(deployment: Deployment) -> None:
    tables = "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')"
    denied = f"{tables} and not has_table_privilege('runtime', oid, 'select')"
    with Session(deployment.stack.database_url) as store:
        assert [row[0] for row in store.run(lambda connection: connection.fetch(denied))] == []


def with_options(deployment: Deployment, **changed: str) -> dict[str, str]:
    options = json.loads(deployment.environment["PROCESSOR_KAFKA_OPTIONS"])
    options.update({name.replace("_", "."): value for name, value in changed.items()})
    return {**deployment.environment, "PROCESSOR_KAFKA_OPTIONS": json.dumps(options)}


def with_url(deployment: Deployment, password: str = POSTGRES_PASSWORD, **parameters: Any) -> dict[str, str]:
    url = deployment.stack.secure_url("runtime", password, **parameters)
    return {**deployment.environment, "PROCESSOR_DATABASE_URL": url}


@pytest.mark.parametrize("command", ["ingest", "topics create"])
def test_a_wrong_kafka_password_ends_a_command_with_one_sentence(command: str, deployment: Deployment) -> None:
    wrong = with_options(deployment, sasl_password=WRONG_PASSWORD, debug="security,protocol")
    done = run(wrong, *command.split())
    assert_one_sentence(done, 1, deployment.stack.secure_bootstrap_servers, "refuses the user or password")


@pytest.mark.parametrize("command", ["ingest", "relay", "status"])
def test_a_wrong_postgres_password_ends_a_command_with_one_sentence(command: str, deployment: Deployment) -> None:
    done = run(with_url(deployment, WRONG_PASSWORD), command)
    assert_one_sentence(done, 1, f"127.0.0.1:{deployment.stack.front.port}/cerebros", "check user and password")


@pytest.mark.parametrize("command", ["ingest", "topics create"])
def test_a_broker_that_a_stranger_vouches_for_is_not_talked_to(command: str, deployment: Deployment) -> None:
    done = run(with_options(deployment, ssl_ca_location=str(deployment.stack.strangers)), *command.split())
    assert_one_sentence(done, 1, deployment.stack.secure_bootstrap_servers, "certificate could not be verified")


@pytest.mark.parametrize("command", ["ingest", "migrate"])
def test_a_database_that_a_stranger_vouches_for_is_not_talked_to(command: str, deployment: Deployment) -> None:
    done = run(with_url(deployment, sslrootcert=deployment.stack.strangers), command)
    assert_one_sentence(done, 1, f"127.0.0.1:{deployment.stack.front.port}/cerebros", "certificate is not trusted")


def test_a_group_that_the_user_may_not_use_ends_ingest_with_one_sentence(deployment: Deployment) -> None:
    done = run({**deployment.environment, "PROCESSOR_GROUP_ID": "foreign"}, "ingest")
    assert done.returncode == 1
    assert "the user may not use the consumer group" in done.stderr.splitlines()[-1]
