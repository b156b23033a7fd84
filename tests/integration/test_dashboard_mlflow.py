"""Where trials are in MLflow, over HTTP from a real Postgres: each state in words, on the pages, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx
import pytest

from processor.dashboard.pages.mirroring import STATES
from processor.dashboard.pages.paths import trial_path
from processor.dashboard.queries import mlflow as mlflow_queries
from processor.store import mlflow_links
from processor.store.mlflow_links import mlflow_status
from processor.store.session import Session
from tests.conftest import execute
from tests.support.pages import browse, fill, get, read, report

BASE = "http://mlflow:5000"
NAMED = "0123456789abcdef" * 2
LINK = (
    "insert into mlflow_links (server, id, run_id, trial_id, key, state, mlflow_run_id, experiment_id, reported, "
    "detail, synced_revision, updated_at) values ('{server}', gen_random_uuid(), 'run', '{trial}', 'k', '{state}', "
    "{held}, {experiment}, {reported}, {detail}, 1, now() {at})"
)


def link(trial: str, state: str, *, held: str | None = None, server: str = "s", at: str = "", **more: Any) -> str:
    def quoted(value: str | None) -> str:
        return "null" if value is None else f"'{value}'"

    return LINK.format(
        server=server, trial=trial, state=state, held=quoted(held), at=at, reported=more.get("reported", False),
        experiment=quoted("7" if held else None), detail=quoted(more.get("detail")),
    )  # fmt: skip


@pytest.fixture
def mirrored_url(database_url: str) -> str:
    """A trial for each state, called by it; one that no mirror has seen, and one that only names a run."""
    names = [*STATES, "unseen", "named"]
    fill(
        database_url,
        [report("run", name, place) for place, name in enumerate(names)],
        "insert into mlflow_servers (server, tracking_uri, last_seen) values "
        "('s', 'http://inside:5000', now()), ('former', 'http://before:5000', now() - interval '1 day')",
        f"update cerebros_model_trials set mlflow_run_id = '{NAMED}' "
        "where trial_id in ('named', 'missing', 'forbidden')",
        "update cerebros_model_trials set mlflow_run_id = 'no id' where trial_id = 'malformed'",
        link("linked", "linked", held="m1"),
        link("forbidden", "forbidden", held=NAMED, reported=True, detail="PERMISSION_DENIED"),
        *(link(name, name, detail=f"why {name}") for name in STATES if name not in ("linked", "forbidden")),
        # of the server before it, and of the run itself
        link("linked", "refused", server="former", at="- interval '1 day'"),
        link("", "linked"),
    )
    return database_url


@pytest.mark.parametrize("state", STATES)
def test_a_trials_page_says_what_its_state_means_and_what_to_do(mirrored_url: str, state: str) -> None:
    page = read(get(mirrored_url, trial_path("run", state), mlflow_url=BASE))
    words = STATES[state]
    assert words.meaning[1:] in page.text
    assert words.advice in page.text
    if state not in ("linked", "forbidden"):
        assert f"why {state}" in page.text
    (told, *others) = get(mirrored_url, trial_path("run", state) + ".json", mlflow_url=BASE).json()["mlflow"]
    assert (told["state"], told["meaning"], told["tracking_uri"]) == (state, words.meaning, "http://inside:5000")
    assert [one["state"] for one in others] == (["refused"] if state == "linked" else [])


def test_a_run_is_linked_where_there_is_one_and_an_address_of_mlflow(mirrored_url: str) -> None:
    async def work(client: httpx.AsyncClient) -> dict[str, list[str]]:
        pages = {name: await client.get(trial_path("run", name)) for name in (*STATES, "unseen", "named")}
        return {name: [href for _, href in read(page).links if "#/" in href] for name, page in pages.items()}

    linked = {
        "linked": [f"{BASE}/#/experiments/7/runs/m1"],
        "forbidden": [f"{BASE}/#/experiments/7/runs/{NAMED}"],
        "named": [f"{BASE}/#/runs/{NAMED}"],
    }
    found = browse(mirrored_url, work, mlflow_url=BASE)
    assert {name: hrefs for name, hrefs in found.items() if hrefs} == linked
    assert not any(browse(mirrored_url, work).values())


def test_a_list_has_the_state_of_each_trial_and_can_be_narrowed_and_sorted_by_it(mirrored_url: str) -> None:
    page = read(get(mirrored_url, "/trials", mlflow_url=BASE))
    assert "In MLflow" in page.text
    hrefs = {href for _, href in page.links if "#/" in href}
    assert hrefs == {f"{BASE}/#/experiments/7/runs/m1", f"{BASE}/#/experiments/7/runs/{NAMED}"}
    named = read(get(mirrored_url, "/trials?columns=mlflow_run_id&q=trial%20%3D%20named", mlflow_url=BASE))
    assert f"{BASE}/#/runs/{NAMED}" in [href for _, href in named.links]

    async def work(client: httpx.AsyncClient) -> list[list[str | None]]:
        wanted = ["mlflow_state = missing", "mlflow_state is missing", "mlflow_state in (refused, failing)"]
        answers = [await client.get("/trials.json", params={"q": one}) for one in wanted]
        answers.append(await client.get("/runs/run.json", params={"sort": "mlflow_state"}))
        return [[row["trial_id"] for row in answer.json()["trials"]] for answer in answers]

    missing, unseen, two, ordered = browse(mirrored_url, work)
    assert missing == ["missing"]
    assert set(unseen) == {"unseen", "named"}
    assert set(two) == {"refused", "failing"}
    assert ordered[: len(STATES)] == sorted(STATES)


def test_exports_have_the_state_too(mirrored_url: str) -> None:
    rows = list(csv.DictReader(io.StringIO(get(mirrored_url, "/trials.csv").text)))
    assert {row["trial_id"]: row["mlflow_state"] for row in rows} == {
        **{state: state for state in STATES}, "unseen": "", "named": "",
    }  # fmt: skip
    assert "mlflow_state,deleted" in get(mirrored_url, trial_path("run", "deleted") + ".csv").text
    assert '"mlflow_state":"forbidden"' in get(mirrored_url, "/trials.jsonl").text


def test_health_counts_trials_by_state_and_leads_to_them(mirrored_url: str) -> None:
    page = read(get(mirrored_url, "/health"))
    assert "The mirror's server is http://inside:5000" in page.text
    assert "1 other before it is not counted here" in page.text
    for words in STATES.values():
        assert words.meaning[1:] in page.text
    document = get(mirrored_url, "/health.json").json()["mlflow"]
    counts = {one["state"]: (one["trials"], one["runs"]) for one in document["states"]}
    assert counts == {state: (1, 1 if state == "linked" else 0) for state in STATES}
    (href,) = {href for _, href in page.links if "forbidden" in href}
    shown = read(get(mirrored_url, href))
    assert [one for _, one in shown.links if one.startswith("/runs/run/trials/")] == [trial_path("run", "forbidden")]


def test_where_nothing_was_ever_mirrored_nobody_is_bothered_with_it(database_url: str) -> None:
    fill(database_url, [report("run", "1")])
    assert get(database_url, "/health.json").json()["mlflow"] is None
    assert "MLflow" not in read(get(database_url, "/health")).text
    assert "In MLflow" not in get(database_url, "/trials").text.partition("<thead>")[2]


def test_a_state_that_a_newer_mirror_wrote_is_shown_as_it_is(mirrored_url: str) -> None:
    fill(mirrored_url, [], "update mlflow_links set state = '<b>new</b>' where trial_id = 'linked' and server = 's'")
    for path in ("/trials", "/health", trial_path("run", "linked")):
        assert "<b>new</b>" in read(get(mirrored_url, path)).text


MANY = (
    "insert into mlflow_links (server, id, run_id, trial_id, key, state) select '{server}', gen_random_uuid(), 'run', "
    "case when n % 10 = 0 then '' else 'more ' || n end, 'k', '{state}' from generate_series(1, {number}) n"
)


def states_of(url: str) -> dict[str, tuple[bool, int, int]]:
    """Whether about so many, of trials, of runs; by state, as the page's JSON and `processor status` tell it alike."""
    found = {
        one["state"]: (one["about"], one["trials"], one["runs"])
        for one in get(url, "/health.json").json()["mlflow"]["states"]
    }
    with Session(url) as store:
        status = mlflow_status(store)
    assert status is not None
    assert status["links"] == {state: trials + runs for state, (_, trials, runs) in found.items()}
    assert status["links_about"] == [state for state, (about, _, _) in found.items() if about]
    return found


@pytest.mark.parametrize("analysed", [True, False])
def test_many_links_are_about_so_many_and_the_few_that_need_somebody_are_exact(
    mirrored_url: str, monkeypatch: pytest.MonkeyPatch, analysed: bool
) -> None:
    for module in (mlflow_links, mlflow_queries):
        monkeypatch.setattr(module, "LINKS_COUNTED", 2000)
    execute(mirrored_url, "alter table mlflow_links set (autovacuum_enabled = false)")
    for server, number in (("s", 30_000), ("former", 10_000)):
        execute(mirrored_url, MANY.format(server=server, state="linked", number=number))
    if analysed:
        execute(mirrored_url, "analyze mlflow_links")
    states = states_of(mirrored_url)
    about, trials, runs = states.pop("linked")
    assert about
    assert abs(trials - 27_000) < 2700
    assert abs(runs - 3000) < 600
    assert states == {state: (False, 1, 0) for state in STATES if state != "linked"}
    page = read(get(mirrored_url, "/health")).text
    assert f"about {trials:,}" in page
    assert "about 1 " not in page


def test_many_links_that_need_somebody_are_about_so_many_too(
    mirrored_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (mlflow_links, mlflow_queries):
        monkeypatch.setattr(module, "LINKS_COUNTED", 2000)
    execute(mirrored_url, MANY.format(server="s", state="missing", number=30_000))
    execute(mirrored_url, "analyze mlflow_links")
    states = states_of(mirrored_url)
    assert states["linked"] == (False, 1, 1)
    assert states["missing"][0]
    assert abs(states["missing"][1] - 27_000) < 2700
    page = read(get(mirrored_url, "/health")).text
    assert f"about {sum(states[one][1] for one in states if one not in ('linked', 'pending')):,}" in page
