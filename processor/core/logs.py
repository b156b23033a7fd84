"""Structured logs: JSON lines, or readable ones on a terminal; on stderr, so that stdout stays for results."""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Any, TextIO

import structlog

from processor.core.settings import ProcessSettings
from processor.core.tables import sentence


def configure_logs(settings: ProcessSettings, process: str) -> None:
    """Every line gets a time, a level and the process' name; what asyncio or asyncpg log goes the same way."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    level = getattr(logging, settings.log_level.upper())
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    lossy = Lossy(sys.stderr)
    renderers: list[Any] = [structlog.processors.JSONRenderer()] if as_json else [_printable, console]
    structlog.configure(
        processors=[
            partial(_named, process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            lossy.tell,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(lossy),  # type: ignore[arg-type] # it has all that is used
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, _Libraries)] + [_Libraries(logging.ERROR)]


class Lossy:
    """A log that can't be written, its disk full or its reader gone, must not end the work that it tells of.

    The first line that is written again says how many it cost. One thread at a time writes.
    """

    def __init__(self, to: TextIO) -> None:
        self._to = to
        self._line: list[str] = []
        self._lost = self._told = 0

    def write(self, text: str) -> int:
        self._line.append(text)
        return len(text)

    def flush(self) -> None:
        line, self._line = "".join(self._line), []
        try:
            self._to.write(line)
            self._to.flush()
            self._told = 0
        except OSError:
            self._lost, self._told = self._lost + self._told + 1, 0

    def tell(self, _logger: Any, _method: str, event: Any) -> Any:
        if not self._lost:
            return event
        self._told, self._lost = self._lost, 0
        return {**event, "log_lines_lost": self._told}


def _named(process: str, _logger: Any, _method: str, event: Any) -> Any:
    """In every thread, which a variable of the context is not."""
    return {"process": process, **event}


class _Libraries(logging.Handler):
    """What libraries log, as lines of ours: a program that reads JSON meets nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # a fault of theirs: arguments that its text has no place for
            message = str(record.msg)
        log = structlog.get_logger()
        log.error("library_complains", library=record.name, message=message, exc_info=record.exc_info)


def _printable(_logger: Any, _method: str, event: Any) -> Any:
    """For a terminal, where escape sequences in ids would work; anything but a string is shown by its `repr`."""
    return {name: sentence(value) if isinstance(value, str) else value for name, value in event.items()}
