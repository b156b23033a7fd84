"""The ASGI application: in which order a request is looked at, and which view each path has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from processor.core.errors import FatalError, TransientError, Trouble, UsageError
from processor.core.metrics import (
    DASHBOARD_CLOSED,
    DASHBOARD_CONNECTIONS,
    DASHBOARD_REQUESTS,
    DASHBOARD_SECONDS,
    REGISTRY,
)
from processor.dashboard.filters.tree import FilterError
from processor.dashboard.pages import adoption, beside, charts, compare, going, health, run, runs, trial, trials
from processor.dashboard.pages.answers import HEADERS, MEDIA, Failure, answer, stream, tell
from processor.dashboard.pages.paths import Place, label_of, read_path
from processor.dashboard.pages.views import NotFound, Page, Pairs, Question, Site
from processor.dashboard.pages.waiting import begin_page, in_time
from processor.dashboard.pages.watching import for_watchers, is_watching, stream_changes
from processor.store.errors import ReportError
from processor.web.guard import Guard
from processor.web.manners import Manners
from processor.web.meters import Meters
from processor.web.refusals import RETRY_SECONDS, NotTaken
from processor.web.tokens import METRICS, READ

log = structlog.get_logger(__name__)

METERS = Meters(DASHBOARD_REQUESTS, DASHBOARD_SECONDS, DASHBOARD_CONNECTIONS, DASHBOARD_CLOSED)
#: parameters of a query at the most: more than a form has boxes, so that too many ticks are told as such
MOST_PARAMETERS = 600
PAGES: Mapping[str, Page] = {
    "runs": Page("runs.html", "Runs", runs.show_runs),
    "run": Page("run.html", None, run.show_run, run.export_run, slow=True),
    "trials": Page("trials.html", "Trials", trials.show_trials, trials.export_all, slow=True),
    "trial": Page("trial.html", None, trial.show_trial),
    "side-by-side": Page("beside.html", "Side by side", beside.show_beside),
    "compare": Page("compare.html", "Compare arms", compare.show_comparison, slow=True, together=True),
    "charts": Page("charts.html", "Charts", charts.show_charts, slow=True, together=True),
    "adoption": Page("adoption.html", "Adoption", adoption.show_adoption),
    "health": Page("health.html", "Health", health.show_health),
}
FILES = {
    "dashboard.css": "text/css; charset=utf-8",
    "charts.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "brushing.js": "text/javascript; charset=utf-8",
    "bounds.js": "text/javascript; charset=utf-8",
    "listening.js": "text/javascript; charset=utf-8",
    "shared.js": "text/javascript; charset=utf-8",
    "returning.js": "text/javascript; charset=utf-8",
    "patching.js": "text/javascript; charset=utf-8",
    "controls.js": "text/javascript; charset=utf-8",
    "columns.js": "text/javascript; charset=utf-8",
}


class Dashboard:
    """The pages, the probes, the files that pages need."""

    def __init__(
        self, site: Site, guard: Guard, *, alive: Callable[[], bool], ready: Callable[[], bool], openapi: bytes
    ) -> None:
        self._site, self._guard = site, guard
        self._alive, self._ready, self._openapi = alive, ready, openapi
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        """1. what is asked for; 2. whether it may be; 3. the view; whatever goes wrong is told in its form."""
        place = read_path(request.scope["raw_path"].decode("latin-1"))
        form = place.form if place else "html"
        asked = request.scope["query_string"].decode("latin-1")
        try:
            if request.method not in ("GET", "HEAD"):
                raise NotTaken(405, "method_not_allowed", "pages are only read", headers={"allow": "GET, HEAD"})
            if place is None:
                self._guard.check(request.headers, READ)
                raise NotFound("there is no such page")
            return await self._at(place, request, asked)
        except Exception as error:
            failure = failure_of(error, self._site.timeout_ms)
            if failure is None:
                raise
            return tell(failure, form, _context_of(request, asked))

    async def _at(self, place: Place, request: Request, asked: str) -> Response:
        if place.name in ("live", "ready"):
            fine = self._alive() if place.name == "live" else self._ready() and not self.draining
            return Response(b"ok\n" if fine else b"not now\n", 200 if fine else 503, media_type="text/plain")
        self._guard.check(request.headers, METRICS if place.name == "metrics" else READ)
        if place.name == "metrics":
            return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)
        if place.name == "openapi.json":
            return Response(self._openapi, headers=HEADERS, media_type="application/json")
        if place.name == "static":
            return _file(place.ids[0])
        if self.draining:
            raise NotTaken(503, "draining", "the dashboard is being stopped")
        question = Question(place.ids, _pairs(asked))
        if place.name == "changes":
            return stream_changes(self._site.changes, request.method)
        if place.name == "go":
            return RedirectResponse(await going.find(self._site, question), 303, HEADERS)
        page = PAGES[place.name]
        if place.form in ("csv", "jsonl") and page.export is not None:
            if request.method == "HEAD":  # the length of an export is known once it is read
                return Response(headers=HEADERS, media_type=MEDIA[place.form])
            return await stream(self._site, page.export(self._site, question, place.form), place.form, place.name)
        if place.form == "jsonl":
            raise NotFound("this page has no JSON lines: take .json or .csv")
        path = request.scope["raw_path"].decode("latin-1")
        context = {"title": page.title or place.ids[-1], "path": path}

        async def show() -> Response:
            return answer(await page.view(self._site, question), place.form, page.template, context)

        if is_watching(request):
            return await for_watchers(self._site, request, show)
        if not page.slow or place.form != "html" or request.method == "HEAD":
            return await show()
        begin = partial(begin_page, page.template, context)
        return await in_time(request, show, begin, partial(self._told, request, asked), self._site.patience_s)

    def _told(self, request: Request, asked: str, error: Exception) -> Response:
        """A page that has begun already ends with what went wrong, also where that is a defect."""
        failure = failure_of(error, self._site.timeout_ms)
        if failure is None:
            log.error("request_failed", path=request.scope["path"][:200], exc_info=error)
            failure = Failure(500, "internal", "the dashboard failed; its log says how")
        return tell(failure, "html", _context_of(request, asked))


def _pairs(asked: str) -> Pairs:
    try:
        return parse_qsl(asked, keep_blank_values=True, max_num_fields=MOST_PARAMETERS, errors="strict")
    except UnicodeDecodeError:  # read on with what is no character, it would ask something else
        raise UsageError("the query is not UTF-8, percent-encoded") from None
    except ValueError:
        raise UsageError(f"a query has at most {MOST_PARAMETERS} parameters") from None


def _context_of(request: Request, asked: str) -> dict[str, Any]:
    """What a page about a failure may show: the filter as it came, where to send a better one, and with what."""
    try:
        pairs = _pairs(asked)
    except UsageError:
        pairs = []
    # a place in the list of another filter is none in that of this one
    kept = [pair for pair in pairs if pair[0] not in ("q", "after")]
    path = request.scope["raw_path"].decode("latin-1")
    return {"title": "That did not work", "filter": dict(pairs).get("q", ""), "kept": kept, "path": path}


def failure_of(error: Exception, timeout_ms: int) -> Failure | None:
    """What is told of an error; None: it is a defect."""
    if isinstance(error, NotTaken):
        return Failure(error.status, error.error, error.details, headers=error.headers)
    if isinstance(error, NotFound):
        return Failure(404, "not_found", str(error))
    if isinstance(error, FilterError):
        return Failure(400, "filter", str(error), place=error.at)
    if isinstance(error, (UsageError, ReportError)):
        return Failure(400, "usage", str(error))
    if isinstance(error, TransientError) and error.trouble is Trouble.WORK:
        details = (
            f"the answer takes longer than {timeout_ms / 1000:g} s, or the database ended the question: "
            f"ask about fewer trials, of one run or of a shorter time ({error})"
        )
        details = "; ".join([details, *getattr(error, "__notes__", ())])
        return Failure(503, "too_much", details, headers={"retry-after": str(RETRY_SECONDS)})
    if isinstance(error, (TransientError, FatalError)):
        return Failure(503, "unavailable", str(error), headers={"retry-after": str(RETRY_SECONDS)})
    return None


@cache
def _read(name: str) -> bytes:
    return (resources.files("processor.dashboard.pages") / "static" / name).read_bytes()


def _file(name: str) -> Response:
    if name not in FILES:
        raise NotFound("there is no such file")
    return Response(_read(name), headers={**HEADERS, "cache-control": "max-age=3600"}, media_type=FILES[name])


def make_app(dashboard: Dashboard, *, write_s: float) -> ASGIApp:
    return Manners(dashboard, label_of, METERS, name="the dashboard", write_s=write_s)
