"""Trials with tens of thousands of metrics: a page or an export takes only so much memory, and misses none."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from processor.dashboard.queries import portions
from processor.dashboard.queries.assembling import Scope
from processor.dashboard.queries.trials import trial_keys
from tests.support.pages import browse, fill, get, read, report
from tests.support.trials import ask

Page = dict[str, Any]
#: each of some 300 kB of JSON
TRIALS, METRICS = 40, 15_000
LARGE = (
    "update cerebros_model_trials set metrics = metrics || "
    f"(select jsonb_object_agg('metric ' || n, n / 7.0) from generate_series(1, {METRICS}) as n) "
    "where trial_id like 'large%'"
)
ALL = [f"large-{at:02}" for at in range(TRIALS)]


@pytest.fixture
def large(database_url: str) -> str:
    trials = [report("large", name, at, metrics={"accuracy": at / 100}) for at, name in enumerate(ALL)]
    small = [report("small", f"small-{at}", at, metrics={"accuracy": 0.5}) for at in range(3)]
    fill(database_url, trials + small, LARGE)
    return database_url


@pytest.fixture
def weights(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each portion that is read weighs."""
    found: list[int] = []
    read_json = portions._read_json

    async def weigh(rows: list[dict[str, Any]]) -> None:
        found.append(sum(map(portions._weight, rows)))
        await read_json(rows)

    monkeypatch.setattr(portions, "_read_json", weigh)
    return found


@pytest.mark.parametrize(("order", "names"), [("trial_id", ALL), ("-accuracy", ALL[::-1])])
def test_pages_of_large_trials_are_shorter_and_miss_none(
    large: str, weights: list[int], order: str, names: list[str]
) -> None:
    async def walk(client: httpx.AsyncClient) -> tuple[list[Page], list[Page]]:
        there, back = [await page(client, None)], list[Page]()
        while after := there[-1]["next"]:
            there.append(await page(client, after))
        while after := (back or there)[-1]["previous"]:
            back.append(await page(client, after))
        return there, back

    async def page(client: httpx.AsyncClient, after: str | None) -> Page:
        given = {"limit": "500", "sort": order, **({"after": after} if after else {})}
        answer = await client.get("/runs/large.json", params=given)
        assert answer.status_code == 200, answer.text[:500]
        found: Page = json.loads(answer.content)
        return found

    def told(pages: list[Page]) -> list[str]:
        return [trial["trial_id"] for one in pages for trial in one["trials"]]

    there, back = browse(large, walk)
    assert told(there) == names
    assert told(back[::-1]) == names[: -len(there[-1]["trials"])]
    assert [one["cut"] for one in there] == [True] * (len(there) - 1) + [False]
    assert len(there[0]["trials"][0]["metrics"]) == METRICS + 1
    assert max(weights) < portions.PORTION + 2**19


def test_the_page_says_that_it_ends_early_and_what_columns_are_chosen_from(large: str) -> None:
    page = read(get(large, "/runs/large"))
    assert "This page ends early, since its trials are large: the next one goes on." in page.text
    assert "These trials have very many metrics and parameters: columns are chosen from those of" in page.text
    small = read(get(large, "/runs/small")).text
    assert "ends early" not in small
    assert "very many" not in small


def test_an_export_reads_portions_and_misses_none(large: str, weights: list[int]) -> None:
    lines = get(large, "/runs/large.jsonl").text.splitlines()
    assert sorted(json.loads(line)["trial_id"] for line in lines) == ALL
    assert len(weights) > 3
    assert max(weights) < portions.PORTION + 2**19


def test_names_are_those_of_as_many_trials_as_take_some_megabytes(large: str) -> None:
    keys = ask(large, lambda pool: trial_keys(pool, Scope("large")))
    assert {key.cut for key in keys} == {True}
    assert 1 <= keys[0].looked < TRIALS / 2
    assert not keys[0].in_all
    keys = ask(large, lambda pool: trial_keys(pool, Scope("small")))
    assert {(key.looked, key.cut, key.in_all) for key in keys} == {(3, False, True)}


def test_a_trial_that_is_larger_than_a_portion_is_one(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "PORTION", 1000)
    assert [len(get(large, "/runs/large.json?limit=5").json()["trials"])] == [1]
    assert len(get(large, "/runs/large.jsonl").text.splitlines()) == TRIALS


def test_names_that_take_too_long_are_told_beside_the_rows(large: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.dashboard.pages.listing.KEYS_MS", 1)
    page = read(get(large, "/runs/small"))
    assert "small-1" in page.text
    assert "took too long to tell: name columns in the address." in page.text


@pytest.fixture
def wordy(database_url: str) -> str:
    """Trials with a text of 200 kB among their parameters, another one each."""
    text = "(select string_agg(md5(trial_id || n), '') from generate_series(1, 6000) as n)"
    trials = [
        report(
            "wordy", f"t{at}", at, metrics={"accuracy": at / 50}, parameters={"lr": at / 7}, spectral_norm=at % 2 > 0
        )
        for at in range(50)
    ]
    fill(
        database_url,
        trials,
        f"update cerebros_model_trials set parameters = parameters || jsonb_build_object('note', {text}) "
        "|| '{\"digits\": 1e100000}'",
    )
    return database_url


@pytest.mark.parametrize(
    "path",
    ["/charts", "/charts.json", "/charts?x=note", "/charts.json?x=digits", "/compare", "/compare?parameter=note",
     "/compare.json?parameter=note", "/compare.json?parameter=digits", "/trials", "/trials?columns=note",
     "/runs/wordy"],
)  # fmt: skip
def test_what_is_made_of_very_long_values_is_not_long(wordy: str, path: str) -> None:
    answer = get(wordy, path)
    assert answer.status_code == 200, answer.text[:500]
    assert len(answer.content) < 300_000


def test_a_very_long_text_is_drawn_with_its_beginning_and_a_very_long_number_not_at_all(wordy: str) -> None:
    sample = get(wordy, "/charts.json?x=note").json()
    place = sample["axes"].index('parameters."note"')
    notes = {one["parameters"][place] for one in sample["sample"]}
    assert len(notes) == 50
    assert {(len(note), note[-1]) for note in notes} == {(201, "…")}
    sample = get(wordy, "/charts.json?x=digits").json()
    assert {one["parameters"][0] for one in sample["sample"]} == {None}
