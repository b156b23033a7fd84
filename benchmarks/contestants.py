"""The processes that are measured, and the database each of them gets."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import psutil

from benchmarks import ceilings
from processor.local.stack import LocalStack

PROCESSOR = [sys.executable, "-m", "processor"]


class Contestant(NamedTuple):
    """`table` holds its rows; `events` says whether it publishes; commands run side by side."""

    name: str
    table: str
    events: bool
    commands: tuple[tuple[str, ...], ...]


CEILING_A = Contestant("ceiling A", ceilings.TABLE, False, ((sys.executable, "-m", "benchmarks.ceilings", "A"),))
CEILING_B = Contestant("ceiling B", ceilings.TABLE, True, ((sys.executable, "-m", "benchmarks.ceilings", "B"),))
INGEST = Contestant("processor, ingest alone", "cerebros_model_trials", False, ((*PROCESSOR, "ingest"),))
BOTH = Contestant(
    "processor, ingest and relay", "cerebros_model_trials", True, ((*PROCESSOR, "relay"), (*PROCESSOR, "ingest"))
)


def ask(url: str, query: str, *args: Any) -> list[Any]:
    async def work() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(query, *args))
        finally:
            await connection.close()

    return asyncio.run(work())


def run_sql(url: str, *statements: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(work())


class Round:
    """One database, one group and one events topic of its own, so that no run sees another's."""

    def __init__(self, stack: LocalStack, contestant: Contestant, topic: str, number: int, group: str = "") -> None:
        self.contestant, self._stack = contestant, stack
        self.name = f"bench_{number}"
        self.group = group or f"bench-{number}"
        self.topic, self.events_topic = topic, f"bench-{number}.events"
        self.url = f"{stack.database_url.rpartition('/')[0]}/{self.name}"
        self._children: list[subprocess.Popen[bytes]] = []
        self.log = Path(stack.kafka.log).parent / f"{self.name}.log"

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KAFKA": self._stack.bootstrap_servers,
            "TOPIC": self.topic,
            "GROUP": self.group,
            "EVENTS": self.events_topic,
            "DSN": self.url,
            "PROCESSOR_KAFKA_BOOTSTRAP_SERVERS": self._stack.bootstrap_servers,
            "PROCESSOR_DATABASE_URL": self.url,
            "PROCESSOR_RAW_TOPIC": self.topic,
            "PROCESSOR_EVENTS_TOPIC": self.events_topic,
            "PROCESSOR_DEAD_LETTER_TOPIC": f"{self.name}.dlq",
            "PROCESSOR_GROUP_ID": self.group,
            "PROCESSOR_LOG_FORMAT": "json",
        }

    def prepare(self) -> None:
        run_sql(self._stack.database_url, f"create database {self.name}")
        if self.contestant.table == ceilings.TABLE:
            run_sql(self.url, *ceilings.DDL.split(";"))
        else:
            subprocess.run([*PROCESSOR, "migrate"], env=self.environment(), check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*PROCESSOR, "topics", "create"], env=self.environment(), check=True, stdout=subprocess.DEVNULL)
        run_sql(self.url, "checkpoint")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._children = [
                subprocess.Popen(command, env=self.environment(), stdout=log, stderr=log)
                for command in self.contestant.commands
            ]

    def assigned_at(self, timeout_s: float = 60.0) -> float:
        """Epoch seconds when the group first got partitions, as the process itself says."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in self.log.read_text(errors="replace").splitlines():
                if '"assigned"' in line and re.search(r'"partitions": \[\d', line):
                    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp()
            if any(child.poll() is not None for child in self._children):
                raise RuntimeError(self.log.read_text(errors="replace")[-2000:])
            time.sleep(0.01)
        raise TimeoutError(f"{self.contestant.name} got no partitions")

    def cpu_seconds(self) -> float:
        return sum(tree_cpu(child.pid) for child in self._children)

    def peak_mib(self) -> dict[str, int]:
        """Peak resident memory by command."""
        return {
            child_name(command): peak_mib(child.pid)
            for command, child in zip(self.contestant.commands, self._children, strict=True)
        }

    def rows(self) -> int:
        return int(ask(self.url, f"select count(*) from {self.contestant.table}")[0][0])

    def commits(self) -> list[tuple[float, int]]:
        """(epoch seconds, rows) of every transaction whose rows the table holds."""
        found = ask(
            self.url,
            "select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 as at, count(*) "
            f"from {self.contestant.table} group by 1 order by 1",
        )
        return [(row[0], row[1]) for row in found]

    def stop(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self._children:
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children = []

    def drop(self) -> None:
        run_sql(self._stack.database_url, f"drop database if exists {self.name} with (force)")


def child_name(command: tuple[str, ...]) -> str:
    return command[-1]


def tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def tree_cpu(pid: int) -> float:
    total = 0.0
    for process in tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def peak_mib(pid: int) -> int:
    total = 0
    for process in tree(pid):
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            continue
        found = re.search(r"VmHWM:\s+(\d+)", status)
        total += int(found.group(1)) if found else 0
    return total // 1024


def wal_bytes(url: str) -> int:
    return int(ask(url, "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint")[0][0])


def versions(url: str) -> Mapping[str, str]:
    from importlib.metadata import version

    names = ("confluent-kafka", "asyncpg", "msgspec", "fastavro")
    return {
        "python": sys.version.split()[0],
        "postgres": ask(url, "show server_version")[0][0],
        **{name: version(name) for name in names},
    }
