"""What a stream can hold and what a topic can go through: poison, clocks going backwards, topics made anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from processor.core.settings import Settings
from processor.kafka.topics import create_topics, read_topic
from processor.store.dead_letters import DeadLetters
from processor.store.session import Session
from tests.conftest import execute
from tests.factories import load, produce, report
from tests.support.ledger import check_ledger, events_of, ledger_session, rows_of
from tests.support.processes import COMMAND, Process, run_command, wait_until
from tests.support.settle import parked, rows, wait_settled
from tests.support.topics import set_max_bytes

Start = Callable[..., Process]


def send(settings: Settings, *values: bytes, key: str = "run-1", **extra: int) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [(key, value) for value in values], **extra)


def test_poison_at_the_head_of_a_partition_blocks_nothing(settings: Settings, start: Start) -> None:
    poison = [b"\x00", b"{", b"\xff\xfe", b"[" * 3000, b'"text"', b"\xc3\x01short", b"[1, 2, 3]"[:4]]
    send(settings, *poison)
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(500, seed=51))
    start("ingest"), start("relay")
    wait_settled(settings)
    check_ledger(settings)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("streams", ["2>/dev/full", "<&- >&- 2>&-"])
def test_a_log_that_can_not_be_written_ends_nothing(
    streams: str, settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    send(settings, b"bad one", b"bad two")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(500, seed=55))
    shell = ["sh", "-c", f'exec "$@" {streams}', "sh", *COMMAND]
    running = [Process(environment, tmp_path / f"{name}.log", name, command=shell) for name in ("ingest", "relay")]
    try:
        wait_settled(settings)
        check_ledger(settings)
        assert [one.stop() for one in running] == [0, 0]
    finally:
        for one in running:
            one.end()


def test_a_report_that_the_database_alone_refuses_is_isolated_and_its_neighbours_are_written(
    settings: Settings, start: Start, database_url: str
) -> None:
    execute(
        database_url,
        "alter table cerebros_model_trials add constraint sane_duration check (duration_ms < 1000000)",
        """create function refuse() returns trigger language plpgsql as
           $$ begin if new.trial_id = 'cursed' then raise exception 'no such trial here'; end if; return new; end $$""",
        "create trigger refuse before insert on cerebros_model_trials for each row execute function refuse()",
    )
    good = [json.dumps(report()).encode() for _ in range(300)]
    bad = [
        json.dumps(report(trial_id="too-long", duration_ms=2_000_000)).encode(),
        json.dumps(report(trial_id="cursed")).encode(),
        json.dumps(report(trial_id="x" * 200_000)).encode(),  # no index row is that long
        json.dumps(report(run_id="y" * 200_000)).encode(),
    ]
    # repetitive ids compress; these do not
    import random

    rng = random.Random(5)
    noise = "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(20_000))
    bad[2] = json.dumps(report(trial_id=noise)).encode()
    bad[3] = json.dumps(report(run_id=noise)).encode()
    values = good[:100] + bad[:2] + good[100:200] + bad[2:] + good[200:]
    send(settings, *values)
    start("ingest"), start("relay")
    wait_settled(settings)
    with Session(database_url) as store:
        letters = DeadLetters(store).reasons()
        details = store.run(lambda connection: connection.fetch("select detail from dead_letters order by id"))
    assert [(row["reason"], row["count"]) for row in letters] == [("database_refused", 4)]
    assert all("SQLSTATE" in row["detail"] for row in details)
    assert rows(settings) == 300
    assert sum(len(versions) for versions in events_of(settings)[0].values()) == 300


def test_a_clock_going_backwards_keeps_the_newest_report(settings: Settings, start: Start) -> None:
    def version(accuracy: float) -> bytes:
        return json.dumps(report(trial_id="t", run_id="run-1", metrics={"accuracy": accuracy})).encode()

    send(settings, version(0.1), timestamp=1_700_000_005_000)
    send(settings, version(0.2), timestamp=1_700_000_001_000)  # the clock was set back
    send(settings, version(0.3), timestamp=1_700_000_005_000)  # the same millisecond: the later offset wins
    start("ingest"), start("relay")
    wait_settled(settings)
    assert [(one.revision, one.accuracy) for one in rows_of(settings).values()] == [(2, 0.3)]
    assert [[one.accuracy for one in versions] for versions in events_of(settings)[0].values()] == [[0.1, 0.3]]


@pytest.mark.parametrize("running", [False, True])
def test_a_topic_made_anew_starts_at_zero_and_nothing_is_mistaken_for_a_replay(
    running: bool, settings: Settings, start: Start
) -> None:
    refresh = {"PROCESSOR_KAFKA_OPTIONS": '{"topic.metadata.refresh.interval.ms": 1000}'}
    send(settings, json.dumps(report(trial_id="t", metrics={"accuracy": 0.1})).encode(), b"bad one")
    ingest, _relay = start("ingest", **refresh), start("relay")
    wait_settled(settings)
    if not running:
        assert ingest.stop() == 0
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.delete_topics([settings.raw_topic])[settings.raw_topic].result()
    wait_until(lambda: settings.raw_topic not in admin.list_topics(timeout=5).topics, "the topic is gone")
    wait_until(lambda: bool(create_topics(settings, settings.topics, partitions=4, replication=1)), "the topic is back")
    send(settings, json.dumps(report(trial_id="t", metrics={"accuracy": 0.9})).encode(), b"bad two")
    if not running:
        start("ingest")
    wait_until(lambda: [one.accuracy for one in rows_of(settings).values()] == [0.9], "the new report is held")
    wait_until(lambda: dead_letters(settings) == 2, "both bad ones are kept")
    wait_until(lambda: len(list(read_topic(settings, settings.dead_letter_topic))) == 2, "and published")
    assert [[one.revision for one in versions] for versions in events_of(settings)[0].values()] == [[1, 2]]


def dead_letters(settings: Settings) -> int:
    with ledger_session(settings) as store:
        return int(store.fetch("ledger_dead_letters")[0]["count"])


def test_partitions_added_while_running_are_read(settings: Settings, start: Start) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=53))
    start("ingest", PROCESSOR_KAFKA_OPTIONS='{"topic.metadata.refresh.interval.ms": 1000}'), start("relay")
    wait_settled(settings)
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    admin.create_partitions([NewPartitions(settings.raw_topic, 8)])[settings.raw_topic].result()
    wait_until(lambda: len(admin.list_topics(settings.raw_topic).topics[settings.raw_topic].partitions) == 8, "added")
    # trials of their own: those of before are in other partitions now, and between partitions there is no order
    made = [report(run_id=f"later-{number % 50}") for number in range(400)]
    messages = [(one["run_id"], json.dumps(one).encode()) for one in made]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages)
    wait_settled(settings)
    expected = check_ledger(settings)
    assert len(expected.rows) > 300


def test_a_dead_letter_that_cannot_be_stored_stops_the_batch_and_is_never_dropped(
    settings: Settings, start: Start, database_url: str
) -> None:
    """The process says so and ends; once the cause is mended its successor stores the letter."""
    execute(database_url, "alter table dead_letters add constraint never check (reason <> 'not_json') not valid")
    send(settings, b"not json", json.dumps(report()).encode())
    ingest = start("ingest")
    assert ingest.wait(30) == 1
    assert "refuses a dead letter" in ingest.said()
    assert rows(settings) == 0
    execute(database_url, "alter table dead_letters drop constraint never")
    start("ingest"), start("relay")
    wait_settled(settings)
    check_ledger(settings)


def test_two_relays_at_once_publish_each_event_once(settings: Settings, start: Start) -> None:
    start("relay"), start("relay"), start("ingest", PROCESSOR_BATCH_MAX_RECORDS="50")
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=55))
    wait_settled(settings)
    check_ledger(settings)


def test_an_event_too_large_for_its_topic_is_parked_and_the_rest_is_published(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    set_max_bytes(admin, settings.events_topic, 20_000)
    set_max_bytes(admin, settings.dead_letter_topic, 20_000)
    big = json.dumps(report(trial_id="big", metrics={"accuracy": 0.5, "blob": "x" * 50_000})).encode()
    small = [json.dumps(report(trial_id=f"small-{number}")).encode() for number in range(20)]
    send(settings, *small[:10], big, b"not json " * 5000, *small[10:])
    start("ingest")
    relay = start("relay")
    wait_until(lambda: parked(settings) == 1, "the big event is parked")
    wait_settled(settings)
    assert len(list(read_topic(settings, settings.events_topic))) == 20
    (letter,) = read_topic(settings, settings.dead_letter_topic)
    assert letter.value is None
    assert dict(letter.headers)["dead_letter_value"] is not None
    # a later revision of the same trial waits behind the parked one, and both leave in order once the cause is mended
    again = json.dumps(report(trial_id="big", metrics={"accuracy": 0.6})).encode()
    send(settings, again)
    wait_until(lambda: parked(settings) == 2, "the next revision is parked behind it")
    set_max_bytes(admin, settings.events_topic, 1_000_000)
    relay.stop()
    start("relay")
    done = run_command(environment, "parked", "publish")
    assert done.stdout.startswith("2 messages"), done.stderr
    wait_until(lambda: len(events_of(settings)[0].get(("run-1", "big"), [])) == 2, "both are published")
    assert [one.revision for one in events_of(settings)[0]["run-1", "big"]] == [1, 2]
