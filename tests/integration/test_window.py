"""`processor replay --window` on real servers: beside the live group, resumable, to a fixed end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError
from processor.core.messages import Batch, Written
from processor.core.settings import Settings
from processor.decode.decoder import Decoder
from processor.kafka.offsets import GroupOffsets
from processor.kafka.range_source import RangeSource, read
from processor.kafka.ranges import Progress, Range, find_ranges
from processor.pipeline.loop import Pipeline
from processor.replay.windows import ahead_of_live, group_of, parse_window
from processor.store.session import Session
from tests.factories import load, produce
from tests.integration.test_flow import fingerprints
from tests.support.ledger import check_ledger, events_of, rows_of
from tests.support.processes import COMMAND, Process, wait_until
from tests.support.settle import wait_settled

Start = Callable[..., Process]


def command(environment: dict[str, str], *args: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """The command's end: its exit code and what it said."""
    return subprocess.run(
        [*COMMAND, *args],
        env={**os.environ, **environment, **extra},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def replayed(environment: dict[str, str], window: str, *args: str) -> dict[str, Any]:
    """What a window replay that must succeed says."""
    done = command(environment, "replay", "--window", window, "-f", "json", *args)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@contextmanager
def running(environment: dict[str, str], log: Path, *args: str, **extra: str) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as file:
        child = subprocess.Popen(
            [*COMMAND, *args],
            env={**os.environ, **environment, **extra},
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def ranges_of(settings: Settings, window: str, only: Sequence[int] = ()) -> list[Range]:
    return find_ranges(settings, settings.raw_topic, parse_window(window), only)


def progress_in(settings: Settings, window: str) -> Progress:
    return Progress(settings, settings.raw_topic, group_of(settings.group_id, parse_window(window)))


def source_of(settings: Settings, ranges: Sequence[Range], progress_group: str | None = None) -> RangeSource:
    return RangeSource(settings, settings.raw_topic, ranges, progress_group=progress_group)


def progress_of(settings: Settings, window: str) -> int:
    """Records that the window's own group has committed."""
    ranges = progress_in(settings, window).resume(ranges_of(settings, window))
    return sum(one.at - one.begin for one in ranges)


def live_offsets(settings: Settings) -> dict[int, int]:
    return GroupOffsets(settings, settings.raw_topic).committed(range(4))


def window_groups(settings: Settings) -> set[str]:
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    found = {one.group_id for one in admin.list_consumer_groups(request_timeout=10).result().valid}
    return {one for one in found if one.startswith(f"{settings.group_id}-window")}


def offsets_read(source: RangeSource) -> list[tuple[int, int]]:
    try:
        return [(record.partition, record.offset) for records in read(source) for record in records]
    finally:
        source.close()


def test_a_window_beside_live_ingest_changes_nothing_and_never_moves_the_live_offsets(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=5))
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    rows, events, offsets = fingerprints(store), events_of(settings), live_offsets(settings)
    document = replayed(environment, "..")
    assert document["records"] == document["done"] == document["total"] == 1500
    assert {name: number for name, number in document["results"].items() if number} == {
        "stale": document["results"]["stale"],
        "unchanged": document["results"]["unchanged"],
        "rejected": document["results"]["rejected"],
    }
    assert (document["events"], document["new_dead_letters"]) == (0, 0)
    assert (fingerprints(store), events_of(settings), live_offsets(settings)) == (rows, events, offsets)
    assert window_groups(settings) == set()
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(300, seed=6))  # the live group still reads
    wait_settled(settings)
    assert ingest.running
    check_ledger(settings)


def test_rows_that_were_lost_come_back_without_the_live_group(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=7))
    start("ingest"), start("relay")
    wait_settled(settings)
    expected, offsets = rows_of(settings), live_offsets(settings)
    store.run(lambda connection: connection.execute("delete from cerebros_model_runs where run_id < 'run-4'"))
    lost = len(expected) - len(rows_of(settings))
    document = replayed(environment, "..")
    assert lost > 50
    assert document["results"]["inserted"] == lost
    assert (rows_of(settings), live_offsets(settings)) == (expected, offsets)


def test_a_killed_window_goes_on_where_it_stopped_and_starts_anew_once_it_is_done(
    settings: Settings, environment: dict[str, str], start: Start, tmp_path: Path
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1000, seed=8))
    small = {"PROCESSOR_BATCH_MAX_RECORDS": "20", "PROCESSOR_TEST_HALT_AT": "ingest.after_commit#12"}
    with running(environment, tmp_path / "log", "replay", "--window", "..", **small) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "HALTED ingest.after_commit\n"
        wait_until(lambda: progress_of(settings, "..") >= 100, "progress is committed")
        child.kill()
        child.wait(10)
    before = progress_of(settings, "..")
    again = command(environment, "replay", "--window", "..", "-f", "json")
    assert again.returncode == 0, again.stderr
    assert f"resumed: {before:,} of 1,000 records were done before" in again.stderr
    assert json.loads(again.stdout)["records"] == 1000 - before
    assert window_groups(settings) == set()
    start("relay")
    wait_until(lambda: command_status(environment)["outbox"]["messages"] == 0, "the outbox is empty")
    check_ledger(settings)
    assert replayed(environment, "..")["records"] == 1000


def command_status(environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "processor", "status", "-f", "json"],
        env={**os.environ, **environment},
        capture_output=True,
        check=True,
    )
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def test_a_stopped_window_says_how_to_go_on_and_can_be_told_to_start_anew(
    settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(6000, seed=9))
    log = tmp_path / "log"
    with running(environment, log, "replay", "--window", "0..", PROCESSOR_BATCH_MAX_RECORDS="10") as child:
        wait_until(lambda: progress_of(settings, "0..") > 0, "progress is committed")
        child.terminate()
        assert child.wait(20) == 1
    assert "the same command goes on from there" in log.read_text()
    assert 0 < progress_of(settings, "0..") < 6000
    assert replayed(environment, "0..", "--no-resume")["records"] == 6000


def test_a_window_ends_where_it_did_at_its_start_however_the_topic_grows(settings: Settings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    produce(servers, topic, [("k", b"{}")] * 50, partition=1)
    ranges = ranges_of(settings, "..")
    produce(servers, topic, [("k", b"{}")] * 50, partition=1)
    produce(servers, topic, [("k", b"{}")] * 50, partition=2)
    assert offsets_read(source_of(settings, ranges)) == [(1, offset) for offset in range(50)]


def test_a_window_ends_though_its_last_offsets_are_never_delivered(settings: Settings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions()
    for number, end in ((10, producer.commit_transaction), (5, producer.abort_transaction)):
        producer.begin_transaction()
        for _ in range(number):
            producer.produce(topic, b"{}", partition=0)
        producer.flush()
        end()
    producer.begin_transaction()
    producer.produce(topic, b"{}", partition=0)
    producer.flush()
    ranges = ranges_of(settings, "..")  # 10, a marker, 5 aborted, a marker; the open one is not there
    assert ranges[0].end == 17
    source = source_of(settings, ranges)
    assert offsets_read(source) == [(0, offset) for offset in range(10)]
    assert (source.done, source.finished) == (17, True)
    producer.abort_transaction()
    produce(servers, topic, [("k", b"{}")], partition=0)  # the first record that comes lies beyond the end
    gap = [one for one in ranges_of(settings, "11..16") if one.size]
    assert offsets_read(source_of(settings, gap)) == []


def test_what_retention_took_away_is_said_and_the_rest_is_read(settings: Settings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    produce(servers, topic, [("k", b"{}")] * 50, partition=0)
    produce(servers, topic, [("k", b"{}")] * 50, partition=1)
    ranges = ranges_of(settings, "..40")
    admin = AdminClient({"bootstrap.servers": servers})
    gone = [TopicPartition(topic, 0, 30), TopicPartition(topic, 1, 50)]
    for future in admin.delete_records(gone).values():
        future.result(10)
    source = source_of(settings, ranges)
    assert offsets_read(source) == [(0, offset) for offset in range(30, 40)]
    assert sorted(source.notes) == [
        "partition 0: 0..30 was deleted by retention before it was read",
        "partition 1: 0..40 was deleted by retention before it was read",
    ]
    assert (source.done, source.finished) == (80, True)
    assert ranges_of(settings, "0..40")[0].note == "partition 0 holds 30..50: 30..40 is read"


def test_times_and_partitions_choose_what_is_read(settings: Settings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    noon = 1_777_636_800_000
    for partition in range(4):
        for minute in range(3):
            produce(servers, topic, [("k", b"{}")], partition=partition, timestamp=noon + minute * 60_000)
    ranges = ranges_of(settings, "2026-05-01T12:00:30Z..2026-05-01T12:02:00Z", [1, 3])
    assert [(one.partition, one.begin, one.end, one.note) for one in ranges] == [(1, 1, 2, ""), (3, 1, 2, "")]
    later = ranges_of(settings, "2030-01-01..")
    assert [(one.size, one.note) for one in later] == [(0, "")] * 4


def test_a_partition_added_between_two_starts_is_read_by_the_second(settings: Settings) -> None:
    servers, topic = settings.kafka_bootstrap_servers, settings.raw_topic
    produce(servers, topic, [("k", b"{}")] * 5, partition=0)
    source = source_of(settings, ranges_of(settings, ".."))
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.create_partitions([NewPartitions(topic, 5)]).values():
        future.result(10)
    assert offsets_read(source) == [(0, offset) for offset in range(5)]
    wait_until(lambda: len(ranges_of(settings, "..")) == 5, "the new partition is there")


def test_an_outage_at_the_end_of_a_window_is_waited_out_and_not_taken_for_its_end(settings: Settings) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("k", b"{}")] * 20, partition=0)
    written: list[int] = []

    class LateSink:
        """Down for longer than the shutdown timeout when everything has been read."""

        back = time.monotonic() + 2.0

        def write(self, batch: Batch, *, around_locks: bool = False) -> Written:
            if time.monotonic() < self.back:
                raise TransientError("down")
            written.extend(rejection.record.offset for rejection in batch.rejections)
            return Written()

        def answers(self) -> bool:
            return False

        def close(self) -> None: ...

    source = source_of(settings, ranges_of(settings, ".."))
    try:
        Pipeline(source, Decoder(Catalogue.load()).each, LateSink, shutdown_s=0.1).run()
    finally:
        source.close()
    assert written == list(range(20))
    assert source.finished


def test_nothing_in_kafka_options_makes_a_window_commit_for_the_live_group(settings: Settings) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("k", b"{}")] * 20, partition=0)
    options = {"group.id": settings.group_id, "enable.auto.commit": True, "auto.commit.interval.ms": 10}
    careless = settings.model_copy(update={"kafka_options": options})
    source = source_of(careless, ranges_of(careless, ".."), progress_in(careless, "..").group)
    assert len(offsets_read(source)) == 20
    assert progress_of(careless, "..") == 20
    assert live_offsets(settings) == {}


def test_a_window_that_begins_beyond_the_live_group_is_said_to_skip_versions(settings: Settings) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("k", b"{}")] * 20, partition=0)
    live = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": settings.group_id})
    live.commit(offsets=[TopicPartition(settings.raw_topic, 0, 10)], asynchronous=False)
    live.close()
    assert ahead_of_live(settings, settings.raw_topic, ranges_of(settings, "10..")) == []
    (note,) = ahead_of_live(settings, settings.raw_topic, ranges_of(settings, "11.."))
    assert note.startswith(f"partition 0: group {settings.group_id} is at 10, before the window")


def test_a_window_that_is_wrong_is_refused_with_exit_code_2(settings: Settings, environment: dict[str, str]) -> None:
    for args in (["--window", "5..1"], ["--window", "..", "--partition", "9"], ["--window", "..", "-f", "xml"]):
        done = command(environment, "replay", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("processor: ")
        assert done.stderr.count("\n") == 1
