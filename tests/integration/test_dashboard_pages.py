"""The pages over HTTP from a real Postgres: with no, one and many trials, in every form, whatever the trials hold."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from html import unescape
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import httpx
import pytest

from processor.dashboard.pages.paths import run_path, trial_path
from tests.support.pages import browse, fill, get, read, report, slowed
from tests.support.trials import fill_tables, trials

PAGES = ["/", "/trials", "/compare", "/charts", "/adoption?window=1y", "/health"]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@pytest.mark.parametrize("count", [0, 1, 60])
def test_every_page_is_there_in_every_form_with_no_one_and_many_trials(database_url: str, count: int) -> None:
    fill(database_url, trials()[:count])
    paths = list(PAGES)
    if count:
        paths += [run_path("run-0"), trial_path("run-0", "t000")]

    async def work(client: httpx.AsyncClient) -> None:
        for path in paths:
            bare, _, query = path.partition("?")
            read(await client.get(path))
            for form, media in (("json", "application/json"), ("csv", "text/csv")):
                answer = await client.get(f"{'/runs' if bare == '/' else bare}.{form}?{query}")
                assert (answer.status_code, path) == (200, path)
                assert answer.headers["content-type"].startswith(media)
                if form == "json":
                    answer.json()
        assert len((await client.get("/trials.jsonl")).text.splitlines()) == count
        assert len(list(csv.reader(io.StringIO((await client.get("/trials.csv")).text)))) == count + 1

    browse(database_url, work)


def test_a_first_visit_tells_what_to_do(database_url: str) -> None:
    text = read(get(database_url, "/")).text
    assert "There is no run yet" in text
    assert "pip install cerebros-client" in text
    assert "There is no trial yet" in read(get(database_url, "/compare")).text


#: what a start leaves behind, in the row of its run and beside it
START_OF = """
with run as (update cerebros_model_runs set started_at = '2026-01-02T03:04:05Z', requested_trials = {wanted}
    where run_id = '{run}' returning id)
insert into cerebros_run_reports (model_run_id, kind, revision, said, rest, schema_version, source_topic,
    source_partition, source_offset, source_index, source_timestamp)
select id, 'start', 1, '{said}', '{{}}', 1, 'raw', 0, 0, 0, now() from run
"""


def test_a_run_that_never_said_how_many_trials_it_wants_wants_no_number_and_began_at_no_time(database_url: str) -> None:
    fill(
        database_url,
        [report(run, f"{run}-{at}", at) for run in ("silent", "three", "open", "other") for at in range(4)],
        START_OF.format(run="three", wanted=3, said='{"requested_trials": 3}'),
        START_OF.format(run="open", wanted=3, said='{"requested_trials": null}'),
        # by one who tells of no start
        "update cerebros_model_runs set requested_trials = 9 where run_id = 'other'",
    )

    async def work(client: httpx.AsyncClient) -> None:
        expected = {"silent": (None, False), "three": (3, True), "open": (None, True), "other": (9, False)}
        found = (await client.get("/runs.json")).json()["runs"]
        rows = csv.DictReader(io.StringIO((await client.get("/runs.csv")).text))
        pages = [(await client.get(f"/runs/{run}.json")).json()["run"] for run in expected]
        for run in (*found, *pages):
            assert (run["requested_trials"], run["started_at"] is not None) == expected[run["run_id"]], run
        for row in rows:
            wanted, began = expected[row["run_id"]]
            assert (row["requested_trials"], row["started_at"] != "") == ("" if wanted is None else str(wanted), began)
        assert (await client.get("/")).text.count("<progress") == 2
        assert "of 3" not in read(await client.get("/runs/silent")).text
        assert "<dt>Started</dt><dd>–</dd>" in (await client.get("/runs/silent")).text

    browse(database_url, work)


def test_a_filter_that_is_mended_on_the_page_of_its_mistake_keeps_what_else_was_asked_for(database_url: str) -> None:
    page = get(database_url, "/charts?q=lr+%3C&metric=duration_ms&better=lower&by=time&after=x").text
    kept = re.findall('<input type="hidden" name="(.*?)" value="(.*?)">', page)
    assert kept == [("metric", "duration_ms"), ("better", "lower"), ("by", "time")]


def test_messages_keep_their_lines(database_url: str) -> None:
    fill(
        database_url,
        [report("run", "t")],
        "update cerebros_model_runs set error_message = E'five\\nsix'",
        "update cerebros_model_trials set error_message = E'one\\ntwo\\x01', warnings = array[E'three\\nfour']",
    )

    async def work(client: httpx.AsyncClient) -> None:
        page = (await client.get("/runs/run/trials/t")).text
        assert '<p class="problem lines" tabindex="0">one\ntwo\\x01</p>' in page
        assert '<li class="lines" tabindex="0">three\nfour</li>' in page
        assert '<p class="problem lines" tabindex="0">five\nsix</p>' in (await client.get("/runs/run")).text

    browse(database_url, work)


def test_names_in_menus_and_titles_are_texts_whatever_is_in_them(database_url: str) -> None:
    metrics = {"recall<5>": 0.1, "recall<10>": 0.2}
    fill(database_url, [report("run" * 40, f"t{at}", at, metrics=metrics, parameters={"x": at}) for at in range(4)])

    async def work(client: httpx.AsyncClient) -> None:
        long = (await client.get(run_path("run" * 40))).text
        assert re.search("<title>(.*?)</title>", long).group(1).startswith("run" * 13 + "r…run")  # type: ignore[union-attr]
        for path in ("/charts", "/compare"):
            page = (await client.get(path)).text
            assert "recall&lt;5&gt;</option>" in page
            assert "recall&lt;10&gt;</option>" in page
        assert "Spread recall<" in read(await client.get("/charts")).text

    browse(database_url, work)


#: as trials may be called that mean no good, or nothing by it
IDS = [
    ".", "..", "a/b", "a%2Fb", "x.json", ".csv", "é☃", "\x01\x1b[31m", "~2F", "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0", "  ", "?q=1#frag", "\\", "'\"&<>", "</title><script>alert(1)</script>", "x" * 2000,
    "{{ 7 * 7 }}", "\u202eevil", "%", "a\nb", "javascript:alert(1)", "+1+1", "@SUM(A1)", "\n=1+1", "＝1+1",
]  # fmt: skip


def test_ids_that_differ_at_their_end_alone_are_told_apart_wherever_they_stand(database_url: str) -> None:
    """Names of metrics too; what is longest stands whole on its own page."""
    alike = "the-search-of-december-with-" + "everything-that-it-was-given-" * 10
    runs, ids = [f"{alike}{at}" for at in "ab"], [f"{alike}{at}" for at in range(6)]
    metrics = {f"validation_accuracy_of_the_first_of_all_layers_that_the_model_has_{at}": at / 10 for at in range(3)}
    fill(
        database_url,
        [report(run, one, at, metrics=metrics, parameters={"lr": at}) for run in runs for at, one in enumerate(ids)],
        "update cerebros_model_trials set spectral_norm = trial_id ~ '[024]$'",
    )
    for path, found in (("/trials", ids), ("/", runs), ("/trials", runs), ("/adoption?window=1y", runs)):
        cells = re.findall(
            r'<a href="/runs/[^"]*"><span title="[^"]*">([^<]*)</span></a>', get(database_url, path).text
        )
        ends = {one[-12:] for one in found}
        assert {one[-12:] for one in cells} >= ends, path
        assert all(len(one) < 80 for one in cells)
    charts = get(database_url, "/charts").text
    assert {f"_{at}" for at in range(3)} <= {one[-2:] for one in re.findall(r"<option[^>]*>([^<]*)</option>", charts)}
    assert {one[-8:] for one in ids} == {one[-8:] for one in re.findall(r"<title>([^<:]*):", charts)}
    page = get(database_url, trial_path(runs[0], ids[3])).text
    assert re.search(f"<h1>.*{ids[3]}</h1>", page)
    assert re.search(
        f"<h2>All fields</h2>.*<dt>run_id</dt><dd>{runs[0]}</dd><dt>trial_id</dt><dd>{ids[3]}</dd>", page, re.S
    )
    assert re.search(f"<h1>.*{runs[1]}</h1>", get(database_url, run_path(runs[1])).text)


def hostile() -> list[dict[str, Any]]:
    markup = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'"
    return [
        report(
            "<b>run</b>/../%2e", one, place, status=["succeeded", "failed"][place % 2], spectral_norm=place % 3 == 0,
            metrics={"accuracy": place / 10, markup: markup, "=1+1": "=1+1", "big": "9" * 5000, "n": [{markup: 1}]},
            parameters={markup: place, "opt": markup if place % 2 else "=2", "lr": place / 7},
        )
        for place, one in enumerate(IDS)
    ]  # fmt: skip


@pytest.fixture
def hostile_url(database_url: str) -> str:
    fill(
        database_url,
        hostile(),
        "update cerebros_model_trials set artifact_uri = 'javascript:alert(1)', mlflow_run_id = '\"><script>', "
        "error_message = '<script>alert(1)</script>', stacktrace = E'=1\\n<script>\\x1b', error_type = '<b>', "
        "warnings = array['<script>alert(1)</script>', '=1'], candidate_id = '<i>', pulse_id = '-1', "
        """bridge_payload = '{"extra": {"<script>": "</pre><script>"}}'""",
        "insert into mlflow_links (server, id, run_id, trial_id, key, mlflow_run_id, state, detail) "
        "select 's', trial.id, run.run_id, trial.trial_id, 'k', '\"><script>', '<b>', '<script>' "
        "from cerebros_model_trials trial join cerebros_model_runs run on run.id = trial.model_run_id",
        "insert into cerebros_trial_metrics (model_run_id, trial_id, metric, step, value, at, source_partition, "
        "source_offset, source_index) "
        "select model_run_id, trial_id, '</svg><script>', n, n, now(), 0, n, 0 "
        "from cerebros_model_trials, generate_series(1, 3) as n",
    )
    return database_url


def test_whatever_a_trial_holds_is_text_and_each_is_found_by_the_link_of_its_page(hostile_url: str) -> None:
    async def work(client: httpx.AsyncClient) -> tuple[set[str], set[str]]:
        base = "http://localhost/trials"
        for path in (
            *PAGES,
            "/compare?metric=accuracy&parameter=opt",
            "/trials?columns=opt,n,big,candidate_id,warnings",
        ):
            read(await client.get(path))
        run = read(await client.get(run_path("<b>run</b>/../%2e")))
        found, called = set(), set()
        for _, href in run.links:
            if "/trials/" in href:
                page = read(await client.get(urljoin(base, href)))
                called.add(page.text)
                answer = await client.get(urljoin(base, href) + ".json")
                found.add(answer.json()["trial"]["trial_id"])
        return found, called

    found, called = browse(hostile_url, work, mlflow_url="http://mlflow:5000")
    assert found == set(IDS)
    assert all("javascript:alert(1)" in text for text in called)


def test_no_cell_of_any_csv_is_a_formula(hostile_url: str) -> None:
    async def work(client: httpx.AsyncClient) -> int:
        cells = 0
        run = run_path("<b>run</b>/../%2e")
        paths = [
            "/runs.csv",
            "/trials.csv",
            f"{run}.csv",
            "/compare.csv?metric=accuracy&parameter=opt",
            "/adoption.csv",
        ]
        paths += [f"{run_path('<b>run</b>/../%2e')}/trials/{quote('+1+1')}.csv", "/health.csv"]
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            for row in csv.reader(io.StringIO(answer.text)):
                for cell in row:
                    cells += 1
                    assert not cell.startswith(FORMULAS) or is_number(cell), (path, cell[:80])
        return cells

    assert browse(hostile_url, work) > 500


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("query", ["", "sort=-accuracy", "sort=lr", "sort=status&q=accuracy%20is%20present"])
def test_following_the_pages_shows_every_trial_once_in_both_directions(database_url: str, query: str) -> None:
    fill_tables(database_url)

    async def work(client: httpx.AsyncClient) -> tuple[list[str], list[str], int]:
        answer = await client.get(f"/trials.json?{query}&limit=500")
        total = len(answer.json()["trials"])
        there, back, href = [], [], f"/trials?{query}&limit=17"
        while True:
            page = read(await client.get(href))
            there += ids_of(page.links)
            if page.link("next") is None:
                break
            href = str(page.link("next"))
        back = ids_of(page.links)
        while page.link("prev") is not None:
            page = read(await client.get(str(page.link("prev"))))
            back = ids_of(page.links) + back
        return there, back, total

    there, back, total = browse(database_url, work)
    assert len(there) == len(set(there)) == total > 50
    assert there == back


def ids_of(links: list[tuple[str, str]]) -> list[str]:
    return [href for _, href in links if "/trials/" in href]


def test_a_filter_that_is_none_is_told_with_its_place_and_can_be_mended_there(database_url: str) -> None:
    answer = get(database_url, "/trials?q=" + quote("status = failed and <b>(lr"))
    page = read(answer, 400)
    assert "<mark>" in answer.text
    assert 'value="status = failed and &lt;b&gt;(lr"' in answer.text
    assert "At the place that is marked" in page.text
    told = get(database_url, "/trials.json?q=" + quote("status = oops")).json()
    assert (told["error"], told["success"], told["place"]) == ("filter", False, 9)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404), ("/runs/none", 404), ("/runs/none.json", 404), ("/runs/none.csv", 404),
        ("/runs/none/trials/1", 404), ("/trials?limit=0", 400), ("/trials?sort=", 200), ("/trials?x=1", 400),
        ("/trials?q=a&q=b", 400), ("/trials?after=abc", 400), ("/?after=x", 400), ("/?limit=99999", 400),
        ("/?search=%00", 200), ("/trials?q=%00", 400), ("/runs/%00", 404), ("/runs/%ff", 404),
        ("/health?before=x", 400), ("/adoption?window=9", 400), ("/compare?metric=status", 400),
        ("/compare?metric=lr&reference=maybe", 400),
        ("/adoption.jsonl", 404), ("/static/../app.py", 404), ("/static/app.py", 404), ("/go?to=" + "x" * 3000, 400),
        ("/health?reason=%00&resolved=too", 200), ("/trials?" + "q=&" * 700, 400),
        ("/?search=caf%e9", 400), ("/trials?q=%ff", 400), ("/go?to=%ff", 400), ("/trials.csv?%ff=1", 400),
    ],
)  # fmt: skip
def test_what_can_t_be_asked_is_told(database_url: str, path: str, status: int) -> None:
    fill(database_url, [report("run", "1"), report("run", "2", 1, spectral_norm=False)])
    answer = get(database_url, path)
    assert answer.status_code == status, answer.text
    if status != 200:
        assert len(answer.text) > 20


def test_pages_are_only_read(database_url: str) -> None:
    async def work(client: httpx.AsyncClient) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            answer = await client.request(method, "/trials")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
        assert (await client.head("/trials")).status_code == 200
        head = await client.head("/trials.csv")
        assert (head.status_code, head.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")

    browse(database_url, work)


def test_find_leads_to_a_run_to_a_trial_or_to_a_search(database_url: str) -> None:
    under_way = (
        "insert into cerebros_trial_progress (model_run_id, trial_id, last_seen) "
        "select id, 'begun/1', now() from cerebros_model_runs where run_id = 'run'"
    )
    fill(database_url, [report("a/b", "1"), report("run", "x/y/z")], under_way)

    async def work(client: httpx.AsyncClient) -> list[str]:
        wanted = ["a/b", "a/b/1", "run/x/y/z", "run/begun/1", "nothing", 'say "no"', ""]
        answers = [await client.get("/go", params={"to": one}) for one in wanted]
        assert {answer.status_code for answer in answers} == {303}
        return [answer.headers["location"] for answer in answers]

    found = browse(database_url, work)
    assert found[:2] == [run_path("a/b"), trial_path("a/b", "1")]
    assert found[2:4] == [trial_path("run", "x/y/z"), trial_path("run", "begun/1")]
    assert found[4:] == ["/trials?q=%22nothing%22", "/trials?q=%22say%20%5C%22no%5C%22%22", "/trials"]


def test_a_trial_shows_its_links_events_and_the_dead_letters_of_its_record(database_url: str) -> None:
    fill_tables(database_url)
    fill(
        database_url,
        [],
        "update cerebros_model_trials set revision = 3, artifact_uri = 's3://bucket/t005', status = 'failed', "
        "error_message = 'out of memory', stacktrace = E'Traceback\\n  line 1', warnings = array['slow'] "
        "where trial_id = 't005'",
        "insert into mlflow_servers (server, tracking_uri) values ('s', 'http://inside:5000')",
        "insert into mlflow_links (server, id, run_id, trial_id, key, experiment_id, mlflow_run_id, state) "
        "values ('s', gen_random_uuid(), 'run-2', 't005', 'k', '7', 'abc', 'linked')",
    )
    page = read(get(database_url, trial_path("run-2", "t005"), mlflow_url="http://mlflow:5000"))
    hrefs = [href for _, href in page.links]
    assert {"http://mlflow:5000/#/experiments/7/runs/abc", "s3://bucket/t005"} <= set(hrefs)
    for said in ("out of memory", "Traceback line 1", "slow", "metrics is no object", "ml.trial.failed", "revision 2"):
        assert said in page.text
    without = read(get(database_url, trial_path("run-2", "t005")))
    assert not [href for _, href in without.links if "#/" in href]
    assert "PROCESSOR_DASHBOARD_MLFLOW_URL" in without.text


def test_a_trial_under_way_has_a_page_with_its_curves(database_url: str) -> None:
    fill(
        database_url,
        [report("run", "ended")],
        "insert into cerebros_trial_progress (model_run_id, trial_id, started_at, last_seen, spectral_norm, "
        "parameters, source_timestamp, source_partition, source_offset, source_index) "
        "select id, 'begun', now(), now(), true, '{\"lr\": 0.5}', now(), 0, 1, 0 from cerebros_model_runs",
        "insert into cerebros_trial_metrics (model_run_id, trial_id, metric, step, value, at, source_partition, "
        "source_offset, source_index) "
        "select id, 'begun', 'loss', n, case n when 5 then 'NaN'::float8 else 1.0 / n end, now(), 0, n, 0 "
        "from cerebros_model_runs, generate_series(1, 9) as n",
    )
    page = read(get(database_url, trial_path("run", "begun")))
    assert "loss: 9 values, the last 0.111111; 1 NaN or infinite, crosses below" in page.text
    assert trial_path("run", "begun") in [href for _, href in read(get(database_url, "/runs/run")).links]


def test_a_comparison_says_effect_run_by_run_failures_balance_and_what_is_left_out(database_url: str) -> None:
    reports = [
        report(
            f"r{place % 3}", f"t{place}", place, status="failed" if place % 11 == 0 else "succeeded",
            spectral_norm=place % 2 == 0,
            metrics={"accuracy": "NaN" if place % 13 == 0 else 0.5 + (place % 2 == 0) * 0.2 + place % 7 / 100},
            parameters={"lr": place % 5 / 10, "optimizer": "adam" if place % 4 else "sgd"},
        )
        for place in range(180)
    ]  # fmt: skip
    fill(database_url, reports)
    page = read(get(database_url, "/compare?metric=accuracy"))
    assert "With spectral_norm = true, accuracy is better than with false: a typical trial differs by +0.2" in page.text
    for said in ("95 % interval", "3 runs together", "failed of those that succeeded or failed", "lr", "optimizer",
                 "What is left out", "its value is NaN or infinite", "guessed from the word accuracy"):  # fmt: skip
        assert said in page.text
    document = get(database_url, "/compare.json?metric=accuracy").json()["comparison"]
    (contrast,) = document["contrasts"]
    assert contrast["verdict"] == "better"
    assert contrast["effect"]["shift"]["low"] > 0.15
    rows = list(csv.reader(io.StringIO(get(database_url, "/compare.csv?metric=accuracy").text)))
    assert ["false", "true", "shift"] in [row[:3] for row in rows]
    turned = read(get(database_url, "/compare?metric=accuracy&better=lower&validity=always&reference=true")).text
    assert "With spectral_norm = false, accuracy is better than with true" in turned


def test_runs_decide_where_there_are_five_and_values_of_0_and_1_are_no_shift_of_nothing(database_url: str) -> None:
    reports = [
        report(
            f"r{place % 6}", f"t{place}", place, spectral_norm=place // 6 % 2 == 0,
            metrics={"accuracy": 0.5 + (place // 6 % 2 == 0) * 0.2 + place % 7 / 100, "solved": 1.0 * (place % 7 < 5)
                     if place // 6 % 2 == 0 else 1.0 * (place % 7 < 2)},
        )
        for place in range(480)
    ]  # fmt: skip
    fill(database_url, reports)
    page = read(get(database_url, "/compare?metric=accuracy")).text
    assert "accuracy is better than with false: on average over 6 runs, a typical trial differs by +0.2" in page
    assert "so many runs would show a shift of" in page.lower()
    page = read(get(database_url, "/compare?metric=solved&better=higher")).text
    assert "solved is better than with false: on average over 6 runs, a trial has the larger value in 7" in page
    for said in ("ties as halves (95 % interval", "the verdict goes by how often a trial has the larger value",
                 "How often the value is larger", "of all trials as if of one run"):  # fmt: skip
        assert said in page
    (contrast,) = get(database_url, "/compare.json?metric=solved&better=higher").json()["comparison"]["contrasts"]
    assert (contrast["decided_by"], contrast["leading"], contrast["verdict"]) == ("runs", "superiority", "better")
    assert contrast["per_run"]["pooled"]["superiority"]["low"] > 0.5


def test_a_metric_without_a_finite_value_is_compared_without_a_figure(database_url: str) -> None:
    reports = [
        report(f"r{place % 2}", f"t{place}", place, spectral_norm=place % 4 < 2, metrics={"loss": "NaN"})
        for place in range(40)
    ]
    fill(database_url, reports)
    assert "an arm has no finite value" in read(get(database_url, "/compare?metric=loss")).text


def test_a_question_that_takes_too_long_is_cut_off_and_told(database_url: str) -> None:
    fill(
        database_url,
        [report("run", "1")],
        *slowed(60),
    )
    # long enough for a loaded machine to connect within it
    answer = get(database_url, "/trials", timeout_ms=4000)
    assert "ask about fewer trials" in read(answer, 503).text
    assert answer.headers["retry-after"] == "2"
    told = get(database_url, "/trials.csv", timeout_ms=4000)
    assert (told.status_code, told.json()["error"]) == (503, "too_much")


def test_a_database_that_was_never_migrated_is_told(empty_database_url: str) -> None:
    assert "processor migrate" in read(get(empty_database_url, "/"), 503).text


def test_columns_and_order_are_in_the_url_and_forms_keep_them(database_url: str) -> None:
    fill_tables(database_url)
    path = "/trials?q=lr%20%3E%200&sort=-lr&columns=lr&columns=metrics.accuracy&limit=20"
    answer = get(database_url, path)
    page = read(answer)
    assert "by lr, downwards" in page.text
    assert answer.text.count('aria-sort="descending"') == 1
    following = str(page.link("next"))
    assert all(part in following for part in ("q=lr%20%3E%200", "sort=-%22lr%22", "columns=", "limit=20", "after="))
    assert '<input type="hidden" name="sort" value="-&#34;lr&#34;">' in answer.text
    shown = json.loads(get(database_url, path.replace("/trials?", "/trials.json?")).text)
    assert shown["columns"] == ['"lr"', 'metrics."accuracy"']
    values = [row["parameters"]["lr"] for row in shown["trials"]]
    assert values == sorted(values, reverse=True)


def test_what_the_form_of_the_columns_asks_for_is_shown_or_refused_as_what_it_is(database_url: str) -> None:
    many = {f"a_metric_with_a_rather_long_name_{number:03}": number for number in range(490)}
    fill(database_url, [report("run", f"t{at}", at, metrics={**many, "accuracy": at}) for at in range(3)])
    for path in ("/trials", "/runs/run"):
        page = get(database_url, path).text
        boxes = re.findall(r'<input type="checkbox" name="columns" value="([^"]*)"', page)
        sent = re.findall(r'<input type="hidden" name="columns" value="([^"]*)"', page)
        assert len(boxes) > 490

        def asked(values: list[str], path: str = path) -> httpx.Response:
            return get(database_url, f"{path}?{urlencode([('columns', unescape(one)) for one in values])}")

        # no box is ticked: none is shown
        heads = re.findall(r'<th scope="col"', asked(sent).text)
        assert len(heads) == (3 if path == "/runs/run" else 4)
        # as many as may be, which the form says, and all of them
        assert "at most 50" in page
        assert asked([*sent, *boxes[14:40]]).status_code == 200
        assert "at most 50 columns, and these are" in read(asked([*sent, *boxes]), 400).text


#: parts of queries as people, programs and those who mean no good might send them
PARTS = [
    "q", "sort", "after", "columns", "limit", "metric", "parameter", "reference", "better", "validity", "defaulted",
    "window", "search", "reason", "before", "resolved", "to", "accuracy", "-accuracy", "metrics.n", "status = failed",
    "1", "-1", "50", "higher", "always", "out", "24h", "too", "not_json", "\x00", "%", "é", "\ud800", "'", '"', "(",
    ")", "<script>", "x" * 300,
    "run_id", "spectral_norm", "warnings is empty", "lr in (1, 2)", "9" * 400, "true", "opt", "",
]  # fmt: skip
PLACES = ["/", "/trials", "/trials.json", "/trials.csv", "/compare", "/compare.json", "/adoption", "/health.csv", "/go",
          "/runs/r", "/runs/r.jsonl", "/runs/r/trials/1", "/runs.csv", "/runs/%00.json", "/openapi.json"]  # fmt: skip


def test_no_query_whatever_is_in_it_is_a_defect(database_url: str) -> None:
    fill(database_url, [report("r", "1"), report("r", "2", 1, spectral_norm=False), *hostile()])
    draw = random.Random(20)

    def query() -> str:
        pairs = [(draw.choice(PARTS[:17]), draw.choice(PARTS)) for _ in range(draw.randint(0, 3))]
        return "&".join(f"{name}={quote(value, errors='surrogatepass')}" for name, value in pairs)

    async def work(client: httpx.AsyncClient) -> dict[int, int]:
        counts: dict[int, int] = {}
        for _ in range(400):
            path = f"{draw.choice(PLACES)}?{query()}"
            answer = await client.get(path)
            assert answer.status_code in (200, 303, 400, 404), (path, answer.text)
            counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        return counts

    counts = browse(database_url, work)
    assert counts[200] > 50
    assert counts[400] > 50


def test_what_to_do_about_rejected_reports_stands_beside_their_reason(database_url: str) -> None:
    fill_tables(database_url)
    assert "Make metrics and parameters objects: names and their values" in read(get(database_url, "/health")).text


def test_following_the_pages_shows_every_run_and_every_dead_letter_once(database_url: str) -> None:
    fill(
        database_url,
        [report(f"run {place}/", "1", place) for place in range(40)],
        'with record as (insert into dead_letter_records (topic, partition, "offset", record_timestamp) '
        "values ('raw', 0, 5, now()) returning id) "
        "insert into dead_letters (record_id, report_index, reason, detail) "
        "select id, n, case n % 2 when 0 then 'not_json' else '<b>' end, '<script>' "
        "from record, generate_series(1, 40) as n",
    )

    async def follow(client: httpx.AsyncClient, href: str, wanted: str) -> list[str]:
        found: list[str] = []
        while True:
            answer = await client.get(href)
            page = read(answer)
            found += re.findall(wanted, answer.text)
            if page.link("next") is None:
                return found
            href = str(page.link("next"))

    async def work(client: httpx.AsyncClient) -> tuple[list[str], list[str], list[str]]:
        return (
            await follow(client, "/?limit=7&search=RUN", r'href="/runs/run%20(\d+)~2F"'),
            await follow(client, "/health?limit=7", r'<th scope="row" class="n">(\d+)</th>'),
            await follow(client, "/health?limit=7&reason=%3Cb%3E", r'<th scope="row" class="n">(\d+)</th>'),
        )

    runs, letters, some = browse(database_url, work)
    assert sorted(map(int, runs)) == list(range(40))
    assert len(letters) == len(set(letters)) == 40
    assert len(some) == len(set(some)) == 20
