"""`processor dashboard` as a process: Postgres -> pages over HTTP."""

from __future__ import annotations

import asyncio
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import structlog

from processor.core.errors import SetupError
from processor.core.settings import PREFIX, DashboardSettings
from processor.core.stopping import Stop, stop_on_signals
from processor.dashboard.changes import ask_version
from processor.dashboard.pages.app import METERS, Dashboard, make_app
from processor.dashboard.pages.openapi import make_openapi
from processor.dashboard.pages.views import Site
from processor.dashboard.queries.pool import open_pool
from processor.dashboard.reach import Reach
from processor.service.health import Health, serve_health
from processor.service.start import STUCK_SECONDS, StartWatch, spare_collections
from processor.store.migrations import check_migrated
from processor.store.session import Session
from processor.web.guard import Guard, is_loopback, names_of_loopback
from processor.web.places import Connections, Times
from processor.web.server import BoundedServer, address_of, configure, listen, most_connections, run
from processor.web.tokens import DASHBOARD, Keyring

log = structlog.get_logger(__name__)

#: a head, the pause between requests, and a request as a whole: an export of millions of trials takes its time, and
#: whoever does not read on is cut off by `WRITE_SECONDS`
TIMES = Times(head=10.0, idle=75.0, whole=6 * 3600.0)
WRITE_SECONDS = 20.0
#: connections beside those of the pages: who asks what has changed, and who asks whether Postgres is there
ASIDE = 2


class _Parts(NamedTuple):
    settings: DashboardSettings
    guard: Guard
    opened: socket.socket
    stop: Stop
    health: Health
    watch: StartWatch


def run_dashboard(settings: DashboardSettings, *, with_stdin: bool = False) -> None:
    """Serves until a signal, or the end of `with_stdin`; raises `FatalError` where it can't go on.

    It listens from the start on, also while Postgres is down: pages say so, and /ready says no.
    """
    sys.setswitchinterval(0.0005)  # as long as the loop may have to wait for a thread that compares arms
    guard = make_guard(settings)
    opened = listen(settings.dashboard_listen, "DASHBOARD_LISTEN")
    with (
        stop_on_signals(with_stdin=with_stdin) as stop,
        serve_health(settings.metrics_port, STUCK_SECONDS, settings.metrics_host) as health,
        ThreadPoolExecutor(1, "server") as thread,
    ):
        watch = StartWatch("watch-database", lambda: _check_database(settings), health, stop)
        watch.start()
        parts = _Parts(settings, guard, opened, stop, health, watch)
        spare_collections()
        try:
            thread.submit(run, lambda: _serve(parts)).result()
        finally:
            stop.set("the server has ended")
            opened.close()
    stop.tell()
    log.info("dashboard_stopped")
    if watch.failure:
        raise watch.failure


def _check_database(settings: DashboardSettings) -> None:
    """That it is there and up to date."""
    url = settings.dashboard_database.get_secret_value()
    with Session(url, timeout_ms=settings.dashboard_timeout_ms, application="cerebros-dashboard") as session:
        check_migrated(session)


def make_guard(settings: DashboardSettings) -> Guard:
    """Raises `SetupError` where anybody could look without a token and nobody has said that this is meant."""
    host = settings.dashboard_listen.rpartition(":")[0]
    if settings.dashboard_tokens_file is not None:
        return Guard(Keyring(settings.dashboard_tokens_file, DASHBOARD), basic=True)
    if is_loopback(host):
        return Guard(None, names_of_loopback(host))
    if not settings.dashboard_allow_anyone:
        raise SetupError(
            f"{PREFIX}DASHBOARD_LISTEN {settings.dashboard_listen} is reached from elsewhere, and there are no tokens: "
            f"set {PREFIX}DASHBOARD_TOKENS_FILE (`processor dashboard-token` makes its lines), or "
            f"{PREFIX}DASHBOARD_ALLOW_ANYONE=true where anybody there may look"
        )
    return Guard(None)


async def _serve(parts: _Parts) -> None:
    settings, stop, health = parts.settings, parts.stop, parts.health
    timeout_ms = settings.dashboard_timeout_ms
    url = settings.dashboard_database.get_secret_value()
    async with (
        open_pool(url, timeout_ms=timeout_ms, most=settings.dashboard_database_connections) as pool,
        open_pool(url, timeout_ms=timeout_ms, most=ASIDE) as aside,
    ):
        mlflow_url = settings.dashboard_mlflow_url or settings.mlflow_tracking_uri
        site = Site(
            pool,
            timeout_ms=timeout_ms,
            mlflow_url=mlflow_url,
            aside=aside,
            connections=settings.dashboard_database_connections,
        )
        reach = Reach(lambda: ask_version(aside), lambda: parts.watch.found)

        def ready() -> bool:
            return parts.watch.found and not reach.away

        openapi = make_openapi(with_tokens=settings.dashboard_tokens_file is not None)
        dashboard = Dashboard(site, parts.guard, alive=health.alive, ready=ready, openapi=openapi)
        connections = Connections(most_connections(settings.dashboard_max_connections), TIMES, METERS)

        def drain() -> None:
            dashboard.draining = True
            site.changes.close()

        app = make_app(dashboard, write_s=WRITE_SECONDS)
        config = configure(app, connections, idle_s=TIMES.idle, drain_s=settings.dashboard_drain_ms / 1000)
        server = BoundedServer(config, connections, stop.is_set, drain)
        health.watch(lambda: server.last_tick, ready)
        log.info("dashboard_started", address=f"http://{address_of(parts.opened)}/")
        looking = asyncio.create_task(reach.watch())
        try:
            await server.serve(sockets=[parts.opened])
        finally:
            looking.cancel()
