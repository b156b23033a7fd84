"""A search in a process of its own that reports through the client: what the fault tests of the spool kill.

As a program: `python -m tests.support.searching SERVERS TOPIC SPOOL NAME REPORTS LOG`. Each trial is reported twice,
with another accuracy; a line goes into LOG once `report` has returned.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import Process

RUN = "search"


class Returned(NamedTuple):
    """A report that the search was told to be safe."""

    trial_id: str
    accuracy: float


def start_search(
    settings_servers: str, topic: str, folder: Path, name: str, reports: int, halt_at: str | None
) -> Process:
    """Killed by the caller; its spool is `folder`/spool, what it was told is in `folder`/NAME.returned."""
    environment = {"CEREBROS_TEST_HALT_AT": halt_at or ""}
    arguments = (settings_servers, topic, str(folder / "spool"), name, str(reports), str(folder / f"{name}.returned"))
    command = [sys.executable, "-m", "tests.support.searching"]
    return Process(environment, folder / f"{name}.log", *arguments, command=command)


def returned(folder: Path) -> list[Returned]:
    """Of all searches, in the order in which each said it."""
    lines = [line for log in sorted(folder.glob("*.returned")) for line in log.read_text().splitlines()]
    return [Returned(trial, float(accuracy)) for trial, accuracy in (line.split() for line in lines)]


def main(servers: str, topic: str, spool: str, name: str, reports: str, log: str) -> None:
    from cerebros_client import TrialReporter

    lines = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with TrialReporter(servers, topic=topic, spool=spool, close_timeout_s=20) as reporter:
        for number in range(int(reports)):
            trial_id, accuracy = f"{name}-{number // 2}", number / 1000
            reporter.report(RUN, trial_id, metrics={"accuracy": accuracy})
            os.write(lines, f"{trial_id} {accuracy}\n".encode())
        reporter.flush(30)


if __name__ == "__main__":
    main(*sys.argv[1:])
