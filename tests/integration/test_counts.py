"""Counts of trials are what the rows come to, whoever writes, however; and nobody waits for one."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from processor.core.messages import Batch, Reason, Rejection
from processor.core.settings import Settings
from processor.events.bodies import EventWriter
from processor.store.counts import counts_missed, recount
from processor.store.migrations import migrate
from processor.store.queries import migrations
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.conftest import execute, settings_of
from tests.factories import produce, record, report
from tests.support.ledger import ledger_session
from tests.support.legacy import LEGACY
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

RUNS = 3
INSERT = (
    "insert into cerebros_model_trials (id, model_run_id, trial_id, status, spectral_norm, schema_version, "
    "spectral_norm_reported, duration_ms, inserted_at, updated_at) "
    "select gen_random_uuid(), run.id, given.trial_id, given.status, given.norm, given.version, given.told, given.ms, "
    "timestamptz '2026-11-01' + given.minutes * interval '1 minute', now() "
    "from jsonb_to_recordset($1::text::jsonb) as given (run_id text, trial_id text, status text, norm boolean, "
    "version integer, told boolean, ms bigint, minutes integer) "
    "join cerebros_model_runs run on run.run_id = given.run_id"
)


@pytest.fixture
def counted(database_url: str) -> str:
    execute(
        database_url,
        "insert into cerebros_model_runs (run_id, state) select 'run-' || n, 'running' "
        f"from generate_series(0, {RUNS - 1}) as n",
    )
    return database_url


def wrong(url: str) -> list[dict[str, Any]]:
    """By SQL of the tests' own, and by the product's: both have to agree on whether anything is."""
    with ledger_session(settings_of({"PROCESSOR_DATABASE_URL": url})) as store:
        found = store.fetch("ledger_counts")
    with Session(url) as store:
        assert bool(counts_missed(store)) == bool(found)
    return found


def made(draw: random.Random, number: int, first: int) -> str:
    """JSON of so many trials."""
    rows = [
        f'{{"run_id": "run-{draw.randrange(RUNS)}", "trial_id": "t{first + place}", '
        f'"status": "{draw.choice(["succeeded", "failed", "skipped", "cancelled"])}", '
        f'"norm": {draw.choice(["true", "false"])}, "version": {draw.choice(["null", "1", "3"])}, '
        f'"told": {draw.choice(["null", "true", "false"])}, '
        f'"ms": {draw.choice(["null", "7", "9000000000000000000"])}, "minutes": {draw.randrange(300)}}}'
        for place in range(number)
    ]
    return f"[{','.join(rows)}]"


#: what other programs do to a table: of a share of its rows, a random one
CHANGES = (
    "update cerebros_model_trials set status = 'failed' where random() < {share}",
    "update cerebros_model_trials set spectral_norm = not spectral_norm where random() < {share}",
    "update cerebros_model_trials set duration_ms = 11, schema_version = 2 where random() < {share}",
    "update cerebros_model_trials set spectral_norm_reported = not spectral_norm_reported where random() < {share}",
    "update cerebros_model_trials set spectral_norm_reported = null where random() < {share}",
    "update cerebros_model_trials set inserted_at = inserted_at - interval '1 hour' where random() < {share}",
    "update cerebros_model_trials set rank = 1, source_offset = 5 where random() < {share}",
    "update cerebros_model_trials set model_run_id = (select id from cerebros_model_runs where run_id = 'run-0') "
    "where random() < {share}",
    "delete from cerebros_model_trials where random() < {share}",
)


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_whatever_is_written_is_counted_as_it_is_committed(counted: str, isolation: str) -> None:
    """Four sessions at once; one transaction in four is rolled back, and conflicts of rows are none of the counts'."""

    async def write(writer: int) -> None:
        draw, connection = random.Random(writer), await asyncpg.connect(counted)
        for turn in range(15):
            try:
                async with connection.transaction(isolation=isolation.replace(" ", "_")):
                    await connection.execute(INSERT, made(draw, draw.choice([1, 1, 40]), 1000 * (100 * writer + turn)))
                    if writer == 0:  # one that changes rows of all: others only add, so that no row is fought for
                        await connection.execute(draw.choice(CHANGES).format(share=0.3))
                    await connection.execute(INSERT, made(draw, 2, 1000 * (100 * writer + turn) + 500))
                    if isolation == "read committed":  # as ingest does
                        await connection.execute("select cerebros_fold_counts()")
                    if turn % 4 == 3:
                        raise asyncpg.InterfaceError("as wished")
            except asyncpg.InterfaceError:
                pass
            except asyncpg.SerializationError:
                assert isolation == "serializable"
        await connection.close()

    async def everybody() -> None:
        await asyncio.gather(*(write(writer) for writer in range(4)))

    asyncio.run(everybody())
    assert wrong(counted) == []


def test_a_run_that_is_deleted_takes_its_trials_out_of_the_counts_and_an_emptied_table_has_none(counted: str) -> None:
    async def fill(connection: asyncpg.Connection) -> None:
        await connection.execute(INSERT, made(random.Random(1), 200, 0))

    alone(counted, fill)
    execute(counted, "delete from cerebros_model_runs where run_id = 'run-1'")
    assert wrong(counted) == []
    execute(counted, "truncate cerebros_model_trials")
    assert wrong(counted) == []


def alone(url: str, work: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        connection = await asyncpg.connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(connected())


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read"])
def test_nobody_waits_for_a_count_and_none_is_a_deadlock(counted: str, isolation: str) -> None:
    """Two transactions that write to the same runs in opposite orders, neither of which has ended."""

    async def both() -> None:
        one, other = [await asyncpg.connect(counted) for _ in range(2)]
        for connection in (one, other):
            await connection.execute("set statement_timeout = 5000")
        begun = [connection.transaction(isolation=isolation) for connection in (one, other)]
        for transaction in begun:
            await transaction.start()
        row = '[{{"run_id": "run-{}", "trial_id": "{}", "status": "failed", "norm": true, "minutes": 1}}]'
        for run, connection in ((0, one), (1, other), (1, one), (0, other)):
            await connection.execute(INSERT, row.format(run, f"of {connection is one}"))
        for transaction in begun:
            await transaction.commit()
        await one.close()
        await other.close()

    asyncio.run(both())
    assert wrong(counted) == []


@pytest.mark.parametrize("shape", LEGACY)
def test_rows_that_were_there_before_are_counted_and_so_are_those_that_come_meanwhile(
    shape: str, empty_database_url: str
) -> None:
    execute(empty_database_url, LEGACY[shape])
    with Session(empty_database_url) as store:
        migrate(store)
        assert counts_missed(store) == []
    execute(
        empty_database_url,
        "insert into cerebros_model_trials (id, model_run_id, trial_id, status, inserted_at, updated_at) "
        "select gen_random_uuid(), id, 'another', 'failed', now(), now() from cerebros_model_runs",
    )
    with Session(empty_database_url) as store:
        assert counts_missed(store) == []


def test_a_database_of_an_earlier_version_keeps_its_counts_and_its_dead_letters(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migrations 0011 to 0013 change what is counted as defaulted and when, and how a rejected record is told."""
    earlier = [one for one in migrations() if one[0] < "0011"]
    insert = INSERT.replace("spectral_norm_reported, ", "").replace("given.told, ", "")
    letter = (
        'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp, key, value) '
        "values ('raw', 0, 3, timestamptz 'epoch' + interval '5 ms', null, 'no JSON') returning id) "
        "insert into dead_letters (record_id, report_index, reason, detail) select id, -1, 'not_json', 'no' from record"
    )

    async def fill(connection: asyncpg.Connection) -> None:
        await connection.execute(insert, made(random.Random(3), 200, 0))

    with Session(empty_database_url) as store:
        with monkeypatch.context() as here:
            here.setattr("processor.store.migrations.migrations", lambda: earlier)
            migrate(store)
        run = (
            "insert into cerebros_model_runs (run_id, state) select 'run-' || n, 'running' from generate_series(0, 2) n"
        )
        execute(empty_database_url, run, letter)
        alone(empty_database_url, fill)
        assert migrate(store) == ["0011_reported", "0012_same_place", "0013_cheaper_changes"]
        assert counts_missed(store) == []
        one = record(b"no JSON", topic="raw", partition=0, offset=3, timestamp_ms=5)
        again = TrialStore(store, EventWriter()).write(Batch([], [Rejection(one, -1, Reason.NOT_JSON, "no")], {}))
        assert again.dead_letters == 0
    assert wrong(empty_database_url) == []


def test_two_that_count_anew_at_once_count_each_trial_once(counted: str) -> None:
    async def work(connection: asyncpg.Connection) -> None:
        await connection.execute("set session_replication_role = replica")
        await connection.execute(INSERT, made(random.Random(6), 3000, 2 * 10**6))

    alone(counted, work)
    ready = threading.Barrier(2)

    def again() -> tuple[int, int]:
        with Session(counted) as store:
            store.answers()
            ready.wait()
            return recount(store)

    with ThreadPoolExecutor(2) as threads:
        done = [one.result() for one in [threads.submit(again) for _ in range(2)]]
    assert sorted(done)[0] == (0, 0)
    assert wrong(counted) == []


def test_counting_anew_while_others_write_counts_each_trial_once(counted: str) -> None:
    """Rows that no trigger saw, and writers that go on."""
    unseen = made(random.Random(5), 300, 10**6)

    async def work() -> None:
        connection = await asyncpg.connect(counted)
        await connection.execute("set session_replication_role = replica")
        await connection.execute(INSERT, unseen)
        await connection.close()
        ended = asyncio.Event()

        async def write() -> None:
            writing = await asyncpg.connect(counted)
            first = 0
            while not ended.is_set():
                first += 10
                await writing.execute(INSERT, made(random.Random(first), 10, first))
            await writing.close()

        writer = asyncio.create_task(write())
        await asyncio.sleep(0.2)

        def again() -> tuple[int, int]:
            with Session(counted) as store:
                return recount(store)

        found = await asyncio.to_thread(again)
        assert min(found) > 0
        ended.set()
        await writer

    asyncio.run(work())
    assert wrong(counted) == []


def test_verify_tells_of_a_count_that_is_wrong_and_recount_mends_it(
    environment: dict[str, str], settings: Settings, start: Callable[..., Process]
) -> None:
    messages = [("run-a", json.dumps(report(run_id="run-a", trial_id=f"t{number}")).encode()) for number in range(5)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    assert run_command(environment, "verify").returncode == 0
    unfolded = "select 1 / (1 - least(1, count(*))) from cerebros_count_changes"  # fails where there are some
    execute(environment["PROCESSOR_DATABASE_URL"], unfolded, "update cerebros_run_counts set trials = trials + 2")
    found = run_command(environment, "verify", "-f", "json")
    assert (found.returncode, json.loads(found.stdout)["kinds"]) == (1, {"count": 1})
    (shown,) = json.loads(found.stdout)["shown"]
    assert shown["detail"].startswith("counted trials: 2 too many of status succeeded")
    mended = run_command(environment, "migrate", "--recount")
    assert "1 counts were not right (1 by run, 0 by time)" in mended.stdout, mended
    assert run_command(environment, "verify").returncode == 0
    refused = run_command(environment, "migrate", "--check", "--recount")
    assert (refused.returncode, "choose one" in refused.stderr) == (2, True)


def test_columns_of_types_that_other_programs_gave_them_are_counted(counted: str) -> None:
    """A status that can only be what it lists, times without a zone."""
    execute(counted, "create type ended as enum ('succeeded', 'failed', 'lost')")
    for column, kind in {"status": "ended", "inserted_at": "timestamp"}.items():
        using = "status::ended" if column == "status" else column
        default = f"alter column {column} drop default, "
        execute(counted, f"alter table cerebros_model_trials {default}alter column {column} type {kind} using {using}")
    row = (
        "insert into cerebros_model_trials (id, model_run_id, trial_id, status, duration_ms, inserted_at, updated_at) "
        "select gen_random_uuid(), id, run_id || '{status}', '{status}', 15, now(), now() from cerebros_model_runs"
    )
    with Session(counted) as store:
        for status in ("succeeded", "failed", "lost"):
            execute(counted, row.format(status=status))
        assert counts_missed(store) == []
        for statement in (CHANGES[0], CHANGES[1], CHANGES[3], CHANGES[-1]):
            execute(counted, statement.format(share=0.5))
            assert counts_missed(store) == []
