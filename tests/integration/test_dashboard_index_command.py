"""`processor dashboard-index`: the owner of the tables makes, sees and drops indexes while others read and write."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from benchmarks.migrating import SteadyLoad, hold_open
from processor.core.errors import UsageError
from processor.dashboard.filters.indexed import Indexed, read_indexable, show_path
from processor.dashboard.queries.indexed import read_indexed
from processor.store.path_indexes import MOST
from tests.conftest import execute
from tests.support.backends import Servers
from tests.support.complaints import assert_one_sentence
from tests.support.processes import Process, run_command, wait_until
from tests.support.trials import ask, fill_tables

APPLICATION = "cerebros-dashboard-index"


def run(url: str, *words: str) -> CompletedProcess[str]:
    return run_command({"PROCESSOR_DATABASE_URL": url}, "dashboard-index", *words)


def listed(url: str) -> dict[str, Any]:
    done = run(url, "list", "-f", "json")
    assert done.returncode == 0, done.stderr
    return {row["path"]: row for row in json.loads(done.stdout)}


def test_indexes_are_made_seen_and_dropped(database_url: str) -> None:
    fill_tables(database_url)
    paths = ["metrics.score", "lr", """parameters."it's".'"\\\\x'""", 'metrics."a.b".0']
    done = run(database_url, "add", *paths, "metrics.score")
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "metrics.score, lr" in done.stdout
    found = listed(database_url)
    assert list(found) == sorted(found, key=lambda path: (read_indexable(path).place, read_indexable(path).keys))
    assert set(map(read_indexable, found)) == set(map(read_indexable, paths))
    assert {row["state"] for row in found.values()} == {"whole"}
    assert found["lr"]["mib"] > 0
    assert (found["lr"]["rows"], found['metrics."a.b"."0"']["rows"]) == (120, 0)
    table = run(database_url, "list").stdout
    assert all(word in table for word in ("metrics.score", "whole", "MiB", "used"))

    again = run(database_url, "add", "lr")
    assert (again.returncode, again.stderr.count("is there")) == (0, 2)
    assert run(database_url, "drop", "lr").returncode == 0
    assert "lr" not in listed(database_url)
    assert_one_sentence(run(database_url, "drop", "lr"), 2, "there is no index of lr")
    for path in listed(database_url):
        assert run(database_url, "drop", path).returncode == 0
    assert ask(database_url, read_indexed) == Indexed()


def test_more_paths_than_every_trial_is_to_pay_for_are_refused(database_url: str) -> None:
    paths = [f"metrics.m{number}" for number in range(MOST)]
    assert run(database_url, "add", *paths).returncode == 0
    assert_one_sentence(run(database_url, "add", "metrics.m8"), 2, f"at most {MOST} paths", "drop one")
    assert run(database_url, "add", *paths[:2]).returncode == 0
    assert len(listed(database_url)) == MOST


@pytest.mark.parametrize("path", ["status", "warnings", "metrics", "a b", "", '"open', "a..b", "run"])
def test_what_is_no_metric_and_no_parameter_is_refused(path: str, database_url: str) -> None:
    assert_one_sentence(run(database_url, "add", path), 2)


@pytest.mark.parametrize("path", ["a\0b", "metrics.\ud800", ".".join("a" * 17), "x" * 3000])
def test_what_no_stored_name_can_be_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="a path: "):
        read_indexable(path)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ('metrics."accuracy"', "metrics.accuracy"),
        ("lr", "lr"),
        ('"status"', '"status"'),
        ('metrics."a b"', 'metrics."a"."b"'.replace('"."', " ")),
        ("params.layer.0", "parameters.layer.0"),
    ],
)
def test_a_path_is_shown_as_it_would_be_typed(typed: str, shown: str) -> None:
    path = read_indexable(typed)
    assert show_path(path) == shown
    assert read_indexable(show_path(path)) == path


def test_a_role_that_may_not_make_indexes_is_told_who_may(database_url: str, servers: Servers) -> None:
    role = f"looks_on_{os.getpid()}"
    execute(database_url, f"create role {role} login", f"grant select on all tables in schema public to {role}")
    url = database_url.replace("postgres@", f"{role}@")
    try:
        words = ("lets only postgres", "the owner of cerebros_model_trials", role)
        assert_one_sentence(run(url, "add", "lr"), 1, *words)
        assert_one_sentence(run(url, "drop", "lr"), 1, *words)
        assert listed(url) == {}
    finally:
        execute(database_url, f"drop owned by {role}", f"drop role {role}")


def test_of_two_that_add_the_same_at_once_one_does_the_work(database_url: str) -> None:
    fill_tables(database_url)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: run(database_url, "add", "lr", "metrics.score"), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert sum(one.stderr.count("is there") for one in done) == 4
    assert {row["state"] for row in listed(database_url).values()} == {"whole"}


def test_an_index_that_was_killed_half_made_is_shown_not_used_and_made_again(
    database_url: str, tmp_path: Path, terminate_sessions: Callable[[str], None]
) -> None:
    """Also by a server that ends the session of who was killed: until then it goes on building."""
    fill_tables(database_url)
    release = threading.Event()
    dump = hold_open(database_url, 120, release)
    adding = Process({"PROCESSOR_DATABASE_URL": database_url}, tmp_path / "said", "dashboard-index", "add", "lr")
    wait_until(lambda: listed(database_url).get("lr", {}).get("state") == "being built", "an index is being built")
    adding.kill()
    terminate_sessions(APPLICATION)
    wait_until(lambda: listed(database_url)["lr"]["state"] == "half-made", "nobody builds it any more")
    assert ask(database_url, read_indexed) == Indexed()
    release.set()
    dump.join()
    done = run(database_url, "add", "lr")
    assert (done.returncode, "was left half-made: it goes, and is made again" in done.stderr) == (0, True), done.stderr
    assert listed(database_url)["lr"]["state"] == "whole"
    assert len(ask(database_url, read_indexed).names) == 2


def test_others_are_not_held_up_while_indexes_are_made_and_dropped(database_url: str) -> None:
    """A statement of the steady load that waits for a lock for 100 ms fails, and is counted."""
    fill_tables(database_url)
    execute(
        database_url,
        "insert into cerebros_model_trials (id, model_run_id, trial_id, status, warnings, metrics) select "
        "gen_random_uuid(), id, 'more-' || n, 'failed', '{}', jsonb_build_object('score', n) "
        "from cerebros_model_runs, generate_series(1, 5000) n",
    )
    with SteadyLoad(database_url, lock_timeout_ms=100) as load:
        dump = hold_open(database_url, 3)
        assert run(database_url, "add", "metrics.score").returncode == 0
        dump.join()
        dump = hold_open(database_url, 3)
        assert run(database_url, "drop", "metrics.score").returncode == 0
        dump.join()
    assert (load.blocked, load.problems) == (0, [])
    assert load.statements > 100
