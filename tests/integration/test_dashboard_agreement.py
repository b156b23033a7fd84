"""What one part of a page says beside what another says of the same trials: columns and filters, forms and what they
send, figures and their pictures.
"""

from __future__ import annotations

import csv
import io
import random
import re
from html import unescape
from typing import Any

import httpx
import pytest

from tests.support.pages import browse, fill, get, read, report

#: a path, and what each of four trials has there
HELD: list[tuple[str, list[str]]] = [
    ("metrics.sizes.0", ["10", "20", "–", "–"]),
    ("metrics.sizes.-1", ["11", "21", "–", "–"]),
    ("metrics.deep.1.at", ["5", "–", "–", "–"]),
    ("shadowed", ["1", "–", "102", "–"]),
    ('"sizes"."0"', ["10", "20", "–", "–"]),
]


@pytest.mark.parametrize(("path", "values"), HELD)
def test_a_column_shows_what_the_filter_and_the_order_find(database_url: str, path: str, values: list[str]) -> None:
    metrics: list[dict[str, Any]] = [
        {"sizes": [10, 11], "deep": [0, {"at": 5}], "shadowed": 1},
        {"sizes": [20, 21], "deep": [0], "shadowed": None},
        {"sizes": []},
        {"sizes": {"1": 1}, "shadowed": None},
    ]
    fill(
        database_url,
        [
            report("run", f"t{at}", at, metrics=held, parameters={"shadowed": 100 + at} if at < 3 else {})
            for at, held in enumerate(metrics)
        ],
    )

    async def shown(client: httpx.AsyncClient, **query: str) -> list[str]:
        page = (await client.get("/runs/run", params={"columns": path, **query})).text
        return [re.sub("<.*?>", "", cell) for cell in re.findall('<td class="n">(.*?)</td>', page)]

    async def work(client: httpx.AsyncClient) -> None:
        assert await shown(client, sort="trial_id") == values
        there = [value for value in values if value != "–"]
        assert await shown(client, sort="trial_id", q=f"{path} is present") == there
        assert await shown(client, sort="trial_id", q=f"{path} is missing") == ["–"] * (4 - len(there))
        assert await shown(client, sort=f"-{path}") == sorted(there, key=int, reverse=True) + ["–"] * (4 - len(there))

    browse(database_url, work)


def form_of(page: str) -> dict[str, str]:
    """What a browser sends of the lists in a comparison's form, as they stand."""
    sent = {}
    for name, inside in re.findall(r'<select id="\w+" name="(\w+)">(.*?)</select>', page):
        options = re.findall('<option value="(.*?)"( selected)?>', inside)
        sent[name] = unescape(next((value for value, selected in options if selected), options[0][0]))
    return sent


def test_the_form_of_a_comparison_can_ask_for_the_arms_of_another_parameter(database_url: str) -> None:
    draw = random.Random(1)
    fill(
        database_url,
        [
            report("run", f"t{at}", at, metrics={"loss": draw.random()}, spectral_norm=at % 2 == 0,
                   parameters={"optimizer": ["adam", "sgd", ""][at % 3], "lr": draw.random()})
            for at in range(30)
        ],
    )  # fmt: skip

    async def work(client: httpx.AsyncClient) -> None:
        sent = form_of((await client.get("/compare")).text)
        assert sent["parameter"] == "spectral_norm"
        assert sent["reference"] == ""
        page = await client.get("/compare", params={**sent, "parameter": 'parameters."optimizer"'})
        assert "optimizer = sgd" in read(page).text
        # what was chosen stays, and can be taken back
        page = await client.get("/compare", params={"parameter": "optimizer", "reference": "sgd"})
        assert form_of(page.text)["reference"] == "sgd"
        assert re.search('<select id="reference".*?<option value="">as usual</option>', page.text)
        # an arm that no address can ask for is not offered
        offered = re.findall('<select id="reference".*?</select>', page.text)[0]
        assert sorted(re.findall('value="(.*?)"', offered)) == ["", "adam", "sgd"]

    browse(database_url, work)


@pytest.mark.parametrize(
    ("metric", "compared"), [("parameters.width", "width"), ("width", "width"), ("parameters.in.width", "in.width")]
)
def test_a_parameter_that_is_compared_is_not_what_trials_are_alike_in(
    database_url: str, metric: str, compared: str
) -> None:
    draw = random.Random(1)

    def width(arm: bool) -> float:
        return draw.gauss(1.0 if arm else 0.0, 1.0)

    fill(
        database_url,
        [
            report("run", f"t{at}", at, spectral_norm=(arm := at % 2 == 0), metrics={"loss": 1.0},
                   parameters={"width": width(arm), "in": {"width": width(arm)}, "lr": draw.random()})
            for at in range(400)
        ],
    )  # fmt: skip
    found = get(database_url, f"/compare.json?metric={metric}").json()["comparison"]
    (contrast,) = found["contrasts"]
    assert contrast["effect"]["shift"]["low"] > 0
    assert {one["parameter"] for one in contrast["balance"]} == {"width", "in.width", "lr"} - {compared}
    assert compared not in contrast["stratified"]["by"]


def test_a_metric_has_the_parameter_of_its_name_beside_it(database_url: str) -> None:
    draw = random.Random(1)
    fill(
        database_url,
        [
            report("run", f"t{at}", at, spectral_norm=at % 2 == 0, metrics={"width": draw.random()},
                   parameters={"width": draw.random(), "lr": draw.random()})
            for at in range(40)
        ],
    )  # fmt: skip
    for metric in ("width", "metrics.width"):
        (contrast,) = get(database_url, f"/compare.json?metric={metric}").json()["comparison"]["contrasts"]
        assert {one["parameter"] for one in contrast["balance"]} == {"width", "lr"}


@pytest.mark.parametrize(
    ("parameter", "others"),
    [
        ("spectral_norm", ["optimizer"]),
        ("parameters.spectral_norm", ["optimizer"]),
        ("optimizer", ["spectral_norm"]),
    ],
)
def test_spectral_norm_that_is_reported_as_a_parameter_too_is_one_parameter(
    database_url: str, parameter: str, others: list[str]
) -> None:
    draw = random.Random(1)
    fill(
        database_url,
        [
            report("run", f"t{at}", at, spectral_norm=(arm := at % 2 == 0), metrics={"loss": draw.gauss(arm, 1.0)},
                   parameters={"spectral_norm": arm, "optimizer": ["adam", "sgd"][at // 2 % 2]})
            for at in range(80)
        ],
    )  # fmt: skip
    found = get(database_url, f"/compare.json?metric=loss&parameter={parameter}").json()["comparison"]
    (contrast,) = found["contrasts"]
    assert [one["parameter"] for one in contrast["balance"]] == others
    assert not [text for text in contrast["warnings"] if "spectral_norm" in text]


@pytest.mark.parametrize("window", ["1h", "24h"])  # counted from rows, and while they are written
def test_what_another_program_wrote_is_no_default_where_it_is_true(database_url: str, window: str) -> None:
    written = [
        report("run", f"t{at}", at, metrics={"loss": at}, spectral_norm=at % 4 > 0, schema_version=None)
        for at in range(40)
    ]
    fill(database_url, written, "update cerebros_model_trials set inserted_at = now() - interval '1 minute'")

    async def work(client: httpx.AsyncClient) -> None:
        (span,) = (await client.get(f"/adoption.json?window={window}")).json()["spans"]
        assert (span["trials"], span["adopted"], span["defaulted"]) == (40, 30, 10)
        assert "10 did not say, and count as without it" in read(await client.get(f"/adoption?window={window}")).text
        found = (await client.get("/trials.json?q=spectral_norm_reported = false")).json()
        assert found["count"]["count"] == 10
        assert not any(trial["spectral_norm_reported"] or trial["spectral_norm"] for trial in found["trials"])
        found = (await client.get("/compare.json?metric=loss&defaulted=out")).json()["comparison"]
        assert [(arm["arm"], arm["trials"]) for arm in found["arms"]] == [("true", 30)]

    browse(database_url, work)


def test_figures_of_values_near_the_end_of_doubles_are_numbers_or_none(database_url: str) -> None:
    def metrics(at: int) -> dict[str, float]:
        far = (1.7e308 - at * 1e306) * (1 if at % 2 else -1)
        return {"far": far, "apart": 1.7e308 * (-1) ** (at // 2), "wide": 4e307 * (at // 2 % 5 - 2 + (at % 2))}

    fill(
        database_url,
        [report(f"run{at % 4 // 2}", f"t{at}", at, spectral_norm=at % 2 == 0, metrics=metrics(at)) for at in range(48)],
    )

    async def work(client: httpx.AsyncClient) -> None:
        for metric in ("far", "apart", "wide"):
            page = (await client.get(f"/compare?metric={metric}")).text
            page = page.replace("nan empty", "").replace("NaN or infinite", "")  # words of help
            assert not re.findall(r"(?i).{0,30}\b(?:nan|inf|infinity|infinite)\b.{0,30}", page), metric
            table = list(csv.reader(io.StringIO((await client.get(f"/compare.csv?metric={metric}")).text)))
            assert not [row for row in table if {"null", "inf", "-inf", "nan"} & set(row)]
        found = (await client.get("/compare.json?metric=far")).json()["comparison"]["contrasts"][0]
        assert found["effect"]["shift"] == {"estimate": None, "low": None, "high": None}  # 3e308 is no double
        assert found["effect"]["superiority"]["estimate"] in (0.0, 1.0)
        arms = (await client.get("/compare.json?metric=far")).json()["comparison"]["arms"]
        assert [arm["median"] for arm in arms] == pytest.approx([1.46e308, -1.47e308])
        arms = (await client.get("/compare.json?metric=apart")).json()["comparison"]["arms"]
        assert [arm["median"] for arm in arms] == [0.0, 0.0]

    browse(database_url, work)
