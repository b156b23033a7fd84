"""`/side-by-side` over HTTP: chosen in a list, whatever trials are called; what is not there or too much is told."""

from __future__ import annotations

import csv
import io
import re
from html import unescape

import httpx

from processor.dashboard.pages.paths import write_name
from tests.support.pages import browse, fill, read, report

CURVES = """
insert into cerebros_trial_metrics (model_run_id, trial_id, metric, step, value, at, source_partition, source_offset,
    source_index)
select id, trial, 'loss', step, 1.0 / (step + length(trial)), now(), 0, step, 0
from cerebros_model_runs, unnest(array['t1', 'begun']) as trial, generate_series(1, 9) as step
"""
BEGUN = """
insert into cerebros_trial_progress (model_run_id, trial_id, started_at, last_seen, spectral_norm, parameters,
    source_timestamp, source_partition, source_offset, source_index)
select id, 'begun', now(), now(), true, '{"lr": 0.5}', now(), 0, 1, 0 from cerebros_model_runs
"""
#: as trials may be called that mean no good, or nothing by it
IDS = ["a/b", "~2F", "%2F", "  ", "a\nb", "<img src=x onerror=alert(1)>", "=1+1", "é&trial=x"]


def test_what_is_ticked_in_a_list_is_shown_side_by_side_whatever_it_is_called(database_url: str) -> None:
    fill(database_url, [report(name, name, at, metrics={name: at}) for at, name in enumerate(IDS)])

    async def work(client: httpx.AsyncClient) -> None:
        listed = await client.get("/trials")
        assert read(listed).complaints == []
        boxes = await client.get("/side-by-side.json", params={"trial": ticks(listed.text)})
        assert sorted(row["trial_id"] for row in boxes.json()["trials"]) == sorted(IDS)
        page = read(await client.get("/side-by-side", params={"trial": [write_name(name, name) for name in IDS]}))
        for name in IDS:
            (beside,) = [href for _, href in page.links if href.startswith("/side-by-side.json")]
            assert (await client.get(beside)).json()["trials"][IDS.index(name)]["trial_id"] == name
        taken = [href for _, href in page.links if href.startswith("/side-by-side?")]
        for place, href in enumerate(taken):
            left = (await client.get(href.replace("?", ".json?", 1))).json()["trials"]
            assert [row["trial_id"] for row in left] == IDS[:place] + IDS[place + 1 :]
        rows = list(csv.reader(io.StringIO((await client.get(beside.replace(".json", ".csv"))).text)))
        assert len(rows[0]) == 3 + len(IDS)
        assert not any(cell.startswith("=") for row in rows for cell in row)

    browse(database_url, work)


def ticks(page: str) -> list[str]:
    return [
        unescape(one) for one in re.findall('<input type="checkbox" form="beside" name="trial" value="(.*?)"', page)
    ]


def test_curves_are_drawn_over_each_other_and_who_has_not_ended_is_there_too(database_url: str) -> None:
    trials = [report("run", "t1", metrics={"accuracy": 0.5}), report("run", "t2", 1, metrics={"accuracy": 0.75})]
    fill(database_url, trials, CURVES, BEGUN)

    async def work(client: httpx.AsyncClient) -> None:
        names = {"trial": ["run/t1", "run/t2", "run/begun"]}
        answer = await client.get("/side-by-side", params=names)
        page = read(answer)
        assert "0.75 best +0.25" in page.text
        assert "loss 1 9 values" in page.text
        assert "3 9 values" in page.text
        assert len(re.findall('<polyline points="[^"]*" class="line[13]"', answer.text)) == 2
        document = (await client.get("/side-by-side.json", params=names)).json()
        assert [row and row["trial_id"] for row in document["trials"]] == ["t1", "t2", None]
        assert document["progress"][2]["parameters"] == {"lr": 0.5}
        assert [len(one) for one in document["curves"]] == [1, 0, 1]
        differing = {row["name"]: row["values"] for row in document["differing"]}
        assert differing["accuracy"] == [0.5, 0.75, None]

    browse(database_url, work)


def test_names_stand_as_people_read_them_and_curves_beyond_the_limit_are_counted(database_url: str) -> None:
    numbered = {f"layer{n}": n / 100 for n in range(1, 61)}
    steps = CURVES.replace("'loss'", "'layer' || m") + ", generate_series(1, 60) as m"
    fill(database_url, [report("run", f"t{at}", at, metrics=numbered | {"Loss": 1}) for at in (1, 2)], steps)

    async def work(client: httpx.AsyncClient) -> None:
        told = {
            "/runs/run/trials/t1{}": "10 more metrics have values by step: the first 50 by name",
            "/side-by-side{}?trial=run/t1&trial=run/t2": "50 metrics by name are read of each trial: one has 10 more",
        }
        for address, said in told.items():
            page = read(await client.get(address.format("")))
            assert said in page.text
            assert page.text.index("layer2 ") < page.text.index("layer10 ") < page.text.index("Loss ")
            document = (await client.get(address.format(".json"))).json()
            assert document["curves_left"] in (10, [10, 0])
            curves = document["curves"] if document["curves_left"] == 10 else document["curves"][0]
            assert [one["metric"] for one in curves][:3] == ["layer1", "layer2", "layer3"]
        listed = (await client.get("/trials.json")).json()["columns"]
        assert [name for name in listed if "layer" in name][:2] == ['metrics."layer1"', 'metrics."layer2"']

    browse(database_url, work)


def test_what_is_not_there_or_too_large_or_none_is_told(database_url: str) -> None:
    large = {f"{n:05}": "x" * 1000 for n in range(1000)}
    fill(database_url, [report("run", f"t{at}", at, parameters=large) for at in range(8)])

    async def work(client: httpx.AsyncClient) -> None:
        none = await client.get("/side-by-side", params={"trial": ["run/t0", "run/<b>"]})
        assert "has no trial <b>" in read(none, 404).text
        assert "Tick trials in a list" in read(await client.get("/side-by-side")).text
        assert "add another" in read(await client.get("/side-by-side", params={"trial": "run/t0"})).text
        several = await client.get("/side-by-side", params={"trial": [f"run/t{at}" for at in range(3)]})
        assert "509 more are in the CSV" in read(several).text
        much = await client.get("/side-by-side", params={"trial": [f"run/t{at}" for at in range(8)]})
        assert "too large to be shown together" in read(much, 400).text

    browse(database_url, work)
