"""A command that cannot start says why in one sentence; a long-running one waits for servers that are only down."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from processor.cli.main import main
from processor.core.errors import UsageError
from processor.core.settings import Settings
from processor.kafka.client import client_properties, list_topics
from processor.store.migrations import check_migrated
from processor.store.session import Session
from tests.conftest import settings_of
from tests.support.backends import Servers
from tests.support.complaints import Done, assert_one_sentence
from tests.support.processes import Process, run_command
from tests.support.proxy import Proxy

Start = Callable[..., Process]

NOBODY = "127.0.0.1:9"
NOWHERE = "nowhere.invalid"
#: names of real servers that nobody asks in these tests
ELSEWHERE = {
    "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": NOBODY,
    "PROCESSOR_DATABASE_URL": f"postgresql://somebody:5ecret@{NOBODY}/cerebros",
}


def run_all(commands: Mapping[str, Mapping[str, str]]) -> dict[str, Done]:
    """At the same time, because most of the time they wait."""
    with ThreadPoolExecutor(len(commands)) as pool:
        done = pool.map(lambda one: run_command({**ELSEWHERE, **one[1]}, *one[0].split()), commands.items())
        return dict(zip(commands, done, strict=True))


def test_a_single_command_says_which_broker_did_not_answer() -> None:
    nowhere = {"PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": f"{NOWHERE}:9092"}
    done = run_all(
        {"topics create": {}, "topics create --partitions 3": nowhere, "status": {}, "replay --to-latest": {}}
    )
    create, create_nowhere, status, replay = done.values()
    assert_one_sentence(create, 1, f"no Kafka broker answers at {NOBODY}", "Connection refused")
    assert_one_sentence(create_nowhere, 1, f"no Kafka broker answers at {NOWHERE}:9092", "Name or service not known")
    assert_one_sentence(status, 1, f"no Kafka broker answers at {NOBODY}", f"Postgres at {NOBODY}/cerebros")
    assert_one_sentence(replay, 1, f"no Kafka broker answers at {NOBODY}")


def test_status_shows_the_half_that_answers_and_names_the_other(
    environment: dict[str, str], settings: Settings
) -> None:
    no_kafka = {**environment, "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": NOBODY}
    no_postgres = {**environment, "PROCESSOR_DATABASE_URL": ELSEWHERE["PROCESSOR_DATABASE_URL"]}
    for broken, shown, hidden, words in (
        (no_kafka, "outbox, messages", "lag of partition", f"no Kafka broker answers at {NOBODY}"),
        (no_postgres, "lag of partition 3", "outbox, messages", f"Postgres at {NOBODY}/cerebros"),
    ):
        done = run_command(broken, "status")
        assert (done.returncode, done.stderr.count("\n"), words in done.stderr) == (1, 1, True), done.stderr
        assert (shown in done.stdout, hidden in done.stdout) == (True, False)
        assert json.loads(run_command(broken, "status", "-f", "json").stdout)["problems"] != []


def test_a_single_command_says_which_database_did_not_answer() -> None:
    nowhere = {"PROCESSOR_DATABASE_URL": f"postgresql://{NOWHERE}/cerebros"}
    done = run_all({"migrate": {}, "migrate --check": nowhere})
    assert_one_sentence(done["migrate"], 1, f"Postgres at {NOBODY}/cerebros can't be reached: Connection refused")
    assert_one_sentence(done["migrate --check"], 1, f"Postgres at {NOWHERE}:5432/cerebros", "Name or service not known")


@pytest.mark.parametrize("command", ["ingest", "relay"])
def test_a_process_waits_for_servers_that_are_down_says_so_once_and_starts_when_they_come(
    command: str, servers: Servers, environment: dict[str, str], start: Start
) -> None:
    url = urlsplit(environment["PROCESSOR_DATABASE_URL"])
    account, at, _ = url.netloc.rpartition("@")
    broker, _, port = servers.bootstrap_servers.rpartition(":")
    with Proxy(str(url.hostname), int(url.port or 5432)) as database, Proxy(broker, int(port)) as kafka:
        for proxy in (database, kafka):
            proxy.refuse()
        process = start(
            command,
            PROCESSOR_DATABASE_URL=url._replace(netloc=f"{account}{at}127.0.0.1:{database.port}").geturl(),
            PROCESSOR_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{kafka.port}",
        )
        process.wait_said("waiting_for_servers")
        for proxy in (database, kafka):
            proxy.restore()
        process.wait_said(f"{command}_started")
        assert process.said().count("waiting_for_servers") == 1
        assert process.stop() == 0


def test_a_process_that_waits_for_a_server_stops_when_it_is_told_to(start: Start) -> None:
    process = start("ingest", PROCESSOR_DATABASE_URL=ELSEWHERE["PROCESSOR_DATABASE_URL"])
    process.wait_said(f"Postgres at {NOBODY}/cerebros can't be reached")
    assert process.stop() == 0


def test_a_missing_topic_is_named_and_not_made_in_passing(servers: Servers, environment: dict[str, str]) -> None:
    done = run_all({"ingest": environment, "relay": environment, "status": environment})
    create = "run `processor topics create`"
    raw, events = environment["PROCESSOR_RAW_TOPIC"], environment["PROCESSOR_EVENTS_TOPIC"]
    assert_one_sentence(done["ingest"], 1, servers.bootstrap_servers, raw, create)
    assert_one_sentence(done["status"], 1, servers.bootstrap_servers, raw, create)
    assert_one_sentence(
        done["relay"], 1, servers.bootstrap_servers, f"{events}, {environment['PROCESSOR_DEAD_LETTER_TOPIC']}", create
    )
    assert {raw, events} & set(list_topics(settings_of(environment)).topics) == set()


def test_of_a_topic_that_is_there_it_is_told_what_it_has_other_than_asked_for(
    settings: Settings, environment: dict[str, str]
) -> None:
    """ "nothing to do" let people believe in the eight partitions that they had asked for."""
    done = run_command(environment, "topics", "create", "--partitions", "8", "--replication", "1")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"{topic} is there already and is not changed: partitions: 4, not 8" for topic in settings.topics
    ]
    assert run_command(environment, "topics", "create").stderr == ""


def test_a_database_that_was_never_migrated_is_refused(
    environment: dict[str, str], settings: Settings, empty_database_url: str
) -> None:
    new = {**environment, "PROCESSOR_DATABASE_URL": empty_database_url}
    for done in run_all(dict.fromkeys(["ingest", "relay", "status"], new)).values():
        assert_one_sentence(done, 1, empty_database_url.rpartition("/")[2], "run `processor migrate`")


def test_a_database_that_is_not_there_is_refused(environment: dict[str, str], settings: Settings) -> None:
    missing = environment["PROCESSOR_DATABASE_URL"].rpartition("/")[0] + "/not_there"
    changed = {**environment, "PROCESSOR_DATABASE_URL": missing}
    for one in run_all({"ingest": changed, "migrate": changed}).values():
        assert_one_sentence(one, 1, 'database "not_there" does not exist', "mend PROCESSOR_DATABASE_URL")


def test_of_ingest_and_relay_together_one_that_cannot_start_ends_both(
    environment: dict[str, str], settings: Settings, empty_database_url: str
) -> None:
    done = run_command({**environment, "PROCESSOR_DATABASE_URL": empty_database_url}, "run")
    assert done.returncode == 1
    assert "run `processor migrate`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metrics_port_that_is_taken_is_refused(environment: dict[str, str], settings: Settings) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_command({**environment, "PROCESSOR_METRICS_PORT": port}, "ingest")
    assert (done.returncode, done.stderr.splitlines()[-1].startswith("processor: ")) == (1, True)
    assert f"METRICS_PORT {port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ("ingest", "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS", "5ecret"),
        ("relay", "PROCESSOR_KAFKA_OPTIONS", '{"sasl.password": 5ecret}'),
        ("migrate", "PROCESSOR_DATABASE_URL", "mysql://u:5ecret@h/d"),
        ("verify", "PROCESSOR_BATCH_MAX_RECORDS", "5ecret"),
        ("run", "PROCESSOR_RELAY_MAX_BYTES", "5ecret"),
        ("topics create", "PROCESSOR_DATABASE_TIMEOUT", "5ecret"),
    ],
)
def test_wrong_settings_end_a_command_with_code_2_and_without_their_value(
    command: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    done = call(monkeypatch, capsys, *command.split())
    assert_one_sentence(done, 2, name)
    assert "5ecret" not in done.stderr


@pytest.mark.parametrize("command", ["replay", "replay --to-latest --to-earliest", "ingest --fast", "no-such-command"])
def test_wrong_use_ends_with_code_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call(monkeypatch, capsys, *command.split())
    assert (done.returncode, done.stdout) == (2, "")


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *command: str) -> Done:
    """The command line inside this process; any other exception than an exit comes through."""
    monkeypatch.setattr(sys, "argv", ["processor", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return subprocess.CompletedProcess(command, int(ended.value.code or 0), said.out, said.err)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"no.such.property": 1}, 'No such configuration property: "no.such.property"'),
        ({"security.protocol": "tls"}, 'for configuration property "security.protocol"'),
        ({"security.protocol": "ssl", "ssl.ca.location": "/not/there.pem"}, "ssl.ca.location failed"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.password": "5ecret"}, "sasl.username"),
    ],
)
def test_a_property_that_librdkafka_refuses_is_named(options: dict[str, str | int | float | bool], word: str) -> None:
    with pytest.raises(UsageError) as refused:
        client_properties(settings_of({"PROCESSOR_KAFKA_OPTIONS": json.dumps(options)}))
    assert str(refused.value).startswith("wrong settings: PROCESSOR_KAFKA_OPTIONS: ")
    assert word in str(refused.value)
    assert "5ecret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql://u:1/5ecret@127.0.0.1:9/d", "of a password as %2F"),
        ("postgresql://u:5e@cret@127.0.0.1:9/d", "of a password as %2F"),
        ("postgresql://u:5ecret@127.0.0.1:9/d?sslrootcert=/not/there.pem&sslmode=verify-full", "/not/there.pem"),
        (f"postgresql://u:5ecret@127.0.0.1:9/d?sslmode=verify-full&sslrootcert={__file__}", "certificate"),
        ("postgresql://u:5ecret@127.0.0.1:9/d?sslmode=5ure", "`sslmode` parameter must be one of: disable, allow"),
        ("postgresql://u:5ecret@127.0.0.1:9/d?5ecret", "?name=value&name=value"),
    ],
)
def test_a_database_url_that_cannot_be_right_is_told_without_its_password(url: str, word: str) -> None:
    with pytest.raises(UsageError) as refused, Session(url) as store:
        check_migrated(store)
    assert str(refused.value).startswith("wrong settings: PROCESSOR_DATABASE_URL: ")
    assert word in str(refused.value)
    assert "cret" not in str(refused.value)


def test_all_hosts_of_a_database_url_are_named_and_tried(database_url: str) -> None:
    url = urlsplit(database_url)
    account, at, host = url.netloc.rpartition("@")
    with Session(url._replace(netloc=f"{account}{at}{NOBODY},{host}").geturl()) as store:
        assert store.where == f"{NOBODY},{host}{url.path}"
        check_migrated(store)
