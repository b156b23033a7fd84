"""The quick way into the tables (a look, COPY) and the thorough way (judged by SQL) leave the same rows and events."""

from __future__ import annotations

import json
import random
import threading
import uuid
from typing import Any

import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, RawRecord, Rejection, TrialReport, Written
from processor.core.verdict import VERDICTS
from processor.decode import digest
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.store import applying as store_applying
from processor.store.outbox import Outbox
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import record, report
from tests.support.processes import wait_until

DECODE = Decoder(Catalogue.load())
NEVER, ALWAYS = 10**9, 1
#: text that COPY, an array literal, JSON or a digest could get wrong
AWKWARD = [
    "", "\\N", "\\", "\\\\N", "a\tb", "a\nb", "a\rb", '"', "'", "{}", '{"a","b"}', "NULL", "null", "ünï 🎈",
    "\x01\x1f\x7f", "\\t", "\\.", ",", "a\\", "\u2028", "x" * 3000,
]  # fmt: skip
ROWS = """
select run.run_id, trial.trial_id, trial.status, trial.metrics::text, trial.parameters::text, trial.spectral_norm,
       trial.mlflow_run_id, trial.artifact_uri, trial.duration_ms, trial.rank, trial.warnings, trial.candidate_id,
       trial.pulse_id, trial.bridge_payload::text, trial.source_digest, trial.schema_version, trial.revision,
       trial.source_topic, trial.source_partition, trial.source_offset, trial.source_index, trial.source_timestamp,
       trial.spectral_norm_reported
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
order by run.run_id, trial.trial_id
"""


def query(store: Session, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    rows = store.run(lambda connection: connection.fetch(sql, *args))
    return [tuple(row) for row in rows]


def history(seed: int) -> list[RawRecord]:
    """Reports of a few trials, some again, some older than their row, with every kind of text there is."""
    rng = random.Random(seed)
    records = []
    for number in range(400):
        trial = rng.randrange(120)
        text = rng.choice(AWKWARD)
        fields: dict[str, Any] = {
            "trial_id": (rng.choice(AWKWARD) if trial % 7 == 0 else "") + f"t{trial}",
            "run_id": f"run-{trial % 5}" + ("\t\\N" if trial % 11 == 0 else ""),
            "status": rng.choice(["succeeded", "failed", "skipped", "PRUNED", None]),
            "metrics": rng.choice([{}, None, {"a": rng.random(), text: [text, {"b": text}]}, {"nan": float("nan")}]),
            "parameters": rng.choice([{}, {"n": 10**25, "m": 1e300, "k": -0.0}, {"deep": [[[{"x": None}]]]}]),
            "warnings": rng.choice([[], [text], [text, text], "one", [1, None]]),
            "artifact_uri": rng.choice([text, None, 7]),
            "mlflow_run_id": rng.choice([text, None]),
            "rank": rng.choice([None, 0, 2**62, "3"]),
            "spectral_norm": rng.choice([True, False, None, "maybe", "yes"]),
        }
        if rng.random() < 0.3:
            fields["own"] = text
        records.append(
            record(
                report(**fields),
                partition=trial % 2,
                offset=number,
                timestamp_ms=1_700_000_000_000 + rng.randrange(300),
            )
        )
    return records


def batches(records: list[RawRecord], most: int) -> list[Batch]:
    cut = [records[begin : begin + most] for begin in range(0, len(records), most)]
    made = []
    for part in cut:
        outcomes = [outcome for one in part for outcome in DECODE(one)]
        reports = [outcome for outcome in outcomes if isinstance(outcome, TrialReport)]
        rejections = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
        made.append(Batch(reports, rejections, {}))
    return made


def written(store: Session, records: list[RawRecord], most: int) -> tuple[list[Any], list[Any], list[int]]:
    """(rows, events by trial in order, verdicts) of a history that came in batches of `most` into empty tables."""
    store.run(
        lambda connection: connection.execute("truncate cerebros_model_runs, outbox, dead_letter_records cascade")
    )
    sink = TrialStore(store, EventWriter())
    done = [sink.write(batch) for batch in batches(records, most)]
    outbox = Outbox(store)
    events: dict[str, list[Any]] = {}
    while packets := claim(outbox, store):
        for packet in packets:
            for message in packet.messages:
                if message.destination == "events":
                    value = json.loads(message.value or b"")
                    events.setdefault(message.id.rpartition("#")[0], []).append((message, value))
        outbox.delete([packet.id for packet in packets])
    verdicts = [sum(getattr(one, name) for one in done) for name in VERDICTS]
    assert not any(one.rejected_by_database for one in done)
    return query(store, ROWS), sorted(events.items()), verdicts


def claim(outbox: Outbox, store: Session) -> list[Any]:
    outbox._session = store.connections
    return outbox.claim(10_000, 2**30)


@pytest.mark.parametrize("seed", range(3))
def test_the_quick_way_and_the_thorough_way_write_the_same(
    seed: int, store: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = history(seed)
    monkeypatch.setattr(store_applying, "BULK_LEAST", NEVER)
    rows, events, verdicts = written(store, records, 37)
    for most in (400, 50, 1):
        monkeypatch.setattr(store_applying, "BULK_LEAST", ALWAYS)
        assert (rows, events, verdicts) == written(store, records, most)
    # all of it once more changes nothing and says so
    sink = TrialStore(store, EventWriter())
    again = [sink.write(batch) for batch in batches(records, 400)]
    assert sum(one.inserted + one.changed + one.touched + one.events for one in again) == 0
    assert query(store, ROWS) == rows
    assert query(store, "select count(*) from outbox") == [(0,)]


def long_history(seed: int) -> list[RawRecord]:
    """Very many reports of a few trials: some older than their row, some equal, some twice."""
    rng = random.Random(seed)
    records: list[RawRecord] = []
    for number in range(600):
        if rng.random() < 0.05 and records:
            records.append(rng.choice(records))  # reading was reset
            continue
        trial = rng.choice([0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6])
        metrics = rng.choice(['{"a": 1}', '{"a": 1.0}', '{"a": 2}', '{"a": NaN}', "{}"])
        status = rng.choice(["succeeded", "succeeded", "failed", "skipped"])
        more = rng.choice(["", '"own": 1,', '"spectral_norm": true,', '"spectral_norm": false,'])
        reports = [f'{{{more} "trial_id": "t{trial}", "run_id": "r", "status": "{status}", "metrics": {metrics}}}']
        value = f'{{"trials": [{", ".join(reports * rng.choice([1, 1, 3]))}]}}'.encode()
        moment = 1_700_000_000_000 + number // 3 - rng.choice([0, 0, 0, 0, 30])
        records.append(record(value, partition=0, offset=number, timestamp_ms=moment))
    return records


@pytest.mark.parametrize("seed", range(4))
def test_many_reports_of_one_trial_come_to_the_same_in_two_statements_and_in_one_each(
    seed: int, store: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = long_history(seed)
    monkeypatch.setattr(store_applying, "MOST_WAVES", NEVER)
    for most in (600, 90):
        expected = written(store, records, most)
        with monkeypatch.context() as here:
            here.setattr(store_applying, "MOST_WAVES", 16)
            assert written(store, records, most) == expected
            again = [TrialStore(store, EventWriter()).write(batch) for batch in batches(records, most)]
            assert sum(one.inserted + one.changed + one.touched + one.events for one in again) == 0
            assert query(store, ROWS) == expected[0]


def test_a_report_among_many_of_its_trial_costs_no_statement_of_its_own(store: Session) -> None:
    """28,000 in a record of 1 MB took minutes: each looked through all that the row had been."""
    reports = [f'{{"trial_id": "t", "duration_ms": {number}}}' for number in range(5000)]
    value = f'{{"run_id": "r", "trials": [{", ".join(reports)}]}}'.encode()
    [batch] = batches([record(value)], 1)
    done = TrialStore(store, EventWriter()).write(batch)
    assert (done.inserted, done.changed, done.events) == (1, 4999, 5000)
    assert query(store, "select revision, duration_ms from cerebros_model_trials") == [(5000, 4999)]
    assert TrialStore(store, EventWriter()).write(batch).stale == 4999
    updates = "select n_tup_upd from pg_stat_user_tables where relname = 'cerebros_model_trials'"
    query(store, "select pg_stat_force_next_flush()")
    assert query(store, updates)[0][0] <= 2


def one_batch(count: int = 60, run: str = "run-1") -> Batch:
    reports = [DECODE(record(report(trial_id=f"t{number}", run_id=run)))[0] for number in range(count)]
    return Batch([one for one in reports if isinstance(one, TrialReport)], [], {})


def test_a_row_that_somebody_changed_by_hand_comes_back_with_the_next_replay(store: Session) -> None:
    batch, sink = one_batch(), TrialStore(store, EventWriter())
    sink.write(batch)
    assert sink.write(batch).unchanged == 60
    before = query(store, "select trial_id, metrics::text from cerebros_model_trials order by 1")
    change = "update cerebros_model_trials set metrics = '{\"accuracy\": 9}' where trial_id = 't7'"
    store.run(lambda connection: connection.execute(change))
    written = sink.write(batch)
    assert (written.changed, written.unchanged) == (1, 59)
    assert query(store, "select trial_id, metrics::text from cerebros_model_trials order by 1") == before


@pytest.mark.parametrize("count", [3, 60], ids=["judged", "looked at"])
def test_a_report_that_is_here_already_writes_nothing(count: int, store: Session) -> None:
    batch, sink = one_batch(count), TrialStore(store, EventWriter())
    sink.write(batch)
    before = query(store, "select trial_id, xmin::text from cerebros_model_trials order by 1")
    assert sink.write(batch).unchanged == count
    assert query(store, "select trial_id, xmin::text from cerebros_model_trials order by 1") == before


def test_another_report_at_the_very_same_place_is_written(store: Session) -> None:
    """A topic that was made anew, filled with timestamps of its sender: the place alone proves nothing."""
    sink = TrialStore(store, EventWriter())
    records = [record(report(trial_id=f"t{number}", rank=1), offset=number, timestamp_ms=5) for number in range(60)]
    others = [record(report(trial_id=f"t{number}", rank=2), offset=number, timestamp_ms=5) for number in range(60)]
    [first], [second] = batches(records, 60), batches(others, 60)
    assert sink.write(first).inserted == 60
    assert sink.write(second).changed == 60
    assert query(store, "select distinct rank, revision from cerebros_model_trials") == [(2, 2)]


def looks_settle(store: Session, reports: list[TrialReport]) -> int:
    """How many of these reports are told by their digest alone."""
    given = [uuid.UUID(one.digest) for one in reports]
    return int(query(store, "select count(*) from cerebros_model_trials where source_digest = any($1)", given)[0][0])


def test_rows_that_earlier_rules_made_are_compared_by_content(store: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = TrialStore(store, EventWriter())
    records = [record(report(trial_id=f"t{number}")) for number in range(60)]
    [batch] = batches(records, 60)
    sink.write(batch)
    monkeypatch.setattr(digest, "RULES_VERSION", digest.RULES_VERSION + 1)
    later = Decoder(Catalogue.load())
    reports = [one for each in records for one in later(each) if isinstance(one, TrialReport)]
    assert [one.digest for one in reports] != [one.digest for one in batch.reports if isinstance(one, TrialReport)]
    assert looks_settle(store, reports) == 0
    written = sink.write(Batch(reports, [], {}))
    assert (written.unchanged, written.events) == (60, 0)
    assert looks_settle(store, reports) == 60


@pytest.mark.parametrize("count", [3, 60], ids=["judged", "looked at"])
def test_a_replay_says_of_rows_from_before_whether_they_reported_spectral_norm(
    count: int, store: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migration 0011 leaves them null. Nothing else changes, and nobody is told anew."""
    told = "select spectral_norm_reported, count(*) from cerebros_model_trials group by 1 order by 1"
    records = [record({**report(trial_id=f"t{number}"), "spectral_norm": None}) for number in range(count)]
    sink = TrialStore(store, EventWriter())
    monkeypatch.setattr(digest, "RULES_VERSION", digest.RULES_VERSION - 1)
    before = Decoder(Catalogue.load())
    monkeypatch.undo()
    sink.write(Batch([one for each in records for one in before(each) if isinstance(one, TrialReport)], [], {}))
    store.run(lambda connection: connection.execute("update cerebros_model_trials set spectral_norm_reported = null"))
    [batch] = batches(records, count)
    for _ in range(2):
        written = sink.write(batch)
        assert (written.unchanged, written.events) == (count, 0)
        assert query(store, told) == [(False, count)]


def test_a_trial_that_another_program_inserts_meanwhile_is_judged_not_refused(
    store: Session, database_url: str
) -> None:
    """It inserts after our look and commits while our COPY waits for it."""
    insert = (
        "insert into cerebros_model_trials (model_run_id, trial_id, status) "
        "select id, 't30', 'failed' from cerebros_model_runs"
    )
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'copy%'"
    sink = TrialStore(store, EventWriter())
    sink.write(one_batch(1))  # the run is there
    done: list[Written] = []
    writing = threading.Thread(target=lambda: done.append(sink.write(one_batch())))
    with Session(database_url) as other, Session(database_url) as watch:
        other.run(lambda connection: connection.execute("begin"))
        other.run(lambda connection: connection.execute(insert))
        writing.start()
        wait_until(lambda: query(watch, waiting) == [(1,)], "COPY waits for the other program")
        other.run(lambda connection: connection.execute("commit"))
    writing.join(20)
    assert (done[0].inserted, done[0].changed, list(done[0].rejected_by_database)) == (58, 2, [])
    counts = (
        "select count(*), min(revision), max(revision), sum((status = 'succeeded')::int) from cerebros_model_trials"
    )
    with Session(database_url) as look:
        assert query(look, counts) == [(60, 1, 2, 60)]
