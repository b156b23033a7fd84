"""What a database asks of every session by itself changes nothing of what is written, judged and published."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from processor.core.settings import Settings
from tests.conftest import execute
from tests.factories import load, produce
from tests.support.ledger import check_ledger
from tests.support.pooler import Pooler
from tests.support.processes import Process, run_command
from tests.support.proxy import through
from tests.support.settle import wait_settled

Start = Callable[..., Process]

#: as an administrator may set them for a role or a database, or an older application has needed them
ODD = {
    "array_nulls": "off",
    "bytea_output": "escape",
    "client_min_messages": "debug1",
    "datestyle": "SQL, DMY",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "enable_indexscan": "off",
    "extra_float_digits": "-15",
    "intervalstyle": "sql_standard",
    "lock_timeout": "10",
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "statement_timeout": "50",
    "synchronous_commit": "off",
    "timezone": "Asia/Kathmandu",
    "transform_null_equals": "on",
    "xmlbinary": "hex",
}


@pytest.fixture(params=["directly", "behind a pooler that drops our settings"])
def url(request: pytest.FixtureRequest, database_url: str) -> Iterator[dict[str, str]]:
    host, _, port = database_url.rpartition("@")[2].partition("/")[0].partition(":")
    with Pooler(host, int(port)) as pooler:
        yield {} if request.param == "directly" else through(pooler, database_url)


def test_a_database_with_odd_settings_holds_and_publishes_the_same(
    settings: Settings, environment: dict[str, str], start: Start, database_url: str, url: dict[str, str]
) -> None:
    name = database_url.rpartition("/")[2].partition("?")[0]
    execute(database_url, *[f"alter database {name} set {one} = {value!r}" for one, value in ODD.items()])
    try:
        produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=191, life=0.3))
        start("ingest", **url), start("relay", **url)
        wait_settled(settings)
        for command in (
            ["replay", "--window", "..", "--no-resume"],
            ["verify"],
            ["migrate", "--check"],
            ["status"],
            ["dead-letters", "list"],
        ):
            done = run_command({**environment, **url}, *command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    finally:
        execute(database_url.rpartition("/")[0] + "/postgres", f"alter database {name} reset all")
    check_ledger(settings)
