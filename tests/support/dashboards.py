"""`processor dashboard` as processes of a test, each on a port of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from processor.local.files import free_ports
from tests.support.processes import Process, wait_until

Open = Callable[..., tuple[Process, str]]


@contextmanager
def dashboards(database_url: str, folder: Path) -> Iterator[Open]:
    """Starts one on a free port at each call, and says where. Whatever still runs at the end is killed."""
    running: list[Process] = []

    def starter(*, ready: bool = True, **extra: str) -> tuple[Process, str]:
        address = f"127.0.0.1:{free_ports(1)[0]}"
        own = {"PROCESSOR_DATABASE_URL": database_url, "PROCESSOR_DASHBOARD_LISTEN": address}
        log = folder / f"{len(running)}-dashboard.log"
        process = Process({**own, "PROCESSOR_LOG_FORMAT": "json", **extra}, log, "dashboard")
        running.append(process)
        url = f"http://{address}"
        wait_until(lambda: status(f"{url}/ready") == (200 if ready else 503), "the dashboard answers", 60)
        return process, url

    try:
        yield starter
    finally:
        for process in running:
            process.end()


def status(url: str, **more: Any) -> int:
    """0 where nobody answers."""
    try:
        return httpx.get(url, timeout=30, **more).status_code
    except httpx.HTTPError:
        return 0
