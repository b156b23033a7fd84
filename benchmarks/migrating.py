"""How long `processor migrate` holds up other programs, on a table that is large and in use.

    python -m benchmarks.migrating [--rows 1000000] [--dump-s 10]

The tables are as another program made them (an Ecto migration). While they are migrated, several connections read and
write them all the time, each statement a transaction of its own, and one holds a transaction open for `--dump-s`
seconds, as pg_dump does. Printed: the longest that a statement took before, meanwhile and after (a busy machine's own
pauses are in each), and how many statements waited for a lock for 100 ms and gave up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import threading
import time
from typing import Any, Self

import asyncpg
from rich.console import Console

from benchmarks.__main__ import RESULTS, circumstances, open_stack
from benchmarks.contestants import PROCESSOR

RUNS = 50
BLOCKED_MS = 100
TABLES = """
create table cerebros_model_runs (
    id uuid primary key, run_id varchar(255) not null, state varchar(255) not null, search_space_version int not null,
    max_params int not null, requested_trials int not null, completed_trials int not null, best_metric double precision,
    error_message text, metadata jsonb not null, bridge_payload jsonb not null, bridge_result jsonb not null,
    started_at timestamp(0), finished_at timestamp(0), inserted_at timestamp(0) not null,
    updated_at timestamp(0) not null);
create table cerebros_model_trials (
    id uuid primary key, model_run_id uuid references cerebros_model_runs (id) on delete cascade, trial_id varchar(255),
    status varchar(255), metrics jsonb, parameters jsonb, artifact_uri varchar(255), duration_ms int, rank int,
    warnings varchar(255)[], candidate_id varchar(255), pulse_id varchar(255), bridge_payload jsonb,
    inserted_at timestamp(0) not null, updated_at timestamp(0) not null);
"""
FILL_RUNS = """
insert into cerebros_model_runs
select gen_random_uuid(), 'run-' || number, 'running', 1, 2000000, 3, 0, null, null, '{}', '{}', '{}', null, null,
       now(), now()
from generate_series(1, $1::integer) as number
"""
FILL_TRIALS = """
insert into cerebros_model_trials
select gen_random_uuid(), run.id, 'trial-' || number, 'succeeded', '{"accuracy": 0.5, "loss": 0.25}',
       '{"lr": 0.001, "layers": 3}', 's3://models/1', 1500, 1, '{w}', 'candidate', 'pulse', '{}', now(), now()
from cerebros_model_runs run, generate_series(1, $1::integer / $2::integer) as number
"""
READ = "select count(*) from cerebros_model_trials where id = $1"
CHANGE = "update cerebros_model_trials set pulse_id = 'p' where id = $1"
ADD = """
insert into cerebros_model_trials (id, model_run_id, trial_id, status, warnings, inserted_at, updated_at)
select gen_random_uuid(), model_run_id, gen_random_uuid()::text, 'failed', '{}', now(), now()
from cerebros_model_trials where id = $1
"""
TOUCH = (
    "update cerebros_model_runs set updated_at = now() "
    "where id = (select model_run_id from cerebros_model_trials where id = $1)"
)


async def fill(url: str, rows: int) -> None:
    """The two tables as another program made them, with so many trials."""
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    await connection.execute(FILL_RUNS, RUNS)
    await connection.execute(FILL_TRIALS, rows, RUNS)
    await connection.execute("analyze cerebros_model_trials")
    await connection.close()


class SteadyLoad:
    """Reads and writes all the time, from threads of its own. A context manager.

    `longest` is the longest that a statement took, in seconds; `blocked` how many waited `lock_timeout_ms` for a lock.
    """

    def __init__(self, url: str, lock_timeout_ms: int = 0) -> None:
        self._url, self._lock_timeout_ms = url, lock_timeout_ms
        self._stopping = threading.Event()
        self.longest, self.statements, self.blocked = 0.0, 0, 0
        self.problems: list[str] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)

    def restart_count(self) -> float:
        """The longest so far; from now on it is counted anew."""
        longest, self.longest = self.longest, 0.0
        return longest

    async def _all(self) -> None:
        await asyncio.gather(*(self._each(sql) for sql in (READ, READ, CHANGE, ADD, TOUCH)))

    async def _each(self, sql: str) -> None:
        settings = {"lock_timeout": str(self._lock_timeout_ms), "application_name": "steady load"}
        connection = await asyncpg.connect(self._url, server_settings=settings)
        one = await connection.fetchval("select id from cerebros_model_trials limit 1")
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await connection.execute(sql, one)
            except asyncpg.LockNotAvailableError:
                self.blocked += 1
            except asyncpg.PostgresError as error:  # a plan that a new column made old is none of the load's business
                self.problems.append(f"{type(error).__name__}: {error}")
            self.longest = max(self.longest, time.monotonic() - began)
            self.statements += 1
            await asyncio.sleep(0.002)
        await connection.close()


def hold_open(url: str, seconds: float, release: threading.Event | None = None) -> threading.Thread:
    """A transaction that has read the table and stays, as pg_dump's does; it is there when this returns.

    It ends after `seconds`, or once `release` is set.
    """
    there, release = threading.Event(), release or threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(url, server_settings={"application_name": "like pg_dump"})
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.fetchval("select count(*) from cerebros_model_trials")
            there.set()
            await asyncio.to_thread(release.wait, seconds)
        await connection.close()

    thread = threading.Thread(target=lambda: asyncio.run(hold()), daemon=True)
    thread.start()
    there.wait(60)
    return thread


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.migrating", description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="trials in the table")
    parser.add_argument("--dump-s", type=float, default=10.0, help="how long a transaction like pg_dump's is open")
    arguments = parser.parse_args()
    console = Console()
    with open_stack(console) as stack:
        asyncio.run(fill(stack.database_url, arguments.rows))
        figures = measure(stack.database_url, arguments.dump_s)
        document: dict[str, Any] = {**circumstances("benchmarks.migrating", stack), "rows": arguments.rows, **figures}
    console.print(figures)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "migrating.json").write_text(json.dumps(document, indent=1) + "\n")
    console.print("written: benchmarks/results/migrating.json")


def measure(url: str, dump_s: float) -> dict[str, Any]:
    """The longest statement before, while and after the migration, in milliseconds."""
    with SteadyLoad(url, lock_timeout_ms=BLOCKED_MS) as load:
        time.sleep(5)
        before = load.restart_count()
        hold_open(url, dump_s)
        began = time.monotonic()
        environment = {**os.environ, "PROCESSOR_DATABASE_URL": url}
        subprocess.run([*PROCESSOR, "migrate"], env=environment, check=True)
        seconds, meanwhile = time.monotonic() - began, load.restart_count()
        time.sleep(5)
        after, statements = load.restart_count(), load.statements
    return {
        "migration_s": round(seconds, 1),
        "statements": statements,
        "longest_before_ms": round(before * 1000, 1),
        "longest_meanwhile_ms": round(meanwhile * 1000, 1),
        "longest_after_ms": round(after * 1000, 1),
        f"waited_{BLOCKED_MS}_ms_for_a_lock": load.blocked,
        "problems": load.problems[:10],
    }


if __name__ == "__main__":
    main()
