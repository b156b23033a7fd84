"""`/changes`: a stream of server-sent events that says when a page may look different; and pages for who watches.

event: changed   data: a version, to be sent back as `x-version` with the request for the page
event: away      Postgres does not answer; `changed` follows once it does
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from processor.core.metrics import DASHBOARD_WATCHING
from processor.dashboard.changes import MOST, Changes, News
from processor.dashboard.pages.answers import HEADERS
from processor.dashboard.pages.views import Site
from processor.web.refusals import NotTaken

#: what a version may look like at the most
LONGEST_VERSION = 200
#: an entity tag of a list; whether it is weak makes no difference to who only wants what is new
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def stream_changes(changes: Changes, method: str) -> Response:
    """Raises `NotTaken` where too many watch."""
    headers = {**HEADERS, "cache-control": "no-store", "x-accel-buffering": "no"}
    if method == "HEAD":
        return Response(headers=headers, media_type="text/event-stream")
    if not changes.enter():
        raise NotTaken(503, "overloaded", f"{MOST} pages are being watched already")
    return _Watched(changes, headers)


class _Watched(StreamingResponse):
    """Counted until it has ended, whichever side ends it."""

    def __init__(self, changes: Changes, headers: Mapping[str, str]) -> None:
        super().__init__(_events(changes), 200, headers, media_type="text/event-stream")
        self._changes = changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        DASHBOARD_WATCHING.set(self._changes.watching)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._changes.leave()
            DASHBOARD_WATCHING.set(self._changes.watching)


async def _events(changes: Changes) -> AsyncIterator[bytes]:
    yield b"retry: 2000\n\n"
    async for news in changes.watch():
        yield _line(news)


def _line(news: News | None) -> bytes:
    if news is None:
        return b": nothing new\n\n"
    return b"event: away\ndata:\n\n" if news.version is None else f"event: changed\ndata: {news.version}\n\n".encode()


def is_watching(request: Request) -> bool:
    return "x-version" in request.headers and request.method == "GET"


async def for_watchers(site: Site, request: Request, show: Callable[[], Awaitable[Response]]) -> Response:
    """The page; made once for all who watch it at one version, and not sent to who has it already."""
    version = request.headers["x-version"]
    path, query = request.scope["raw_path"], request.scope["query_string"]
    response: Response = await site.watched.get((path, query, version[:LONGEST_VERSION]), show)
    tag = f'"{hashlib.blake2b(response.body, digest_size=12).hexdigest()}"'
    if _has(tag, request.headers.getlist("if-none-match")):
        return Response(status_code=304, headers={**HEADERS, "etag": tag})
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(response.body, response.status_code, {**headers, "etag": tag})


def _has(tag: str, said: Sequence[str]) -> bool:
    """Whether If-None-Match names the tag: in a list, as a weak one, or as any (RFC 9110, 13.1.2)."""
    whole = ",".join(said).strip()
    return whole == "*" or tag in _TAG.findall(whole)
