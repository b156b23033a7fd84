"""What one part of a page says beside what another says of the same trials: columns and filters, forms and what they
send, figures and their pictures.
"""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.support.pages import browse, fill, get, report

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
