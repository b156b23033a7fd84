"""The ASGI application: what each path does, in the order in which a request is looked at."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from processor.core.errors import TransientError
from processor.core.metrics import (
    GATEWAY_CLOSED,
    GATEWAY_CONNECTIONS,
    GATEWAY_REPORTS,
    GATEWAY_REQUESTS,
    GATEWAY_SECONDS,
    REGISTRY,
)
from processor.gateway import answers
from processor.gateway.answers import Answer
from processor.gateway.bodies import AVRO, LINES, Budget, media_of, read_body
from processor.gateway.judging import Judge, is_avro
from processor.gateway.mlevents import judge_events
from processor.gateway.sending import Dispatch
from processor.gateway.times import read_times
from processor.gateway.values import Judged, Outcome, Parcel
from processor.web.guard import Guard
from processor.web.manners import OTHER, Manners
from processor.web.meters import Meters
from processor.web.refusals import NotTaken
from processor.web.tokens import METRICS, REPORT

EVENTS, REPORTS = "/api/events/ml", "/v1/reports"
#: a body of so many bytes, with so many commas and line ends (there is one between any two reports), is judged in some
#: milliseconds; a larger one in a thread, while the loop serves others: of 16 kB of broken lines it takes 200
AT_ONCE_BYTES, AT_ONCE_SEPARATORS = 16 * 1024, 200
#: verdicts that are told apart, counted and written in as long; more of them in a thread
AT_ONCE_VERDICTS = 200
#: threads that judge: more would only take the processor's time from each other
JUDGES = 2
METERS = Meters(GATEWAY_REQUESTS, GATEWAY_SECONDS, GATEWAY_CONNECTIONS, GATEWAY_CLOSED)
T = TypeVar("T")
Settled = list[tuple[Judged, Outcome | None]]
RESULTS = {word: GATEWAY_REPORTS.labels(word) for word in ("accepted", "rejected", "unconfirmed")}


class Limits(NamedTuple):
    """Of one request: bytes and seconds."""

    max_body_bytes: int
    body_s: float
    judge_s: float


class Gateway:
    """What the paths share. To be made in the event loop."""

    def __init__(
        self, judge: Judge, dispatch: Dispatch, guard: Guard, budget: Budget, limits: Limits, topic: str
    ) -> None:
        self._judge, self._dispatch, self._guard = judge, dispatch, guard
        self._budget, self._limits, self._topic = budget, limits, topic
        self.draining = False
        self._judges = ThreadPoolExecutor(JUDGES, "judge")
        self._avro_judges = ThreadPoolExecutor(JUDGES, "judge-avro")
        self._writers = ThreadPoolExecutor(1, "answer")  # not behind what is to be judged: what is sent is to be told

    async def events(self, request: Request) -> Response:
        """POST /api/events/ml."""
        self._query(request, ())
        settled, many = await self._through(request, lambda body, lines: _judge_events(self._judge, body, lines))
        if many:
            return await self._answered(settled, lambda: answers.events_answer(self._topic, settled))
        return _response(answers.event_answer(self._topic, *settled[0]))

    async def reports(self, request: Request) -> Response:
        """POST /v1/reports."""
        run_id = self._query(request, ("run_id",)).get("run_id")
        key = None if run_id is None else run_id.encode()
        times = read_times(request.headers)
        settled, _ = await self._through(
            request, lambda body, lines: (self._judge(body, lines=lines, key=key, times=times), True), avro=True
        )
        return await self._answered(settled, lambda: answers.reports_answer(self._topic, settled))

    def _query(self, request: Request, known: Sequence[str]) -> Mapping[str, str]:
        """A misspelt parameter would silently be none, and one of other bytes or of two values another run's."""
        try:
            query = request.scope["query_string"].decode("latin-1")
            given = parse_qsl(query, keep_blank_values=True, errors="strict")
        except UnicodeDecodeError:
            raise NotTaken(400, "invalid_parameter", "the query is not UTF-8, percent-encoded") from None
        names = [name for name, _ in given]
        unknown = sorted(set(names) - set(known))
        if unknown:
            raise NotTaken(400, "unknown_parameter", f"{unknown[0][:60]} is no parameter of this path")
        if len(set(names)) < len(names):
            raise NotTaken(400, "invalid_parameter", f"the parameter {names[0]} is there twice")
        return dict(given)

    async def _through(
        self, request: Request, judge: Callable[[bytes, bool], tuple[list[Judged], bool]], *, avro: bool = False
    ) -> tuple[Settled, bool]:
        """1. who it is; 2. what it says it sends; 3. the body; 4. judged; 5. in Kafka, confirmed. Raises `NotTaken`."""
        if self.draining:
            raise NotTaken(503, "draining", "the gateway is being stopped: send it to another")
        self._guard.check(request.headers, REPORT)
        media = media_of(request.headers)
        if media == AVRO and not avro:
            raise NotTaken(415, "unsupported_media_type", "events are JSON: send Avro to /v1/reports")
        limits = self._limits
        with self._budget.share() as share:
            body = await read_body(
                request.receive, request.headers, share, max_bytes=limits.max_body_bytes, timeout_s=limits.body_s
            )
            judged, many = await self._judged(body, lambda: judge(body, media == LINES))
            if not judged:
                raise NotTaken(400, "empty_value", "the body holds no report")
            outcomes = await self._dispatch.send([one for one in judged if isinstance(one, Parcel)])
            settled = await self._written(len(judged), lambda: _settle(judged, outcomes))
        return settled, many

    async def _judged(self, body: bytes, work: Callable[[], tuple[list[Judged], bool]]) -> tuple[list[Judged], bool]:
        framed = is_avro(body)
        if not framed and _is_small(body):
            return work()
        judges: Executor = self._avro_judges if framed else self._judges
        try:
            async with asyncio.timeout(self._limits.judge_s):
                return await asyncio.get_running_loop().run_in_executor(judges, work)
        except (TimeoutError, TransientError) as error:
            details = f"it could not be judged: {error}" if str(error) else "it could not be judged in time"
            raise NotTaken(503, "overloaded", details) from None

    async def _answered(self, settled: Settled, make: Callable[[], Answer]) -> Response:
        return await self._written(len(settled), lambda: _response(make()))

    async def _written(self, verdicts: int, work: Callable[[], T]) -> T:
        """What is made of so many verdicts, beside the loop where they are many."""
        if verdicts <= AT_ONCE_VERDICTS:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._writers, work)

    async def metrics(self, request: Request) -> Response:
        self._guard.check(request.headers, METRICS)
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    def close(self) -> None:
        for threads in (self._judges, self._avro_judges, self._writers):
            threads.shutdown(wait=False, cancel_futures=True)


def _is_small(body: bytes) -> bool:
    separators = body.count(b",") + body.count(b"\n") if len(body) <= AT_ONCE_BYTES else AT_ONCE_SEPARATORS + 1
    if separators > AT_ONCE_SEPARATORS:
        return False
    # what an envelope holds is judged with each of its reports: of 2 kB around 190 of them that takes 80 ms
    return b'"trials"' not in body or len(body) * (separators + 1) <= AT_ONCE_BYTES


def _settle(judged: Sequence[Judged], outcomes: Sequence[Outcome]) -> Settled:
    """What became of each, counted."""
    settled = answers.settle(judged, outcomes)
    counts: Counter[str] = Counter()
    for one, outcome in settled:
        counts[answers.word_for(one, outcome)] += len(one.ids) if isinstance(one, Parcel) else 1
    for word, number in counts.items():
        RESULTS[word].inc(number)
    return settled


def _judge_events(judge: Judge, body: bytes, lines: bool) -> tuple[list[Judged], bool]:
    """The events, and whether they were sent as many: one that comes alone is answered alone."""
    many = lines or body.lstrip(b" \t\r\n")[:1] == b"["
    pieces = judge.pieces(body, lines=lines)
    return list(judge_events(judge, pieces)), many or len(pieces) != 1


def make_app(
    gateway: Gateway, *, alive: Callable[[], bool], ready: Callable[[], bool], openapi: bytes, write_s: float
) -> ASGIApp:
    """`alive` and `ready` are what the probes are told; `openapi` is the document of /openapi.json."""

    async def live(_: Request) -> Response:
        return _probe(alive())

    async def is_ready(_: Request) -> Response:
        return _probe(ready() and not gateway.draining)

    async def describe(_: Request) -> Response:
        return Response(openapi, media_type="application/json")

    routes = [
        Route(EVENTS, gateway.events, methods=["POST"]),
        Route(REPORTS, gateway.reports, methods=["POST"]),
        Route("/openapi.json", describe),
        Route("/live", live),
        Route("/ready", is_ready),
        Route("/metrics", gateway.metrics),
    ]
    paths = frozenset(route.path for route in routes)
    application = Starlette(routes=routes, exception_handlers={NotTaken: _not_taken, HTTPException: _no_such})
    application.router.redirect_slashes = False  # a redirect would make a POST a GET
    return Manners(
        application, lambda path: path if path in paths else OTHER, METERS, name="the gateway", write_s=write_s
    )


def _probe(fine: bool) -> Response:
    return Response(b"ok\n" if fine else b"not now\n", 200 if fine else 503, media_type="text/plain")


def _response(answer: Answer) -> Response:
    return Response(
        answers.to_json(answer.document), answer.status, dict(answer.headers), media_type="application/json"
    )


async def _not_taken(_: Request, error: Exception) -> Response:
    assert isinstance(error, NotTaken)
    document = {"success": False, "error": error.error, "details": error.details}
    return _response(Answer(error.status, document, error.headers))


async def _no_such(request: Request, error: Exception) -> Response:
    """404 and 405."""
    assert isinstance(error, HTTPException)
    method = error.status_code == 405
    details = f"{request.method} is not what this path is for" if method else f"there are POST {REPORTS}, POST {EVENTS}"
    document: dict[str, Any] = {
        "success": False,
        "error": "method_not_allowed" if method else "not_found",
        "details": details,
    }
    return _response(Answer(error.status_code, document, error.headers or {}))
