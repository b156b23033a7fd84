"""The charts' figures from a real Postgres: each is what plain Python makes of the same trials."""

from __future__ import annotations

import csv
import io
import random
import re
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from processor.dashboard import sharing
from processor.dashboard.filters.parser import parse
from processor.dashboard.filters.tree import Path
from processor.dashboard.pages import charts, views
from processor.dashboard.queries.assembling import Assembly, Query, Scope, fetch, number_at
from processor.dashboard.queries.charts import ERRORS, Figures, Sampled, best_so_far, read_figures, sampled_trials
from processor.store.pool import Pool
from tests.support.pages import browse, fill, get, read, report
from tests.support.trials import START, ask

ACCURACY = Path("metrics", ("accuracy",))
LR = Path("parameters", ("lr",))
VALUES: tuple[Any, ...] = (0.3, 0.7, "NaN", 0.7, 0.2, None, "high", 0.9, 1e-3, 0.8, True, 0.95, "Infinity")


def reports(number: int) -> list[dict[str, Any]]:
    return [
        report(
            f"run-{at % 2}", f"t{at:04}", at,
            metrics={"accuracy": VALUES[at * 7 % len(VALUES)]},
            parameters={"lr": at / 10, **({"optimizer": "adam"} if at % 3 else {})},
            status=("succeeded", "succeeded", "failed", "succeeded", "skipped")[at % 5],
            spectral_norm=at % 2 == 0, duration_ms=at,
        )
        for at in range(number)
    ]  # fmt: skip


def expected_best(
    given: list[dict[str, Any]], arm: bool, *, higher: bool
) -> list[tuple[int, str, float | None, float]]:
    """(place, trial, best, cost) of the trials that beat all before them, and of the last."""
    found, best, cost = [], None, 0
    mine = [one for one in given if one["spectral_norm"] is arm]
    for place, one in enumerate(mine, start=1):
        value = one["metrics"]["accuracy"]
        cost += one["duration_ms"]
        counts = one["status"] == "succeeded" and isinstance(value, float)
        better = counts and (best is None or (value > best if higher else value < best))
        best = value if better else best
        if better or place == len(mine):
            found.append((place, one["trial_id"], best, float(cost)))
    return found


@pytest.mark.parametrize("higher", [True, False])
@pytest.mark.parametrize("number", [1, 2, 60, 391])
def test_the_best_so_far_is_that_of_all_trials_in_their_order(database_url: str, number: int, higher: bool) -> None:
    given = reports(number)
    fill(database_url, given)
    found = ask(database_url, lambda pool: best_so_far(pool, Scope(), ACCURACY, higher=higher))
    for arm in (True, False):
        rows = [(one.place, one.trial_id, one.best, one.cost_ms) for one in found if one.arm is arm]
        assert rows == expected_best(given, arm, higher=higher)


def test_a_line_of_which_every_trial_is_the_best_has_as_many_points_as_a_screen_shows(database_url: str) -> None:
    fill(database_url, [report("run", f"{at}", at, metrics={"accuracy": at / 5000}) for at in range(5000)])
    found = ask(database_url, lambda pool: best_so_far(pool, Scope("run"), ACCURACY, higher=True))
    assert 400 <= len(found) <= 402
    assert all(one.best == (one.place - 1) / 5000 for one in found)
    assert found[-1].place == 5000


#: the best so far as one question, which the server answered by window functions: what is made of arrays is held to it
BEST = """
with valued as (
    select run.run_id, trial.trial_id, trial.id, trial.inserted_at as at, trial.spectral_norm as arm,
           coalesce(trial.duration_ms, 0) as duration_ms,
           case when trial.status = 'succeeded' then nullif({value}, 'NaN'::float8) end as value
    from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where {filter}
), ordered as (
    select valued.*, row_number() over w as place, count(*) over (partition by arm) as trials,
           sum(duration_ms) over (w rows unbounded preceding) as cost_ms,
           {extreme}(value) over (w rows unbounded preceding) as best,
           {extreme}(value) over (w rows between unbounded preceding and 1 preceding) as before
    from valued
    window w as (partition by arm order by at, id)
)
select distinct on (arm, (place - 1) * 400 / trials, place = trials)
       arm, place, at, cost_ms::float8 as cost_ms, best, run_id, trial_id, place = trials as last
from ordered
where place = trials or (value is not null and before is distinct from best)
order by arm, (place - 1) * 400 / trials, place = trials, place desc
"""
SAMPLED = """
select trial.id::text as id
from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
where {filter} order by uuid_hash_extended(trial.id, 0), trial.id limit 5000
"""
ENDINGS = """
with chosen as (
    select trial.* from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id
    where {filter}
), span as (
    select min(inserted_at) as first,
           greatest(1, ceil(extract(epoch from max(inserted_at) - min(inserted_at)) / 24))::float8 as seconds
    from chosen
)
select date_bin(make_interval(secs => seconds), inserted_at, first) as at,
       date_bin(make_interval(secs => seconds), inserted_at, first) + make_interval(secs => seconds) as until,
       spectral_norm as arm, count(*) as trials, count(*) filter (where status in ('succeeded', 'failed')) as ended,
       count(*) filter (where status = 'failed') as failed
from chosen cross join span group by 1, 2, 3 order by 1, 3
"""
HOSTILE = (0.5, 0.5, "NaN", 10**400, -(10**400), "0.9", None, 1e-320, [0.9], 1e308, -1e308, True, 0.25, 7)


def hostile(number: int) -> list[dict[str, Any]]:
    """Trials of every kind of value, many of one moment, in an order that is not that of their names or ids."""
    draw = random.Random(3)
    return [
        report(
            f"run-{draw.randrange(3)}", f"t{at:04}", draw.choice([at, at // 9, 7]),
            metrics={"accuracy": draw.choice([*HOSTILE, draw.random()])}, parameters={"lr": at},
            status=draw.choice(["succeeded", "succeeded", "succeeded", "failed", "skipped", "cancelled"]),
            spectral_norm=draw.random() < 0.5, duration_ms=draw.choice([None, 5, 2**62, at]),
        )
        for at in range(number)
    ]  # fmt: skip


async def asked(pool: Pool, text: str, condition: str, extreme: str = "max") -> list[dict[str, Any]]:
    """The rows of one of the questions above; `condition` is SQL."""
    assembly = Assembly("chart_errors", Scope())
    value = number_at(assembly, ACCURACY)
    args = assembly.query().args if "{value}" in text else ()
    return await fetch(pool, Query(text.format(filter=condition, value=value, extreme=extreme), args))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("", "true"),
        ("run_id = run-1", "run.run_id = 'run-1'"),
        ("run_id = run-1 and run_id in (run-1, run-2) and lr > 20", "run_id = 'run-1' and trial_id > 't0020'"),
        ("run_id in (run-0, run-2, none)", "run.run_id in ('run-0', 'run-2')"),
        ("run_id = run-1 or lr < 9", "run.run_id = 'run-1' or trial.trial_id < 't0009'"),
        ("run_id = none", "false"),
        ("status = skipped", "trial.status = 'skipped'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", [1, 40, 3000])
def test_what_is_made_of_arrays_is_what_one_question_each_has_answered(
    database_url: str, text: str, condition: str, number: int
) -> None:
    fill(database_url, hostile(number))

    async def work(pool: Pool) -> tuple[Figures, list[Any]]:
        found = await read_figures(pool, Scope(None, parse(text)), ACCURACY)
        return found, [
            await asked(pool, BEST, condition),
            await asked(pool, BEST, condition, "min"),
            await asked(pool, ENDINGS, condition),
            await asked(pool, SAMPLED, condition),
        ]

    found, (highest, lowest, spans, sample) = ask(database_url, work)
    assert [msgspec.structs.asdict(one) for one in found.highest] == highest
    assert [msgspec.structs.asdict(one) for one in found.lowest] == lowest
    assert [msgspec.structs.asdict(one) for one in found.endings] == spans
    assert sorted(found.sample) == sorted(row["id"] for row in sample)


def test_a_sample_is_the_same_however_many_trials_come(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.dashboard.queries.charts.SAMPLE", 100)

    async def sampled(pool: Pool) -> list[Sampled]:
        return await sampled_trials(pool, (await read_figures(pool, Scope(), ACCURACY)).sample, ACCURACY, [LR])

    fill(database_url, reports(300))
    before = ask(database_url, sampled)
    assert len(before) == 100
    assert [one.trial_id for one in before] == sorted(one.trial_id for one in before)
    again = ask(database_url, sampled)
    assert [one.trial_id for one in again] == [one.trial_id for one in before]
    fill(database_url, [report("more", f"m{at}", at) for at in range(30)])
    after = ask(database_url, sampled)
    stayed = {one.trial_id for one in before} & {one.trial_id for one in after}
    came = [one for one in after if one.run_id == "more"]
    # each that came took the place of one; a draw anew would keep a third of them
    assert len(stayed) == 100 - len(came) >= 70


def test_how_trials_ended_is_counted_of_all_of_them(database_url: str) -> None:
    given = reports(120)
    fill(
        database_url,
        given,
        "update cerebros_model_trials set error_type = 'OOM' where status = 'failed' and rank is null",
    )
    chosen = [one for one in given if one["parameters"]["lr"] >= 2]
    figures = ask(database_url, lambda pool: read_figures(pool, Scope(None, parse("lr >= 2")), ACCURACY))
    found = figures.endings
    assert len({one.at for one in found}) <= 25
    assert found[0].at == START + timedelta(minutes=20)
    for arm in (True, False):
        mine = [one["status"] for one in chosen if one["spectral_norm"] is arm]
        rows = [one for one in found if one.arm is arm]
        assert sum(one.trials for one in rows) == len(mine)
        assert sum(one.failed for one in rows) == mine.count("failed")
        assert sum(one.ended for one in rows) == mine.count("failed") + mine.count("succeeded")
    (error,) = figures.errors
    assert (error.error_type, error.trials) == ("OOM", sum(one["status"] == "failed" for one in chosen))


def test_only_where_kinds_of_error_may_be_left_out_is_it_said_how_many_are_told(database_url: str) -> None:
    kinds = "update cerebros_model_trials set error_type = 'kind ' || trial_id, status = 'failed'"
    fill(database_url, [report("run", f"t{at:02}", at) for at in range(ERRORS - 1)], kinds)
    page = read(get(database_url, "/charts")).text
    assert "kind t10" in page
    assert "most frequent" not in page
    fill(database_url, [report("run", f"t{at:02}", at) for at in range(20, 30)], kinds)
    page = read(get(database_url, "/charts")).text
    assert "The 12 most frequent." in page
    assert page.count("kind t") == ERRORS


def test_more_trials_than_may_be_read_are_refused_and_the_page_of_their_run_is_there(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processor.dashboard.queries.columns.MOST_TRIALS", 20)
    fill(database_url, [report("run", f"{at}", at) for at in range(20)])
    for path in ("/charts", "/compare"):
        answer = get(database_url, path)
        assert answer.status_code == 400
        assert "holds 20 trials or more" in read(answer, 400).text
    assert "Best accuracy so far" not in read(get(database_url, "/runs/run")).text
    monkeypatch.setattr("processor.dashboard.queries.columns.MOST_TRIALS", 21)
    assert get(database_url, "/charts").status_code == get(database_url, "/compare").status_code == 200
    assert "Best accuracy so far" in get(database_url, "/runs/run").text


def test_the_page_draws_them_and_says_what_they_leave_out(database_url: str) -> None:
    fill(database_url, reports(60))
    answer = get(database_url, "/charts?by=cost&x=lr&metric=accuracy&better=higher")
    page = read(answer)
    assert answer.text.count('<svg class="chart') == 5
    assert "What follows shows single trials: 60, which are all." in page.text
    assert "60 of 60 trials drawn; what a trial lacks has a place below the axis" in page.text
    document = get(database_url, "/charts.json?metric=accuracy").json()
    assert document["direction"]["better"] == "higher"
    assert len(document["sample"]) == 60
    finite = sum(isinstance(one["metrics"]["accuracy"], float) and one["status"] == "succeeded" for one in reports(60))
    assert sum(one["finite"] for one in document["spread"]) == finite
    rows = list(csv.reader(io.StringIO(get(database_url, "/charts.csv?metric=accuracy").text)))
    assert {row[0] for row in rows[1:]} == {"best_so_far", "spread", "failures", "errors"}


def test_the_page_is_light_with_as_many_marks_as_it_draws(database_url: str) -> None:
    more = {f"parameter {at}": 0.1 * (at + 1) for at in range(6)}
    fill(
        database_url,
        [
            report(
                "run", f"{at:032x}", at, metrics={"accuracy": at / 1201},
                parameters={name: value * at for name, value in more.items()} | {"optimizer": f"kind {at % 9}"},
                spectral_norm=at % 2 == 0,
            )
            for at in range(1200)
        ],
    )  # fmt: skip
    answer = get(database_url, "/charts?q=accuracy+%3E%3D+0+and+run_id+%3D+run&by=time")
    page = read(answer)
    assert "600 of 1,200 trials drawn" in page.text
    assert "200 of 1,200 trials drawn" in page.text
    assert len(answer.content) < 400_000


def test_each_condition_of_the_filter_can_be_left_out(database_url: str) -> None:
    fill(database_url, reports(60))
    page = read(get(database_url, "/charts?q=lr+%3E+1+(status+%3D+failed+or+accuracy+%3E+0.5)&by=cost&metric=accuracy"))
    ways = [href for _, href in page.links if href.startswith("/charts?")]
    assert ways == [
        "/charts?q=%28status%20%3D%20%22failed%22%20or%20%22accuracy%22%20%3E%200.5%29&metric=accuracy&by=cost",
        "/charts?q=%22lr%22%20%3E%201&metric=accuracy&by=cost",
        "/charts?metric=accuracy&by=cost",
    ]
    assert all(get(database_url, way).status_code == 200 for way in ways)
    assert [href for _, href in read(get(database_url, "/charts")).links if href.startswith("/charts?")] == []
    nothing = read(get(database_url, "/charts?q=lr+%3E+1000"))
    assert "No trial is like that" in nothing.text
    assert "/charts?" in [href for _, href in nothing.links]


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_trials_without_a_value_are_told_and_not_drawn(database_url: str, status: str) -> None:
    fill(database_url, [report("run", f"{at}", at, status=status) for at in range(3)])
    page = read(get(database_url, "/charts"))
    assert "No trial succeeded with a finite value: there is no best." in page.text
    assert ("No trial has succeeded or failed." in page.text) == (status == "skipped")


@pytest.mark.parametrize(
    "query", ["by=nothing", "by=time&by=cost", "x=status", "x=%00", "metric=run_id", "q=(", "sort=-x&z=1"]
)
def test_what_can_t_be_drawn_is_told(database_url: str, query: str) -> None:
    fill(database_url, reports(3))
    for form in ("", ".json", ".csv"):
        assert get(database_url, f"/charts{form}?{query}").status_code == 400


def test_the_page_of_a_run_shows_its_best_so_far(database_url: str) -> None:
    fill(database_url, reports(20))
    assert 'aria-label="Best accuracy so far, by trials of the arm"' in get(database_url, "/runs/run-0").text


def searched(number: int, **more: Any) -> list[dict[str, Any]]:
    """Trials with what varies inside of an object, and twenty parameters beside it."""
    return [
        report(
            "run", f"t{at:02}", at, metrics={"accuracy": at / 100, "time": at},
            parameters={
                "optimizer": {"lr": 10 ** (at / 10 - 4), "name": ("adam", "sgd")[at % 2]},
                **{f"p{place:02}": at + place for place in range(20)},
            },
            **more,
        )
        for at in range(number)
    ]  # fmt: skip


def test_what_varies_inside_of_an_object_has_axes_columns_and_a_balance(database_url: str) -> None:
    given = [report("run", f"t{at}", at, parameters={"opt": {"lr": at}}, spectral_norm=at % 2 == 0) for at in range(9)]
    fill(database_url, given)
    page = read(get(database_url, "/charts"))
    assert "over opt.lr" in page.text
    assert "9 of 9 trials drawn" in page.text
    assert "No parameter varies" not in page.text
    assert 'parameters."opt"."lr"' in get(database_url, "/trials.json").json()["columns"]
    assert "opt.lr" in read(get(database_url, "/compare")).text


def test_axes_can_be_chosen_and_those_that_are_not_drawn_are_told(database_url: str) -> None:
    fill(database_url, searched(30))
    page = read(get(database_url, "/charts"))
    assert "15 others that vary have no axis: those are drawn that most trials have, numbers before texts" in page.text
    given = "/charts?columns=optimizer.name,optimizer.lr&x=p07"
    page = read(get(database_url, given))
    assert "20 others that vary have no axis. These" in page.text
    assert "over p07" in page.text
    document = get(database_url, given.replace("?", ".json?")).json()
    assert document["axes"] == ['parameters."optimizer"."name"', 'parameters."optimizer"."lr"', 'parameters."p07"']
    assert document["sample"][3]["parameters"][0] == "sgd"
    tables = [href for _, href in page.links if href.startswith("/trials?columns")]
    assert [len(get(database_url, href.replace("?", ".json?")).json()["columns"]) for href in tables] == [2, 3]
    for wrong in ("columns=" + ",".join(f"p{at:02}" for at in range(13)), "columns=warnings", "x=status"):
        assert get(database_url, f"/charts?{wrong}").status_code == 400


def test_how_axes_are_drawn_stays_with_what_else_is_chosen(database_url: str) -> None:
    fill(database_url, searched(30))
    drawn = get(database_url, "/charts?x=optimizer.lr").text
    linear = get(database_url, "/charts?x=optimizer.lr&x_scale=linear&metric_scale=log").text
    title = "accuracy over optimizer.lr (by powers of ten)"
    assert title in drawn
    assert drawn.count('data-log="yes"') == 2  # the scatter's and the parallel coordinates'
    assert '<option value="linear" selected>' in linear
    assert "Not drawn, since they are far beyond the others, or not above 0: 1 with" in " ".join(linear.split())
    assert get(database_url, "/charts?x_scale=odd").status_code == 400
    page = read(get(database_url, "/charts?x_scale=linear&q=accuracy%20%3E%200.1"))
    assert any("x_scale=linear" in href and "q=" not in href for _, href in page.links)


def test_the_list_of_what_can_be_drawn_over_has_numbers_alone_each_once(database_url: str) -> None:
    fill(database_url, searched(30))
    page = get(database_url, "/charts?x=p03").text
    options = re.findall(
        r'<option value="([^"]*)"( selected)?>', page.partition('<select id="x"')[2].partition("</select>")[0]
    )
    names = [name.replace("&#34;", '"') for name, _ in options]
    assert names.count('parameters."p03"') == 1
    assert [name for name, chosen in zip(names, options, strict=True) if chosen[1]] == ['parameters."p03"']
    assert 'parameters."optimizer"."name"' not in names
    assert 'metrics."time"' in names
    assert "duration_ms" in names


def test_trials_that_all_failed_show_how(database_url: str) -> None:
    """They have no metric: what one looks for then is when and of what they failed."""
    failed = [
        report("run", f"t{at}", at, metrics={}, status="failed", parameters={"lr": at})
        for at in range(20)
    ]  # fmt: skip
    fill(
        database_url, failed,
        "update cerebros_model_trials set error_type = 'MemoryError', error_message = 'out of memory'",
    )  # fmt: skip
    page = read(get(database_url, "/charts"))
    assert "None of these trials has a metric that is a number" in page.text
    assert "Share of the trials that succeeded or failed" in page.text
    assert "MemoryError 20 20" in page.text
    assert "Best so far" not in page.text
    document = get(database_url, "/charts.json").json()
    assert (document["metric"], document["best_so_far"], len(document["failures"]) > 0) == (None, [], True)
    assert document["errors"] == [{"error_type": "MemoryError", "trials": 20, "with_spectral_norm": 20}]
    assert "failures" in get(database_url, "/charts.csv").text
    compared = read(get(database_url, "/compare"))
    assert "no trial has a metric that is a number: how long they took was taken" in compared.text
    assert "There is one arm only" in compared.text
    assert "Error type Error" in read(get(database_url, "/trials")).text
    fill(database_url, [report("run", f"s{at}", at) for at in range(30)])
    assert "Error type" not in read(get(database_url, "/trials")).text.partition("Show these")[2]


def test_what_is_known_is_not_asked_again_until_something_is_committed(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a search that is over each page of charts was made anew, or every ten seconds where it is dear."""
    fill(database_url, reports(60))
    asked: list[str] = []

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        async def count(*given: Any) -> Any:
            asked.append(name)
            return await real(*given)

        monkeypatch.setattr(module, name, count)

    for module, name in ((views, "trial_keys"), (charts, "read_figures"), (charts, "sampled_trials")):
        counted(module, name)

    version = ""

    async def ask_version(_pool: Pool) -> str:  # that of the server moves with whatever it does by itself
        return version

    monkeypatch.setattr(views, "ask_version", ask_version)
    monkeypatch.setattr(sharing, "CHEAP_SECONDS", 1000)  # nor is anything kept since it took long

    async def work(client: httpx.AsyncClient) -> list[int]:
        nonlocal version
        found = []
        for version in "11122":  # noqa: B007 - `ask_version` says it
            asked.clear()
            for path in ("/charts", "/charts.json", "/trials"):
                assert (await client.get(path)).status_code == 200
            found.append(len(asked))
        return found

    once = 4  # names for charts, and for lists, which may take less long; figures; a sample
    assert browse(database_url, work) == [once, 0, 0, once, 0]
