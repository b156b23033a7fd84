"""Structured logs: JSON lines, or readable ones on a terminal; on stderr, so that stdout stays for results."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from processor.core.settings import ProcessSettings


def configure_logs(settings: ProcessSettings, process: str) -> None:
    """Every line gets a time, a level and the process' name; what librdkafka or asyncio log goes the same way."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    level = getattr(logging, settings.log_level.upper())
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else _unchanged,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)


def _unchanged(_logger: Any, _method: str, event: Any) -> Any:
    return event
