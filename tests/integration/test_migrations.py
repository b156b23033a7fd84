"""`processor migrate` on every kind of database: it adds what is missing, keeps every value, or changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from benchmarks.migrating import SteadyLoad, fill, hold_open
from processor.core.errors import SetupError
from processor.core.settings import Settings
from processor.store.counts import counts_missed
from processor.store.migrations import MIGRATION_LOCK, check_migrated, migrate
from processor.store.parts import mend_parts, missing_parts
from processor.store.queries import migrations
from processor.store.session import Session
from tests.conftest import database, execute, settings_of
from tests.factories import produce, report
from tests.support.backends import Servers
from tests.support.ledger import events_of
from tests.support.legacy import AS_DESIGNED, AS_ECTO, LEGACY
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

ALL = ", ".join(name for name, _ in migrations())
ONCE_MORE = """
insert into cerebros_model_trials (id, model_run_id, trial_id, status, inserted_at, updated_at)
select gen_random_uuid(), (select id from cerebros_model_runs where run_id = 'run-a'), '{}', 'succeeded', now(), now()
from generate_series(1, {})
"""


def fetch(url: str, sql: str) -> list[Any]:
    with Session(url) as store:
        return [tuple(row.values()) for row in store.run(lambda connection: connection.fetch(sql))]


def run_migrate(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run_command({"PROCESSOR_DATABASE_URL": url}, "migrate", *options)


def migrated(url: str) -> None:
    with Session(url) as store:
        migrate(store)
        check_migrated(store)


def refusal(url: str) -> str:
    """The one sentence of a refused migration, which must have left everything as it was."""
    before = catalogue(url), rows(url)
    with Session(url) as store, pytest.raises(SetupError) as refused:
        migrate(store)
    assert (catalogue(url), rows(url)) == before
    assert "\n" not in str(refused.value)
    return str(refused.value)


def catalogue(url: str) -> list[Any]:
    """Everything pg_catalog holds about what users made, down to the transaction that wrote each row."""
    volatile = "'{reltuples,relpages,relallvisible,relallfrozen,relfrozenxid,relminmxid}'::text[]"
    keys = {
        "pg_class": "oid",
        "pg_attribute": "attrelid",
        "pg_attrdef": "adrelid",
        "pg_index": "indrelid",
        "pg_constraint": "oid",
        "pg_proc": "oid",
        "pg_type": "oid",
    }
    parts = [
        f"select '{name}', xmin::text, (to_jsonb(c) - {volatile})::text from pg_catalog.{name} c where {key} >= 16384"
        for name, key in keys.items()
    ]
    return fetch(url, " union all ".join(parts) + " order by 1, 3")


def rows(url: str, columns: str = "*") -> list[Any]:
    return fetch(
        url,
        f"select 'trial', to_jsonb(t)::text from (select {columns} from cerebros_model_trials) t "
        "union all select 'run', to_jsonb(r)::text from cerebros_model_runs r order by 1, 2",
    )


def test_a_fresh_database_is_migrated_once_and_check_says_so_before_and_after(empty_database_url: str) -> None:
    before = catalogue(empty_database_url)
    pending = run_migrate(empty_database_url, "--check")
    assert (pending.returncode, pending.stdout) == (1, "")
    assert f"lacks {ALL}: run `processor migrate`" in pending.stderr
    assert catalogue(empty_database_url) == before

    assert run_migrate(empty_database_url).stdout.endswith(f": {ALL}\n")
    after = catalogue(empty_database_url)
    done = run_migrate(empty_database_url, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    again = run_migrate(empty_database_url)
    assert (again.returncode, again.stdout.partition(": ")[2]) == (0, "nothing to do\n")
    assert catalogue(empty_database_url) == after


def test_of_four_replicas_that_migrate_at_once_exactly_one_does_the_work(empty_database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        replicas = list(pool.map(lambda _: run_migrate(empty_database_url), range(4)))
    assert [replica.returncode for replica in replicas] == [0] * 4, [replica.stderr for replica in replicas]
    said = sorted(replica.stdout.partition(": ")[2].strip() for replica in replicas)
    assert said == sorted([ALL, "nothing to do", "nothing to do", "nothing to do"])


def test_a_replica_waits_for_a_migration_that_takes_longer_than_a_statement_may(empty_database_url: str) -> None:

    def second() -> list[str]:
        with Session(empty_database_url, timeout_ms=100) as store:
            return migrate(store)

    with Session(empty_database_url) as first, ThreadPoolExecutor(1) as pool:
        assert first.fetch("try_migrate", MIGRATION_LOCK) == [{"pg_try_advisory_lock": True}]
        waiting = pool.submit(second)
        # a statement would have been given up after 0.1, 0.2 or 5.1 seconds: by the server, by us, by the driver
        assert wait([waiting], timeout=6).done == set()
        first.fetch("end_migrate", MIGRATION_LOCK)
        assert waiting.result(60) == [name for name, _ in migrations()]


PARTS = """
select 'index', held.indrelid::regclass::text, part.relname, backed.conname is not null
from pg_index held join pg_class part on part.oid = held.indexrelid
left join pg_constraint backed on backed.conindid = held.indexrelid and backed.contype in ('p', 'u')
where part.relnamespace = current_schema()::regnamespace
union all
select 'trigger', tgrelid::regclass::text, tgname, false from pg_trigger where not tgisinternal
union all
select 'constraint', conrelid::regclass::text, conname, true from pg_constraint
where connamespace = current_schema()::regnamespace and contype in ('c', 'f')
order by 1, 2, 3
"""
DEFINITIONS = """
select pg_get_indexdef(indexrelid), indisvalid::text from pg_index where indrelid::regclass::text !~ '[.]'
union all
select pg_get_triggerdef(oid), tgenabled::text from pg_trigger where not tgisinternal
union all
select conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid), convalidated::text from pg_constraint
where connamespace = current_schema()::regnamespace
order by 1
"""
#: of the tables that other programs may have made: theirs are called as they like, or are not there
NOT_OURS = {
    "cerebros_model_runs_pkey",
    "cerebros_model_runs_known_state",
    "cerebros_model_trials_pkey",
    "cerebros_model_trials_model_run_id_fkey",
}
KEYS = {
    "cerebros_model_runs_one_row_a_run": "unique key run_id of cerebros_model_runs",
    "cerebros_model_trials_one_row_a_trial": "unique key model_run_id, trial_id of cerebros_model_trials",
}


def losses(database_url: str) -> list[tuple[str, str]]:
    """Each way to lose one of them: the name by which it has to be missed, and a statement."""
    found = []
    for kind, table, name, backed in fetch(database_url, PARTS):
        if name in NOT_OURS:
            continue
        missed = KEYS.get(name, f"{kind} {name} of {table}")
        if kind == "trigger":
            found.append((missed, f"drop trigger {name} on {table}"))
            found.append((missed, f"alter table {table} disable trigger {name}"))
        else:
            drop = f"alter table {table} drop constraint {name} cascade" if backed else f"drop index {name}"
            found.append((missed, drop))
    return found


def test_whatever_migrations_made_is_missed_when_somebody_has_dropped_it_and_can_be_made_again(
    empty_database_url: str,
) -> None:
    migrated(empty_database_url)
    whole = fetch(empty_database_url, DEFINITIONS)
    ways = losses(empty_database_url)
    unnoticed = []
    with Session(empty_database_url) as store:
        assert missing_parts(store) == []
        for missed, statement in ways:
            execute(empty_database_url, statement)
            if missed not in map(str, missing_parts(store)):
                unnoticed.append(statement)
            assert missed in map(str, mend_parts(store))
            assert fetch(empty_database_url, DEFINITIONS) == whole, statement
        assert (missing_parts(store), mend_parts(store)) == ([], [])
    assert len(ways) > 45
    assert unnoticed == []


def test_all_that_was_dropped_is_made_again_by_one_command_however_often_it_was_killed(
    empty_database_url: str,
) -> None:
    migrated(empty_database_url)
    whole = fetch(empty_database_url, DEFINITIONS)
    for _, statement in losses(empty_database_url):
        with contextlib.suppress(asyncpg.UndefinedObjectError):  # went with another
            execute(empty_database_url, statement)
    assert run_migrate(empty_database_url, "--check").returncode == 1
    for step in (0, 1, 30):  # as a killed run leaves it: behind its first steps
        with Session(empty_database_url) as store, contextlib.suppress(KilledError):
            mend_parts(store, Until(step))
    done = run_migrate(empty_database_url, "--mend")
    assert done.returncode == 0, done.stderr
    assert fetch(empty_database_url, DEFINITIONS) == whole
    assert "made again: unique key run_id of cerebros_model_runs" not in done.stdout  # the first step, made before
    assert "trigger cerebros_model_trials_count_added of cerebros_model_trials" in done.stdout
    assert run_migrate(empty_database_url, "--check").returncode == 0
    again = run_migrate(empty_database_url, "--mend")
    assert again.stdout.splitlines()[1].endswith(": nothing was lost")


class KilledError(Exception):
    pass


class Until:
    """Hears of so many steps, and ends."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __call__(self, _: str) -> None:
        if not self._left:
            raise KilledError
        self._left -= 1


def test_what_was_written_without_triggers_and_keys_is_counted_or_named_when_they_are_made_again(
    empty_database_url: str,
) -> None:
    execute(empty_database_url, LEGACY["as designed"])
    migrated(empty_database_url)
    execute(
        empty_database_url,
        "alter table cerebros_model_trials disable trigger cerebros_model_trials_count_added",
        "drop trigger cerebros_model_trials_forget_digest on cerebros_model_trials",
        ONCE_MORE.format("uncounted", 1),
        "drop index cerebros_model_trials_one_row_a_trial",
        ONCE_MORE.format("twice", 2),
    )
    refused = run_migrate(empty_database_url, "--mend")
    assert refused.returncode == 1
    assert "refuses what it has lost" in refused.stderr
    assert "twice" in refused.stderr
    assert "Traceback" not in refused.stderr
    one = "ctid in (select min(ctid) from cerebros_model_trials where trial_id = 'twice')"
    execute(empty_database_url, f"delete from cerebros_model_trials where {one}")
    mended = run_migrate(empty_database_url, "--mend")
    assert mended.returncode == 0, mended.stderr
    assert "counts were not right, and are" in mended.stderr
    assert "are taken for up to date by a replay: `processor verify` names them" in mended.stderr
    with Session(empty_database_url) as store:
        assert counts_missed(store) == []


def test_a_check_changes_nothing_and_so_mends_nothing(empty_database_url: str) -> None:
    both = run_migrate(empty_database_url, "--check", "--mend")
    assert (both.returncode, both.stderr.count("--check changes nothing, and --mend does: choose one")) == (2, 1)


@pytest.mark.parametrize("shape", LEGACY)
def test_of_tables_of_other_programs_nothing_is_missed_once_they_are_migrated(
    shape: str, empty_database_url: str
) -> None:
    execute(empty_database_url, LEGACY[shape])
    migrated(empty_database_url)
    with Session(empty_database_url) as store:
        assert missing_parts(store) == []


def test_a_key_that_was_dropped_fails_the_gate_and_the_verification(
    settings: Settings, environment: dict[str, str], database_url: str
) -> None:
    assert run_migrate(database_url, "--check").returncode == 0
    execute(
        database_url,
        "drop index cerebros_model_trials_one_row_a_trial",
        "alter table cerebros_model_trials disable trigger cerebros_model_trials_forget_digest",
    )
    checked = run_migrate(database_url, "--check")
    lost = [
        "unique key model_run_id, trial_id of cerebros_model_trials",
        "trigger cerebros_model_trials_forget_digest of cerebros_model_trials",
    ]
    assert (checked.returncode, checked.stdout) == (1, "")
    assert f"has lost what migrations made: {', '.join(lost)}" in checked.stderr
    verified = run_command(environment, "verify", "-f", "json")
    document = json.loads(verified.stdout)
    assert (verified.returncode, document["kinds"]) == (1, {"database": 2})
    assert [one["detail"] for one in document["shown"]] == [
        f"a migration made it and it is gone: {one}; `processor migrate --mend` makes it again" for one in lost
    ]


def test_a_database_of_a_newer_release_is_told_and_goes_on(
    settings: Settings, start: Callable[..., Process], database_url: str
) -> None:
    execute(database_url, "insert into processor_migrations (name) values ('9999_later')")
    checked, again = run_migrate(database_url, "--check"), run_migrate(database_url)
    assert (checked.returncode, again.returncode) == (0, 0)
    assert "database_newer" in checked.stderr
    assert "migrations of a newer release: 9999_later" in again.stderr
    ingest, relay = start("ingest"), start("relay")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("run-1", json.dumps(report()).encode())])
    wait_settled(settings)
    for process in (ingest, relay):
        assert process.log.read_text().count('"database_newer"') == 1
        assert "9999_later" in process.said()


@pytest.mark.parametrize("shape", LEGACY)
def test_tables_of_other_programs_keep_every_row_and_value(shape: str, empty_database_url: str) -> None:
    execute(empty_database_url, LEGACY[shape])
    names = "attrelid = 'cerebros_model_trials'::regclass and attnum > 0 order by attnum"
    columns = ", ".join(
        name for (name,) in fetch(empty_database_url, f"select attname from pg_attribute where {names}")
    )
    before = rows(empty_database_url, columns)
    migrated(empty_database_url)
    assert rows(empty_database_url, columns) == before
    added = "spectral_norm, mlflow_run_id, revision, source_topic, source_offset, source_timestamp"
    assert fetch(empty_database_url, f"select distinct {added} from cerebros_model_trials") == [
        (False, None, 0, None, None, None)
    ]
    with pytest.raises(asyncpg.UniqueViolationError):
        execute(empty_database_url, ONCE_MORE.format("trial_1", 1))


def test_a_unique_key_that_is_there_under_another_name_is_not_made_again(empty_database_url: str) -> None:
    unique = "alter table cerebros_model_trials add constraint theirs unique (trial_id, model_run_id);"
    execute(empty_database_url, AS_DESIGNED, unique)
    migrated(empty_database_url)
    assert fetch(empty_database_url, "select relname::text from pg_class where relname like '%one_row_a%'") == []


def test_a_default_of_an_id_that_is_there_stays(empty_database_url: str) -> None:
    execute(empty_database_url, AS_DESIGNED)
    migrated(empty_database_url)
    trials = "table_name = 'cerebros_model_trials' and column_name = 'id'"
    default = fetch(empty_database_url, f"select column_default from information_schema.columns where {trials}")
    assert default == [("gen_random_uuid()",)]


@pytest.mark.parametrize("shape", LEGACY)
def test_trials_that_are_there_twice_are_named_and_nothing_is_changed(shape: str, empty_database_url: str) -> None:
    again = [ONCE_MORE.format(f"trial_{number}", 2) for number in range(12)]
    execute(empty_database_url, LEGACY[shape], *again)
    said = refusal(empty_database_url)
    assert "run run-a trial trial_0 (2 rows); run run-a trial trial_1 (3 rows)" in said
    assert said.endswith("; and 2 more")
    refused = run_migrate(empty_database_url)
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"processor: {said}\n")


def test_runs_that_are_there_twice_are_named_and_nothing_is_changed(empty_database_url: str) -> None:
    values = "run_id, state, 1, 1, 1, 0, null, null, '{}', '{}', '{}', null, null, now(), now()"
    execute(
        empty_database_url,
        AS_ECTO,
        "drop index cerebros_model_runs_run_id_index",
        f"insert into cerebros_model_runs select gen_random_uuid(), {values} from cerebros_model_runs "
        "where run_id = 'run-b'",
    )
    assert refusal(empty_database_url).endswith("again: run run-b (2 rows)")


def test_a_table_that_no_report_could_be_written_to_is_refused_and_nothing_is_changed(empty_database_url: str) -> None:
    """Or every report would end as a dead letter, each with the database's word that a value is missing."""
    add = "alter table cerebros_model_trials add tenant text not null default 'x'"
    execute(empty_database_url, AS_DESIGNED, add, "alter table cerebros_model_trials alter tenant drop default")
    assert refusal(empty_database_url).endswith("or allow null in, cerebros_model_trials.tenant")


@pytest.mark.timeout(400)
def test_other_programs_are_not_held_up_while_a_large_table_is_migrated(
    empty_database_url: str, tmp_path: Path
) -> None:
    """Also behind a transaction that stays open, as a dump's does: nobody queues behind a statement that waits for it.

    A statement of the steady load that waits for a lock for 100 ms fails, and is counted.
    """
    asyncio.run(fill(empty_database_url, int(os.environ.get("MIGRATION_TEST_ROWS", "200000"))))
    with SteadyLoad(empty_database_url, lock_timeout_ms=100) as load:
        release = threading.Event()
        dump = hold_open(empty_database_url, 120, release)
        migrating = Process({"PROCESSOR_DATABASE_URL": empty_database_url}, tmp_path / "said", "migrate")
        migrating.wait_said("still waiting for a moment without others; pid", 90)
        assert migrating.running  # what needs the table for itself waits for the dump
        release.set()
        dump.join()
        code = migrating.wait(120)
    said = (tmp_path / "said").read_text()
    assert (code, load.blocked, load.problems) == (0, 0, []), said
    assert load.statements > 500
    assert "(like pg_dump) has held a lock for" in said
    assert "building index cerebros_model_trials_one_row_a_trial on about" in said
    assert run_migrate(empty_database_url, "--check").returncode == 0
    assert fetch(empty_database_url, "select indexrelid::regclass::text from pg_index where not indisvalid") == []


@pytest.mark.parametrize("index", ["cerebros_model_trials_one_row_a_trial", "cerebros_model_trials_status_index"])
def test_an_index_that_a_killed_run_left_half_made_is_made_again(empty_database_url: str, index: str) -> None:
    """As Postgres leaves it when the building session ends: the name is taken, and nothing can rely on it."""
    columns = {"one_row_a_trial": "model_run_id, trial_id", "status_index": "status"}[index.split("trials_")[1]]
    execute(empty_database_url, AS_DESIGNED, f"drop index if exists {index}")
    statement = f"create {'unique' if 'one_row' in index else ''} index concurrently {index}"
    dump = hold_open(empty_database_url, 3)
    with Session(empty_database_url) as store:

        async def cut_short(connection: asyncpg.Connection) -> None:
            await connection.execute("set lock_timeout = 0; set statement_timeout = 1000")
            with contextlib.suppress(asyncpg.QueryCanceledError):
                await connection.execute(f"{statement} on cerebros_model_trials ({columns})")
            await connection.execute("reset statement_timeout")

        store.run(cut_short)
    valid = f"select indisvalid from pg_index where indexrelid = to_regclass('{index}')"
    assert fetch(empty_database_url, valid) == [(False,)]
    dump.join()
    said = run_migrate(empty_database_url).stderr
    assert f"index {index} was left half-made: it goes, and is made again" in said
    assert fetch(empty_database_url, valid) == [(True,)]


def test_a_migration_that_is_killed_between_its_steps_is_resumed(empty_database_url: str) -> None:
    execute(empty_database_url, AS_ECTO)
    for steps in range(1, 12):

        class KilledError(Exception):
            pass

        told: list[str] = []

        def tell(words: str, told: list[str] = told, steps: int = steps, kind: type[Exception] = KilledError) -> None:
            told.append(words)
            if len(told) == steps:
                raise kind

        with Session(empty_database_url) as store, contextlib.suppress(KilledError):
            migrate(store, tell)
    migrated(empty_database_url)
    with pytest.raises(asyncpg.UniqueViolationError):
        execute(empty_database_url, ONCE_MORE.format("trial_1", 1))


def test_a_constraint_of_ours_is_checked_on_the_rows_that_are_there(empty_database_url: str) -> None:
    execute(empty_database_url, "create table cerebros_model_runs (id uuid primary key, run_id text not null unique)")
    migrated(empty_database_url)
    known = "select convalidated from pg_constraint where conname = 'cerebros_model_runs_known_state'"
    assert fetch(empty_database_url, known) == [(True,)]


def test_warnings_of_another_program_take_any_length_and_no_row_is_written_again(empty_database_url: str) -> None:
    execute(empty_database_url, AS_ECTO)
    before = fetch(empty_database_url, "select pg_relation_filenode('cerebros_model_trials')")
    migrated(empty_database_url)
    assert fetch(empty_database_url, "select pg_relation_filenode('cerebros_model_trials')") == before
    long = "update cerebros_model_trials set warnings = array[repeat('w', 5000)]"
    execute(empty_database_url, long)


def test_warnings_of_another_kind_are_refused_and_nothing_is_changed(empty_database_url: str) -> None:
    execute(
        empty_database_url,
        AS_DESIGNED,
        "alter table cerebros_model_trials drop warnings, add warnings jsonb",
    )
    assert refusal(empty_database_url).endswith("nothing was changed. Make it text[]")


def test_a_database_that_is_not_utf8_is_refused(servers: Servers) -> None:
    name = f"latin_{os.getpid()}"
    make = f"create database {name} encoding 'LATIN1' locale 'C' template template0"
    execute(servers.database_url, make)
    url = database(servers.database_url, name)
    try:
        assert "stores text as LATIN1, which can't hold every report; nothing was changed" in refusal_of_encoding(url)
        assert fetch(url, "select to_regclass('processor_migrations') is null") == [(True,)]
    finally:
        execute(servers.database_url, f"drop database {name} with (force)")


def refusal_of_encoding(url: str) -> str:
    with Session(url) as store, pytest.raises(SetupError) as refused:
        migrate(store)
    return str(refused.value)


def test_two_schemas_of_one_database_are_migrated_beside_each_other(empty_database_url: str) -> None:
    """Neither waits for the other's lock."""
    execute(empty_database_url, "create schema one", "create schema two")
    urls = [f"{empty_database_url}?options=-csearch_path%3D{name}" for name in ("one", "two")]
    with Session(urls[0]) as first, Session(urls[1]) as second:
        assert first.fetch("try_migrate", MIGRATION_LOCK) == [{"pg_try_advisory_lock": True}]
        assert migrate(second) == [name for name, _ in migrations()]
        first.fetch("end_migrate", MIGRATION_LOCK)
        assert migrate(first) == [name for name, _ in migrations()]


@pytest.mark.parametrize("shape", LEGACY)
def test_ingest_and_relay_work_on_migrated_tables_of_other_programs(
    shape: str, empty_database_url: str, environment: dict[str, str], settings: Settings, start: Callable[..., Process]
) -> None:
    """A row from before is replaced by any report, is only given a position by an equal one, and new ones are added."""
    execute(empty_database_url, LEGACY[shape])
    migrated(empty_database_url)
    mine = settings_of({**environment, "PROCESSOR_DATABASE_URL": empty_database_url})
    bare = dict.fromkeys(("mlflow_run_id", "artifact_uri", "duration_ms", "rank", "candidate_id", "pulse_id"))
    equal = {**bare, "metrics": {"accuracy": 0.5}, "parameters": {"lr": 0.1}, "spectral_norm": False, "warnings": ["w"]}
    reports = [
        report(trial_id="trial_1", run_id="run-a", **equal),
        report(trial_id="trial_2", run_id="run-a", status="failed", warnings=["diverged"]),
        report(trial_id="trial_new", run_id="run-a"),
        report(trial_id="trial_1", run_id="run-new"),
    ]
    messages = [(one["run_id"], json.dumps(one).encode()) for one in reports]
    produce(mine.kafka_bootstrap_servers, mine.raw_topic, messages)
    for command in ("ingest", "relay"):
        start(command, PROCESSOR_DATABASE_URL=empty_database_url)
    wait_settled(mine)
    held = fetch(
        empty_database_url,
        "select run_id, trial_id, status, revision, source_offset is null, now() - t.inserted_at < interval '1 hour' "
        "from cerebros_model_trials t join cerebros_model_runs r on r.id = model_run_id "
        "where trial_id is not null and (run_id, trial_id) <> ('run-b', 'trial_1') order by 1, 2",
    )
    assert held == [
        ("run-a", "trial_1", "succeeded", 0, False, False),
        ("run-a", "trial_2", "failed", 1, False, False),
        ("run-a", "trial_new", "succeeded", 1, False, True),
        ("run-new", "trial_1", "succeeded", 1, False, True),
    ]
    assert set(events_of(mine)[0]) == {("run-a", "trial_2"), ("run-a", "trial_new"), ("run-new", "trial_1")}
    assert fetch(empty_database_url, "select reason, detail from dead_letters") == []
