"""Settings -> the pipeline; apart from `wiring`, which commands import that never run one."""

from __future__ import annotations

from collections.abc import Callable

from processor.core.messages import Batch, Written
from processor.core.settings import PipelineSettings
from processor.core.stopping import Stop
from processor.decode.decoder import Decoder
from processor.events.bodies import EventWriter
from processor.pipeline.loop import Pipeline
from processor.pipeline.ports import Source
from processor.service.wiring import open_sink


def make_pipeline(
    settings: PipelineSettings,
    source: Source,
    decoder: Decoder,
    event_writer: EventWriter,
    application: str,
    *,
    stop: Stop,
    max_wait_s: float = 0.0,
    on_written: Callable[[Batch, Written], None] | None = None,
) -> Pipeline:
    """The pipeline that ingest and window replays share, each from a source of its own."""
    return Pipeline(
        source,
        decoder.each,
        lambda: open_sink(settings, event_writer, application),
        lanes=settings.writers,
        max_reports=settings.batch_max_records,
        max_bytes=settings.batch_bytes,
        max_wait_s=max_wait_s,
        shutdown_s=settings.shutdown_timeout_ms / 1000,
        stop=stop,
        on_written=on_written,
    )
