"""`processor ingest` as a process: Kafka -> Postgres."""

from __future__ import annotations

import gc
import sys

import structlog

from processor.contracts.catalogue import Catalogue
from processor.core.checkpoints import arm
from processor.core.settings import IngestSettings
from processor.core.stopping import stop_on_signals
from processor.events.bodies import EventWriter
from processor.kafka.group_source import GroupSource
from processor.kafka.membership import Subscription, choose_protocol
from processor.kafka.topics import check_topics, compaction_warning, is_compacted
from processor.service.health import serve_health
from processor.service.pipeline import make_pipeline
from processor.service.start import STUCK_SECONDS, keep_freed_memory, wait_for_start
from processor.service.wiring import make_decoder, make_event_writer, open_migrated

log = structlog.get_logger(__name__)


def run_ingest(settings: IngestSettings, *, with_stdin: bool = False) -> None:
    """Reads and writes until a signal, or the end of `with_stdin`; raises `FatalError` where it can't go on."""
    arm(settings.test_halt_at)
    # hand-over between reading and writing threads: the default 5 ms is as long as a whole small batch takes
    sys.setswitchinterval(0.0005)
    keep_freed_memory()
    gc.set_threshold(50_000, 20, 50)  # reports hold no cycles: looking for some took a tenth of the time
    catalogue = Catalogue.load(settings.schemas_dir)
    decoder = make_decoder(settings, catalogue)
    event_writers: list[EventWriter] = []
    protocols: list[str] = []

    def check() -> None:
        with open_migrated(settings, "cerebros-check"):
            pass
        check_topics(settings, settings.raw_topic)
        if is_compacted(settings, settings.raw_topic):
            log.warning("topic_compacted", cause=compaction_warning(settings.raw_topic))
        protocols.append(choose_protocol(settings) if settings.group_protocol == "auto" else settings.group_protocol)
        if not event_writers:  # it may need the schema registry
            event_writers.append(make_event_writer(settings, catalogue))

    with (
        stop_on_signals(with_stdin=with_stdin) as stop,
        serve_health(settings.metrics_port, STUCK_SECONDS, settings.metrics_host) as health,
    ):
        wait_for_start(check, health, stop)
        if stop.is_set():
            return
        subscription = Subscription(
            settings.raw_topic,
            settings.group_id,
            protocol=protocols[-1],
            instance_id=settings.group_instance_id,
            session_timeout_ms=settings.session_timeout_ms,
            prefetch_bytes=settings.prefetch_bytes,
        )
        source = GroupSource(
            settings, subscription, release=lambda partitions, lost: pipeline.release(partitions, lost=lost)
        )
        pipeline = make_pipeline(
            settings,
            source,
            decoder,
            event_writers[0],
            "cerebros-ingest",
            stop=stop,
            max_wait_s=settings.batch_max_wait_ms / 1000,
        )
        health.watch(lambda: pipeline.last_poll, lambda: not (pipeline.in_outage or source.in_outage))
        gc.freeze()  # what lives from the start on need not be looked at again
        log.info("ingest_started", topic=settings.raw_topic, group=settings.group_id, protocol=subscription.protocol)
        try:
            pipeline.run()
        finally:
            source.close()
    log.info("ingest_stopped")
