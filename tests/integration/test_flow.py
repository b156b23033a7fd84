"""The main job on real servers: reports in, rows and events out, replays without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable

from processor.intake import read_topic
from processor.settings import Settings
from processor.store import Store
from tests.factories import load, produce, report
from tests.support.ledger import check_ledger, events_of, rows_of
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

Start = Callable[..., Process]


def test_every_report_becomes_a_row_or_a_dead_letter_and_every_revision_an_event(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(3000))
    ingest, relay = start("ingest"), start("relay")
    wait_settled(settings)
    expected = check_ledger(settings)
    assert len(expected.rows) > 2000
    assert expected.dead_letters > 10
    assert (ingest.stop(), relay.stop()) == (0, 0)


def test_replays_from_anywhere_change_no_row_and_emit_no_event_twice(
    settings: Settings, environment: dict[str, str], start: Start, store: Store
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=2))
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    before = fingerprints(store)
    events = events_of(settings)
    for how in (["--to-earliest"], ["--to-offset", "150"], ["--to-earliest"]):
        assert ingest.stop() == 0
        done = run_command(environment, "replay", *how, "--execute")
        assert done.returncode == 0, done.stderr
        ingest = start("ingest")
        wait_settled(settings)
        assert fingerprints(store) == before
        assert events_of(settings) == events
    check_ledger(settings)


def fingerprints(store: Store) -> dict[str, str]:
    """Every column of every row and dead letter, by id."""
    rows = store.run(
        lambda connection: connection.fetch(
            "select id::text, md5(t::text) as hash from cerebros_model_trials t "
            "union all select 'dead letter ' || id, md5(d::text) from dead_letters d"
        )
    )
    return {row["id"]: row["hash"] for row in rows}


def test_a_replay_while_new_reports_arrive_ends_as_if_there_had_been_none(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    messages = list(load(2000, seed=3))
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages[:1000])
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    assert run_command(environment, "replay", "--to-earliest", "--execute").returncode == 0
    start("ingest")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages[1000:])
    wait_settled(settings)
    check_ledger(settings)


def test_an_older_report_never_overwrites_a_newer_one(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    for timestamp, accuracy in ((2000, 0.2), (1000, 0.1), (3000, 0.3), (2500, 0.25)):
        value = json.dumps(report(trial_id="t", run_id="r", metrics={"accuracy": accuracy})).encode()
        produce(
            settings.kafka_bootstrap_servers,
            settings.raw_topic,
            [("r", value)],
            timestamp=1_700_000_000_000 + timestamp,
        )
    start("ingest"), start("relay")
    wait_settled(settings)
    assert [version.accuracy for version in rows_of(settings).values()] == [0.3]
    assert [[one.accuracy for one in versions] for versions in events_of(settings)[0].values()] == [[0.2, 0.3]]


def test_an_active_group_is_not_reset(settings: Settings, environment: dict[str, str], start: Start) -> None:
    start("ingest").wait_said("assigned")
    done = run_command(environment, "replay", "--to-earliest", "--execute")
    assert done.returncode == 1
    assert "is active" in done.stderr


def test_events_carry_cloudevents_headers_and_the_run_as_key(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    value = json.dumps(report(trial_id="t-1", run_id="r-1")).encode()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r-1", value)], timestamp=1_700_000_000_123)
    start("ingest"), start("relay")
    wait_settled(settings)
    (event,) = read_topic(settings, settings.events_topic)
    headers = {name: (value or b"").decode() for name, value in event.headers}
    assert event.key == b"r-1"
    assert headers.pop("ce_id")
    assert headers == {
        "ce_specversion": "1.0",
        "ce_source": "/cerebros/processor",
        "ce_type": "ml.trial.complete",
        "ce_subject": "r-1/t-1",
        "ce_time": "2023-11-14T22:13:20.123Z",
        "content-type": "application/json",
    }
