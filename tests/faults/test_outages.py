"""Outage is not poison: servers stop, die, hang or fill up; nothing is rejected or lost, and all resumes by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable

import asyncpg
import pytest
import structlog

from processor.core.settings import Settings
from processor.kafka import ranges
from processor.kafka.range_source import read
from processor.local.kafka import PROPERTIES
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import load, produce
from tests.support.backends import OwnServers, Servers
from tests.support.ledger import check_ledger
from tests.support.metrics import is_live, is_ready, metric, metrics_port
from tests.support.processes import Process, run_command, wait_until
from tests.support.proxy import Proxy, through
from tests.support.settle import has_read_all, lag, rows, wait_settled
from tests.support.sources import open_range
from tests.support.stoppable import Stoppable

Start = Callable[..., Process]
DOWN_SECONDS = 3.0
#: after it a member that sent no heartbeat has lost its place in the group; the classic protocol's default is the same
SESSION_SECONDS = int(PROPERTIES["group.consumer.session.timeout.ms"]) / 1000
LONG_SECONDS = SESSION_SECONDS + 2


def chosen(which: str, servers: OwnServers) -> list[Stoppable]:
    return {"kafka": [servers.kafka], "postgres": [servers.postgres], "both": [servers.kafka, servers.postgres]}[which]


class Producing:
    """Produces a load in the background while servers come and go."""

    def __init__(self, settings: Settings, count: int, seed: int) -> None:
        self._thread = threading.Thread(target=self._run, args=(settings, count, seed))
        self._thread.start()

    @staticmethod
    def _run(settings: Settings, count: int, seed: int) -> None:
        messages = list(load(count, seed=seed, life=0.3))
        for begin in range(0, count, 200):
            produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages[begin : begin + 200])
            time.sleep(0.2)

    def wait(self) -> None:
        self._thread.join(120)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("how", ["stopped", "killed"])
@pytest.mark.parametrize("which", ["kafka", "postgres", "both"])
def test_servers_may_go_and_come_back(
    how: str, which: str, settings: Settings, start: Start, own_servers: OwnServers
) -> None:
    ingest, relay = start("ingest"), start("relay")
    relay.wait_said("leading")
    producing = Producing(settings, 2000, seed=21)
    wait_until(lambda: rows(settings) > 100, "rows arrive")
    down = chosen(which, own_servers)
    for server in down:
        server.stop() if how == "stopped" else server.kill()
    time.sleep(LONG_SECONDS if how == "stopped" else DOWN_SECONDS)
    for server in down:
        server.start()
    producing.wait()
    wait_until(lambda: not ingest.running or has_read_all(settings), "all is read, or the client is given up", 120)
    if deaf := not ingest.running:  # librdkafka did not find its broker again: then who supervises starts it anew
        assert ingest.wait() == 1
        assert "only a new process helps" in ingest.said()
        ingest = start("ingest")
    wait_settled(settings, 90)
    assert (ingest.running, relay.running) == (True, True)
    check_ledger(settings)
    if own_servers.kafka in down and not deaf:  # however often librdkafka says so
        ingest.wait_said("kafka_back")
        said = ingest.log.read_text()
        assert (said.count("waiting_for_kafka"), said.count("kafka_back")) == (1, 1)
    assert (ingest.stop(), relay.stop()) == (0, 0)


def test_a_database_that_accepts_and_never_answers_is_an_outage(
    settings: Settings, start: Start, proxy: Proxy, database_url: str
) -> None:
    short = {**through(proxy, database_url), "PROCESSOR_DATABASE_TIMEOUT_MS": "1000"}
    ingest, relay = start("ingest", **short), start("relay", **short)
    relay.wait_said("leading")
    producing = Producing(settings, 1600, seed=22)
    wait_until(lambda: rows(settings) > 100, "rows arrive")
    proxy.hold()
    ingest.wait_said("waiting_for_database")
    time.sleep(DOWN_SECONDS)
    proxy.cut()
    producing.wait()
    wait_settled(settings, 90)
    check_ledger(settings)


def test_sessions_that_end_while_their_connections_seem_open_are_an_outage(
    settings: Settings, start: Start, proxy: Proxy, database_url: str, terminate_sessions: Callable[[str], None]
) -> None:
    """A killed server says so, then closes; the driver, asked in between, once called it a misuse, and ingest ended."""
    short = {**through(proxy, database_url), "PROCESSOR_DATABASE_TIMEOUT_MS": "1000"}
    ingest, relay = start("ingest", **short), start("relay", **short)
    relay.wait_said("leading")
    producing = Producing(settings, 1600, seed=24)
    wait_until(lambda: rows(settings) > 100, "rows arrive")
    proxy.conceals_ends = True
    for _ in range(6):
        terminate_sessions("cerebros-ingest")
        terminate_sessions("cerebros-relay")
        time.sleep(0.4)
    proxy.restore()
    producing.wait()
    wait_settled(settings, 90)
    assert (ingest.running, relay.running) == (True, True)
    check_ledger(settings)


def test_a_connection_cut_again_and_again_loses_and_doubles_nothing(
    settings: Settings, start: Start, proxy: Proxy, database_url: str
) -> None:
    start("ingest", **through(proxy, database_url))
    start("relay", **through(proxy, database_url)).wait_said("leading")
    producing = Producing(settings, 2000, seed=23)
    for _ in range(15):
        time.sleep(0.2)
        proxy.cut()
    producing.wait()
    wait_settled(settings, 90)
    check_ledger(settings)


def test_a_long_outage_is_one_line_in_the_log_and_keeps_the_group_membership(
    settings: Settings, start: Start, proxy: Proxy, database_url: str
) -> None:
    ingest = start("ingest", **through(proxy, database_url), PROCESSOR_BATCH_MAX_RECORDS="100")
    start("relay")
    ingest.wait_said("assigned")
    proxy.refuse()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(3000, seed=24, life=0.3))
    ingest.wait_said("waiting_for_database")
    time.sleep(LONG_SECONDS)
    proxy.restore()
    wait_settled(settings, 90)
    said = ingest.log.read_text()
    assert said.count("waiting_for_database") <= 2  # one a writer
    assert (said.count('"assigned"'), said.count('"revoked"'), said.count('"lost"')) == (1, 0, 0)
    check_ledger(settings)


def test_a_read_only_database_rejects_nothing(
    settings: Settings, start: Start, servers: Servers, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    execute(servers.database_url, f"alter database {name} set default_transaction_read_only = on")
    ingest, _relay = start("ingest"), start("relay")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=25))
    ingest.wait_said("waiting_for_database")
    assert rows(settings) == 0
    execute(servers.database_url, f"alter database {name} reset default_transaction_read_only")
    execute(
        servers.database_url,
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()",
    )
    wait_settled(settings, 60)
    check_ledger(settings)


def test_the_log_says_what_an_outage_goes_on_for(
    settings: Settings, start: Start, servers: Servers, database_url: str
) -> None:
    """Sessions end, and the server is a read-only one then, as behind a failover that went wrong."""
    name = database_url.rpartition("/")[2]
    end = f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
    ingest, relay = start("ingest"), start("relay")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=26))
    wait_settled(settings, 60)
    execute(servers.database_url, f"alter database {name} set default_transaction_read_only = on", end)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=27))
    ingest.wait_said("cause_changed")
    assert "read-only" in ingest.said()
    execute(servers.database_url, f"alter database {name} reset default_transaction_read_only", end)
    wait_settled(settings, 60)
    check_ledger(settings)
    for process, what in ((ingest, "ingest"), (relay, "relay")):
        lines = [json.loads(line) for line in process.said().splitlines() if line.startswith("{")]
        assert {line["process"] for line in lines} == {what}


def test_a_database_that_takes_no_connection_rejects_nothing(
    settings: Settings, start: Start, servers: Servers, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    ingest = start("ingest")
    ingest.wait_said("assigned")
    start("relay").wait_said("leading")
    execute(servers.database_url, f"alter database {name} allow_connections false")
    execute(
        servers.database_url,
        f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()",
    )
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=26))
    ingest.wait_said("waiting_for_database")
    execute(servers.database_url, f"alter database {name} allow_connections true")
    wait_settled(settings, 60)
    check_ledger(settings)


class Held:
    """Rows that an open transaction holds, as one forgotten in psql would; a context manager."""

    def __init__(self, url: str, statement: str) -> None:
        self._url, self._statement = url, statement
        self._there, self._go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold()))

    async def _hold(self) -> None:
        connection = await asyncpg.connect(self._url)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(self._statement)
        self._there.set()
        await asyncio.to_thread(self._go.wait, 120)
        await transaction.rollback()
        await connection.close()

    def __enter__(self) -> Held:
        self._thread.start()
        assert self._there.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._go.set()
        self._thread.join(20)


RUN_0 = "(select id from cerebros_model_runs where run_id = 'run-0')"


@pytest.mark.parametrize(
    "statement",
    [
        "select * from cerebros_model_runs where run_id = 'run-0' for update",
        f"update cerebros_model_trials set pulse_id = 'by hand' where model_run_id = {RUN_0}",
        "insert into cerebros_model_runs (run_id, state) values ('run-9', 'running')",
    ],
    ids=["a run", "the trials of a run", "a run that is being added"],
)
def test_what_another_session_holds_makes_only_its_own_run_wait(
    statement: str, settings: Settings, start: Start, database_url: str, environment: dict[str, str]
) -> None:
    """However long it takes, nothing is rejected, and each trial's reports are written in their order."""
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=27))
    ingest, _relay = start("ingest", PROCESSOR_DATABASE_TIMEOUT_MS="2000"), start("relay")
    wait_settled(settings)
    with Held(database_url, statement):
        messages = [*load(3000, seed=28), *load(1500, seed=29, runs=10)]
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
        held = "run-9" if "run-9" in statement else "run-0"
        others = {key for key, _ in messages} - {held}
        wanted = len({(one["run_id"], one["trial_id"]) for one in sent(messages) if one["run_id"] in others})
        wait_until(lambda: rows_of_others(database_url, held) >= wanted, "all other runs are written", 30)
        assert lag(settings) > 0
        ingest.wait_said("runs_locked")
    wait_settled(settings, 60)
    ingest.wait_said("runs_free")
    check_ledger(settings)
    assert run_command(environment, "verify").returncode == 0


@pytest.mark.parametrize(
    ("table", "mode"),
    [
        ("cerebros_model_trials", "access exclusive"),
        ("cerebros_model_trials", "share"),
        ("cerebros_model_runs", "access exclusive"),
    ],
)
def test_a_table_that_another_session_locks_is_an_outage(
    table: str, mode: str, settings: Settings, start: Start, database_url: str
) -> None:
    """Nothing can be written: to set aside all there is, as the reports of locked runs, would tell nobody."""
    port = metrics_port()
    ingest = start("ingest", PROCESSOR_DATABASE_TIMEOUT_MS="2000", PROCESSOR_METRICS_PORT=port)
    start("relay")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=34))
    wait_settled(settings)
    with Held(database_url, f"lock table {table} in {mode} mode"):
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=35))
        ingest.wait_said("waiting_for_database")
        assert "SQLSTATE 55P03" in ingest.said()
        assert (metric(port, OUTAGE_OF_DATABASE) or 0) >= 1
        assert not is_ready(port)
    wait_settled(settings, 60)
    assert metric(port, OUTAGE_OF_DATABASE) == 0
    assert "runs_locked" not in ingest.log.read_text()
    check_ledger(settings)


OUTAGE_OF_DATABASE = 'processor_outage{where="database"}'


def sent(messages: list[tuple[str, bytes]]) -> list[dict[str, str]]:
    """Those that are whole reports."""
    found = []
    for _, value in messages:
        with contextlib.suppress(ValueError):
            one = json.loads(value)
            if isinstance(one, dict) and "trial_id" in one:
                found.append(one)
    return found


def rows_of_others(url: str, run_id: str) -> int:
    with Session(url) as store:
        found = store.run(lambda connection: connection.fetchval(OTHERS, run_id))
    return int(found)


OTHERS = """
select count(*) from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where run.run_id <> $1
"""


def test_a_run_that_is_held_when_ingest_is_killed_loses_and_turns_round_nothing(
    settings: Settings, start: Start, database_url: str
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=31))
    ingest, _relay = start("ingest", PROCESSOR_DATABASE_TIMEOUT_MS="2000"), start("relay")
    wait_settled(settings)
    with Held(database_url, "select * from cerebros_model_runs where run_id in ('run-0', 'run-3') for update"):
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(2000, seed=32))
        ingest.wait_said("runs_locked")
        ingest.kill()
        ingest = start("ingest", PROCESSOR_DATABASE_TIMEOUT_MS="2000")
        ingest.wait_said("runs_locked")
        assert ingest.stop() == 0
    start("ingest")
    wait_settled(settings, 60)
    check_ledger(settings)


def test_a_broker_that_hangs_is_an_outage(settings: Settings, start: Start, own_servers: OwnServers) -> None:
    ingest, relay = start("ingest"), start("relay")
    relay.wait_said("leading")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(800, seed=29))
    wait_until(lambda: rows(settings) > 0, "rows arrive")
    own_servers.kafka.freeze()
    time.sleep(DOWN_SECONDS)
    own_servers.kafka.thaw()
    wait_settled(settings, 90)
    assert (ingest.running, relay.running) == (True, True)
    check_ledger(settings)


def test_a_range_is_read_to_its_end_over_an_outage(
    settings: Settings, own_servers: OwnServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "PREFETCH_BYTES", 64 * 1024)  # so that there is something left to read
    messages = list(load(4000, seed=33))
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    source = open_range(settings, settings.raw_topic, f"{settings.group_id}-outage")
    found: list[tuple[int, int]] = []

    def taken() -> int:
        found.extend((one.partition, one.offset) for one in source.poll(50, 0.1) or [])
        return len(found)

    def told() -> list[str]:
        return [one["event"] for one in said]

    with structlog.testing.capture_logs() as said, contextlib.closing(source):
        wait_until(lambda: taken() >= 50, "a part is read")
        own_servers.kafka.stop()
        wait_until(lambda: taken() < len(messages) and "waiting_for_kafka" in told(), "that is noticed")
        deadline = time.monotonic() + DOWN_SECONDS
        while time.monotonic() < deadline:
            assert taken() < len(messages)
        own_servers.kafka.start()
        found += [(one.partition, one.offset) for records in read(source) for one in records]
    assert len(found) == len(set(found)) == len(messages)
    assert told().count("waiting_for_kafka") == 1  # and perhaps that it is back: all may be read before that is sure


OUTAGE_AT_START = 'processor_outage{where="start"}'


@pytest.mark.parametrize("which", ["kafka", "postgres", "both"])
def test_processes_started_while_servers_are_down_wait_for_them(
    which: str, settings: Settings, start: Start, own_servers: OwnServers
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=30))
    down = chosen(which, own_servers)
    for server in down:
        server.stop()
    ports = {"ingest": metrics_port(), "relay": metrics_port()}
    for name, port in ports.items():
        start(name, PROCESSOR_METRICS_PORT=port).wait_said("waiting_for_servers")
        assert metric(port, OUTAGE_AT_START) == 1
        assert (is_live(port), is_ready(port)) == (True, False)
    for server in down:
        server.start()
    wait_settled(settings, 90)
    for port in ports.values():
        wait_until(lambda port=port: is_ready(port), "it is ready")  # type: ignore[misc]
        assert metric(port, OUTAGE_AT_START) == 0
    check_ledger(settings)
    assert lag(settings) == 0
