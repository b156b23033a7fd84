"""A view -> a response in the form that was asked for; what goes wrong -> a sentence in the same form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from processor.core.metrics import DASHBOARD_EXPORTS
from processor.core.numbers import to_json
from processor.dashboard.exports import line
from processor.dashboard.pages.paths import Form
from processor.dashboard.pages.rendering import render
from processor.dashboard.pages.views import EXPORTS, Site, View
from processor.web.refusals import NotTaken

#: no script but our files, no frame, nothing from elsewhere: what a trial's text holds can do nothing, even if it got
#: through
POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}
MEDIA = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/x-ndjson",
}


class Failure(NamedTuple):
    """What went wrong: a status, a code for programs, a sentence; `place` is where in the filter, from 0."""

    status: int
    error: str
    details: str
    place: int | None = None
    headers: Mapping[str, str] = {}


def answer(view: View, form: Form, template: str, context: Mapping[str, Any]) -> Response:
    """`context` is what every page needs: its `title`, and its `path` for the links to its other forms."""
    if form == "json":
        return _response(to_json(view.document), form, view.status)
    if form == "csv":
        table = view.table()
        body = b"".join(map(line, [table.names, *table.rows]))
        return _response(body, form, view.status)
    return _response(render(template, {**context, **view.context}), form, view.status)


def tell(failure: Failure, form: Form, context: Mapping[str, Any]) -> Response:
    """The failure in the form that was asked for; `context` is what the page's template of failures may show."""
    headers = dict(failure.headers)
    if form == "html":
        body = render("failure.html", {"failure": failure, **context})
        return _response(body, "html", failure.status, headers)
    document = {"success": False, "error": failure.error, "details": failure.details}
    if failure.place is not None:
        document["place"] = failure.place
    return _response(to_json(document), "json", failure.status, headers)


async def stream(site: Site, portions: AsyncIterator[bytes], form: Form, name: str) -> Response:
    """An export, portion by portion. The first is there before the answer begins: what fails at once has a status.

    What fails later breaks the connection off, so that nobody takes a part for all of it. Raises `NotTaken` where
    too many are being read.
    """
    if site.exports >= EXPORTS:
        raise NotTaken(503, "overloaded", f"{EXPORTS} exports are being read: try again")
    site.exports += 1
    DASHBOARD_EXPORTS.set(site.exports)
    try:
        first = await anext(portions, b"")
    except BaseException:
        _end(site)
        raise

    async def all_of_it() -> AsyncIterator[bytes]:
        yield first
        async for portion in portions:
            yield portion

    file = {"content-disposition": f'attachment; filename="{name}.{form}"'}
    return _Export(site, all_of_it(), 200, {**HEADERS, **file}, media_type=MEDIA[form])


class _Export(StreamingResponse):
    """Counted until it has ended, also where nobody has read a byte of it."""

    def __init__(self, site: Site, *what: Any, **more: Any) -> None:
        super().__init__(*what, **more)
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            _end(self._site)


def _end(site: Site) -> None:
    site.exports -= 1
    DASHBOARD_EXPORTS.set(site.exports)


def _response(body: bytes, form: Form, status: int, headers: Mapping[str, str] = {}) -> Response:
    return Response(body, status, {**HEADERS, **headers}, media_type=MEDIA[form])
