"""Structured logs: JSON lines, or readable ones on a terminal; on stderr, so that stdout stays for results."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any

import structlog

from processor.core.settings import ProcessSettings
from processor.core.tables import sentence


def configure_logs(settings: ProcessSettings, process: str) -> None:
    """Every line gets a time, a level and the process' name; what librdkafka or asyncio log goes the same way."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    level = getattr(logging, settings.log_level.upper())
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderers: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [_printable, console]
    structlog.configure(
        processors=[
            partial(_named, process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    logging.basicConfig(level=logging.ERROR, handlers=[handler])


def _named(process: str, _logger: Any, _method: str, event: Any) -> Any:
    """In every thread, which a variable of the context is not."""
    return {"process": process, **event}


class _Printable(logging.Formatter):
    """For what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        return sentence(super().format(record))


def _printable(_logger: Any, _method: str, event: Any) -> Any:
    """For a terminal, where escape sequences in ids would work; anything but a string is shown by its `repr`."""
    return {name: sentence(value) if isinstance(value, str) else value for name, value in event.items()}
