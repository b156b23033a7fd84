"""A flood of dead letters: the page and the command that one opens then are as quick as without it, and as right."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processor.core.settings import Settings
from processor.dashboard.queries import letters as letters_queries
from processor.dashboard.queries.pool import queries
from processor.store import dead_letters
from processor.store.dead_letters import DeadLetters
from processor.store.queries import load_queries
from processor.store.session import Session
from tests.conftest import execute
from tests.support.pages import get, read
from tests.support.processes import run_command

#: counted one by one in these tests, and what the flood is of
COUNTED, FLOOD = 500, 30_000
LETTERS = (
    'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp) '
    "values ('raw', 0, {offset}, now()) returning id) "
    "insert into dead_letters (record_id, report_index, reason, detail, last_seen, resolved_at) "
    "select id, n, '{reason}', repeat('why ', 40), timestamptz '2026-05-01 12:00Z' + n * interval '1 millisecond', "
    "{resolved} from record, generate_series(1, {number}) as n"
)


def letters(offset: int, reason: str, number: int, resolved: str = "null") -> str:
    return LETTERS.format(offset=offset, reason=reason, number=number, resolved=resolved)


@pytest.fixture
def flooded(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of one reason very many, of another a few, of a third only resolved ones."""
    for module in (dead_letters, letters_queries):
        monkeypatch.setattr(module, "LETTERS_COUNTED", COUNTED)
    execute(
        database_url,
        "alter table dead_letters set (autovacuum_enabled = false)",
        letters(1, "not_json", FLOOD),
        letters(2, "not_a_map", 7),
        letters(3, "too_large", 2000, resolved="now()"),
        letters(4, "not_json", 3000, resolved="now()"),
        "vacuum analyze dead_letters",
    )
    return database_url


def test_very_many_are_about_so_many_and_a_few_are_exact(flooded: str) -> None:
    health: dict[str, Any] = get(flooded, "/health.json").json()
    flood, few = health["reasons"]
    assert (flood["reason"], flood["about"]) == ("not_json", True)
    assert abs(flood["count"] - FLOOD) < FLOOD / 5
    assert flood["last_seen"] == "2026-05-01T12:00:30Z"
    assert few == {"reason": "not_a_map", "about": False, "count": 7, "last_seen": "2026-05-01T12:00:00.007000Z"}
    assert (health["dead_letters"], health["dead_letters_about"]) == (flood["count"] + 7, True)
    page = read(get(flooded, "/health")).text
    assert f"about {flood['count']:,}" in page
    assert f"about {flood['count'] + 7:,}" in page
    assert "about 7" not in page


def test_status_says_the_same(flooded: str, environment: dict[str, str], settings: Settings) -> None:
    told = run_command(environment, "status", "--format", "json")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert set(document["dead_letters"]) == {"not_json", "not_a_map"}
    assert document["dead_letters"]["not_a_map"] == 7
    assert document["dead_letters_about"] == ["not_json"]


def test_only_what_is_counted_is_looked_at_beside_a_sample(flooded: str, store: Session) -> None:
    explain = f"explain (analyze, format json) {load_queries()['dead_letter_reasons']}".replace("$1", str(COUNTED))
    plan = json.loads(store.run(lambda connection: connection.fetchval(explain)))
    assert looked_at(plan[0]["Plan"]) < 8 * COUNTED


def test_those_of_a_reason_are_found_among_very_many_that_are_resolved(flooded: str, store: Session) -> None:
    page = queries()["letter_page"]
    for place, given in ((4, "true"), (3, "50"), (2, "'not_a_map'"), (1, str(2**63 - 1))):
        page = page.replace(f"${place}", given)
    explain = f"explain (analyze, format json) {page}"
    plan = json.loads(store.run(lambda connection: connection.fetchval(explain)))
    assert looked_at(plan[0]["Plan"]) == 7


def looked_at(node: dict[str, Any]) -> float:
    """Rows that scans of the table or its indexes came by; the sample is of some 1,000 pages, here of all."""
    scanned = node.get("Relation Name") == "dead_letters" and node["Node Type"] != "Sample Scan"
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] if scanned else 0
    return own + sum(looked_at(one) for one in node.get("Plans", ()))


def test_without_any_there_is_no_reason(database_url: str, store: Session) -> None:
    assert DeadLetters(store).reasons() == []
    health = get(database_url, "/health.json").json()
    assert (health["dead_letters"], health["dead_letters_about"], health["reasons"]) == (0, False, [])
