"""A log that can't be written costs its lines, which are counted, and nothing else."""

from __future__ import annotations

import errno
import io
import json
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
