"""The main job on real servers: reports in, rows and events out, replays without a trace."""

from __future__ import annotations

import json
from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from processor.contracts.catalogue import Catalogue
from processor.core.settings import Settings
from processor.kafka.topics import read_topic
from processor.store.session import Session
from tests.factories import load, produce, report
from tests.support.backends import OwnServers
from tests.support.ledger import check_ledger, events_of, rows_of
from tests.support.processes import Process, run_command
from tests.support.settle import lag, wait_settled
from tests.support.topics import set_max_bytes

Start = Callable[..., Process]


def test_every_report_becomes_a_row_or_a_dead_letter_and_every_revision_an_event(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(3000, life=0.2))
    ingest, relay = start("ingest"), start("relay")
    wait_settled(settings)
    expected = check_ledger(settings)
    assert len(expected.rows) > 1800
    assert min(len(expected.metrics), len(expected.starts)) > 50
    assert min(run.revision for run in expected.runs.values()) > 2
    assert expected.dead_letters > 10
    assert (ingest.stop(), relay.stop()) == (0, 0)


def test_replays_from_anywhere_change_no_row_and_emit_no_event_twice(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=2, life=0.3))
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


def test_a_reset_by_kafkas_own_tool_changes_no_row_and_emits_no_event_twice(
    settings: Settings, start: Start, store: Session, own_servers: OwnServers
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(800, seed=4))
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    before, events = fingerprints(store), events_of(settings)
    assert ingest.stop() == 0
    group = ("--group", settings.group_id, "--topic", settings.raw_topic)
    done = own_servers.kafka_tool("consumer-groups", *group, "--reset-offsets", "--to-earliest", "--execute")
    assert done.returncode == 0, done.stderr
    assert lag(settings) == 800
    start("ingest")
    wait_settled(settings)
    assert (fingerprints(store), events_of(settings)) == (before, events)
    check_ledger(settings)


#: what the documentation says of each: (value, key, reason)
BAD_INPUT = [
    (b"", "run-1", "empty_value"),
    (b"not json", "run-1", "not_json"),
    (b'"text"', "run-1", "not_object"),
    (b'{"trials": 3}', "run-1", "trials_not_list"),
    (b'{"trials": [3]}', "run-1", "report_not_object"),
    (b'{"run_id": "r"}', "run-1", "missing_trial_id"),
    (b'{"run_id": "r", "trial_id": ""}', "run-1", "missing_trial_id"),
    (b'{"run_id": "r", "trial_id": "a\\u0000b"}', "run-1", "invalid_id"),
    (b'{"trial_id": "t"}', None, "missing_run_id"),
    (b'{"trial_id": "t", "run_id": "r", "status": "exploded"}', "run-1", "unknown_status"),
    (b'{"trial_id": "t", "run_id": "r", "metrics": []}', "run-1", "not_a_map"),
    (b'{"trial_id": "t", "run_id": "r", "duration_ms": -1}', "run-1", "invalid_number"),
    (b'{"trial_id": "t", "run_id": "r", "mlflow_run_id": 5}', "run-1", "invalid_type"),
    (b"\x00\x00\x00\x00\x07abc", "run-1", "avro_unknown_schema"),
    (b"\xc3\x01" + b"\x07" * 12, "run-1", "avro_unknown_schema"),
    (Catalogue.load().single_object("trial_report", {"trial_id": "t", "run_id": "r", "status": "failed"})[:-3],
     "run-1", "avro_unreadable"),
    (b'{"trial_id": "t", "run_id": "r", "metrics": {"a": ' + b"[" * 3000 + b"]" * 3000 + b"}}", "run-1", "too_deep"),
    (b'{"trial_id": "t", "run_id": "r", "artifact_uri": "' + b"x" * 5_000_000 + b'"}', "run-1", "too_large"),
]  # fmt: skip


def test_each_kind_of_bad_input_is_one_dead_letter_with_its_bytes_and_its_neighbours_are_written(
    settings: Settings, start: Start, store: Session
) -> None:
    set_max_bytes(AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers}), settings.raw_topic, 6_000_000)
    messages: list[tuple[str | None, bytes]] = []
    for number, (value, key, _) in enumerate(BAD_INPUT):
        messages += [("run-1", json.dumps(report(trial_id=f"good-{number}")).encode()), (key, value)]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    start("ingest"), start("relay")
    wait_settled(settings)
    kept = store.run(
        lambda connection: connection.fetch(
            "select record.value, record.key, letter.reason, letter.detail, letter.report_index "
            "from dead_letters letter join dead_letter_records record on record.id = letter.record_id"
        )
    )
    found = {(row["value"] or b"", row["key"] and row["key"].decode(), row["reason"]) for row in kept}
    assert found == set(BAD_INPUT)
    assert len(kept) == len(BAD_INPUT)
    assert all(row["detail"] for row in kept)
    assert len(rows_of(settings)) == len(BAD_INPUT)
    published = list(read_topic(settings, settings.dead_letter_topic))
    large = [one for one in published if dict(one.headers).get("dead_letter_value")]
    assert (len(published), len(large)) == (len(BAD_INPUT), 1)


def fingerprints(store: Session) -> dict[str, str]:
    """Every column of every row and dead letter, by id or key."""
    rows = store.run(
        lambda connection: connection.fetch(
            "select id::text, md5(t::text) as hash from cerebros_model_trials t "
            "union all select id::text, md5(r::text) from cerebros_model_runs r "
            "union all select concat_ws(' ', model_run_id, kind), md5(s::text) from cerebros_run_reports s "
            "union all select concat_ws(' ', model_run_id, trial_id), md5(p::text) from cerebros_trial_progress p "
            "union all select concat_ws(' ', model_run_id, trial_id, metric, step), md5(m::text) "
            "from cerebros_trial_metrics m "
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
