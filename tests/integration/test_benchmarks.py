"""What the benchmarks write into the tables by themselves fits them: nobody runs the long ones with every change."""

from __future__ import annotations

import asyncio
import json

from benchmarks import dashboard, load, progress
from benchmarks.growth import fill_table
from processor.contracts.catalogue import Catalogue
from processor.core.messages import TrialReport
from processor.decode.decoder import Decoder
from processor.store.session import Session
from tests.factories import record


def test_the_large_tables_rows_are_those_that_ingest_would_write(store: Session, database_url: str) -> None:
    asyncio.run(fill_table(database_url, 300))
    counts = "select count(*), count(distinct model_run_id), sum((revision = 1)::int) from cerebros_model_trials"
    rows = store.run(lambda connection: connection.fetch(counts))
    assert [tuple(row) for row in rows] == [(300, 3, 300)]
    missing = """
        select attname from pg_attribute where attrelid = 'cerebros_model_trials'::regclass and attnum > 0
        and attname like 'source%' and to_jsonb((select t from cerebros_model_trials t limit 1)) ->> attname is null"""
    assert store.run(lambda connection: connection.fetch(missing)) == []


def test_the_dashboard_s_trials_are_as_many_as_they_should_be_and_every_question_has_an_answer(
    store: Session, database_url: str
) -> None:
    asyncio.run(dashboard.fill(database_url, 460, 100, 6))
    counts = "select count(*) as trials from cerebros_model_trials group by model_run_id order by 1"
    assert [row["trials"] for row in store.run(lambda connection: connection.fetch(counts))] == [
        60,
        75,
        75,
        75,
        75,
        100,
    ]
    found = asyncio.run(dashboard.ask_all(database_url, 1))
    assert list(found) == list(dashboard.questions())


def test_the_load_is_what_it_says_it_will_end_as() -> None:
    decode = Decoder(Catalogue.load())
    values = [value for _, value in load.messages(2000)]
    reports = [one for value in values for one in decode(record(value)) if isinstance(one, TrialReport)]
    assert len(reports) == 2000
    events = sum(one.content["status"] in ("succeeded", "failed") for one in reports)
    assert load.expected(2000) == (len({(one.run_id, one.trial_id) for one in reports}), events)
    assert 600 < sum(map(len, values)) / 2000 < 700
    assert all(json.loads(value)["run_id"] for value in values)


def test_reports_and_progress_are_measured_in_the_same_tables(store: Session, database_url: str) -> None:
    costs = progress.measure(database_url, 300, 1)
    assert list(costs) == ["report, new", "report, replayed", "progress, new", "progress, replayed"]
    assert min(min(cost.values()) for cost in costs.values()) > 0
    counts = "select count(*), count(distinct trial_id), max(step) from cerebros_trial_metrics"
    assert [tuple(row) for row in store.run(lambda connection: connection.fetch(counts))] == [(300, 6, 49)]
