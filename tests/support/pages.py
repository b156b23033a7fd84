"""The dashboard's pages as a browser meets them: asked for over HTTP, links followed, what is in them looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from html.parser import HTMLParser
from typing import Any, TypeVar

import asyncpg
import httpx

from processor.core.numbers import to_json
from processor.dashboard.pages.app import Dashboard, make_app
from processor.dashboard.pages.openapi import make_openapi
from processor.dashboard.pages.views import Site
from processor.dashboard.queries.pool import open_pool
from processor.store.connection import prepare
from processor.web.guard import Guard
from tests.support.trials import INSERT, START

T = TypeVar("T")
ANYBODY = Guard(None)
#: elements that have no end
VOID = frozenset({"meta", "link", "input", "br"})
#: what may stand in an attribute that leads somewhere
SAFE = ("/", "?", "#", "http://", "https://", "s3://", "data:,")

SCRIPTS = ("/static/live.js?v=", "/static/brushing.js?v=")


class Read(HTMLParser):
    """A page, read strictly: elements left open, scripts but our files, handlers and odd links are complaints."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.complaints: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            self.complaints.append(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        if tag == "script" and not (dict(attrs).get("src") or "").startswith(SCRIPTS):
            self.complaints.append("there is a script that is none of our files")
        if tag in ("iframe", "object", "embed", "base", "img", "foreignobject"):
            self.complaints.append(f"there is a {tag}")
        given = dict(attrs)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.complaints.append(f"{tag} has {name}={value}")
            if name in ("href", "action", "src") and value and not value.startswith(SAFE):
                self.complaints.append(f"{tag} leads to {value}")
        if tag == "a" and given.get("href"):
            self.links.append((given.get("rel") or "", str(given["href"])))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.complaints.append(f"</{tag}> closes nothing")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.complaints.append(f"a script says {data}")
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def link(self, rel: str) -> str | None:
        return next((href for found, href in self.links if found == rel), None)


def read(answer: httpx.Response, status: int = 200) -> Read:
    """The page, without a complaint."""
    assert answer.status_code == status, answer.text[:2000]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    found = Read(answer.text)
    assert found.complaints == []
    return found


def browse(
    url: str,
    work: Callable[[httpx.AsyncClient], Awaitable[T]],
    *,
    guard: Guard = ANYBODY,
    timeout_ms: int = 10_000,
    mlflow_url: str | None = None,
    patience_s: float = 60.0,
    **options: Any,
) -> T:
    """What a coroutine function makes of a client of the dashboard on this database, all in this process."""

    async def with_client() -> T:
        async with open_pool(url, timeout_ms=timeout_ms, **options) as pool:
            site = Site(pool, timeout_ms=timeout_ms, mlflow_url=mlflow_url, patience_s=patience_s)
            openapi = make_openapi(with_tokens=False)
            dashboard = Dashboard(site, guard, alive=lambda: True, ready=lambda: True, openapi=openapi)
            transport = httpx.ASGITransport(app=make_app(dashboard, write_s=10.0))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
                found = await work(client)
            assert site.exports == 0
            return found

    return asyncio.run(with_client())


def get(url: str, path: str, **options: Any) -> httpx.Response:
    """One page."""
    return browse(url, lambda client: client.get(path), **options)


def fill(url: str, reports: list[dict[str, Any]], *statements: str) -> None:
    """Runs and trials of these reports, then whatever else."""

    async def work() -> None:
        connection = await asyncpg.connect(url)
        await prepare(connection, {})
        for run_id in dict.fromkeys(report["run_id"] for report in reports):
            await connection.execute(
                "insert into cerebros_model_runs (run_id, state) values ($1, 'running') on conflict do nothing", run_id
            )
        await connection.execute(INSERT, to_json(reports), START)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(work())


def slowed(seconds: int) -> tuple[str, str]:
    """Statements that make whoever asks for trials wait so long."""
    return (
        "alter table cerebros_model_trials rename to held",
        f"create view cerebros_model_trials as select * from held where (select pg_sleep({seconds})::text) is not null",
    )


def report(run_id: str, trial_id: str, place: int = 0, **more: Any) -> dict[str, Any]:
    said = {"status": "succeeded", "metrics": {"accuracy": 0.5}, "parameters": {"lr": 0.1}, "spectral_norm": True}
    return {
        "run_id": run_id,
        "trial_id": trial_id,
        "place": place,
        "duration_ms": 5,
        "schema_version": 3,
        **said,
        **more,
    }
