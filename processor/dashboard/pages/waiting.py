"""A page that takes longer than a moment begins before it is known: its head and a line that says so, then the rest.

Without a script: the rest is the end of the same answer, and the style sheet hides the line as soon as something
follows it. What goes wrong after the beginning is told where the rest would be; the status was sent by then, and only
our own counting of requests learns of the better one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from processor.dashboard.pages.answers import HEADERS, MEDIA
from processor.dashboard.pages.rendering import beginning, render, rest
from processor.web.manners import TOLD


def begin_page(template: str, context: Mapping[str, Any]) -> bytes:
    """What the page begins with, for which its `title` is enough, and what is seen of it until the rest comes."""
    return beginning(template, context) + render("waiting.html", {})


async def in_time(
    request: Request,
    show: Callable[[], Awaitable[Response]],
    begin: Callable[[], bytes],
    failed: Callable[[Exception], Response],
    patience_s: float,
) -> Response:
    """The page of `show`; begun before it is there where it takes longer than `patience_s`.

    `failed` makes a page of what is raised after that; what is raised before is raised here.
    """
    task = asyncio.ensure_future(show())
    try:
        done, _ = await asyncio.wait([task], timeout=patience_s)
    except BaseException:
        task.cancel()
        raise
    if done:
        return task.result()

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield begin()
            await asyncio.wait([task])
            error = task.exception()
            page = failed(error) if isinstance(error, Exception) else task.result()
            request.scope[TOLD] = page.status_code
            yield rest(bytes(page.body))
        finally:
            task.cancel()

    return StreamingResponse(parts(), 200, {**HEADERS, "x-accel-buffering": "no"}, media_type=MEDIA["html"])
