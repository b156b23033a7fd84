"""Servers that are full or slow, and loads that are large: nothing is rejected for it, and memory stays bounded."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from processor.core.settings import Settings
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.support.backends import OwnServers, Servers
from tests.support.ledger import check_ledger
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.proxy import Proxy, through
from tests.support.settle import rows, wait_settled
from tests.support.topics import set_max_bytes

Start = Callable[..., Process]
MOST_MIB = 300


@contextmanager
def locked(database_url: str, table: str) -> Iterator[None]:
    """Nobody else can do anything with the table."""

    async def hold() -> None:
        connection = await asyncpg.connect(database_url)
        async with connection.transaction():
            await connection.execute(f"lock table {table} in access exclusive mode")
            held.set()
            await asyncio.to_thread(done.wait)
        await connection.close()

    held, done = threading.Event(), threading.Event()
    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    assert held.wait(20)
    try:
        yield
    finally:
        done.set()
        holder.join()


def peak_mib(process: Process) -> int:
    """The largest resident memory that the process has had."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) // 1024


@pytest.fixture
def small_disk(tmp_path: Path, servers: Servers) -> Iterator[Path]:
    """A file system of 8 MiB that Postgres may write to."""
    stack = servers.stack if isinstance(servers, OwnServers) else None
    if stack is None or os.getuid() != 0:
        pytest.skip("needs root and the local stack")
    folder = Path("/tmp") / f"processor-small-disk-{os.getpid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=False).returncode:
        folder.rmdir()
        pytest.skip("no file system can be mounted here")
    data = folder / "tablespace"
    data.mkdir(mode=0o700)
    owner = Path(f"/proc/{stack.postgres.pid}").stat()
    os.chown(data, owner.st_uid, owner.st_gid)
    try:
        yield data
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_full_disk_rejects_nothing_and_ingest_resumes_by_itself(
    settings: Settings, start: Start, servers: Servers, database_url: str, small_disk: Path
) -> None:
    space = f"small_{os.getpid()}"
    execute(
        database_url,
        f"create tablespace {space} location '{small_disk}'",
        f"alter table cerebros_model_trials set tablespace {space}",
    )
    try:
        filler = small_disk / "filler"
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"x" * (free - 256 * 1024))
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(3000, seed=61))
        ingest, _relay = start("ingest"), start("relay")
        ingest.wait_said("waiting_for_database")
        assert "53100" in ingest.said()  # disk_full
        assert rows(settings) < 2000
        filler.unlink()
        wait_settled(settings, 60)
        assert ingest.running
        check_ledger(settings)
    finally:
        execute(database_url, "alter table cerebros_model_trials set tablespace pg_default", f"drop tablespace {space}")


def test_a_role_with_too_many_connections_rejects_nothing(
    settings: Settings, start: Start, servers: Servers, database_url: str
) -> None:
    role, name = f"few_{os.getpid()}", database_url.rpartition("/")[2]
    grants = Path(__file__).parents[2] / "deploy" / "grants.sql"
    statements = [line for line in grants.read_text().splitlines() if line and not line.startswith(("--", "\\"))]
    text = "\n".join(statements).replace(':"role"', role).replace(':"DBNAME"', name)
    execute(database_url, f"create role {role} login password 'x' connection limit 0", text)
    try:
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=62))
        head, _, tail = database_url.partition("//")
        start("relay")
        ingest = start("ingest", PROCESSOR_DATABASE_URL=f"{head}//{role}:x@{tail.rpartition('@')[2]}")
        ingest.wait_said("53300")  # too_many_connections
        execute(servers.database_url, f"alter role {role} connection limit -1")
        wait_settled(settings, 60)
        check_ledger(settings)
        ingest.stop()
    finally:
        execute(database_url, f"drop owned by {role}", f"drop role {role}")


def test_a_dead_letter_whose_insert_meets_an_outage_is_stored_later(
    settings: Settings, start: Start, database_url: str
) -> None:
    execute(
        database_url,
        "create function full_up() returns trigger language plpgsql as "
        "$$ begin raise exception 'no space' using errcode = '53100'; end $$",
        "create trigger full_up before insert on dead_letters for each row execute function full_up()",
    )
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(600, seed=63, bad=0.05))
    ingest, _relay = start("ingest"), start("relay")
    ingest.wait_said("waiting_for_database")
    execute(database_url, "drop trigger full_up on dead_letters")
    wait_settled(settings, 60)
    assert check_ledger(settings).dead_letters > 10


def test_large_reports_and_a_slow_database_stay_within_the_memory(
    settings: Settings, start: Start, proxy: Proxy, database_url: str
) -> None:
    """240 reports of almost 1 MB each, while every answer of the database takes its time."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for topic in (settings.raw_topic, settings.events_topic):
        set_max_bytes(admin, topic, 2_000_000)
    made = [
        json.dumps(report(run_id=f"run-{number % 8}", parameters={"blob": f"{number:04d}" * 240_000})).encode()
        for number in range(240)
    ]
    messages = [(f"run-{number % 8}", value) for number, value in enumerate(made)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    proxy.delay_s = 0.002
    ingest, relay = start("ingest", **through(proxy, database_url)), start("relay", **through(proxy, database_url))
    wait_settled(settings, 120)
    assert (peak_mib(ingest) < MOST_MIB, peak_mib(relay) < MOST_MIB) == (True, True), (
        peak_mib(ingest),
        peak_mib(relay),
    )
    check_ledger(settings)


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_large_headers_stay_within_the_memory_while_the_database_waits(
    compression: str, settings: Settings, start: Start, database_url: str
) -> None:
    """librdkafka's own bound of what it reads ahead counts neither headers nor what a batch held compressed."""
    headers: dict[str, str | bytes | None] = {"x": b"a" * 900_000}
    options = {"compression.type": compression, "queue.buffering.max.kbytes": 1_000_000}
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, **options})
    for number in range(700):
        value = json.dumps(report(trial_id=f"t{number}")).encode()
        producer.produce(settings.raw_topic, value, b"run-1", headers=headers)
    assert producer.flush(patient(60)) == 0
    with locked(database_url, "cerebros_model_runs"):
        ingest, _relay = start("ingest"), start("relay")
        ingest.wait_said("waiting_for_database")  # after seconds: what it reads ahead it has read by then
    wait_settled(settings, 60)
    assert peak_mib(ingest) < MOST_MIB + 200  # one answer of 1 MB holds 250 MB of them where it is compressed
    check_ledger(settings)


def test_a_database_that_answers_slowly_is_no_outage(
    settings: Settings, start: Start, proxy: Proxy, database_url: str
) -> None:
    proxy.delay_s = 0.05
    ingest = start("ingest", **through(proxy, database_url))
    start("relay", **through(proxy, database_url))
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(2000, seed=64))
    wait_settled(settings, 90)
    assert "waiting_for_database" not in ingest.said()
    check_ledger(settings)


@pytest.mark.soak
def test_a_backlog_of_a_million_reports_stays_within_the_memory(settings: Settings, start: Start) -> None:
    made = json.dumps(report(trial_id="NUMBER", run_id="RUN"))
    messages = (
        (f"run-{number % 50}", made.replace("NUMBER", f"t{number}").replace("RUN", f"run-{number % 50}").encode())
        for number in range(1_000_000)
    )
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    ingest, relay = start("ingest"), start("relay")
    wait_until(lambda: rows(settings) == 1_000_000, "a million rows", 600)
    wait_settled(settings, 300)
    peaks = peak_mib(ingest), peak_mib(relay)
    print(f"peak resident memory: ingest {peaks[0]} MiB, relay {peaks[1]} MiB")
    assert max(peaks) < MOST_MIB
