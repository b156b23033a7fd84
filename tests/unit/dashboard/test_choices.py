"""The form of a comparison: it offers what does something."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from processor.dashboard.pages import compare
from processor.dashboard.pages.rendering import render


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ({}, True),
        ({"parameter": "spectral_norm"}, True),
        ({"parameter": "optimizer"}, False),
        ({"parameter": "parameters.spectral_norm"}, False),
        # an old link: what was asked for can be taken back
        ({"parameter": "optimizer", "defaulted": "out"}, True),
    ],
)
def test_who_did_not_say_can_be_left_out_where_rows_are_defaulted_or_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], offered: bool
) -> None:
    async def nothing(*_: Any) -> list[Any]:
        return []

    monkeypatch.setattr(compare, "unknown_names", nothing)
    site, question = SimpleNamespace(keys_of=nothing), SimpleNamespace(pairs=list(asked.items()))
    view = asyncio.run(compare.show_comparison(cast(Any, site), cast(Any, question)))
    page = render("compare.html", {**view.context, "title": "Compare arms", "path": "/compare"}).decode()
    assert ('name="defaulted"' in page) == offered
