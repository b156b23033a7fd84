"""A page that takes long is begun before it is there: what comes is the same, what goes wrong is told in it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from processor.core.metrics import DASHBOARD_REQUESTS
from processor.dashboard.pages import app
from processor.dashboard.pages.paths import run_path
from processor.dashboard.pages.rendering import render
from processor.dashboard.pages.views import Page, Question, Site, View
from processor.dashboard.pages.waiting import in_time
from tests.support.pages import browse, fill, get, read, report, slowed
from tests.support.trials import trials

RUN = '</title><main id="main">'
SLOW = ["/charts", "/compare", "/compare?validity=always", "/trials?sort=-accuracy", run_path(RUN)]
WAITING = render("waiting.html", {}).decode()


@pytest.fixture
def filled_url(database_url: str) -> str:
    fill(database_url, [*trials()[:60], report(RUN, "1")])
    return database_url


@pytest.mark.parametrize("path", SLOW)
def test_a_page_that_has_begun_is_the_page(filled_url: str, path: str) -> None:
    whole = get(filled_url, path)
    begun = get(filled_url, path, patience_s=0)
    assert WAITING not in whole.text
    read(begun)
    assert begun.text.replace(WAITING, "") == whole.text
    before, _, _ = begun.text.partition(WAITING)
    assert before.endswith("</header>\n")
    assert "content-length" in whole.headers
    assert "content-length" not in begun.headers


@pytest.mark.parametrize("path", ["/", "/adoption", "/health", "/charts.json", "/compare.csv"])
def test_what_is_quick_or_for_programs_comes_whole(filled_url: str, path: str) -> None:
    answer = get(filled_url, path, patience_s=0)
    assert "content-length" in answer.headers
    assert WAITING not in answer.text


def counted(name: str, status: int) -> float:
    return float(DASHBOARD_REQUESTS.labels(name, status)._value.get())


@pytest.mark.parametrize(
    ("path", "name", "status", "words"),
    [
        ("/compare?metric=accuracy&reference=no-such-arm", "compare", 400, "no-such-arm"),
        ("/runs/no-such-run", "run", 404, "there is no run no-such-run"),
    ],
)
def test_what_goes_wrong_is_told_in_the_page_and_counted_as_what_it_is(
    filled_url: str, path: str, name: str, status: int, words: str
) -> None:
    whole = get(filled_url, path)
    assert whole.status_code == status
    before = counted(name, status)
    begun = get(filled_url, path, patience_s=0)
    assert words in read(begun).text.casefold()
    assert WAITING in begun.text
    assert counted(name, status) == before + 1


@pytest.mark.parametrize("path", ["/charts?q=lr+%3D%3D", "/compare?better=odd", "/charts?by=luck"])
def test_what_nobody_has_to_read_for_is_refused_at_once(filled_url: str, path: str) -> None:
    read(get(filled_url, path, patience_s=0), 400)


def test_a_question_that_takes_too_long_ends_the_page_with_a_sentence(database_url: str) -> None:
    fill(
        database_url,
        [report("run", "1")],
        *slowed(60),
    )
    before = counted("charts", 503)
    answer = get(database_url, "/charts", timeout_ms=4000, patience_s=0.1)
    assert "ask about fewer trials" in read(answer).text
    assert counted("charts", 503) == before + 1


def test_a_defect_ends_the_page_with_a_sentence_too(filled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(site: Site, question: Question) -> View:
        await asyncio.sleep(0.2)
        raise RuntimeError("secret")

    monkeypatch.setattr(app, "PAGES", {**app.PAGES, "charts": Page("charts.html", "Charts", fail, slow=True)})
    before = counted("charts", 500)
    answer = get(filled_url, "/charts", patience_s=0)
    assert "The dashboard failed" in read(answer).text
    assert "secret" not in answer.text
    assert counted("charts", 500) == before + 1


def test_a_head_says_what_the_page_would(filled_url: str) -> None:
    async def work(client: httpx.AsyncClient) -> httpx.Response:
        return await client.head("/runs/no-such-run")

    assert browse(filled_url, work, patience_s=0).status_code == 404


@dataclass
class Slow:
    """A page that never comes."""

    ended: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def show(self) -> Response:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.ended = True
        return Response()


@pytest.mark.parametrize("when", ["before it begins", "while it waits"])
def test_who_goes_away_ends_the_page(when: str) -> None:
    async def work() -> None:
        slow, sent = Slow(), asyncio.Event()
        scope: dict[str, Any] = {"type": "http", "method": "GET", "headers": []}

        async def receive() -> dict[str, Any]:
            await sent.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message.get("body"):
                sent.set()

        patience = 60 if when == "before it begins" else 0
        request = Request(scope, receive)
        waiting = asyncio.create_task(in_time(request, slow.show, lambda: b"begun", lambda _: Response(), patience))
        if patience:
            await slow.begun.wait()
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        else:
            await (await waiting)(scope, receive, send)
        await asyncio.sleep(0)
        assert slow.ended

    asyncio.run(work())
