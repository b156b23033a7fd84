"""Readable input, on real servers: it ends as rows that hold all of it, with nothing that `verify` finds different."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from processor.contracts.catalogue import Catalogue, Problem
from processor.core.messages import TrialReport
from processor.core.numbers import to_json
from processor.core.sameness import content_digest
from processor.core.settings import Settings
from processor.decode.decoder import Decoder
from processor.store.session import Session
from tests.factories import produce, record
from tests.integration.test_verify import kinds
from tests.integration.test_window import command, replayed
from tests.support.ledger import check_ledger
from tests.support.processes import Process
from tests.support.settle import wait_settled

Start = Callable[..., Process]
DECODE = Decoder(Catalogue.load())
#: JSON's text of a number -> what jsonb holds
NUMBERS: dict[str, Decimal | str] = {
    "12345678901234567890123": Decimal("12345678901234567890123"),
    "0.12345678901234567890": Decimal("0.12345678901234567890"),
    "-1.5e-400": Decimal("-1.5e-400"),
    "1e400": Decimal("1e400"),
    "1e131071": Decimal("1e131071"),
    "9" * 131_072 + ".0": Decimal("9" * 131_072),
    "1e131072": "Infinity",
    "-1e999999999": "-Infinity",
    "1e-16383": Decimal("1e-16383"),
    "1e-16384": Decimal(0),
    "0." + "3" * 17_000: Decimal("0." + "3" * 16_383),
    "1." + "9" * 17_000 + "e-5": Decimal("0.00002"),
    "NaN": "NaN",
}


def test_jsonb_holds_the_digits_of_every_number_and_of_no_more(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    """17,000 digits behind the point were refused by the database, and long integers became doubles."""
    texts = [f'"m{place}": {text}' for place, text in enumerate(NUMBERS)]
    values = [
        f'{{"trial_id": "{way}-{place}", "run_id": "r", "status": "succeeded", "metrics": {{{text}}}{own}}}'.encode()
        for way, own in (("fast", ""), ("thorough", ', "own": [1.5e400]'))
        for place, text in enumerate(texts)
    ]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, [("r", value) for value in values])
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    rows = store.run(
        lambda connection: connection.fetch(
            "select trial_id, value #>> '{}' as value from cerebros_model_trials, jsonb_each(metrics) order by trial_id"
        )
    )
    held = {row["trial_id"]: row["value"] for row in rows}
    for place, expected in enumerate(NUMBERS.values()):
        for way in ("fast", "thorough"):
            said = held[f"{way}-{place}"]
            assert expected == (Decimal(said) if isinstance(expected, Decimal) else said)
    assert len(held) == 2 * len(NUMBERS)
    replayed(environment, "..")
    assert kinds(environment) == {}
    assert check_ledger(settings).dead_letters == 0


OPTUNA = {"number": 3, "state": "TrialState.COMPLETE", "value": 0.5, "params": {"lr": 0.1}, "study_name": "study"}
MLFLOW = {"trial_id": "m", "run_id": "r", "status": "FINISHED", "duration_s": 1.5, "hyperparams": {"a": 1}}
R = {"trial_id": ["b"], "run_id": ["r"], "status": ["FAIL"], "spectral_norm": ["yes"], "rank": [2], "error": ["oom"]}
SILENT = {"trial_id": "s", "run_id": "r", "error_message": "out of memory"}
PANDAS = {"trial_id": "p", "run_id": "r", "rank": float("nan"), "spectral_norm": 1.0}
PROGRESS = {
    "event": "ml.run.metric",
    "trial_id": "m",
    "run_id": "r",
    "metric_name": "loss",
    "metric_value": 0.5,
    "step": 1,
}


def test_what_other_programs_write_is_read_and_progress_never_touches_a_finished_trial(
    settings: Settings, environment: dict[str, str], start: Start, store: Session
) -> None:
    values: list[Any] = [
        OPTUNA,
        MLFLOW,
        R,
        SILENT,
        PANDAS,
        {**OPTUNA, "number": 4, "state": "TrialState.FAIL"},
        PROGRESS,
    ]
    messages: list[tuple[str | bytes | None, bytes | None]] = [(None, json.dumps(one).encode()) for one in values]
    messages += [
        (b'"quoted"', b'{"trial_id": "k"}'),
        (b"quoted", b'{"trial_id": "l"}'),
        (b"null", b'{"trial_id": "n"}'),
    ]
    produce(settings.kafka_bootstrap_servers, settings.raw_topic, messages, partition=0)
    ingest, _relay = start("ingest"), start("relay")
    wait_settled(settings)
    assert ingest.stop() == 0
    rows = store.run(
        lambda connection: connection.fetch(
            "select run.run_id, trial_id, status, spectral_norm, duration_ms, rank, trial.error_message, metrics, "
            "parameters"
            " from cerebros_model_trials trial join cerebros_model_runs run on run.id = model_run_id"
        )
    )
    held = {(row["run_id"], row["trial_id"]): dict(row) for row in rows}
    seen = {key: (row["status"], row["spectral_norm"], row["error_message"]) for key, row in held.items()}
    assert seen == {
        ("study", "3"): ("succeeded", False, None),
        ("study", "4"): ("failed", False, None),
        ("r", "m"): ("succeeded", False, None),
        ("r", "b"): ("failed", True, "oom"),
        ("r", "s"): ("failed", False, "out of memory"),
        ("r", "p"): ("succeeded", True, None),
        ("quoted", "k"): ("succeeded", False, None),
        ("quoted", "l"): ("succeeded", False, None),
    }
    assert (held["r", "m"]["duration_ms"], held["r", "p"]["rank"]) == (1500, None)
    assert held["study", "3"]["metrics"] == {"value": 0.5}
    assert (held["study", "3"]["parameters"], held["r", "m"]["parameters"]) == ({"lr": 0.1}, {"a": 1})
    letters = json.loads(command(environment, "dead-letters", "list", "-f", "json").stdout)
    assert {"missing_run_id"} == {one["reason"] for one in letters}
    replayed(environment, "..")
    assert kinds(environment) == {}  # the ledger reads none of these forms


_numbers = st.one_of(
    st.sampled_from([*NUMBERS, "1", "1.0", "1e0", "100e-2", "0", "-0", "0.0", "0e9999", "1e22", "1e23", "5e-324"]),
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.tuples(st.integers(-(10**20), 10**20), st.integers(-400, 400)).map(lambda pair: f"{pair[0]}e{pair[1]}"),
    st.tuples(st.integers(1, 9), st.integers(0, 25)).map(lambda pair: f"{pair[0]}{'0' * pair[1]}.0{'0' * pair[1]}"),
)


@examples(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=_numbers, other=_numbers, ways=st.tuples(*[st.sampled_from(["", ', "own": 1', ', "own": NaN'])] * 2))
def test_numbers_have_one_digest_exactly_when_postgres_finds_them_equal(
    store: Session, one: str, other: str, ways: tuple[str, str]
) -> None:
    made = []
    for text, way in zip((one, other), ways, strict=True):
        [outcome] = DECODE(record(f'{{"trial_id": "t", "run_id": "r", "metrics": {{"a": {text}}}{way}}}'.encode()))
        assert isinstance(outcome, TrialReport)
        made.append(TrialReport(outcome.record, 0, "r", "t", outcome.content, 1))
    texts = [to_json(outcome.content["metrics"]).decode() for outcome in made]
    equal = store.run(lambda connection: connection.fetchval("select $1::text::jsonb = $2::text::jsonb", *texts))
    assert (content_digest(made[0]) == content_digest(made[1])) is equal


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_an_avro_event_has_doubles_for_numbers_beyond_them(status: str) -> None:
    from processor.events.bodies import EventWriter

    catalogue = Catalogue.load()
    writer = EventWriter(encode=lambda kind, body: catalogue.single_object(kind, body), content_type="application/avro")
    texts = '"a": 12345678901234567890123, "b": 1e400, "c": -1e-400, "d": 0.12345678901234567890'
    for own in ("", ', "own": 1'):
        value = f'{{"trial_id": "t", "run_id": "r", "status": "{status}", "metrics": {{{texts}}}{own}}}'
        [outcome] = DECODE(record(value.encode()))
        assert isinstance(outcome, TrialReport)
        event = writer(outcome, 1)
        assert event is not None
        read = catalogue.read_single_object(event.kind, event.value)
        assert not isinstance(read, Problem)
        expected = {"a": 1.2345678901234568e22, "b": float("inf"), "c": -0.0, "d": 0.12345678901234568}
        assert expected == read[0]["metrics"]
