"""What `report` returned for is a row, and no event comes twice, however often the reporting process is killed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from cerebros_client.spool import listing

from processor.core.settings import Settings
from tests.support.backends import OwnServers
from tests.support.ledger import check_ledger, events_of, rows_of
from tests.support.patience import patient
from tests.support.processes import Process, wait_until
from tests.support.searching import RUN, returned, start_search
from tests.support.settle import wait_settled

Start = Callable[..., Process]
REPORTS = 60
#: while the broker is away: before and after the disk has it, when the client has queued it, when another took it over
DOWN = ("report.begun#7", "report.kept#20", "handed#5", "adopted#1", "report.kept#60")
SOAK_KILLS = int(os.environ.get("SOAK_KILLS", "20"))


def kill_at(settings: Settings, folder: Path, points: Sequence[str]) -> None:
    """A search for each point, killed there; each finds what those before it left."""
    for number, point in enumerate(points):
        servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
        search = start_search(servers, topic, folder, f"s{number:02}", REPORTS, point)
        search.wait_halted(point.partition("#")[0])
        search.kill()


def send_the_rest(settings: Settings, folder: Path) -> None:
    command = [sys.executable, "-m", "cerebros_client.commands.main", "spool", "send", str(folder / "spool")]
    url = {"CEREBROS_URL": f"kafka://{settings.kafka_bootstrap_servers}", "CEREBROS_TOPIC": settings.raw_topic}
    done = subprocess.run(
        command, env={**os.environ, **url}, capture_output=True, text=True, timeout=patient(120), check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert list(listing(folder / "spool")) == []


def check_nothing_lost_or_doubled(settings: Settings, folder: Path, start: Start) -> None:
    """Each returned report is its trial's row, or an earlier revision of it; each content has one event."""
    start("ingest"), start("relay")
    last = dict(returned(folder))
    wait_until(lambda: len(rows_of(settings)) >= len(last), "the rows are there")
    wait_settled(settings)
    check_ledger(settings)
    rows = {trial: version for (run, trial), version in rows_of(settings).items() if run == RUN}
    events, _ = events_of(settings)
    told = Counter((trial, event.accuracy) for (_, trial), revisions in events.items() for event in revisions)
    assert set(told.values()) == {1}
    assert [one for one in returned(folder) if told[one.trial_id, one.accuracy] != 1] == []
    # the report that was being made when the kill came may have arrived, and is newer then
    assert [trial for trial, accuracy in last.items() if (rows[trial].accuracy or 0) < accuracy] == []
    assert len(returned(folder)) <= told.total() <= len(returned(folder)) + SOAK_KILLS


def test_kills_while_the_broker_is_down_lose_and_double_nothing(
    settings: Settings, start: Start, own_servers: OwnServers, tmp_path: Path
) -> None:
    own_servers.kafka.stop()
    kill_at(settings, tmp_path, DOWN)
    assert len(returned(tmp_path)) >= 6 + 19 + 59
    own_servers.kafka.start()
    send_the_rest(settings, tmp_path)
    check_nothing_lost_or_doubled(settings, tmp_path, start)


def test_kills_between_the_confirmation_and_the_forgetting_send_again_and_double_nothing(
    settings: Settings, start: Start, own_servers: OwnServers, tmp_path: Path
) -> None:
    """Kafka has them, the spool too: they are sent once more with their first timestamps, and change nothing."""
    kill_at(settings, tmp_path, ("confirmed#1", "forgotten#2", "confirmed#2"))
    send_the_rest(settings, tmp_path)
    check_nothing_lost_or_doubled(settings, tmp_path, start)


def test_searches_that_share_a_folder_and_are_killed_leave_it_to_the_living(
    settings: Settings, start: Start, own_servers: OwnServers, tmp_path: Path
) -> None:
    """Nobody has to call `spool send`: the next search with that folder sends what is left."""
    own_servers.kafka.stop()
    kill_at(settings, tmp_path, ("report.kept#30", "report.kept#9"))
    own_servers.kafka.start()
    both = [
        start_search(settings.kafka_bootstrap_servers, settings.raw_topic, tmp_path, name, REPORTS, None)
        for name in ("a", "b")
    ]
    assert [search.wait(60) for search in both] == [0, 0]
    send_the_rest(settings, tmp_path)
    check_nothing_lost_or_doubled(settings, tmp_path, start)


@pytest.mark.soak
def test_many_kills_at_random_points(settings: Settings, start: Start, own_servers: OwnServers, tmp_path: Path) -> None:
    """SOAK_KILLS of them, 20 by default."""
    chosen = random.Random(int(os.environ.get("SOAK_SEED", "13")))
    own_servers.kafka.stop()
    points = [f"report.kept#{chosen.randint(1, REPORTS)}", "adopted#1", f"handed#{chosen.randint(1, 40)}"]
    while len(points) < SOAK_KILLS:
        name = chosen.choice(["report.begun", "report.kept", "report.kept", "handed", "adopted"])
        points.append(f"{name}#{1 if name == 'adopted' else chosen.randint(1, REPORTS // 2)}")
    kill_at(settings, tmp_path, points)
    own_servers.kafka.start()
    send_the_rest(settings, tmp_path)
    check_nothing_lost_or_doubled(settings, tmp_path, start)
