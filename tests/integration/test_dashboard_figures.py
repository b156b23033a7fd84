"""Values of trials from a real Postgres as figures and exports, and what the dashboard's sessions may do."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import asyncpg
import numpy as np
import pytest

from processor.contracts.catalogue import Catalogue
from processor.core.errors import TransientError, UsageError
from processor.core.messages import Batch, TrialReport
from processor.dashboard.comparing import compare_arms
from processor.dashboard.exports import export_csv, export_jsonl
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import Path
from processor.dashboard.queries.adoption import adoption
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.columns import Columns, read_columns
from processor.dashboard.queries.letters import health, letter_page
from processor.dashboard.queries.mlflow import mlflow_health, mlflow_links
from processor.dashboard.queries.runs import run_page
from processor.dashboard.queries.samples import read_sample
from processor.dashboard.queries.sorting import read_sort
from processor.dashboard.queries.trials import count_trials, trial_page, trial_with_all
from processor.dashboard.statistics.compare import compare
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.store.pool import Pool
from processor.store.session import Session
from processor.store.trials import TrialStore
from tests.conftest import execute
from tests.factories import record
from tests.support.backends import Servers
from tests.support.pages import fill, report
from tests.support.trials import INSERT, START, ask, fill_tables, trials

DECODE = Decoder(Catalogue.load())
GRANTS = FilePath(__file__).parents[2] / "deploy" / "grants-dashboard.sql"


@pytest.fixture
def filled(database_url: str) -> str:
    fill_tables(database_url)
    return database_url


def test_values_are_read_into_arrays_as_they_are_stored(filled: str) -> None:
    others = [("lr", Path("parameters", ("lr",)), True), ("optimizer", Path("parameters", ("optimizer",)), False)]
    sample = ask(
        filled, lambda pool: read_sample(pool, Scope(), Path("spectral_norm"), Path("metrics", ("score",)), others)
    )
    stored = trials()
    places = [round((order - START.timestamp()) / 60) for order in sample.order.tolist()]
    assert sorted(places) == list(range(120))
    for at, place in enumerate(places):
        one = stored[place]
        score = one["metrics"].get("score")
        number = isinstance(score, (int, float)) and not isinstance(score, bool)
        assert sample.runs[sample.run[at]] == one["run_id"]
        assert sample.arms[sample.arm[at]] == str(one["spectral_norm"]).lower()
        assert sample.has_value[at] == (number or score in ("NaN", "Infinity", "-Infinity"))
        assert not number or sample.value[at] == score
        assert sample.ending[at] == {"succeeded": 0, "failed": 1}.get(one["status"], 2)
        assert sample.defaulted[at] == (one["schema_version"] == 1)
        assert sample.parameters[0].numbers is not None
        assert sample.parameters[0].numbers[at] == one["parameters"]["lr"]
    found = compare(sample, parameter="spectral_norm", metric="accuracy")
    assert found.trials == 120


def sizes(filled: str, text: str) -> tuple[int, int, list[int]]:
    """Trials, those whose parameters were read, and how many were read in each reading, with a sample of 10."""
    others = [("lr", Path("parameters", ("lr",)), True), ("optimizer", Path("parameters", ("optimizer",)), False)]
    read: list[int] = []

    async def counted(*given: Any) -> Columns:
        found = await read_columns(*given)
        read.append(int(found.chosen.sum()))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processor.dashboard.queries.samples.PARAMETER_TRIALS", 10)
        patch.setattr("processor.dashboard.queries.samples.FEWEST_OF_THEM", 5)
        patch.setattr("processor.dashboard.queries.samples.read_columns", counted)
        metric = Path("metrics", ("accuracy",))
        scope = Scope(None, parse(text))
        sample = ask(filled, lambda pool: read_sample(pool, scope, Path("spectral_norm"), metric, others))
    looked = np.ones(len(sample.arm), dtype=bool) if sample.looked is None else sample.looked
    learning_rates, optimizers = sample.parameters[0].numbers, sample.parameters[1].levels
    assert learning_rates is not None
    assert optimizers is not None
    assert len(learning_rates) == len(optimizers) == looked.sum()
    stored, names = trials(), dict[int, set[str]]()
    places = [round((order - START.timestamp()) / 60) for order in sample.order[looked].tolist()]
    for at, place in enumerate(places):
        assert learning_rates[at] == stored[place]["parameters"]["lr"]
        names.setdefault(int(optimizers[at]), set()).add(stored[place]["parameters"]["optimizer"])
    assert all(len(one) == 1 for one in names.values())
    return len(sample.arm), int(looked.sum()), read


@pytest.mark.parametrize(
    "text", ["run_id != run-0", "not run_id in (run-0)", "mlflow_state = mirrored", "spectral_norm = true"]
)
@pytest.mark.parametrize("arm", [Path("spectral_norm"), Path("run_id")])
def test_trials_are_read_with_their_runs_where_these_are_asked_for(filled: str, text: str, arm: Path) -> None:
    async def both(pool: Pool) -> tuple[int, int]:
        scope = Scope(None, parse(text))
        sample = await read_sample(pool, scope, arm, Path("metrics", ("accuracy",)))
        return len(sample.arm), (await count_trials(pool, scope)).count

    read, counted = ask(filled, both)
    assert read == counted
    assert (read == 0) == (text == "mlflow_state = mirrored")


def test_of_many_trials_the_parameters_of_a_sample_are_read(filled: str) -> None:
    everything, of_all, _ = sizes(filled, "")
    assert everything == 120
    assert 5 <= of_all < 60
    # a run is counted by itself; of a filter it is known afterwards how many it holds, and it is read again if too few
    of_run, of_its, readings = sizes(filled, "run_id = run-0")
    assert of_run == 40
    assert 5 <= of_its < 30
    assert len(readings) <= 2
    few, of_few, readings = sizes(filled, "trial_id in (t000, t001, t002, t003)")
    assert (few, of_few) == (4, 4)
    assert len(readings) == 1 or readings[0] < 4
    assert sizes(filled, "trial_id = nobody")[:2] == (0, 0)


def test_the_arms_of_a_parameter_are_its_values(filled: str) -> None:
    arm = Path("either", ("optimizer",))
    sample = ask(filled, lambda pool: read_sample(pool, Scope("run-0"), arm, Path("metrics", ("accuracy",))))
    assert sorted(sample.arms) == ["adam", "sgd"]
    assert len(sample.arm) == 40
    assert not sample.defaulted.any()
    found = compare(sample, parameter="optimizer", metric="accuracy")
    assert {arm.arm for arm in found.arms} == {"adam", "sgd"}


def test_no_trials_are_a_sample_too(filled: str) -> None:
    sample = ask(
        filled, lambda pool: read_sample(pool, Scope("none"), Path("spectral_norm"), Path("metrics", ("accuracy",)))
    )
    assert compare(sample, parameter="spectral_norm", metric="accuracy").contrasts == ()


def test_a_comparison_looks_at_the_parameters_that_vary(filled: str) -> None:
    found = ask(filled, lambda pool: compare_arms(pool, Scope(), metric="accuracy"))
    (contrast,) = found.contrasts
    assert sorted(one.parameter for one in contrast.balance) == ["lr", "optimizer"]
    assert [one.kind for one in sorted(contrast.balance, key=lambda one: one.parameter)] == ["numeric", "categorical"]
    assert any("12 trials never reported" in note for note in found.notes)
    with pytest.raises(UsageError, match="no arm 'maybe'"):
        ask(filled, lambda pool: compare_arms(pool, Scope(), metric="accuracy", reference="maybe"))
    with pytest.raises(UsageError, match="status is no number"):
        ask(filled, lambda pool: compare_arms(pool, Scope(), metric="status"))


def test_an_export_has_every_trial_of_the_filter_and_every_digit(filled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.dashboard.exports.PAGE", 7)
    scope = Scope(None, parse("optimizer = adam"))
    stored = {one["trial_id"]: one for one in trials() if one["parameters"]["optimizer"] == "adam"}

    async def work(pool: Pool) -> tuple[bytes, bytes]:
        lines = [part async for part in export_jsonl(pool, scope)]
        return b"".join(lines), b"".join([part async for part in export_csv(pool, scope)])

    lines, table = ask(filled, work)
    read = {one["trial_id"]: one for one in map(json.loads, lines.splitlines())}
    assert {name: (one["metrics"], one["parameters"]) for name, one in read.items()} == {
        name: (one["metrics"], one["parameters"]) for name, one in stored.items()
    }
    cells = {one["trial_id"]: one for one in csv.DictReader(io.StringIO(table.decode()))}
    assert sorted(cells) == sorted(stored)
    for name, one in stored.items():
        assert float(cells[name]["parameters.lr"]) == one["parameters"]["lr"]
        accuracy = cells[name].get("metrics.accuracy")
        assert (float(accuracy) if accuracy else None) == one["metrics"].get("accuracy")
        assert (cells[name]["metrics.score"] == "'-Infinity") == (one["metrics"].get("score") == "-Infinity")


def test_adoption_is_counted_by_span_with_those_that_could_not_say(filled: str) -> None:
    spans = ask(filled, lambda pool: adoption(pool, START, START + timedelta(hours=2)))
    assert [(span.trials, span.adopted, span.defaulted) for span in spans] == [(60, 30, 6), (60, 30, 6)]
    for seconds in (300, 1800):  # of the rows, and of what is counted
        since, until = START + timedelta(seconds=299), START + timedelta(hours=2)
        first, *_ = ask(filled, partial(adoption, since=since, until=until, seconds=seconds))
        assert (first.at, first.trials) == (START, seconds // 60)
    with pytest.raises(UsageError, match="at most 2000 spans"):
        ask(filled, lambda pool: adoption(pool, START, START + timedelta(days=365), 60))


def test_dead_letters_and_health_at_a_glance(filled: str) -> None:
    async def work(pool: Pool) -> tuple[list[int], list[int], Any]:
        first = await letter_page(pool, limit=2)
        second = await letter_page(pool, before=first[-1]["id"], limit=2)
        return [row["report_index"] for row in first], [row["report_index"] for row in second], await health(pool)

    first, second, state = ask(filled, work)
    assert (first, second) == ([3, 2], [1])
    assert (state["dead_letters"], state["waiting"], state["parked"]) == (3, 0, 0)
    assert [row["reason"] for row in state["reasons"]] == ["not_a_map"]


def test_the_dashboard_s_sessions_can_only_read(filled: str) -> None:
    async def work(pool: Pool) -> None:
        await pool.run(lambda connection: connection.execute("delete from cerebros_model_trials"))

    with pytest.raises(TransientError, match="25006"):
        ask(filled, work)


def test_the_role_of_the_grants_can_ask_everything_and_change_nothing(filled: str, servers: Servers) -> None:
    name, role = filled.rpartition("/")[2].partition("?")[0], f"dashboard_{os.getpid()}"
    grants = "\n".join(line for line in GRANTS.read_text().splitlines() if not line.startswith("\\"))
    execute(filled, f"create role {role} login", grants.replace(':"DBNAME"', name).replace(':"role"', role))
    own = filled.replace("//postgres", f"//{role}") if "//postgres@" in filled else None
    if own is None:
        pytest.skip("the server wants a password of whoever comes")

    async def everything(pool: Pool) -> None:
        await run_page(pool)
        await trial_page(pool, Scope(), read_sort("-accuracy"))
        await trial_with_all(pool, "run-2", "t005")
        await mlflow_links(pool, "run-2", "t005")
        await mlflow_health(pool)
        await compare_arms(pool, Scope(), metric="accuracy")
        await health(pool)
        await adoption(pool, START, START + timedelta(hours=2))

    async def writes() -> None:
        connection = await asyncpg.connect(own)
        try:
            for table in ("cerebros_model_trials", "cerebros_model_runs", "dead_letters", "outbox"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f"delete from {table}")
        finally:
            await connection.close()

    try:
        ask(own, everything)
        asyncio.run(writes())
    finally:
        execute(filled, f"drop owned by {role}", f"drop role {role}")


def made(place: int, **parameters: Any) -> dict[str, Any]:
    """A trial whose accuracy, arm and parameters go by its place."""
    said = {"metrics": {"accuracy": place % 7}, "spectral_norm": place % 2 == 0, "parameters": parameters}
    return report("r", f"t{place:04}", place, **said)


def balance_of(url: str, **asked: Any) -> dict[str, Any]:
    found = ask(url, lambda pool: compare_arms(pool, Scope("r"), metric="accuracy", **asked))
    return {one.parameter: one for contrast in found.contrasts for one in contrast.balance} | {"notes": found.notes}


def write(url: str, *reports: dict[str, Any]) -> None:
    """As ingest does it."""
    decoded = [DECODE(record(json.dumps(one).encode(), offset=place))[0] for place, one in enumerate(reports)]
    with Session(url) as store:
        TrialStore(store, EventWriter()).write(Batch([one for one in decoded if isinstance(one, TrialReport)], [], {}))


def test_what_was_never_reported_is_left_out_whatever_else_its_report_says(database_url: str) -> None:
    """An error or an MLflow run belongs to a later schema; a third of everybody's trials fail, and stay a third."""

    def said(name: str, place: int, **more: Any) -> dict[str, Any]:
        failed: dict[str, Any] = {"status": "failed", "metrics": {}, "error_message": "CUDA out of memory"}
        one = {"run_id": "r", "trial_id": f"{name}{place}", "status": "succeeded", "metrics": {"score": place}, **more}
        return {**one, **failed} if place % 3 == 0 else one

    old = [said("old", place, **({"mlflow_run_id": "m"} if place % 2 else {})) for place in range(30)]
    odd = [said("odd", place, spectral_norm=None if place % 2 else "maybe") for place in range(30)]
    new = [said("new", place, spectral_norm=place % 2 == 0) for place in range(60)]
    write(database_url, *old, *odd, *new)
    found = ask(database_url, lambda pool: compare_arms(pool, Scope("r"), metric="score", leave_out_defaulted=True))
    assert {one.arm: (one.trials, one.failed) for one in found.arms} == {"false": (30, 10), "true": (30, 10)}
    assert [one.count for one in found.left_out if "never reported" in one.why] == [60]
    now = datetime.now(UTC)
    for seconds in (60, 3600):  # of the rows, and of what is counted
        work = partial(adoption, since=now - timedelta(hours=1), until=now, seconds=seconds)
        spans = ask(database_url, work)
        assert sum(one.trials for one in spans) == 120
        assert sum(one.adopted for one in spans) == 30
        assert sum(one.defaulted for one in spans) == 60
    page = ask(
        database_url, lambda pool: trial_page(pool, Scope(None, parse("spectral_norm_reported = false")), limit=100)
    )
    assert len(page.rows) == 60
    lines = ask(database_url, exported)
    assert sum(not one["spectral_norm_reported"] for one in lines) == 60


async def exported(pool: Pool) -> list[dict[str, Any]]:
    return [json.loads(line) async for part in export_jsonl(pool, Scope()) for line in part.splitlines()]


def test_a_null_or_a_text_among_numbers_makes_them_no_choice(database_url: str) -> None:
    rates: list[Any] = [(10.0 if place % 2 else 0.1) + place / 1000 for place in range(60)]
    rates[3], rates[4], rates[8] = None, "auto", "NaN"
    fill(database_url, [made(place, lr=rate) for place, rate in enumerate(rates)])
    found = balance_of(database_url)
    assert found["lr"].kind == "numeric"
    assert found["lr"].marked
    assert found["lr"].difference > 1


def test_another_parameter_is_compared_with_a_look_at_spectral_norm(database_url: str) -> None:
    fill(database_url, [made(place, optimizer="adam" if place % 2 or place < 8 else "sgd") for place in range(80)])
    found = balance_of(database_url, parameter="optimizer")
    assert found["spectral_norm"].marked


def test_defaults_that_another_parameter_does_not_have_are_not_left_out_and_that_is_said(database_url: str) -> None:
    fill(database_url, [made(place, optimizer="adam" if place % 2 else "sgd") for place in range(40)])
    said = "trials that did not say are not left out: only spectral_norm has a default, and the arms are of optimizer"

    def notes(**asked: Any) -> list[str]:
        return [one for one in balance_of(database_url, **asked)["notes"] if said in one]

    assert len(notes(parameter="optimizer", leave_out_defaulted=True)) == 1
    assert notes(parameter="optimizer") == []
    assert notes(leave_out_defaulted=True) == []


def test_parameters_that_are_not_looked_at_are_named(database_url: str) -> None:
    wide = [f"p{number:02}" for number in range(14)]
    fill(database_url, [made(place, opt=[place], **dict.fromkeys(wide, place)) for place in range(30)])
    found = balance_of(database_url)
    assert len(found) == 12 + 1
    assert any("opt, p12, p13 is not looked at" in note for note in found["notes"])


def test_a_number_is_one_arm_however_it_is_written_and_rare_values_are_told(database_url: str) -> None:
    reports = [made(place, units=32 if place % 3 else 64, size=place // 2) for place in range(120)]
    text = json.dumps(reports).replace('"units": 64', '"units": 64.0', 20)
    fill(database_url, [], "insert into cerebros_model_runs (run_id, state) values ('r', 'running')")
    execute(database_url, INSERT.replace("$1", f"'{text}'").replace("$2", f"'{START.isoformat()}'"))
    found = ask(database_url, lambda pool: compare_arms(pool, Scope("r"), parameter="units", metric="accuracy"))
    assert {one.arm: one.trials for one in found.arms} == {"32": 80, "64": 40}
    found = ask(database_url, lambda pool: compare_arms(pool, Scope("r"), parameter="size", metric="accuracy"))
    assert {one.why: one.count for one in found.left_out if one.arm is None} == {
        "its value is none of the most frequent 50": 20
    }
