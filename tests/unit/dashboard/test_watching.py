"""A page is not sent once more to who has it, however it says so (RFC 9110, 13.1.2)."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.responses import Response

from processor.dashboard.pages.views import Site
from processor.dashboard.pages.watching import for_watchers


class _Watched:
    async def get(self, _: object, show: Any) -> Response:
        return cast(Response, await show())


class _Site:
    watched = _Watched()


def asked(*said: str) -> Response:
    headers = [(b"x-version", b"1"), *((b"if-none-match", one.encode()) for one in said)]
    scope = {"type": "http", "method": "GET", "raw_path": b"/trials", "query_string": b"", "headers": headers}

    async def show() -> Response:
        return Response(b"the page")

    return asyncio.run(for_watchers(cast(Site, _Site()), Request(scope), show))


TAG = asked().headers["etag"]


@pytest.mark.parametrize(
    "said",
    [
        [TAG],
        [f"W/{TAG}"],
        ["*"],
        [" * "],
        [f'"other", {TAG}'],
        [f'W/"a,b",W/{TAG} , "c"'],
        ['"other"', TAG],
        [f'"", {TAG}'],
    ],
)
def test_who_names_the_page_s_tag_in_any_way_is_not_sent_it_again(said: list[str]) -> None:
    response = asked(*said)
    assert (response.status_code, response.body, response.headers["etag"]) == (304, b"", TAG)


@pytest.mark.parametrize(
    "said", [[], [""], ['"other"'], [TAG.strip('"')], [f"{TAG[:-1]}x"], ['"*"'], ["W/"], ['"' + TAG]]
)
def test_who_names_no_such_tag_is_sent_the_page(said: list[str]) -> None:
    response = asked(*said)
    assert (response.status_code, response.body) == (200, b"the page")
