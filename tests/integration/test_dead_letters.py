"""Dead letters on a real database: what people see of them, and the redrive, which loses and doubles nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError, UsageError
from processor.core.messages import (
    Batch,
    Destination,
    Outcome,
    Outgoing,
    RawRecord,
    Reason,
    Rejection,
    TrialReport,
    Written,
)
from processor.core.settings import Settings
from processor.decode.decoder import Decode, Decoder
from processor.events.bodies import EventWriter
from processor.kafka.topics import read_topic
from processor.replay.redrive import Tally, redrive
from processor.store import rejections
from processor.store.compare import Comparison
from processor.store.dead_letters import DeadLetters, Selection
from processor.store.queries import load_queries
from processor.store.redrive import RedriveStore
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import load, produce, record, report
from tests.support.ledger import comparable, events_of, fold, rows_of
from tests.support.patience import patient
from tests.support.processes import Process, run_command, wait_until
from tests.support.settle import wait_settled

COMMAND = "from processor.cli.main import main; main()"
EVENTS = EventWriter()
ALL = Selection()
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def decode() -> Decoder:
    return Decoder(Catalogue.load())


@pytest.fixture
def cli(environment: dict[str, str]) -> Cli:
    def run(*args: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", COMMAND, "dead-letters", *args]
        env = {**os.environ, **environment, "COLUMNS": "200", **extra}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=patient(60), check=False)

    return run


def cli_json(cli: Cli, *args: str, **extra: str) -> Any:
    done = cli(*args, "-f", "json", **extra)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write(store: Session, decode: Decode, *records: RawRecord, create_runs: bool = True) -> Written:
    """As ingest does it, one batch."""
    outcomes = [outcome for one in records for outcome in decode(one)]
    reports = [one for one in outcomes if isinstance(one, TrialReport)]
    rejections = [one for one in outcomes if isinstance(one, Rejection)]
    return TrialStore(store, EVENTS, create_runs=create_runs).write(Batch(reports, rejections, {}))


def rejecting(reason: Reason = Reason.NOT_JSON, detail: str = "broken once") -> Decode:
    """A decoder that takes nothing: whatever it rejected is there to be redriven once it is mended."""
    return lambda one: [Rejection(one, -1, reason, detail)]


def run_redrive(
    store: Session, decode: Decode, selection: Selection = ALL, *, most: int | None = None, **options: Any
) -> Tally:
    letters = DeadLetters(store)
    pages = letters.pages(letters.bounded(selection), 100, 1024 * 1024, most)
    return redrive(pages, decode, RedriveStore(store, EVENTS, **options), 100)


def query(store: Session, sql: str, *args: Any) -> list[dict[str, Any]]:
    async def work(connection: asyncpg.Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(sql, *args)]

    return store.run(work)


def letters_of(store: Session) -> list[dict[str, Any]]:
    return query(store, "select * from dead_letters order by id")


def unresolved(store: Session) -> int:
    return sum(letter["resolved_at"] is None for letter in letters_of(store))


def trials_of(store: Session) -> dict[str, dict[str, Any]]:
    return {row["trial_id"]: row for row in query(store, "select * from cerebros_model_trials")}


def outbox_of(store: Session) -> list[Outgoing]:
    decoder = msgspec.msgpack.Decoder(list[Outgoing])
    rows = query(store, "select payload from outbox order by seq")
    return [message for row in rows for message in decoder.decode(row["payload"])]


def sent(store: Session) -> Counter[str]:
    """How many messages wait for each topic."""
    return Counter(message.destination.value for message in outbox_of(store))


def everything(store: Session) -> list[str]:
    """Every column of every table that a redrive could touch."""
    tables = ("cerebros_model_runs", "cerebros_model_trials", "dead_letters", "dead_letter_records", "outbox")
    return [row["t"] for table in tables for row in query(store, f"select t::text as t from {table} t order by 1")]


# ---- the redrive


def test_a_redrive_writes_the_report_its_event_and_the_resolution(store: Session, decode: Decoder) -> None:
    records = [record(report(trial_id=f"t-{number}")) for number in range(250)]
    write(store, rejecting(), *records)
    tally = run_redrive(store, decode)
    assert (tally.taken, tally.resolved, tally.reports["inserted"], tally.events) == (250, 250, 250, 250)
    assert len(trials_of(store)) == 250
    assert unresolved(store) == 0
    assert sent(store) == {Destination.EVENTS: 250, Destination.DEAD_LETTERS: 250}


def test_a_redriven_report_keeps_its_own_position_and_timestamp(store: Session, decode: Decoder) -> None:
    of = record(
        [5, report(trial_id="t")], topic="other", partition=3, offset=77, timestamp_ms=1_700_000_000_123, key=b"k"
    )
    write(store, lambda one: [Rejection(one, 1, Reason.UNKNOWN_STATUS, "odd")], of)
    run_redrive(store, decode)
    row = trials_of(store)["t"]
    position = [row[f"source_{name}"] for name in ("topic", "partition", "offset", "index")]
    assert position == ["other", 3, 77, 1]
    assert int(row["source_timestamp"].timestamp() * 1000) == 1_700_000_000_123


def test_a_redriven_report_never_overwrites_a_newer_one(store: Session, decode: Decoder) -> None:
    old = record(report(trial_id="t", rank=1), timestamp_ms=1_000)
    new = record(report(trial_id="t", rank=2), timestamp_ms=2_000)
    write(store, rejecting(), old)
    write(store, decode, new)
    tally = run_redrive(store, decode)
    assert (tally.reports["stale"], tally.resolved, tally.events) == (1, 1, 0)
    assert trials_of(store)["t"]["rank"] == 2


def test_what_fails_again_keeps_its_first_failure_and_counts_one_more_attempt(store: Session, decode: Decoder) -> None:
    of = record(report(status="odd"))
    write(store, lambda one: [Rejection(one, 0, Reason.INVALID_TYPE, "first words", "rank")], of)
    (before,) = letters_of(store)
    tally = run_redrive(store, decode)
    (after,) = letters_of(store)
    assert (tally.resolved, tally.failed_again) == (0, {"unknown_status": 1})
    assert after["last_detail"].startswith('unknown_status: "odd" is no status')
    assert after["last_seen"] > before["last_seen"]
    assert (after["attempts"], after["resolved_at"]) == (2, None)
    same = ("id", "record_id", "report_index", "reason", "detail", "path", "first_seen")
    assert [after[name] for name in same] == [before[name] for name in same]


def test_what_fails_again_is_no_second_dead_letter_and_sends_no_second_message(store: Session, decode: Decoder) -> None:
    write(store, decode, record(b"not json"), record([report(status="odd"), 5, report()]), record(b""))
    before = sent(store)
    for _ in range(3):
        tally = run_redrive(store, decode)
    assert (tally.taken, tally.resolved, tally.new_dead_letters) == (4, 0, 0)
    assert [letter["attempts"] for letter in letters_of(store)] == [4, 4, 4, 4]
    assert sent(store) == before


def test_a_record_rejected_as_a_whole_is_resolved_by_reports_that_are_dead_letters_of_their_own(
    store: Session, decode: Decoder
) -> None:
    of = record([report(trial_id="good"), report(status="odd"), 5])
    write(store, rejecting(), of)
    tally = run_redrive(store, decode)
    assert (tally.taken, tally.resolved, tally.new_dead_letters) == (1, 1, 2)
    states = [(one["report_index"], one["reason"], one["resolved_at"] is None) for one in letters_of(store)]
    assert states == [(-1, "not_json", False), (1, "unknown_status", True), (2, "report_not_object", True)]
    assert set(trials_of(store)) == {"good"}
    assert sent(store) == {Destination.EVENTS: 1, Destination.DEAD_LETTERS: 3}
    assert len(query(store, "select from dead_letter_records")) == 1


def test_a_record_that_turns_out_to_hold_no_report_is_resolved(store: Session, decode: Decoder) -> None:
    write(store, rejecting(), record([]), record([]), record([report(trial_id="t")]))
    assert run_redrive(store, decode, Selection(ids=[1])).resolved == 1
    assert run_redrive(store, decode).resolved == 2
    assert unresolved(store) == 0


def test_only_the_rejected_report_of_a_record_is_applied(store: Session, decode: Decoder) -> None:
    of = record([report(trial_id="a"), report(trial_id="b")])
    write(store, lambda one: [decode(one)[0], Rejection(one, 1, Reason.TOO_DEEP, "once")], of)
    query(store, "delete from cerebros_model_trials")
    run_redrive(store, decode)
    assert set(trials_of(store)) == {"b"}


def test_what_the_database_refused_is_refused_again_alone_and_written_once_it_may(
    store: Session, decode: Decoder
) -> None:
    query(store, "alter table cerebros_model_trials add constraint small check (rank < 10)")
    write(
        store, decode, record(report(trial_id="small")), *[record(report(trial_id=f"t{n}", rank=n)) for n in (50, 60)]
    )
    query(store, "alter table cerebros_model_trials drop constraint small")
    query(store, "alter table cerebros_model_trials add constraint small check (rank < 60)")
    tally = run_redrive(store, decode)
    assert (tally.resolved, tally.failed_again, tally.events) == (1, {"database_refused": 1}, 1)
    assert set(trials_of(store)) == {"small", "t50"}
    attempts = [(letter["attempts"], letter["resolved_at"] is None) for letter in letters_of(store)]
    assert attempts == [(1, False), (2, True)]
    query(store, "alter table cerebros_model_trials drop constraint small")
    assert run_redrive(store, decode, Selection("database_refused")).resolved == 1
    assert sent(store) == {Destination.EVENTS: 3, Destination.DEAD_LETTERS: 2}


def test_a_report_of_an_unknown_run_is_redriven_once_the_run_is_there(store: Session, decode: Decoder) -> None:
    write(store, decode, record(report(run_id="later")), create_runs=False)
    assert run_redrive(store, decode, create_runs=False).failed_again == {"unknown_run": 1}
    query(store, "insert into cerebros_model_runs (run_id) values ('later')")
    assert run_redrive(store, decode, create_runs=False).resolved == 1


def test_a_redrive_takes_only_what_is_there_when_it_starts(store: Session, decode: Decoder) -> None:
    write(store, rejecting(), *[record(report()) for _ in range(10)])
    letters = DeadLetters(store)
    pages = letters.pages(letters.bounded(Selection()), 2, 1024)

    def more(one: RawRecord) -> Sequence[Outcome]:
        with Session(store._url) as other:
            write(other, rejecting(), record(report()))
        return decode(one)

    tally = redrive(pages, more, RedriveStore(store, EVENTS), 2)
    assert (tally.taken, unresolved(store)) == (10, 10)


def test_a_redrive_can_be_limited_to_a_reason_a_time_a_number_and_ids(store: Session, decode: Decoder) -> None:
    write(store, rejecting(Reason.TOO_DEEP), *[record(report()) for _ in range(5)])
    write(store, rejecting(Reason.NOT_JSON), *[record(report()) for _ in range(5)])
    query(store, "update dead_letters set first_seen = '2020-01-01Z' where id <= 7")
    since_2021 = 1_609_459_200_000
    assert run_redrive(store, decode, Selection("not_json", since_2021)).taken == 3
    assert run_redrive(store, decode, Selection("not_json"), most=1).taken == 1
    assert run_redrive(store, decode, Selection(ids=[1, 2, 6, 7])).taken == 3
    assert run_redrive(store, decode, Selection(since_ms=since_2021)).taken == 0
    assert unresolved(store) == 3


def test_a_dry_run_says_what_would_happen_and_leaves_no_trace(store: Session, decode: Decoder) -> None:
    write(store, decode, record(report(trial_id="newer", rank=1), timestamp_ms=9_000))
    changing = record(report(trial_id="changes", rank=1), timestamp_ms=1_000)
    same = msgspec.structs.replace(changing, offset=changing.offset + 1000, timestamp_ms=500)
    write(store, decode, changing, record(report(trial_id="x")))
    write(
        store,
        rejecting(),
        record(report(trial_id="newer", rank=2), timestamp_ms=8_000),
        record(report(trial_id="changes", rank=2), timestamp_ms=2_000),
        record(report(trial_id="inserted")),
        changing,
        same,
        record(b"broken"),
        record([report(trial_id="in a list"), 7]),
    )
    before = everything(store)
    dry = run_redrive(store, decode, rehearses=True)
    assert everything(store) == before
    assert dry.reports == {"inserted": 2, "changed": 1, "equal": 1, "stale": 2}
    assert (dry.taken, dry.resolved, dry.failed_again, dry.new_dead_letters) == (7, 6, {"not_json": 1}, 1)
    assert run_redrive(store, decode) == dry


def test_a_redrive_of_what_is_written_already_changes_no_row_and_sends_nothing(store: Session, decode: Decoder) -> None:
    records = [record(report()) for _ in range(10)]
    write(store, rejecting(), *records)
    write(store, decode, *records)
    query(store, "update dead_letters set resolved_at = null")
    rows, messages = trials_of(store), outbox_of(store)
    tally = run_redrive(store, decode)
    assert (tally.reports["equal"], tally.resolved) == (10, 10)
    assert (trials_of(store), outbox_of(store)) == (rows, messages)


class BrokenError(Exception):
    """Stands for a process that ends here."""


def test_a_redrive_that_dies_before_its_commit_leaves_nothing(store: Session, decode: Decoder) -> None:
    class DiesBefore(RedriveStore):
        async def _resolve(self, *args: Any) -> None:
            await super()._resolve(*args)
            raise BrokenError

    write(store, decode, record(report(status="odd")))
    write(store, rejecting(), record([report(), report(status="odd")]), record(report()))
    before = everything(store)
    letters = DeadLetters(store)
    with pytest.raises(BrokenError):
        redrive(letters.pages(letters.bounded(Selection()), 10, 1024), decode, DiesBefore(store, EVENTS))
    assert everything(store) == before


def test_a_batch_whose_commit_was_never_heard_of_is_written_again_without_a_trace(
    store: Session, decode: Decoder
) -> None:
    """The connection is lost right behind the commit: the retry must double nothing, not even the attempts."""

    class LosesTheAnswer(RedriveStore):
        told = False

        def redrive(self, *args: Any) -> Any:
            done = super().redrive(*args)
            if not self.told:
                self.told = True
                raise TransientError("cut")
            return done

    write(store, decode, record(report(status="odd")))
    write(store, rejecting(), record([report(), report(status="odd")]), record(report()))
    letters = DeadLetters(store)
    tally = redrive(letters.pages(letters.bounded(Selection()), 10, 1024), decode, LosesTheAnswer(store, EVENTS))
    assert tally.taken == 3
    states = [(one["attempts"], one["resolved_at"] is None) for one in letters_of(store)]
    assert states == [(2, True), (1, False), (1, False), (1, True)]
    assert sent(store) == {Destination.EVENTS: 2, Destination.DEAD_LETTERS: 4}


def test_two_redrives_at_once_double_nothing(store: Session, decode: Decoder) -> None:
    records = [record(report(trial_id=f"t-{n}", run_id=f"r-{n % 7}")) for n in range(600)]
    write(store, rejecting(), *records)
    tallies: list[Tally] = []

    def one() -> None:
        with Session(store._url) as own:
            tallies.append(run_redrive(own, decode))

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(tallies) == 3
    assert sum(tally.reports["inserted"] for tally in tallies) == 600
    assert {row["revision"] for row in trials_of(store).values()} == {1}
    assert sent(store)[Destination.EVENTS] == 600
    assert unresolved(store) == 0


def test_a_redrive_killed_half_way_is_finished_by_the_next_one(
    store: Session, decode: Decoder, environment: dict[str, str], cli: Cli, tmp_path: Path
) -> None:
    count = 1500
    write(store, rejecting(), *[record(report(trial_id=f"t-{n}", run_id=f"r-{n % 5}")) for n in range(count)])
    env = {**os.environ, **environment, "PROCESSOR_BATCH_MAX_RECORDS": "10"}
    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-c", COMMAND, "dead-letters", "redrive"]
        victim = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        wait_until(lambda: unresolved(store) < count - 100, "the redrive is on its way")
        victim.kill()
        assert victim.wait(10) != 0
    left = unresolved(store)
    assert 0 < left < count
    assert len(trials_of(store)) == count - left
    assert cli_json(cli, "redrive")["resolved"] == left
    assert {row["revision"] for row in trials_of(store).values()} == {1}
    assert sent(store) == {Destination.EVENTS: count, Destination.DEAD_LETTERS: count}


def test_a_redrive_survives_the_loss_of_its_connection(
    store: Session, decode: Decoder, terminate_sessions: Callable[[str], None]
) -> None:
    write(store, rejecting(), *[record(report()) for _ in range(300)])
    cut: list[bool] = []

    def cutting(one: RawRecord) -> Sequence[Outcome]:
        if not cut:
            cut.append(True)
            terminate_sessions("cerebros-processor")
        return decode(one)

    assert run_redrive(store, cutting).resolved == 300
    assert sent(store)[Destination.EVENTS] == 300


# ---- memory


def test_pages_hold_each_dead_letter_once_and_never_more_than_their_bytes(store: Session, decode: Decoder) -> None:
    large = [record([report(warnings=["x" * 300_000])], headers=(("h", b"y" * 50_000),)) for _ in range(12)]
    many = record([5] * 70)
    write(store, rejecting(), *large)
    write(store, decode, many)
    pages = list(DeadLetters(store).pages(Selection(), 50, 1_000_000))
    sizes = [
        sum(len(one.value or b"") for one in {letter.record.offset: letter.record for letter in page}.values())
        for page in pages
    ]
    assert max(sizes) < 1_000_000
    assert max(len(page) for page in pages) <= 50
    ids = [letter.id for page in pages for letter in page]
    assert sorted(ids) == [letter["id"] for letter in letters_of(store)]
    assert len(ids) == 82


# ---- a report that is written resolves its dead letter


def test_a_report_that_is_written_resolves_its_own_dead_letter_and_no_other(store: Session, decode: Decoder) -> None:
    of = record([report(), report(), report()])
    made_anew = msgspec.structs.replace(of, timestamp_ms=of.timestamp_ms + 1)
    neighbour = record([report(), report()])
    write(store, lambda one: [Rejection(one, n, Reason.TOO_DEEP, "once") for n in (0, 1)], of, made_anew, neighbour)
    write(store, lambda one: [decode(one)[1]], made_anew)
    places = query(
        store,
        'select record_timestamp, "offset", report_index from dead_letters d join dead_letter_records r '
        "on r.id = d.record_id where resolved_at is not null",
    )
    assert [
        (int(row["record_timestamp"].timestamp() * 1000), row["offset"], row["report_index"]) for row in places
    ] == [(made_anew.timestamp_ms, of.offset, 1)]


#: each stands at the same place, with the same timestamp: the topic was made anew, and its senders set the times
SAME_PLACE = [
    (b"key", b"no JSON"), (b"key", b"no json"), (None, b"no JSON"), (b"", b"no JSON"), (b"keyn", b"o JSON"),
    (b"key", None), (b"key", b""), (None, None),
]  # fmt: skip


def test_records_at_one_place_are_told_by_their_bytes(store: Session, decode: Decoder) -> None:
    """Each is kept, published once, told by verify, and resolved by itself alone."""
    made = decode(record(report()))[0]
    records = [
        msgspec.structs.replace(record(offset=3, timestamp_ms=5), key=key, value=value) for key, value in SAME_PLACE
    ]
    for number, one in enumerate(records):
        write(store, rejecting(), one)
        write(store, rejecting(), one)
        assert sent(store) == {"dead_letters": number + 1}
        found = [Comparison(store).letters([other]) for other in records]
        assert [bool(letters) for letters in found] == [True] * (number + 1) + [False] * (len(records) - number - 1)
    write(store, rejecting(), *reversed(records))
    assert sent(store) == {"dead_letters": len(records)}
    digests = query(store, load_queries()["dead_letters_between"], "raw", [0], [0], [9])
    assert {row["digest"] for row in digests} == {rejections.digest_of(one) for one in records}
    for number, one in enumerate(records):
        assert unresolved(store) == len(records) - number
        write(store, lambda one: [msgspec.structs.replace(made, record=one)], one)
    assert unresolved(store) == 0


def test_a_record_that_can_be_read_now_resolves_its_dead_letter_even_if_all_its_reports_are_rejected(
    store: Session, decode: Decoder
) -> None:
    of = record([5, 6])
    write(store, rejecting(), of)
    write(store, decode, of)
    assert [(one["report_index"], one["resolved_at"] is None) for one in letters_of(store)] == [
        (-1, False),
        (0, True),
        (1, True),
    ]


def test_a_replay_that_is_rejected_again_by_the_database_resolves_nothing(store: Session, decode: Decoder) -> None:
    query(store, "alter table cerebros_model_trials add constraint small check (rank < 10)")
    of = record([report(rank=50), report(rank=1)])
    write(store, decode, of)
    before = letters_of(store)
    write(store, decode, of)
    assert letters_of(store) == before
    assert unresolved(store) == 1


def test_a_dead_letter_that_was_resolved_is_unresolved_again_once_its_report_is_rejected_again(
    store: Session, decode: Decoder
) -> None:
    """Its run was deleted, and its row with it: without a dead letter nothing would say that the report is nowhere."""
    one = record(report(trial_id="t-1", run_id="run-1"))
    write(store, decode, one, create_runs=False)
    write(store, decode, one)
    assert (unresolved(store), len(trials_of(store))) == (0, 1)
    query(store, "delete from cerebros_model_runs")
    before = sent(store)
    for _ in range(2):  # the second time nothing changes
        write(store, decode, one, create_runs=False)
        [letter] = letters_of(store)
        assert (letter["reason"], letter["resolved_at"], letter["attempts"]) == ("unknown_run", None, 2)
    assert sent(store) == before
    write(store, decode, one)
    assert (unresolved(store), len(trials_of(store))) == (0, 1)


def test_a_record_that_is_twice_in_a_batch_is_one_dead_letter_and_one_message(store: Session, decode: Decoder) -> None:
    """Reading is reset while the first copy still waits: Postgres refused to touch one dead letter twice."""
    one = record(b"no JSON")
    write(store, decode, one, one)
    write(store, decode, one, one)
    assert (len(letters_of(store)), unresolved(store), sent(store)) == (1, 1, {"dead_letters": 1})


def test_no_dead_letter_is_missed_where_a_batch_meets_very_many(
    store: Session, decode: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejections, "MAX_SUSPECTS", 10)
    records = [record(report(), partition=n % 3) for n in range(200)]
    write(store, rejecting(), *records)
    write(store, decode, *records[::2])
    assert unresolved(store) == 100
    write(store, decode, *records)
    assert unresolved(store) == 0


def test_reports_that_were_never_rejected_look_at_one_index_and_update_nothing(store: Session, decode: Decoder) -> None:
    write(store, rejecting(), *[record(report(), offset=n) for n in range(5000)])
    query(store, "analyze dead_letters"), query(store, "analyze dead_letter_records")
    spans = (["raw"], [0], [10_000], [14_000], 1000)
    (plan,) = query(store, f"explain (analyze, buffers, format json) {store_query('unresolved_in_spans', *spans)}")
    text = json.dumps(plan)
    assert "Seq Scan" not in text
    blocks = re.search(r"Shared Hit Blocks\W+(\d+)", text)
    assert blocks is not None
    assert int(blocks[1]) < 20


def store_query(
    name: str, topics: list[str], partitions: list[int], first: list[int], last: list[int], most: int
) -> str:
    """The named query with its parameters written into it, for EXPLAIN."""
    values = (f"array{topics}", f"array{partitions}", f"array{first}", f"array{last}", str(most))
    text = load_queries()[name]
    for number, value in enumerate(values, 1):
        text = text.replace(f"${number}", value)
    return text


def test_a_replay_that_succeeds_resolves_what_was_rejected_before(
    settings: Settings, environment: dict[str, str], start: Callable[..., Process], store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=5, bad=0.05))
    ingest, _relay = start("ingest", PROCESSOR_UNKNOWN_RUN="reject"), start("relay")
    wait_settled(settings)
    assert (unresolved(store), len(trials_of(store))) == (len(letters_of(store)), 0)
    assert ingest.stop() == 0
    assert run_command(environment, "replay", "--to-earliest", "--execute").returncode == 0
    start("ingest")
    wait_settled(settings)
    left = [letter["reason"] for letter in letters_of(store) if letter["resolved_at"] is None]
    assert 0 < len(left) < 60
    assert "unknown_run" not in left
    assert len(trials_of(store)) > 300


def test_a_redrive_of_a_whole_load_ends_as_if_nothing_had_been_rejected(
    settings: Settings, environment: dict[str, str], start: Callable[..., Process], store: Session, cli: Cli
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(400, seed=6, bad=0, again=0))
    ingest, _relay = start("ingest", PROCESSOR_UNKNOWN_RUN="reject"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    assert cli_json(cli, "redrive", "--reason", "unknown_run")["resolved"] == 400
    assert unresolved(store) == 0
    wait_settled(settings)
    query(store, "delete from dead_letters")  # what the ledger expects of a load without a bad report
    expected = check_rows_and_events(settings)
    assert len(expected) == 400


def check_rows_and_events(settings: Settings) -> Mapping[Any, Any]:
    expected = fold(read_topic(settings, settings.raw_topic))
    assert rows_of(settings) == expected.rows
    events, ids = events_of(settings)
    assert set(ids.values()) == {1}
    assert comparable(events) == comparable(expected.events)
    return expected.rows


# ---- the command line


@pytest.fixture
def rejected(store: Session, decode: Decoder) -> list[RawRecord]:
    records = [
        record([report(), report(status="odd")], key=b"run-1", headers=(("trace", b"\xff\x00"), ("n", None))),
        record(b"\xff\xfe binary \x00", key=b"\x80"),
        record(b'{"broken": \x1b[31m'),
        record(b""),
        record(report(status="[red]strange[/red]")),
    ]
    write(store, decode, *records)
    return records


def test_list_groups_by_reason_with_count_times_and_an_example(cli: Cli, rejected: list[RawRecord]) -> None:
    groups = {group["reason"]: group for group in cli_json(cli, "list")}
    assert {reason: group["count"] for reason, group in groups.items()} == {
        "unknown_status": 2,
        "not_json": 2,
        "empty_value": 1,
    }
    assert groups["unknown_status"]["example"].startswith('"[red]strange[/red]" is no status')
    assert groups["unknown_status"]["first_seen"] <= groups["unknown_status"]["last_seen"]
    table = cli("list").stdout
    assert "unknown_status" in table
    assert "[red]strange[/red]" in table


def test_list_leaves_resolved_ones_out_until_it_is_asked_for_all(
    cli: Cli, rejected: list[RawRecord], store: Session
) -> None:
    query(store, "update dead_letters set resolved_at = now() where reason <> 'not_json'")
    assert [group["reason"] for group in cli_json(cli, "list")] == ["not_json"]
    groups = cli_json(cli, "list", "--all")
    assert {(group["reason"], group["count"], group["resolved"]) for group in groups} == {
        ("not_json", 2, 0),
        ("unknown_status", 2, 2),
        ("empty_value", 1, 1),
    }


def test_list_of_one_reason_shows_single_dead_letters_the_latest_first(cli: Cli, rejected: list[RawRecord]) -> None:
    rows = cli_json(cli, "list", "--reason", "unknown_status")
    assert [(row["id"], row["report_index"], row["path"]) for row in rows] == [(5, 0, "status"), (1, 1, "status")]
    assert [row["id"] for row in cli_json(cli, "list", "--reason", "unknown_status", "--limit", "1")] == [5]
    assert f"raw[0]@{rejected[0].offset}" in cli("list", "--reason", "unknown_status").stdout


def test_show_prints_the_record_with_the_exact_place_marked(cli: Cli, rejected: list[RawRecord]) -> None:
    shown = cli("show", "1").stdout
    assert '->     "status": "odd"' in shown
    assert shown.count("->") == 1
    for fact in ("unknown_status", f"offset {rejected[0].offset}", "run-1", "hex ff00", "headers.trace"):
        assert fact in shown
    document = cli_json(cli, "show", "1")
    assert document["reading"]["place"] == [1, "status"]
    assert document["reading"]["document"][1]["status"] == "odd"


@pytest.mark.parametrize(("number", "expected"), [("2", "ff fe 20 62"), ("3", "\\x1b[31m"), ("4", "0 bytes, empty")])
def test_show_prints_what_is_no_json_too_and_nothing_of_it_works_as_a_command(
    number: str, expected: str, cli: Cli, rejected: list[RawRecord]
) -> None:
    done = cli("show", number)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout
    assert "\x1b" not in done.stdout


def original(line: Mapping[str, Any]) -> RawRecord:
    def lossless(value: dict[str, str] | None) -> bytes | None:
        if value is None:
            return None
        return value["text"].encode() if "text" in value else base64.b64decode(value["base64"])

    headers = tuple((header["name"], lossless(header["value"])) for header in line["headers"])
    position = {name: line[name] for name in ("topic", "partition", "offset", "timestamp_ms")}
    return RawRecord(**position, key=lossless(line["key"]), value=lossless(line["value"]), headers=headers)


def test_export_keeps_every_byte_of_every_record(cli: Cli, rejected: list[RawRecord], tmp_path: Path) -> None:
    lines = [json.loads(line) for line in cli("export").stdout.splitlines()]
    assert [original(line) for line in lines] == rejected
    file = tmp_path / "letters.jsonl"
    assert cli("export", "--output", str(file)).returncode == 0
    assert [original(json.loads(line)) for line in file.read_text().splitlines()] == rejected
    assert list(tmp_path.iterdir()) == [file]


def test_export_can_be_limited_to_a_reason_and_a_time_and_leaves_resolved_ones_out(
    cli: Cli, rejected: list[RawRecord], store: Session
) -> None:
    query(store, "update dead_letters set resolved_at = now() where id = 5")
    query(store, "update dead_letters set first_seen = '2020-01-01Z' where id = 3")

    def ids(*args: str) -> list[int]:
        return [json.loads(line)["id"] for line in cli("export", *args).stdout.splitlines()]

    assert ids() == [1, 2, 3, 4]
    assert ids("--all") == [1, 2, 3, 4, 5]
    assert ids("--reason", "not_json") == [2, 3]
    assert ids("--reason", "not_json", "--since", "2021-01-01") == [2]
    assert ids("--since", "PT1H") == [1, 2, 4]


def test_redrive_prints_a_summary_and_succeeds_even_where_some_fail_again(cli: Cli, rejected: list[RawRecord]) -> None:
    done = cli("redrive", "1", "2", "--dry-run")
    assert (done.returncode, "nothing was written" in done.stdout) == (0, True)
    summary = cli_json(cli, "redrive")
    assert (summary["dead_letters"], summary["resolved"], summary["dry_run"]) == (5, 0, False)
    assert summary["failed_again"] == {"unknown_status": 2, "not_json": 2, "empty_value": 1}


def test_redrive_leaves_alone_what_is_resolved_already(cli: Cli, rejected: list[RawRecord], store: Session) -> None:
    query(store, "update dead_letters set resolved_at = now() where id = 1")
    summary = cli_json(cli, "redrive", "1", "2")
    assert (summary["dead_letters"], summary["resolved_before"]) == (1, 1)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["show", "99"], "there is no dead letter 99"),
        (["redrive", "1", "98", "99"], "there is no dead letter 98, 99"),
        (["list", "--reason", "bad_mood"], "'bad_mood' is no reason; there are empty_value"),
        (["redrive", "--reason", "bad_mood"], "'bad_mood' is no reason"),
        (["export", "--since", "yesterday"], "'yesterday' is no date and time"),
        (["redrive", "--since", "P"], "no ISO 8601 duration"),
        (["redrive", "--since", "P99999999999D"], "is too long ago"),
        (["list", "-f", "xml"], "--format is table or json, not xml"),
        (["show", "0"], "Invalid value for 'ID'"),
        (["redrive", "99999999999999999999"], "Invalid value for 'ID'"),
        (["redrive", "--max", "0"], "Invalid value for '--max'"),
    ],
)
def test_wrong_use_is_refused_with_one_sentence(
    args: list[str], sentence: str, cli: Cli, rejected: list[RawRecord]
) -> None:
    done = cli(*args)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_unmigrated_database_is_a_failure_that_says_what_to_do(cli: Cli, empty_database_url: str) -> None:
    done = cli("list", PROCESSOR_DATABASE_URL=empty_database_url)
    assert done.returncode == 1
    assert "run `processor migrate`" in done.stderr


def test_an_export_that_can_not_be_written_is_a_failure(cli: Cli, rejected: list[RawRecord]) -> None:
    done = cli("export", "--output", "/nowhere/letters.jsonl")
    assert done.returncode == 1
    assert "can't be written" in done.stderr


def test_an_unknown_id_is_wrong_use_in_code_too(store: Session) -> None:
    with pytest.raises(UsageError):
        DeadLetters(store).get(1)
