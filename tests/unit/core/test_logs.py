"""A log that can't be written costs its lines, which are counted, and nothing else."""

from __future__ import annotations

import errno
import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from processor.core.logs import configure_logs
from processor.core.settings import ProcessSettings


class Disk(io.StringIO):
    """Full for as long as it is said to be."""

    full = False

    def flush(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")

    def write(self, text: str) -> int:
        self.flush()
        return super().write(text)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr("sys.stderr", made)
    configure_logs(ProcessSettings(log_format="json", log_level="info"), "test")
    yield made
    structlog.reset_defaults()


def test_lines_that_can_not_be_written_are_counted_in_the_next_one_that_can(disk: Disk) -> None:
    log = structlog.get_logger()
    log.warning("first")
    for full in (True, False, True, True, False, False):
        disk.full = full
        log.warning("one", full=full)
    said = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [(one["event"], one.get("log_lines_lost")) for one in said] == [
        ("first", None),
        ("one", 1),
        ("one", 2),
        ("one", None),
    ]


def test_what_a_library_logs_is_a_line_like_any_other(disk: Disk) -> None:
    """asyncpg, asyncio: theirs were bare texts between lines of JSON, with stack traces of many lines."""
    theirs = logging.Logger("asyncpg.pool")  # with the root's handler of ours alone: pytest has one that complains
    theirs.handlers = [one for one in logging.getLogger().handlers if type(one).__module__ == configure_logs.__module__]
    theirs.error("Resetting connection with an active transaction %r", "<c>\x1b[31m")
    try:
        raise ValueError("of theirs")
    except ValueError:
        theirs.exception("one\nof two lines")
    theirs.error("%d arguments", "no")
    theirs.warning("no error")
    said = [json.loads(line) for line in disk.getvalue().splitlines()]
    assert [(one["event"], one["level"], one["process"], one["library"]) for one in said] == [
        ("library_complains", "error", "test", "asyncpg.pool")
    ] * 3
    assert said[0]["message"] == "Resetting connection with an active transaction '<c>\\x1b[31m'"
    assert said[1]["exception"].endswith("ValueError: of theirs")
    assert said[2]["message"] == "%d arguments"
