"""What the benchmarks write into the tables by themselves fits them: nobody runs the long ones with every change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import optuna

from benchmarks import dashboard, load, progress
from benchmarks.beside import checking, filling
from benchmarks.beside.trials import Trial, newest, trials
from benchmarks.growth import fill_table
from processor.contracts.catalogue import Catalogue
from processor.core.messages import TrialReport
from processor.decode.decoder import Decoder
from processor.local.mlflow import MlflowServer
from processor.store.session import Session
from tests.factories import record
from tests.support.dashboards import Open


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


def one_of_each_kind(given: list[Trial]) -> list[Trial]:
    """With a value, without one, and with one that is no number."""
    by_kind = {(one.status, one.metrics["accuracy"] == one.metrics["accuracy"]): one for one in given}
    assert {("succeeded", True), ("failed", True), ("skipped", True), ("succeeded", False)} <= set(by_kind)
    return list(by_kind.values())


def test_what_is_put_into_our_tables_is_what_our_pages_say(database_url: str, opened: Open) -> None:
    identity = filling.make_run(database_url, "in bulk")
    given = one_of_each_kind(list(trials(200, identity)))
    filling.copy_ours(database_url, (one.text for one in given))
    _, url = opened()
    for one in given:
        assert checking.check_ours(url, "in bulk", one) == len(given)


def test_what_is_put_into_optuna_s_tables_is_what_optuna_writes_and_reads(tmp_path: Path) -> None:
    store, given = tmp_path / "optuna.db", list(trials(200))
    study = filling.make_study(store, "in bulk")
    filling.fill_sqlite(store, (filling.optuna_rows(one, study) for one in given))
    later = newest(len(given))
    filling.write_sqlite(store, filling.optuna_rows(later, study))
    for one in (*one_of_each_kind(given), later):
        assert checking.check_optuna(f"sqlite:///{store}", "in bulk", one) == len(given) + 1
    (read, *_) = optuna.load_study(storage=f"sqlite:///{store}", study_name="in bulk").trials
    by_optuna = optuna.create_study(storage=f"sqlite:///{store}", study_name="by Optuna", direction="maximize")
    by_optuna.add_trial(read)
    (written,) = by_optuna.trials
    assert (written.state, written.params, written.values) == (read.state, read.params, read.values)
    assert (written.distributions, written.user_attrs) == (filling.SPACE, read.user_attrs)
    assert (written.datetime_start, written.datetime_complete) == (read.datetime_start, read.datetime_complete)


def test_what_is_put_into_mlflow_s_tables_is_what_mlflow_reads(mlflow_server: MlflowServer) -> None:
    made = httpx.post(f"{mlflow_server.url}/api/2.0/mlflow/experiments/create", json={"name": "in bulk"}, timeout=60)
    store = Path(mlflow_server.backend.removeprefix("sqlite:///"))
    given, experiment = one_of_each_kind(list(trials(200))), int(made.json()["experiment_id"])
    for one in given:
        filling.write_sqlite(store, filling.mlflow_rows(one, experiment))
    for one in given:
        assert checking.check_mlflow(mlflow_server.url, experiment, one, len(given)) == len(given)


def test_the_trials_of_all_three_are_the_same_each_time() -> None:
    ours, theirs = list(trials(1000, "of ours")), list(trials(1000))
    assert [repr(one._replace(text="")) for one in ours] == [repr(one._replace(text="")) for one in theirs]
