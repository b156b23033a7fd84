"""`ingest`, `relay` and `run` as processes: signals, health, exit codes. Built from the rooms below by cli.py."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import FrameType

import structlog

from processor.catalogue import Catalogue
from processor.checkpoints import arm
from processor.decode import Decoder
from processor.errors import TransientError
from processor.events import EventWriter
from processor.health import Health, serve_health
from processor.intake import KafkaSource, check_topics, choose_protocol
from processor.outlet import Outlet
from processor.pipeline import Pipeline
from processor.registry import SchemaRegistry
from processor.relay import Relay
from processor.settings import Settings
from processor.store import Outbox, Store, TrialStore, check_migrated

log = structlog.get_logger(__name__)

#: no poll for this long means that the process is stuck, whatever it looks like from outside
STUCK_SECONDS = 60.0
#: mallopt(3): M_TRIM_THRESHOLD and M_MMAP_THRESHOLD, with as many bytes as may stay with the process
KEPT_MEMORY = {-1: 32 * 1024 * 1024, -3: 16 * 1024 * 1024}


def stop_on_signals(stop: Callable[[], None], at_once: Callable[[], None] = lambda: None) -> None:
    """The first SIGTERM or SIGINT drains, a second one (after `at_once`) ends the process at once."""

    def end(*_: object) -> None:
        at_once()
        os._exit(1)

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("stopping", signal=signal.Signals(number).name)
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, end)
        stop()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, on_signal)


#: writers look rows up by key, whatever the planner thinks of tables that were empty when it made the plan
BY_KEY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}


def open_store(settings: Settings, application: str, session: Mapping[str, str] = {}) -> Store:
    return Store(
        settings.database_url.get_secret_value(),
        timeout_ms=settings.database_timeout_ms,
        application=application,
        session=session,
    )


def make_decoder(settings: Settings, catalogue: Catalogue) -> Decoder:
    registry = SchemaRegistry(settings.schema_registry_url) if settings.schema_registry_url else None
    return Decoder(
        catalogue,
        max_report_bytes=settings.max_report_bytes,
        writer_schemas=registry.writer_schema if registry else None,
    )


def make_event_writer(settings: Settings, catalogue: Catalogue) -> EventWriter:
    if settings.events_format == "avro" and settings.schema_registry_url:
        registry = SchemaRegistry(settings.schema_registry_url)
        encode = registry.body_encoder(catalogue, settings.events_topic)
        return EventWriter(encode=encode, content_type="application/avro")
    return EventWriter()


def open_sink(settings: Settings, event_writer: EventWriter, application: str = "cerebros-ingest") -> TrialStore:
    return TrialStore(
        open_store(settings, application, BY_KEY), event_writer, create_runs=settings.unknown_run == "create"
    )


def keep_freed_memory() -> None:
    """Memory of one batch stays for the next: glibc gave it back each time, and a tenth of the CPU went into that.

    Elsewhere (musl, macOS) there is no such setting, and nothing is done.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None)
        for option, size in KEPT_MEMORY.items():
            libc.mallopt(option, size)


def wait_for_start(check: Callable[[], None], health: Health, stopping: Callable[[], bool]) -> None:
    """Runs the start checks; a server that is down is waited for, anything else is said and ends the process."""
    told = ""
    while not stopping():
        health.sign_of_life()
        try:
            check()
            return
        except TransientError as error:
            if str(error) != told:  # one line a cause, not one a second
                told = str(error)
                log.warning("waiting_for_servers", cause=told)
            time.sleep(1.0)


def run_ingest(settings: Settings) -> None:
    """Reads and writes until a signal; raises `FatalError` (and its kinds) when it cannot go on."""
    arm(settings.test_halt_at)
    # hand-over between reading and writing threads: the default 5 ms is as long as a whole small batch takes
    sys.setswitchinterval(0.0005)
    keep_freed_memory()
    gc.set_threshold(50_000, 20, 50)  # reports hold no cycles: looking for some took a tenth of the time
    catalogue = Catalogue.load(settings.schemas_dir)
    decoder = make_decoder(settings, catalogue)
    event_writers: list[EventWriter] = []
    protocols: list[str] = []
    stopped: list[bool] = []
    stop_on_signals(lambda: stopped.append(True))

    def check() -> None:
        with open_store(settings, "cerebros-check") as store:
            check_migrated(store)
        check_topics(settings, settings.raw_topic)
        protocols.append(choose_protocol(settings))
        if not event_writers:  # it may need the schema registry
            event_writers.append(make_event_writer(settings, catalogue))

    with serve_health(settings.metrics_port, STUCK_SECONDS) as health:
        wait_for_start(check, health, lambda: bool(stopped))
        if stopped:
            return
        source = KafkaSource(
            settings,
            release=lambda partitions, lost: pipeline.release(partitions, lost=lost),
            protocol=protocols[-1],
        )
        pipeline = Pipeline(
            source,
            decoder.each,
            lambda: open_sink(settings, event_writers[0]),
            lanes=settings.writers,
            max_reports=settings.batch_max_records,
            max_bytes=settings.batch_bytes,
            max_wait_s=settings.batch_max_wait_ms / 1000,
            shutdown_s=settings.shutdown_timeout_ms / 1000,
        )
        stop_on_signals(pipeline.stop)
        if stopped:  # a signal that came meanwhile
            pipeline.stop()
        health.watch(lambda: pipeline.last_poll, lambda: not pipeline.in_outage)
        gc.freeze()  # what lives from the start on need not be looked at again
        log.info("ingest_started", topic=settings.raw_topic, group=settings.group_id, protocol=source.protocol)
        try:
            pipeline.run()
        finally:
            source.close()
    log.info("ingest_stopped")


def run_relay(settings: Settings) -> None:
    """Publishes until a signal; raises `FatalError` (and its kinds) when it cannot go on."""
    arm(settings.test_halt_at)
    keep_freed_memory()
    stopped: list[bool] = []
    stop_on_signals(lambda: stopped.append(True))
    with open_store(settings, "cerebros-relay") as store, serve_health(settings.metrics_port, STUCK_SECONDS) as health:

        def check() -> None:
            check_migrated(store)
            check_topics(settings, settings.events_topic, settings.dead_letter_topic)

        wait_for_start(check, health, lambda: bool(stopped))
        relay = Relay(
            Outbox(store),
            lambda one_by_one: Outlet(settings, one_by_one=one_by_one),
            max_messages=settings.relay_max_messages,
            max_bytes=settings.relay_max_bytes,
        )
        stop_on_signals(relay.stop)
        if stopped:
            return
        health.watch(lambda: relay.last_round, lambda: not relay.in_outage)
        log.info("relay_started", events=settings.events_topic, dead_letters=settings.dead_letter_topic)
        relay.run()
    log.info("relay_stopped")


def run_both(settings: Settings) -> int:
    """ingest and relay as two child processes; when one ends the other is stopped. The worse exit code of the two."""
    environment = dict(os.environ)
    if settings.metrics_port:
        environment["PROCESSOR_METRICS_PORT"] = str(settings.metrics_port + 1)
    command = [sys.executable, "-m", "processor"]
    children = [
        subprocess.Popen([*command, "ingest"], start_new_session=True),
        subprocess.Popen([*command, "relay"], start_new_session=True, env=environment),
    ]

    def kill() -> None:
        for child in children:
            child.kill()

    def forward() -> None:
        for child in children:
            if child.poll() is None:
                child.terminate()

    stop_on_signals(forward, kill)
    while all(child.poll() is None for child in children):
        time.sleep(0.1)
    forward()
    codes = {child.wait() for child in children}
    return 0 if codes == {0} else 2 if 2 in codes else 1
