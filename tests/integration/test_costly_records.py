"""What a record costs the store is linear in its bytes; it may hold reports, and one rejection of all the rest."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, OutboxMessage, Outgoing, RawRecord, Reason, Rejection, TrialReport, Written
from processor.decode.decoder import Decode, Decoder
from processor.events.bodies import EventWriter
from processor.kafka.ranges import Range
from processor.replay.fold import Fold
from processor.replay.redrive import Tally, redrive
from processor.replay.verify import Verification
from processor.store import outbox, rejections
from processor.store.compare import Comparison
from processor.store.dead_letters import DeadLetters, Selection
from processor.store.life_tables import LifeTables
from processor.store.redrive import RedriveStore
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import record, report

DECODE = Decoder(Catalogue.load())
EVENTS = EventWriter()
WORD = "too many of its reports are rejected"


def write(store: Session, decode: Decode, *records: RawRecord) -> Written:
    outcomes = [outcome for one in records for outcome in decode(one)]
    reports = [one for one in outcomes if isinstance(one, TrialReport)]
    return TrialStore(store, EVENTS).write(Batch(reports, [one for one in outcomes if isinstance(one, Rejection)], {}))


def query(store: Session, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    rows = store.run(lambda connection: connection.fetch(sql, *args))
    return [tuple(row) for row in rows]


def waiting(store: Session) -> list[OutboxMessage]:
    """The dead letters that wait to be published."""
    decoder = msgspec.msgpack.Decoder(list[Outgoing])
    packets = query(store, "select payload from outbox order by seq")
    return [one for (payload,) in packets for one in decoder.decode(payload) if isinstance(one, OutboxMessage)]


def rejecting_each(number: int) -> Decode:
    return lambda one: [Rejection(one, place, Reason.UNKNOWN_STATUS, "no status", "status") for place in range(number)]


def capped(one: RawRecord) -> list[Any]:
    """As a decoder that lets one rejection stand for many: the reports that are valid, and the rest as one."""
    outcomes = DECODE(one)
    valid = [outcome for outcome in outcomes if isinstance(outcome, TrialReport)]
    rest = len(outcomes) - len(valid)
    return [*valid, Rejection(one, -1, Reason.UNKNOWN_STATUS, WORD)] if rest else valid


def test_the_rejections_of_a_record_cost_its_bytes_once(store: Session) -> None:
    costly = record(b"x" * 300_000, key=b"k" * 100_000, headers=(("h", b"v" * 100_000),))
    written = write(store, rejecting_each(300), costly)
    assert written.dead_letters == 300
    [(stored,)] = query(store, "select sum(octet_length(payload)) from outbox")
    assert stored < 2 * 500_000 + 300 * 1000
    first, *others = waiting(store)
    assert (first.value, first.key, first.headers[0]) == (costly.value, costly.key, costly.headers[0])
    assert {(one.value, one.key, one.headers[-1]) for one in others} == {
        (None, None, ("dead_letter_value", f"in dead letter {first.id.removeprefix('dead-letter/')}".encode()))
    }
    assert [dict(one.headers)["dead_letter_report_index"] for one in others] == [b"%d" % n for n in range(1, 300)]


def test_the_rejections_of_a_record_keep_a_short_key_and_so_its_partition(store: Session) -> None:
    write(store, rejecting_each(3), record(b"x", key=b"run-1"))
    assert [one.key for one in waiting(store)] == [b"run-1"] * 3


def test_no_statement_carries_more_than_its_share_of_a_batch(store: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several records, each larger than what a statement should hold, and one transaction."""
    monkeypatch.setattr(rejections, "STATEMENT_BYTES", 100_000)
    monkeypatch.setattr(rejections, "STATEMENT_LETTERS", 7)
    monkeypatch.setattr(outbox, "STATEMENT_BYTES", 100_000)
    monkeypatch.setattr(outbox, "PACKET_BYTES", 50_000)
    records = [record(b"x" * 60_000, offset=number, timestamp_ms=1) for number in range(5)]
    written = write(store, rejecting_each(20), *records)
    assert written.dead_letters == 100
    assert query(store, "select count(*), count(distinct record_id) from dead_letters") == [(100, 5)]
    assert len({one.id for one in waiting(store)}) == 100
    assert (
        len({str(xmin) for (xmin,) in query(store, "select xmin from outbox union all select xmin from dead_letters")})
        == 1
    )


def mixed(bad: int = 3) -> RawRecord:
    good = [report(trial_id=f"t-{number}", run_id="r") for number in range(4)]
    return record([*good[:2], *[{"run_id": "r"}] * bad, *good[2:]], offset=5, timestamp_ms=1_700_000_000_000)


def test_a_replay_of_reports_beside_a_rejection_of_the_rest_changes_nothing(store: Session) -> None:
    one = mixed()
    assert write(store, capped, one).dead_letters == 1
    letters = query(store, "select * from dead_letters")
    for _ in range(3):
        again = write(store, capped, one)
        assert (again.unchanged, again.dead_letters) == (4, 0)
    assert query(store, "select * from dead_letters") == letters


def run_redrive(store: Session, decode: Decode, selection: Selection = Selection()) -> Tally:  # noqa: B008
    letters = DeadLetters(store)
    return redrive(
        letters.pages(letters.bounded(selection), 100, 1024 * 1024), decode, RedriveStore(store, EVENTS), 100
    )


def test_a_redrive_of_a_rejection_of_the_rest_is_harmless_to_the_reports_beside_it(store: Session) -> None:
    """Positions tell that their rows are there: no row changes, no event comes twice."""
    write(store, capped, mixed())
    rows = query(store, "select * from cerebros_model_trials order by trial_id")
    tally = run_redrive(store, capped)
    assert (tally.resolved, tally.failed_again.total(), tally.events, tally.new_dead_letters) == (0, 1, 0, 0)
    assert tally.reports["equal"] == 4
    assert query(store, "select * from cerebros_model_trials order by trial_id") == rows
    assert query(store, "select attempts, resolved_at from dead_letters") == [(2, None)]


def test_a_redrive_of_a_rejection_of_the_rest_gives_what_is_no_row_yet(store: Session) -> None:
    """Once the decoder takes them; and those that it rejects one by one now are dead letters of their own."""
    write(store, capped, mixed())

    def mended(one: RawRecord) -> list[Any]:
        made = [report(trial_id=f"t-{number}", run_id="r") for number in range(6)]
        also = DECODE(msgspec.structs.replace(one, value=msgspec.json.encode(made[4:])))
        return [
            *(outcome for outcome in DECODE(one) if isinstance(outcome, TrialReport)),
            *(
                msgspec.structs.replace(extra, record=one, index=place)
                for extra, place in zip(also, (2, 3), strict=True)
            ),
            Rejection(one, 4, Reason.UNKNOWN_STATUS, "still"),
        ]

    tally = run_redrive(store, mended)
    assert (tally.resolved, tally.reports["inserted"], tally.new_dead_letters, tally.events) == (1, 2, 1, 2)
    assert query(store, "select report_index, resolved_at is null from dead_letters order by 1") == [
        (-1, False),
        (4, True),
    ]


def test_a_redrive_of_a_whole_record_gives_the_reports_that_can_be_read_now_beside_the_rest(store: Session) -> None:
    write(store, lambda one: [Rejection(one, -1, Reason.TOO_LARGE, "too large")], mixed())
    tally = run_redrive(store, capped)
    assert (tally.resolved, tally.failed_again.total(), tally.reports["inserted"], tally.events) == (0, 1, 4, 4)


def test_a_redrive_of_one_report_leaves_the_rejection_of_the_rest_alone(store: Session) -> None:
    one = mixed()
    write(store, lambda raw: [*capped(raw)[:4], Rejection(raw, 2, Reason.UNKNOWN_STATUS, "no")], one)
    write(store, capped, one)
    [(alone,)] = query(store, "select id from dead_letters where report_index = 2")

    def mended(raw: RawRecord) -> list[Any]:
        also = DECODE(msgspec.structs.replace(raw, value=msgspec.json.encode(report(trial_id="t-9", run_id="r"))))
        return [*capped(raw), *(msgspec.structs.replace(extra, record=raw, index=2) for extra in also)]

    tally = run_redrive(store, mended, Selection(ids=[alone]))
    assert (tally.resolved, tally.reports["inserted"]) == (1, 1)
    assert query(store, "select report_index, resolved_at is null from dead_letters order by 1") == [
        (-1, True),
        (2, False),
    ]


def test_verify_compares_the_reports_that_stand_beside_a_rejection_of_the_rest(store: Session) -> None:
    one = mixed()
    write(store, capped, one)

    def differences() -> dict[str, int]:
        with Fold() as fold:
            verification = Verification(Comparison(store), LifeTables(store), fold, capped, "raw", [Range(0, 0, 6, 0)])
            verification.take([one])
            return dict(verification.settle(whole_history=False).kinds)

    assert differences() == {}
    query(store, "delete from cerebros_model_trials where trial_id = 't-1'")
    assert differences() == {"missing_row": 1}
