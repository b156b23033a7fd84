"""`processor replay --window --dry-run` on real servers: writes nothing, and is right about what the replay does."""

from __future__ import annotations

import json
from typing import Any

from processor.core.settings import Settings
from processor.store.session import Session
from tests.factories import load, produce, report
from tests.integration.test_window import command, replayed, window_groups


def everything(store: Session) -> list[Any]:
    """Every row and sequence that a replay could touch, with the transaction that last wrote it."""
    tables = (
        "cerebros_model_runs", "cerebros_model_trials", "cerebros_run_reports", "cerebros_trial_progress",
        "cerebros_trial_metrics", "dead_letters", "dead_letter_records", "outbox",
    )  # fmt: skip
    rows = [
        store.run(lambda connection, table=table: connection.fetch(f"select xmin, t::text from {table} t order by 2"))  # type: ignore[misc]
        for table in tables
    ]
    sequences = store.run(lambda connection: connection.fetch("select sequencename, last_value from pg_sequences"))
    return [*rows, sorted(map(tuple, sequences))]


def test_a_dry_run_writes_nothing_and_foretells_exactly_what_the_replay_does(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    now = 1_777_636_800_000
    messages = list(load(1200, seed=10, again=0.4))
    parts = messages[:400], messages[400:800], messages[800:], messages[:100]
    for part, shift in zip(
        parts, (0, 60_000, -60_000, 120_000), strict=True
    ):  # the third is older, the last the first again
        produce(servers, topic, part, timestamp=now + shift)
    first = replayed(environment, "..60", "--partition", "0", "--partition", "1", "--partition", "2")
    assert first["results"]["inserted"] > 50
    store.run(
        lambda connection: connection.execute(
            "update cerebros_model_trials set status = 'cancelled', metrics = metrics || '{\"by\": \"hand\"}' "
            "where trial_id like '%7'"
        )
    )
    before = everything(store)
    forecast = replayed(environment, "..", "--dry-run")
    assert everything(store) == before
    assert window_groups(settings) == set()
    done = replayed(environment, "..")
    assert forecast["results"] == done["results"]
    assert min(done["results"].values()) > 0
    assert (forecast["events"], forecast["new_dead_letters"]) == (done["events"], done["new_dead_letters"])
    assert forecast["records"] == 1300
    assert forecast["rows_to_change"] == forecast["new_rows"] + forecast["changed_rows"]
    assert forecast["new_rows"] == done["results"]["inserted"]
    assert len(forecast["changes"]) == 10
    assert replayed(environment, "..", "--dry-run")["rows_to_change"] == 0


def test_a_dry_run_names_what_differs(settings: Settings, environment: dict[str, str], store: Session) -> None:
    value = json.dumps(report(trial_id="t", run_id="r", status="failed", rank=2)).encode()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value)])
    replayed(environment, "..")
    assert replayed(environment, "..", "--dry-run")["changes"] == []
    store.run(
        lambda connection: connection.execute("update cerebros_model_trials set rank = 7, metrics = '{}', revision = 4")
    )
    (change,) = replayed(environment, "..", "--dry-run")["changes"]
    assert change == {"run_id": "r", "trial_id": "t", "from_revision": 4, "fields": ["metrics", "rank"]}
    shown = command(environment, "replay", "--window", "..", "--dry-run").stdout
    assert "1 rows would change" in " ".join(shown.split())
    assert "metrics, rank" in shown


def test_a_dry_run_rejects_reports_of_unknown_runs_where_the_settings_say_so(
    settings: Settings, environment: dict[str, str]
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(20, bad=0))
    environment = {**environment, "PROCESSOR_UNKNOWN_RUN": "reject"}
    forecast = replayed(environment, "..", "--dry-run")
    assert (forecast["results"]["rejected"], forecast["rows_to_change"], forecast["new_dead_letters"]) == (20, 0, 20)
    assert replayed(environment, "..")["results"] == forecast["results"]


def test_a_dry_run_foretells_what_becomes_of_runs_and_progress(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    messages = list(load(900, seed=12, again=0.4, life=0.8))
    for part, shift in (
        (messages[:300], 0),
        (messages[300:600], 60_000),
        (messages[600:], -60_000),
        (messages[:90], 90_000),
    ):
        produce(servers, topic, part, timestamp=1_777_636_800_000 + shift)
    replayed(environment, "..60", "--partition", "0", "--partition", "1")
    before = everything(store)
    forecast = replayed(environment, "..", "--dry-run")
    assert everything(store) == before
    done = replayed(environment, "..")
    assert forecast["results"] == done["results"]
    assert min(done["results"].values()) > 0
    assert (forecast["events"], forecast["new_dead_letters"]) == (done["events"], done["new_dead_letters"])
    again = replayed(environment, "..", "--dry-run")
    assert (again["rows_to_change"], again["events"], again["changes"]) == (0, 0, [])


def test_a_dry_run_knows_that_a_start_makes_a_run_where_nothing_else_may(
    settings: Settings, environment: dict[str, str]
) -> None:
    values = [
        {"event": "ml.run.metric", "run_id": "none", "trial_id": "t", "metric_name": "m", "metric_value": 1},
        {"event": "ml.run.start", "run_id": "r"},
        {"event": "ml.run.metric", "run_id": "r", "trial_id": "t", "metric_name": "m", "metric_value": 1, "step": 2},
        report(run_id="r"),
        {"event": "ml.run.stop", "run_id": "q", "state": "failed"},
    ]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("k", json.dumps(one).encode()) for one in values])
    environment = {**environment, "PROCESSOR_UNKNOWN_RUN": "reject"}
    forecast = replayed(environment, "..", "--dry-run")
    assert [(one["run_id"], one["trial_id"]) for one in forecast["changes"]][:2] == [("r", ""), ("r", "t")]
    done = replayed(environment, "..")
    assert (forecast["results"], forecast["events"]) == (done["results"], done["events"])
    assert (done["results"]["inserted"], done["results"]["rejected"]) == (3, 2)
