"""The life of runs and the progress of trials in the tables: whatever the order, the slicing and the repetition."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import Batch, Event, RawRecord, Reason, Rejection, Report, Written
from processor.core.verdict import VERDICTS
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.replay.redrive import Tally, redrive
from processor.store.dead_letters import DeadLetters, Selection
from processor.store.outbox import Outbox
from processor.store.redrive import RedriveStore
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.factories import record, report

CATALOGUE = Catalogue.load()
DECODE = Decoder(CATALOGUE)
RUNS = """
select run_id, state,
       (select max(revision) from cerebros_run_reports made where made.model_run_id = run.id) as revision,
       finished_at::text, requested_trials, search_space_version, max_params, completed_trials,
       best_metric, error_message, metadata, bridge_result,
       case when exists (select from cerebros_run_reports said where said.model_run_id = run.id and kind = 'start')
            then started_at::text end as started_at
from cerebros_model_runs run order by run_id
"""
SAID = """
select run.run_id, kind, told.revision, told.said, told.rest, source_topic, source_partition, source_offset,
       source_index, source_timestamp::text, schema_version
from cerebros_run_reports told join cerebros_model_runs run on run.id = told.model_run_id order by run_id, kind
"""
PROGRESS = """
select run.run_id, trial_id, progress.started_at::text, last_seen::text, spectral_norm, parameters, rest,
       source_partition, source_offset, source_index, source_timestamp::text
from cerebros_trial_progress progress join cerebros_model_runs run on run.id = model_run_id order by run_id, trial_id
"""
METRICS = """
select run.run_id, trial_id, metric, step, value::text, at::text, source_partition, source_offset, source_index, rest
from cerebros_trial_metrics one join cerebros_model_runs run on run.id = model_run_id
order by run_id, trial_id, metric, step
"""
START: dict[str, Any] = {"event": "ml.run.start", "run_id": "r"}
STOP: dict[str, Any] = {"event": "ml.run.stop", "run_id": "r", "state": "completed"}
TRIAL: dict[str, Any] = {"event": "ml.trial.start", "run_id": "r", "trial_id": "t"}
METRIC: dict[str, Any] = {"event": "ml.run.metric", "run_id": "r", "trial_id": "t", "metric_name": "loss"}


def fetch(store: Session, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in store.run(lambda connection: connection.fetch(sql))]


def tables(store: Session) -> list[list[dict[str, Any]]]:
    return [fetch(store, sql) for sql in (RUNS, SAID, PROGRESS, METRICS)]


def told(*values: Any, first: int = 0) -> list[RawRecord]:
    """Each a record of its own, one after the other in time and place."""
    return [
        record(value, offset=first + number, timestamp_ms=1_700_000_000_000 + 1000 * (first + number))
        for number, value in enumerate(values)
    ]


def batch_of(records: Sequence[RawRecord]) -> Batch:
    outcomes = [outcome for one in records for outcome in DECODE(one)]
    reports: list[Report] = [one for one in outcomes if not isinstance(one, Rejection)]
    return Batch(reports, [one for one in outcomes if isinstance(one, Rejection)], {})


def write(store: Session, records: Sequence[RawRecord], most: int = 10_000, **options: Any) -> list[Written]:
    sink = TrialStore(store, EventWriter(), **options)
    return [sink.write(batch_of(records[at : at + most])) for at in range(0, len(records), most)]


def verdicts(done: Sequence[Written]) -> dict[str, int]:
    return {name: number for name in VERDICTS if (number := sum(getattr(one, name) for one in done))}


def empty(store: Session) -> None:
    store.run(
        lambda connection: connection.execute("truncate cerebros_model_runs, outbox, dead_letter_records cascade")
    )


def events(store: Session) -> list[Event]:
    outbox = Outbox(store)
    outbox._session = store.connections
    packets = outbox.claim(100_000, 2**30)
    return [one for packet in packets for one in packet.messages if isinstance(one, Event)]


def bodies(store: Session) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [json.loads(one.value) for one in events(store)]
    for body in found:
        subject = body["event"]
        assert CATALOGUE.check(subject, body) is None
    return found


def test_a_run_starts_progresses_and_stops(store: Session) -> None:
    records = told(
        {**START, "requested_trials": 5, "pulse_id": "p", "own": 1},
        {**TRIAL, "spectral_norm": True, "params": {"lr": 0.1}},
        {**METRIC, "metric_value": 0.5, "step": 0},
        {**METRIC, "metric_value": float("nan"), "step": 1},
        {**STOP, "completed_trials": 1, "best_metric": 0.5, "best_trial_id": "t", "artifacts": ["a"]},
    )
    assert verdicts(write(store, records)) == {"inserted": 5}
    [[run], _, [progress], metrics] = tables(store)
    assert (run["state"], run["revision"], run["requested_trials"], run["max_params"]) == ("succeeded", 2, 5, 2_000_000)
    assert (run["started_at"], run["finished_at"]) == ("2023-11-14 22:13:20+00", "2023-11-14 22:13:24+00")
    assert (run["completed_trials"], run["best_metric"]) == (1, 0.5)
    assert run["metadata"] == {"pulse_id": "p", "own": 1}
    assert run["bridge_result"] == {"best_trial_id": "t", "artifacts": ["a"]}
    assert (progress["started_at"], progress["last_seen"]) == ("2023-11-14 22:13:21+00", "2023-11-14 22:13:23+00")
    assert (progress["spectral_norm"], progress["parameters"]) == (True, {"lr": 0.1})
    assert [(one["step"], one["value"]) for one in metrics] == [(0, "0.5"), (1, "NaN")]
    started, stopped = bodies(store)
    assert started == {
        "event": "ml.run.started", "model_run_id": "r", "state": "running", "search_space_version": None,
        "max_params": None, "requested_trials": 5, "metadata": {"pulse_id": "p", "own": 1}, "revision": 1,
    }  # fmt: skip
    assert stopped == {
        "event": "ml.run.stopped", "model_run_id": "r", "state": "succeeded", "completed_trials": 1, "best_metric": 0.5,
        "error_message": None, "result": {"best_trial_id": "t", "artifacts": ["a"]}, "revision": 2,
    }  # fmt: skip
    assert fetch(store, "select * from cerebros_model_trials") == []


#: numbers that JSON, jsonb and Python write each in a way of its own
_NUMBERS = [10**25, -(10**25), 2**63, 2**64, 1e300, 5e-324, -0.0, 1e22, 0.1, 10**400, 0.5, float("inf")]


def test_a_replay_knows_again_whatever_numbers_and_texts_were_said(store: Session) -> None:
    odd = {"numbers": _NUMBERS, "text": "a\0\ud800\u2028ü", "deep": [{"x": [None, True, 1.0, 1]}]}
    records = told(
        *({**START, "run_id": f"r{number}", "budget": value, "tau": [value], "own": odd} for number, value in
          enumerate(_NUMBERS)),
        *({**STOP, "run_id": f"r{number}", "best_metric": value, "own": odd} for number, value in enumerate(_NUMBERS)),
        *({**METRIC, "trial_id": str(step), "metric_value": value, "step": step, "own": odd} for step, value in
          enumerate(_NUMBERS)),
        *({**TRIAL, "trial_id": str(number), "parameters": {"a": value, **odd}} for number, value in
          enumerate(_NUMBERS)),
    )  # fmt: skip
    assert verdicts(write(store, records)) == {"inserted": 4 * len(_NUMBERS)}
    expected = tables(store)
    assert verdicts(write(store, records, 7)) == {"unchanged": 4 * len(_NUMBERS)}
    assert tables(store) == expected


def test_a_start_that_comes_after_its_stop_fills_in_what_it_says_and_the_run_stays_stopped(store: Session) -> None:
    start, stop = told({**START, "requested_trials": 9}, {**STOP, "completed_trials": 4})
    write(store, [stop])
    [[run], *_] = tables(store)
    assert (run["state"], run["revision"]) == ("succeeded", 1)
    write(store, [start])
    [[run], *_] = tables(store)
    assert (run["state"], run["revision"], run["requested_trials"], run["completed_trials"]) == ("succeeded", 2, 9, 4)
    assert [(body["event"], body["state"]) for body in bodies(store)] == [
        ("ml.run.stopped", "succeeded"),
        ("ml.run.started", "succeeded"),
    ]


def test_a_newer_start_makes_a_stopped_run_run_again_and_its_former_end_is_gone(store: Session) -> None:
    write(store, told(START, {**STOP, "error": "x", "best_metric": 1, "own": 1}, {**START, "requested_trials": 7}), 1)
    [[run], [said], *_] = tables(store)
    assert (run["state"], run["finished_at"], run["error_message"], run["best_metric"]) == ("running", None, None, None)
    assert (run["bridge_result"], run["requested_trials"], said["kind"]) == ({}, 7, "start")
    assert [body["revision"] for body in bodies(store)] == [1, 2, 3]


def test_what_other_programs_keep_in_a_runs_row_stays_theirs(store: Session) -> None:
    store.run(
        lambda connection: connection.execute(
            "insert into cerebros_model_runs (run_id, max_params, requested_trials, metadata, bridge_result) "
            """values ('r', 5, 6, '{"theirs": [1.50]}', '{"too": null}')"""
        )
    )
    write(store, told({**START, "requested_trials": 8, "own": 1}), 1)
    [[run], *_] = tables(store)
    assert (run["max_params"], run["requested_trials"], run["state"]) == (5, 8, "running")
    assert run["metadata"] == {"theirs": [1.5], "own": 1}
    write(store, told({**START, "other": 2}, {**STOP, "last": 3}, first=1), 1)
    [[run], *_] = tables(store)
    assert (run["max_params"], run["requested_trials"]) == (5, 3)  # ours is gone, theirs is not
    assert (run["metadata"], run["bridge_result"]) == ({"theirs": [1.5], "other": 2}, {"too": None, "last": 3})


def test_a_trials_report_never_changes_its_runs_state_and_progress_never_a_trials_row(store: Session) -> None:
    write(store, told(START, STOP), 1)
    before = fetch(store, RUNS)
    write(store, told(report(run_id="r", trial_id="t"), first=2))
    assert fetch(store, RUNS) == before
    trials = fetch(store, "select * from cerebros_model_trials")
    write(store, told({**TRIAL, "spectral_norm": False}, {**METRIC, "metric_value": 1, "step": 1}, first=3))
    assert fetch(store, "select * from cerebros_model_trials") == trials
    assert fetch(store, RUNS) == before


def test_metrics_without_a_step_are_one_row_however_many_come_in_one_batch(store: Session) -> None:
    records = told(*({**METRIC, "metric_value": number} for number in range(500)), {**METRIC, "metric_value": 499})
    assert verdicts(write(store, records)) == {"inserted": 1, "changed": 499, "touched": 1}
    [row] = fetch(store, METRICS)
    assert (row["step"], row["value"], row["source_offset"]) == (None, "499", 500)
    assert verdicts(write(store, records)) == {"unchanged": 1, "stale": 500}
    assert verdicts(write(store, told({**METRIC, "metric_value": 1, "step": 0}, first=600))) == {"inserted": 1}


def test_a_name_that_no_index_holds_is_refused_alone(store: Session) -> None:
    long = "t" * 3000 + "".join(random.Random(1).choices("abcdefghij0123456789", k=6000))
    records = told({**METRIC, "metric_value": 1}, {**METRIC, "trial_id": long, "metric_value": 1}, START, STOP)
    [done] = write(store, records)
    assert [one.reason for one in done.rejected_by_database] == [Reason.DATABASE_REFUSED]
    assert (done.inserted, len(fetch(store, METRICS)), len(bodies(store))) == (3, 1, 2)


def test_where_unknown_runs_are_rejected_only_a_start_makes_one_and_slicing_cannot_be_seen(store: Session) -> None:
    records = told(
        {**METRIC, "metric_value": 1}, report(run_id="r"), START, report(run_id="r"), STOP, {**STOP, "run_id": "q"}
    )
    found = []
    for most in (1, 10):
        empty(store)
        write(store, records, most, create_runs=False)
        letters = fetch(
            store,
            'select "offset", reason from dead_letters join dead_letter_records record on record.id = record_id '
            "order by 1",
        )
        found.append((letters, tables(store)))
    assert found[0] == found[1]
    assert [(one["offset"], one["reason"]) for one in found[0][0]] == [(at, "unknown_run") for at in (0, 1, 5)]


def history(rng: random.Random) -> list[RawRecord]:
    """Starts, stops, progress and reports of two runs, with ties in time, over three partitions."""
    values: list[dict[str, Any]] = []
    for _ in range(rng.randrange(4, 30)):
        run, trial = rng.choice("ab"), rng.choice("xy")
        ids = {"run_id": run, "trial_id": trial}
        values.append(
            rng.choice(
                [
                    {"event": "ml.run.start", "run_id": run, **rng.choice([{}, {"requested_trials": 4}, {"own": 1}])},
                    {"event": "ml.run.start", "run_id": run, **rng.choice([{"max_params": 4}, {"tau": 1}])},
                    {"event": "ml.run.stop", "run_id": run, "state": rng.choice(["failed", "completed"])},
                    {"event": "ml.run.stop", "run_id": run, "state": "killed", "best_metric": 1, "error": "e"},
                    {"event": "ml.trial.start", **ids, "spectral_norm": rng.choice([True, False, None])},
                    {"event": "ml.trial.start", **ids, "parameters": {"a": rng.choice([1, 1.0, True])}},
                    {"event": "ml.run.metric", **ids, "metric_name": "m", "metric_value": rng.choice([0.5, 1, "NaN"]),
                     "step": rng.choice([None, 0, 1])},
                    report(**ids, metrics={"a": rng.choice([1, 2])}, mlflow_run_id=None),
                ]
            )
        )  # fmt: skip
    return [
        record(value, partition=rng.randrange(3), offset=number, timestamp_ms=1_700_000_000_000 + rng.randrange(9))
        for number, value in enumerate(values)
    ]


@given(st.randoms(use_true_random=False), st.sampled_from([1, 3, 1000]), st.sampled_from([1, 2, 1000]))
@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_any_slicing_and_any_replay_leave_the_same_tables_and_no_event_twice(
    store: Session, rng: random.Random, first: int, second: int
) -> None:
    records = history(rng)
    empty(store)
    write(store, records, first)
    expected, made = tables(store), by_subject(store)
    for most in (second, first):  # replayed from the beginning
        done = write(store, records, most)
        assert sum(one.events for one in done) == 0
        assert tables(store) == expected
    empty(store)
    write(store, records, second)  # the same stream, cut otherwise
    assert (tables(store), by_subject(store)) == (expected, made)
    empty(store)
    shuffled = records * 2
    rng.shuffle(shuffled)
    write(store, shuffled, second)
    assert without_revisions(tables(store)) == without_revisions(expected)
    found = Counter(
        (body["event"], body["model_run_id"], body.get("trial_id"), body["revision"]) for body in bodies(store)
    )
    assert max(found.values(), default=1) == 1


def by_subject(store: Session) -> dict[tuple[str, str | None], list[dict[str, Any]]]:
    """Events are in order within a trial, and within a run; between them there is none."""
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = {}
    for body in bodies(store):
        found.setdefault((body["model_run_id"], body.get("trial_id")), []).append(body)
    return found


def without_revisions(found: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    return [[{name: row[name] for name in row if name != "revision"} for row in rows] for rows in found]


def test_revisions_of_a_run_are_counted_without_a_gap_and_each_has_its_event(store: Session) -> None:
    records = history(random.Random(7))
    write(store, records, 2)
    made: dict[str, list[int]] = {}
    for body in bodies(store):
        if body["event"].startswith("ml.run."):
            made.setdefault(body["model_run_id"], []).append(body["revision"])
    assert {row["run_id"]: row["revision"] for row in fetch(store, RUNS)} == {
        run: max(all_) for run, all_ in made.items()
    }
    assert all(after - before == 1 for all_ in made.values() for before, after in pairwise([0, *all_]))


def test_what_was_rejected_is_redriven_into_its_own_place_and_resolved(store: Session) -> None:
    records = told(STOP, {**METRIC, "metric_value": 1, "step": 0}, START, {**METRIC, "metric_value": 2, "step": 0})
    write(store, records[:2], create_runs=False)
    write(store, records[2:])
    letters = DeadLetters(store)

    def redriven() -> Tally:
        pages = letters.pages(letters.bounded(Selection()), 100, 1024 * 1024)
        return redrive(pages, DECODE, RedriveStore(store, EventWriter()))

    tally = redriven()
    assert (tally.resolved, tally.reports["stale"], tally.events) == (2, 2, 0)  # the start and the value are newer
    [[run], _, _, [metric]] = tables(store)
    assert (run["state"], metric["value"]) == ("running", "2")
    assert redriven().taken == 0


def test_a_stop_that_was_rejected_alone_stops_its_run_once_it_is_redriven(store: Session) -> None:
    write(store, told({**STOP, "run_id": "q"}), create_runs=False)
    letters = DeadLetters(store)
    tally = redrive(letters.pages(Selection(), 100, 1024), DECODE, RedriveStore(store, EventWriter()))
    assert (tally.resolved, tally.reports["inserted"], tally.events) == (1, 1, 1)
    assert [(row["run_id"], row["state"]) for row in fetch(store, RUNS)] == [("q", "succeeded")]


def test_an_event_of_a_run_has_the_runs_key_and_subject(store: Session) -> None:
    write(store, told(START))
    [event] = events(store)
    assert (event.key, event.subject, event.id, event.kind) == (b"r", "r", "r#1", "ml.run.started")
    assert not math.isnan(event.timestamp_ms)


@pytest.mark.parametrize("around", [False, True])
def test_a_run_that_somebody_holds_locked_is_set_aside_with_all_that_it_says(
    around: bool, store: Session, database_url: str
) -> None:
    write(store, told(START, {**START, "run_id": "q"}))
    records = told(STOP, {**METRIC, "metric_value": 1}, {**STOP, "run_id": "q"}, first=2)
    with Session(database_url) as other:
        other.run(
            lambda connection: connection.execute(
                "begin; select from cerebros_model_runs where run_id = 'r' for update"
            )
        )
        sink = TrialStore(store, EventWriter())
        done = sink.write(batch_of(records), around_locks=True)
        assert [type(one).__name__ for one in done.set_aside] == ["RunReport", "Progress"]
        assert (done.inserted, done.events) == (1, 1)
        other.run(lambda connection: connection.execute("rollback"))
    done = sink.write(Batch(done.set_aside, (), {}), around_locks=around)
    assert (done.inserted, done.events, list(done.set_aside)) == (2, 1, [])
