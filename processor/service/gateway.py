"""`processor gateway` as a process: HTTP -> Kafka."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import structlog

from processor.contracts.catalogue import Catalogue
from processor.core.errors import ProcessorError, SetupError
from processor.core.settings import PREFIX, GatewaySettings
from processor.core.stopping import Stop, stop_on_signals
from processor.gateway.answers import to_json
from processor.gateway.app import METERS, Gateway, Limits, make_app
from processor.gateway.bodies import Budget
from processor.gateway.judging import Judge
from processor.gateway.openapi import make_openapi
from processor.gateway.sending import Dispatch
from processor.kafka.client import ASK_EVERY_SECONDS
from processor.kafka.confirmed import ConfirmedProducer
from processor.kafka.topics import check_topics
from processor.service.health import Health, serve_health
from processor.service.start import STUCK_SECONDS, StartWatch, keep_freed_memory, spare_collections
from processor.service.wiring import make_decoder
from processor.web.guard import Guard, is_loopback, names_of_loopback
from processor.web.places import Connections, Times
from processor.web.server import BoundedServer, address_of, configure, listen, most_connections, run
from processor.web.tokens import GATEWAY, Keyring

log = structlog.get_logger(__name__)

#: for an answer to be read by its caller; what takes longer is cut off
WRITE_SECONDS = 10.0
#: how often Kafka is looked for in an outage, and whether there is reason to
LOOK_SECONDS = 1.0


class _Watch(StartWatch):
    """Whether Kafka is as it must be: looked for at start, and while requests are answered.

    Nobody sends to a gateway that is not ready: so it can't wait for somebody's report to find out that it is again.
    Nor can it where nobody sends for a while, to find out that it is not.
    """

    def __init__(self, settings: GatewaySettings, producer: ConfirmedProducer, health: Health, stop: Stop) -> None:
        super().__init__("watch-kafka", lambda: check_topics(settings, settings.raw_topic), health, stop)
        self._producer = producer
        self.dispatch: Dispatch | None = None

    def _run(self) -> None:
        super()._run()
        heard_at = time.monotonic()
        while not self._stop.wait(LOOK_SECONDS):
            dispatch = self.dispatch
            if dispatch is None:
                continue
            if dispatch.in_outage:
                self._look(dispatch)
            elif time.monotonic() - max(heard_at, dispatch.confirmed_at) > ASK_EVERY_SECONDS:
                try:
                    self._producer.ask()
                except ProcessorError as error:
                    dispatch.begin_outage(str(error))
                heard_at = time.monotonic()

    def _look(self, dispatch: Dispatch) -> None:
        with contextlib.suppress(ProcessorError):
            self._producer.ask()
            self._check()
            dispatch.end_outage()


class _Parts(NamedTuple):
    judge: Judge
    guard: Guard
    openapi: bytes
    producer: ConfirmedProducer


def run_gateway(settings: GatewaySettings, *, with_stdin: bool = False) -> None:
    """Serves until a signal, or the end of `with_stdin`; raises `FatalError` where it can't go on.

    It listens from the start on, also while Kafka is down: callers are told 503 then, and /ready says no.
    """
    sys.setswitchinterval(0.0005)  # as long as the loop may have to wait for a thread that judges a large body
    keep_freed_memory()
    guard = make_guard(settings)
    catalogue = Catalogue.load(settings.schemas_dir)
    largest = settings.max_report_bytes
    judge = Judge(
        make_decoder(settings, catalogue),
        settings.raw_topic,
        max_report_bytes=largest,
        max_reports=settings.gateway_max_reports,
    )
    openapi = to_json(make_openapi(catalogue, with_tokens=settings.gateway_tokens_file is not None))
    opened = listen(settings.gateway_listen, "GATEWAY_LISTEN")
    with (
        stop_on_signals(with_stdin=with_stdin) as stop,
        serve_health(settings.metrics_port, STUCK_SECONDS, settings.metrics_host) as health,
        ThreadPoolExecutor(1, "server") as thread,
    ):
        producer = ConfirmedProducer(
            settings,
            settings.raw_topic,
            delivery_s=settings.gateway_delivery_timeout_ms / 1000,
            queue_bytes=settings.gateway_inflight_bytes,
        )
        watch = _Watch(settings, producer, health, stop)
        watch.start()
        parts = _Parts(judge, guard, openapi, producer)
        spare_collections()
        try:
            _in_context(thread, lambda: run(lambda: _serve(settings, parts, opened, stop, health, watch))).result()
        finally:
            stop.set("the server has ended")
            producer.close()
            opened.close()
    stop.tell()
    log.info("gateway_stopped")
    if failure := watch.failure or producer.failure:
        raise failure


def make_guard(settings: GatewaySettings) -> Guard:
    """Raises `SetupError` where anybody could report without a token and nobody has said that this is meant."""
    host = settings.gateway_listen.rpartition(":")[0]
    if settings.gateway_tokens_file is not None:
        return Guard(Keyring(settings.gateway_tokens_file, GATEWAY))
    if is_loopback(host):
        return Guard(None, names_of_loopback(host))
    if not settings.gateway_allow_anyone:
        raise SetupError(
            f"{PREFIX}GATEWAY_LISTEN {settings.gateway_listen} is reached from elsewhere, and there are no tokens: set "
            f"{PREFIX}GATEWAY_TOKENS_FILE (`processor gateway-token` makes its lines), or "
            f"{PREFIX}GATEWAY_ALLOW_ANYONE=true where anybody there may report"
        )
    return Guard(None)


def _in_context(thread: ThreadPoolExecutor, work: Callable[[], Any]) -> Future[Any]:
    """With what every log line of this process says."""
    return thread.submit(work)


async def _serve(
    settings: GatewaySettings, parts: _Parts, opened: socket.socket, stop: Stop, health: Health, watch: _Watch
) -> None:
    delivery_s = settings.gateway_delivery_timeout_ms / 1000
    dispatch = watch.dispatch = Dispatch(parts.producer, delivery_s=delivery_s)
    limits = Limits(settings.gateway_max_body_bytes, settings.gateway_body_timeout_ms / 1000, delivery_s)
    budget = Budget(settings.gateway_inflight_bytes)
    gateway = Gateway(parts.judge, dispatch, parts.guard, budget, limits, settings.raw_topic)
    idle_s = settings.gateway_idle_timeout_ms / 1000
    whole_s = limits.body_s + limits.judge_s + delivery_s + 2 * WRITE_SECONDS
    times = Times(settings.gateway_head_timeout_ms / 1000, idle_s, whole_s)
    connections = Connections(most_connections(settings.gateway_max_connections), times, METERS)

    def ready() -> bool:
        return watch.found and not dispatch.in_outage and parts.producer.failure is None

    app = make_app(gateway, alive=health.alive, ready=ready, openapi=parts.openapi, write_s=WRITE_SECONDS)

    def drain() -> None:
        gateway.draining = True

    def stopping() -> bool:
        return stop.is_set() or parts.producer.failure is not None

    config = configure(app, connections, idle_s=idle_s, drain_s=settings.gateway_drain_ms / 1000)
    server = BoundedServer(config, connections, stopping, drain)
    health.watch(lambda: server.last_tick, ready)
    log.info("gateway_started", address=address_of(opened), topic=settings.raw_topic)
    await server.serve(sockets=[opened])
    gateway.close()
