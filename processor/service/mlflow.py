"""`processor mlflow` as a process: events topic -> MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import structlog

from processor.contracts.catalogue import Catalogue
from processor.core.checkpoints import arm
from processor.core.errors import SetupError, UsageError
from processor.core.messages import RawRecord
from processor.core.settings import MlflowSettings
from processor.core.stopping import Stop, stop_on_signals
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription, choose_protocol
from processor.kafka.topics import check_topics
from processor.mlflow.again import Again
from processor.mlflow.content import Happening
from processor.mlflow.crew import Crew
from processor.mlflow.events import EventReader, Unreadable
from processor.mlflow.experiments import Experiments, identify
from processor.mlflow.filling import Filler
from processor.mlflow.loop import Loop, Reader
from processor.mlflow.memory import Memory
from processor.mlflow.once import Mirror
from processor.mlflow.ports import Tracking
from processor.mlflow.reconcile import Reconciler
from processor.service.health import Health, serve_health
from processor.service.start import STUCK_SECONDS, wait_for_start
from processor.service.wiring import make_registry, mlflow_group, open_migrated, open_session
from processor.store.mlflow_links import MlflowLinks

if TYPE_CHECKING:
    from processor.mlflow.rest import RestTracking

log = structlog.get_logger(__name__)

APPLICATION = "cerebros-mlflow"
PREFETCH_BYTES = 8 * 1024 * 1024
#: a request that got no answer may be carried out for this long beyond its timeout: the server's own database stalls
MARGIN_SECONDS = 30.0


def open_tracking(settings: MlflowSettings) -> RestTracking:
    """Raises `UsageError` where none is set, `SetupError` where the extra is not installed."""
    if settings.mlflow_tracking_uri is None:
        raise UsageError("wrong settings: PROCESSOR_MLFLOW_TRACKING_URI: set the tracking server to mirror into")
    try:
        from processor.mlflow.rest import Access, RestTracking
    except ImportError:
        raise SetupError("processor mlflow needs: pip install 'cerebros-processor[mlflow]'") from None
    password, token = settings.mlflow_password, settings.mlflow_token
    access = Access(
        settings.mlflow_username,
        password.get_secret_value() if password else None,
        token.get_secret_value() if token else None,
        *(
            str(file) if file else None
            for file in (settings.mlflow_ca_file, settings.mlflow_cert_file, settings.mlflow_key_file)
        ),
    )
    return RestTracking(
        settings.mlflow_tracking_uri,
        access,
        connections=settings.mlflow_connections,
        timeout_s=settings.mlflow_timeout_ms / 1000,
    )


@contextmanager
def open_mirror(
    settings: MlflowSettings,
    tracking: Tracking,
    memory: Memory,
    going: Callable[[], bool] = lambda: True,
    *,
    create_missing: bool = False,
) -> Iterator[tuple[Mirror, Reconciler]]:
    """The mirror of one tracking server, and what looks again at its links in doubt; its threads end with the block."""
    experiments = Experiments(tracking, settings.mlflow_experiment)
    crew = Crew(tracking, memory, settings.mlflow_connections, going)
    try:
        mirror = Mirror(
            tracking,
            memory,
            experiments,
            Filler(tracking, settings.mlflow_event_files),
            crew,
            parents=settings.mlflow_parents,
            create_missing=create_missing or settings.mlflow_create_missing,
        )
        doubt_s = settings.mlflow_timeout_ms / 1000 + MARGIN_SECONDS
        yield mirror, Reconciler(tracking, memory, experiments, doubt_s)
    finally:
        crew.close()


def wants(settings: MlflowSettings) -> Callable[[Happening], bool]:
    """Which trials are mirrored; Cerebros runs always are."""
    statuses = {"all": ("completed", "failed"), "succeeded": ("completed",), "failed": ("failed",)}
    wanted = statuses[settings.mlflow_mirror]
    return lambda event: not event.trial_id or event.body["status"] in wanted


def make_reader(settings: MlflowSettings) -> Reader:
    registry = make_registry(settings)
    reader = EventReader(Catalogue.load(settings.schemas_dir), registry.writer_schema if registry else None)
    wanted = wants(settings)

    def read(record: RawRecord) -> Happening | Unreadable | None:
        found = reader(record)
        return None if isinstance(found, Happening) and not wanted(found) else found

    return read


def run_mlflow(settings: MlflowSettings, *, create_missing: bool = False, with_stdin: bool = False) -> None:
    """Mirrors until a signal, or the end of `with_stdin`; raises `FatalError` where it can't go on."""
    arm(settings.test_halt_at)
    tracking, read = open_tracking(settings), make_reader(settings)
    with (
        stop_on_signals(with_stdin=with_stdin) as stop,
        serve_health(settings.metrics_port, STUCK_SECONDS, settings.metrics_host) as health,
    ):
        while not stop.is_set():
            started = _start(settings, tracking, health, stop)
            if started is not None:
                _serve(settings, tracking, read, started, health, stop, create_missing=create_missing)
    log.info("mlflow_stopped")


class Started(NamedTuple):
    server: str
    protocol: str


def _start(settings: MlflowSettings, tracking: RestTracking, health: Health, stop: Stop) -> Started | None:
    """The start checks; None where it was told to stop meanwhile."""
    found: list[Started] = []

    def check() -> None:
        server = identify(tracking)
        with open_migrated(settings, "cerebros-check") as store:
            MlflowLinks(store, server).see(tracking.where)
        check_topics(settings, settings.events_topic)
        found.append(Started(server, choose_protocol(settings)))

    wait_for_start(check, health, stop)
    return found[-1] if found else None


def _serve(
    settings: MlflowSettings,
    tracking: RestTracking,
    read: Reader,
    started: Started,
    health: Health,
    stop: Stop,
    *,
    create_missing: bool,
) -> None:
    """Until it is told to stop, or another tracking server answers at the address."""
    with ExitStack() as opened:
        store = opened.enter_context(open_session(settings, APPLICATION))
        rows = MlflowLinks(store, started.server)
        memory = Memory(rows)
        with open_mirror(settings, tracking, memory, lambda: loop.going, create_missing=create_missing) as (
            mirror,
            reconciler,
        ):
            again = Again(rows, mirror.apply, wants(settings), settings.mlflow_retry_ms / 1000)
            loop = Loop(
                read,
                mirror.apply,
                lambda: (reconciler.look(), again.look()),
                lambda: identify(tracking) == started.server,
                limit=settings.mlflow_batch_max_events,
                shutdown_s=settings.shutdown_timeout_ms / 1000,
                stop=stop,
            )
            group = mlflow_group(settings.group_id, started.server)
            subscription = Subscription(
                settings.events_topic, group, protocol=started.protocol, prefetch_bytes=PREFETCH_BYTES
            )
            source = GroupSource(settings, subscription, release=loop.release)
            health.watch(lambda: loop.last_poll, lambda: not (loop.in_outage or source.in_outage))
            log.info("mlflow_started", server=started.server, group=group, where=tracking.where)
            try:
                loop.run(source)
            finally:
                source.close()
        if loop.left_behind:  # a thread that may still use the session
            opened.pop_all()
    if loop.changed:
        log.warning("mlflow_server_changed", former=started.server)
