"""`make soak`: minutes of random kills of everything under load, then the ledger."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from tests.factories import load, produce
from tests.support.backends import OwnServers, Servers
from tests.support.ledger import check_ledger, events_of, fold, rows_of
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

SECONDS = float(os.environ.get("SOAK_SECONDS", "240"))
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "soak.json"
Start = Callable[..., Process]


class Chaos:
    """Kills and restarts at random; what it did is counted."""

    def __init__(self, start: Start, servers: Servers, environment: dict[str, str], seed: int) -> None:
        self.random, self.done = random.Random(seed), Counter[str]()
        self._start, self._servers, self._environment = start, servers, environment
        self.processes = {"ingest": [start("ingest"), start("ingest")], "relay": [start("relay"), start("relay")]}

    def strike(self) -> None:
        choices = ["kill ingest", "kill ingest", "kill relay", "kill relay", "stop ingest", "stop relay"]
        if isinstance(self._servers, OwnServers):
            choices += ["kill postgres", "kill kafka", "restart postgres"]
        choice = self.random.choice(choices)
        how, _, what = choice.partition(" ")
        self.done[choice] += 1
        if what in self.processes:
            victims = self.processes[what]
            place = self.random.randrange(len(victims))
            victims[place].kill() if how == "kill" else victims[place].stop(30)
            victims[place] = self._start(what)
        else:
            assert isinstance(self._servers, OwnServers)
            server = self._servers.kafka if what == "kafka" else self._servers.postgres
            server.kill() if how == "kill" else server.stop()
            time.sleep(self.random.uniform(0, 2))
            server.start()


@pytest.mark.soak
def test_minutes_of_random_kills_under_load_lose_and_double_nothing(
    settings: Settings, environment: dict[str, str], start: Start, servers: Servers
) -> None:
    seed = int(os.environ.get("SOAK_SEED", str(time.time_ns() % 1_000_000)))
    chaos = Chaos(start, servers, environment, seed)
    sent = [0]
    until = time.monotonic() + SECONDS

    def send() -> None:
        number = 0
        while time.monotonic() < until:
            messages = list(load(400, seed=seed + number, runs=16, life=0.3))
            # trials of one round have names of their own; within a round they are reported again
            renamed = [(key, value.replace(b'"trial-', b'"round-%d-' % number)) for key, value in messages]
            produce(settings.kafka_bootstrap_servers, settings.raw_topic, renamed)
            sent[0] += len(messages)
            number += 1
            time.sleep(0.2)

    sender = threading.Thread(target=send)
    sender.start()
    while time.monotonic() < until:
        time.sleep(chaos.random.uniform(1, 5))
        chaos.strike()
    sender.join(120)
    wait_settled(settings, 180)
    expected = fold(read_topic(settings, settings.raw_topic))
    events, ids = events_of(settings)
    published = sum(len(versions) for versions in events.values())
    due = sum(len(versions) for versions in expected.events.values())
    doubled = sum(seen - 1 for seen in ids.values())
    lost = due - (published - doubled) + len(expected.rows.keys() - rows_of(settings).keys())
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": f"SOAK_SECONDS={SECONDS:.0f} SOAK_SEED={seed} make soak",
                "seconds": SECONDS,
                "strikes": dict(chaos.done),
                "strikes_total": sum(chaos.done.values()),
                "reports": sent[0],
                "rows": len(expected.rows),
                "events": published,
                "dead_letters": expected.dead_letters,
                "duplicates": doubled,
                "lost": lost,
            },
            indent=1,
        )
        + "\n"
    )
    check_ledger(settings)
    done = run_command(environment, "status", "-f", "json")
    assert done.returncode == 0, done.stderr
