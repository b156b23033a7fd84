"""`processor verify` on real servers: silent where all is sound, and one line for each thing that is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue
from processor.core.messages import TrialReport
from processor.core.numbers import to_json
from processor.core.sameness import content_digest
from processor.core.settings import Settings
from processor.decode.decoder import Decoder
from processor.store.session import Session
from tests.factories import load, produce, record, report
from tests.integration.test_forecast import everything
from tests.integration.test_window import command, live_offsets, replayed
from tests.support.processes import Process, run_command
from tests.support.settle import wait_settled

Start = Callable[..., Process]


def verified(environment: dict[str, str], *args: str) -> dict[str, Any]:
    """What `verify` found; its exit code must say whether anything differs."""
    done = command(environment, "verify", "-f", "json", *args)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if document["differences"] else 0), done.stderr
    return document


def kinds(environment: dict[str, str], *args: str) -> dict[str, int]:
    found: dict[str, int] = verified(environment, *args)["kinds"]
    return found


def change(store: Session, statement: str) -> str:
    return str(store.run(lambda connection: connection.execute(statement)))


def send(settings: Settings, *reports: dict[str, Any], partition: int = 0, **extra: Any) -> None:
    messages = [(one["run_id"], json.dumps(one).encode()) for one in reports]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages, partition=partition, **extra)


def test_a_sound_database_differs_in_nothing_after_any_replay(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(1500, seed=11, again=0.3))
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    for _ in range(2):
        before = everything(store)
        document = verified(environment)
        assert everything(store) == before
        assert (document["kinds"], document["records"], document["newer"]) == ({}, 1500, 0)
        assert document["revisions_compared"]
        assert document["reports"] + document["rejections"] == 1500
        replayed(environment, "..")
        assert run_command(environment, "replay", "--to-offset", "100", "--execute").returncode == 0
        ingest = start("ingest")
        wait_settled(settings)
        assert ingest.stop() == 0
    assert "nothing differs" in command(environment, "verify").stdout


def test_each_thing_that_was_changed_by_hand_is_found_and_named(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    trials = [report(run_id=f"run-{number % 3}", trial_id=f"t{number}", metrics={"a": number}) for number in range(30)]
    send(settings, *trials)
    send(settings, {"run_id": "run-1", "trial_id": ""}, {"run_id": "run-1"}, partition=1)
    replayed(environment, "..")
    assert kinds(environment) == {}
    change(store, "update cerebros_model_trials set rank = 99, warnings = '{x}' where trial_id = 't3'")
    change(
        store, """update cerebros_model_trials set metrics = '{"a": 4.0000000000000000000001}' where trial_id = 't4'"""
    )
    change(store, "delete from cerebros_model_trials where trial_id = 't5'")
    change(store, "update cerebros_model_trials set revision = 2 where trial_id = 't6'")
    change(store, "update cerebros_model_trials set source_offset = 2 where trial_id = 't7'")
    change(store, "update cerebros_model_trials set source_offset = 29 where trial_id = 't9'")
    change(store, "update cerebros_model_trials set bridge_payload = '{\"theirs\": 1}' where trial_id = 't10'")
    change(
        store, "delete from dead_letters where reason = 'missing_trial_id' and id = (select min(id) from dead_letters)"
    )
    document = verified(environment)
    found = {one["trial_id"]: (one["kind"], one["offset"], one["detail"]) for one in document["shown"]}
    assert found == {
        "t3": ("content", 3, "rank, warnings"),
        "t4": ("content", 4, "metrics"),
        "t5": ("missing_row", 5, "the run has no such trial"),
        "t6": ("revision", 6, "the row has revision 2, the topic makes 1"),
        "t7": ("position", 7, "the row has the same content from an older report, from partition 0 offset 2"),
        "t9": ("position", 9, "the row comes from partition 0 offset 29, which holds no report of this trial"),
        "": ("missing_dead_letter", 0, found[""][2]),
    }
    assert document["differences"] == 7
    assert "t5" in command(environment, "verify").stdout
    change(store, "delete from cerebros_model_runs where run_id = 'run-0'")
    assert kinds(environment)["missing_row"] == 11
    replayed(environment, "..")
    assert kinds(environment) == {"revision": 1}  # t4 was mended in place, by a revision that only the hand made due


def test_a_row_that_holds_an_older_report_is_found(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    send(settings, report(run_id="r", trial_id="t", metrics={"a": 1}))
    replayed(environment, "..")
    send(settings, report(run_id="r", trial_id="t", metrics={"a": 2}))
    (difference,) = verified(environment)["shown"]
    assert difference["kind"] == "content"
    assert difference["detail"].endswith("the row holds an older report, from partition 0 offset 0")


def test_numbers_are_compared_as_postgres_does(settings: Settings, environment: dict[str, str], store: Session) -> None:
    base = report(run_id="r", trial_id="t")
    for metrics in (
        {"a": 1, "b": 0.0, "c": 1e15},
        {"c": 10**15, "b": -0.0, "a": 1.0},
        {"a": float("nan")},
        {"a": "NaN"},
    ):
        send(settings, {**base, "metrics": metrics})
    replayed(environment, "..")
    assert store.run(lambda connection: connection.fetchval("select revision from cerebros_model_trials")) == 2
    document = verified(environment)
    assert (document["kinds"], document["revisions_compared"]) == ({}, True)


def test_what_other_programs_keep_and_rows_from_before_are_no_difference(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    old = report(run_id="old", trial_id="t", metrics={}, parameters={}, spectral_norm=False, warnings=[])
    fields = ("mlflow_run_id", "duration_ms", "rank", "artifact_uri", "candidate_id", "pulse_id")
    send(settings, {**old, **dict.fromkeys(fields)}, report(run_id="r", trial_id="t", note="kept in extra"))
    change(store, "insert into cerebros_model_runs (run_id, state) values ('old', 'running')")
    change(
        store,
        "insert into cerebros_model_trials (model_run_id, trial_id, status) "
        "select id, 't', 'succeeded' from cerebros_model_runs",
    )
    replayed(environment, "..")
    change(store, "update cerebros_model_trials set bridge_payload = bridge_payload || '{\"theirs\": 1}'")
    assert kinds(environment) == {}


def test_only_what_the_live_group_has_read_is_compared_unless_a_window_says_otherwise(
    settings: Settings, environment: dict[str, str], start: Start
) -> None:
    send(settings, *(report(run_id="r", trial_id=f"t{number}") for number in range(40)))
    ingest = start("ingest")
    ingest.wait_said("assigned")
    start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    send(settings, *(report(run_id="r", trial_id=f"t{number}") for number in range(30, 50)))
    send(settings, report(run_id="r", trial_id="alone"), partition=2)
    assert {partition: offset for partition, offset in live_offsets(settings).items() if offset} == {0: 40}
    document = verified(environment)
    assert (document["kinds"], document["trials"]) == ({}, 40)
    assert len(document["notes"]) == 2
    assert kinds(environment, "--window", "..100") == {"missing_row": 11, "content": 10}
    assert kinds(environment, "--window", "..100", "--partition", "2") == {"missing_row": 1}
    replayed(environment, "..")
    document = verified(environment, "--window", "5..20")
    assert (document["kinds"], document["trials"], document["revisions_compared"]) == ({}, 15, False)
    document = verified(environment)  # the rows of ten trials are newer than what is compared
    assert (document["kinds"], document["newer"]) == ({}, 10)


def test_a_report_that_waits_as_a_dead_letter_is_not_missed_as_a_row(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    send(settings, report(run_id="unknown", trial_id="t"))
    replayed({**environment, "PROCESSOR_UNKNOWN_RUN": "reject"}, "..")
    assert kinds(environment) == {}
    change(store, "delete from dead_letters")
    assert kinds(environment) == {"missing_row": 1}


def test_the_life_of_runs_and_progress_are_compared_after_any_replay(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, load(900, seed=13, again=0.3, life=0.8))
    replayed(environment, "..")
    for _ in range(2):
        document = verified(environment)
        assert (document["kinds"], document["newer"], document["revisions_compared"]) == ({}, 0, True)
        assert document["runs"] == 8
        assert document["progress"] > 200
        replayed(environment, "..")


def test_each_thing_of_life_and_progress_that_was_changed_by_hand_is_found_and_named(
    settings: Settings, environment: dict[str, str], store: Session
) -> None:
    metric = {"event": "ml.run.metric", "run_id": "r", "trial_id": "t", "metric_name": "loss"}
    send(
        settings,
        *({"event": "ml.run.start", "run_id": run, "requested_trials": 4} for run in "rqp"),
        {"event": "ml.run.stop", "run_id": "q", "state": "failed"},
        {"event": "ml.trial.start", "run_id": "r", "trial_id": "t", "spectral_norm": True},
        *({**metric, "metric_value": step, "step": step} for step in range(5)),
    )
    replayed(environment, "..")
    assert kinds(environment) == {}
    change(
        store,
        "update cerebros_run_reports set said = '{}' "
        "from cerebros_model_runs run where run.id = model_run_id and run_id = 'r'",
    )
    change(store, "delete from cerebros_run_reports where kind = 'stop'")
    change(
        store,
        "update cerebros_run_reports told set revision = 7 "
        "from cerebros_model_runs run where run.id = model_run_id and run_id = 'p'",
    )
    change(store, "update cerebros_trial_progress set spectral_norm = null, last_seen = last_seen - interval '1 hour'")
    change(store, "delete from cerebros_trial_metrics where step = 1")
    change(store, "update cerebros_trial_metrics set value = 'NaN' where step = 2")
    change(store, "update cerebros_trial_metrics set source_offset = 0 where step = 3")
    document = verified(environment)
    assert document["kinds"] == {"content": 4, "missing_row": 2, "revision": 1, "position": 1}
    said = {(one["run_id"], one["trial_id"], one["detail"].partition(":")[0]) for one in document["shown"]}
    assert said >= {("r", "", "start"), ("q", "", "stop"), ("r", "t", "loss at step 1"), ("r", "t", "last_seen")}
    replayed(environment, "..")  # mends what is not only a number of revisions
    assert kinds(environment) == {"revision": 2}


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from([1.0, 0.0, -0.0, 2.0**53, 2.0**60, 2.0**63, 2.0**64, 1e15, 1e22, 1e300, 5e-324, "1", ""])
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_maps = st.dictionaries(st.sampled_from("abc"), _values, max_size=3)


@pytest.fixture(scope="module")
def decode() -> Decoder:
    return Decoder(Catalogue.load())


def _bent(value: Any) -> Any:
    """The same value written in another way: whole doubles as integers and the other way round, keys reversed."""
    if type(value) is dict:
        return {name: _bent(value[name]) for name in reversed(value)}
    if type(value) is list:
        return [_bent(one) for one in value]
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is int and abs(value) < 2**62:
        return float(value)
    return value


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=_maps, other=_maps, how=st.sampled_from(["apart", "same", "bent"]))
def test_two_reports_have_one_digest_exactly_when_postgres_finds_them_equal(
    store: Session, decode: Decoder, one: dict[str, Any], other: dict[str, Any], how: str
) -> None:
    if how != "apart":
        other = _bent(one) if how == "bent" else one
    made = []
    for metrics in (one, other):
        (outcome,) = decode(record(report(trial_id="t", mlflow_run_id="m", metrics=metrics)))
        assert isinstance(outcome, TrialReport)
        made.append(outcome)
    texts = [to_json(outcome.values["metrics"]) for outcome in made]
    equal = store.run(lambda connection: connection.fetchval("select $1::jsonb = $2::jsonb", *texts))
    assert (content_digest(made[0]) == content_digest(made[1])) is equal


MEASURED = """
import atexit
# not getrusage: its figure begins with the memory of the process that was forked
atexit.register(lambda: print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))))
from processor.cli.main import main
main()
"""


@pytest.mark.soak
def test_memory_stays_small_whatever_the_range(settings: Settings, environment: dict[str, str]) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 50})
    for number in range(300_000):
        value = json.dumps(report(run_id=f"run-{number % 50}", trial_id=f"t{number}")).encode()
        producer.produce(settings.raw_topic, value, partition=number % 4)
        producer.poll(0)
        if number % 50_000 == 0:
            producer.flush()
    producer.flush()
    dry = measured(environment, "replay", "--window", "..", "--dry-run", "-f", "json")
    replay = measured(environment, "replay", "--window", "..", "-f", "json")
    verify = measured(environment, "verify", "-f", "json")
    assert max(dry, replay, verify) < 300, (dry, replay, verify)


def measured(environment: dict[str, str], *args: str) -> float:
    """The greatest resident memory of the command, in MiB."""
    import os

    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / 1024
