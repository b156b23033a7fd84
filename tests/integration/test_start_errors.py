"""A command that cannot start says why in one sentence; a long-running one waits for servers that are only down."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from processor.kafka import list_topics
from processor.settings import Settings
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


@pytest.mark.parametrize(
    ("broker", "why"),
    [(NOBODY, "Connection refused"), (f"{NOWHERE}:9092", "Name or service not known")],
    ids=["no broker", "no such host"],
)
def test_a_single_command_says_which_broker_did_not_answer(broker: str, why: str) -> None:
    address = {"PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": broker}
    done = run_all(dict.fromkeys(["topics create", "status", "replay --to-earliest"], address))
    for one in done.values():
        assert_one_sentence(one, 1, f"no Kafka broker answers at {broker}")
    assert why in done["topics create"].stderr


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
    broker, _, port = servers.bootstrap_servers.rpartition(":")
    with Proxy(str(url.hostname), int(url.port or 5432)) as database, Proxy(broker, int(port)) as kafka:
        database.refuse(), kafka.refuse()
        process = start(
            command,
            PROCESSOR_DATABASE_URL=url._replace(netloc=f"{url.username}@127.0.0.1:{database.port}").geturl(),
            PROCESSOR_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{kafka.port}",
        )
        process.wait_said("waiting_for_servers")
        database.restore(), kafka.restore()
        process.wait_said(f"{command}_started")
        assert process.said().count("waiting_for_servers") == 1
        assert process.stop() == 0


@pytest.mark.parametrize("command", ["ingest", "relay"])
def test_a_process_that_waits_for_a_server_stops_when_it_is_told_to(
    command: str, environment: dict[str, str], start: Start
) -> None:
    process = start(command, PROCESSOR_KAFKA_BOOTSTRAP_SERVERS=NOBODY)
    process.wait_said(f"no Kafka broker answers at {NOBODY}")
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


def test_a_database_that_was_never_migrated_is_refused(
    environment: dict[str, str], settings: Settings, empty_database_url: str
) -> None:
    new = {**environment, "PROCESSOR_DATABASE_URL": empty_database_url}
    for done in run_all(dict.fromkeys(["ingest", "relay", "status"], new)).values():
        assert_one_sentence(done, 1, empty_database_url.rpartition("/")[2], "run `processor migrate`")


def test_a_database_that_is_not_there_is_refused(environment: dict[str, str], settings: Settings) -> None:
    missing = environment["PROCESSOR_DATABASE_URL"].rpartition("/")[0] + "/not_there"
    done = run_all(dict.fromkeys(["ingest", "relay", "migrate"], {**environment, "PROCESSOR_DATABASE_URL": missing}))
    for one in done.values():
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
    assert f"PROCESSOR_METRICS_PORT {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_settings_end_a_command_with_code_2_and_without_their_value() -> None:
    wrong = {
        "ingest": {"PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": "5ecret"},
        "relay": {"PROCESSOR_KAFKA_OPTIONS": '{"sasl.password": 5ecret}'},
        "migrate": {"PROCESSOR_DATABASE_URL": "mysql://u:5ecret@h/d"},
        "status": {"PROCESSOR_BATCH_MAX_RECORDS": "5ecret"},
        "replay --to-latest": {"PROCESSOR_DATABASE_TIMEOUT": "5ecret"},
    }
    for command, done in run_all(wrong).items():
        assert_one_sentence(done, 2, *wrong[command])
        assert "5ecret" not in done.stderr


def test_properties_that_librdkafka_refuses_are_named() -> None:
    wrong = {
        '{"no.such.property": 1}': 'No such configuration property: "no.such.property"',
        '{"security.protocol": "tls"}': 'for configuration property "security.protocol"',
        '{"security.protocol": "ssl", "ssl.ca.location": "/not/there.pem"}': "ssl.ca.location failed",
        '{"security.protocol": "sasl_ssl", "sasl.mechanism": "PLAIN", "sasl.password": "5ecret"}': "sasl.username",
    }
    with ThreadPoolExecutor(4) as pool:
        environments = [{**ELSEWHERE, "PROCESSOR_KAFKA_OPTIONS": options} for options in wrong]
        for done, word in zip(
            pool.map(lambda one: run_command(one, "status"), environments), wrong.values(), strict=True
        ):
            assert_one_sentence(done, 1, "PROCESSOR_KAFKA_OPTIONS", word)
            assert "5ecret" not in done.stderr


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
    done = run_command({"PROCESSOR_DATABASE_URL": url}, "migrate")
    assert_one_sentence(done, 1, "PROCESSOR_DATABASE_URL", word)
    assert "cret" not in done.stderr


@pytest.mark.parametrize("command", ["replay", "replay --to-latest --to-earliest", "status -f xml", "no-such-command"])
def test_wrong_use_ends_with_code_2(command: str) -> None:
    done = run_command(ELSEWHERE, *command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
