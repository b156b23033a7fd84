"""The dashboard beside a demo that is kept: started, waited for, at an address of this machine."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from processor.core.settings import PREFIX
from processor.demo.workers import DemoError, Worker
from processor.local.files import free_ports

READY_SECONDS = 120.0
_PAUSE_SECONDS = 0.1


@contextmanager
def open_board(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[Worker, str]]:
    """The running process and its address. Raises `DemoError` where it does not get ready."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    own = {f"{PREFIX}DASHBOARD_LISTEN": address, f"{PREFIX}DASHBOARD_TOKENS_FILE": ""}
    with Worker("dashboard", {**environment, **own}, folder) as worker:
        url = f"http://{address}/"
        _wait_ready(worker, url)
        yield worker, url


def _wait_ready(worker: Worker, url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        worker.check()
        try:
            with urllib.request.urlopen(f"{url}ready", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            if time.monotonic() > deadline:
                raise DemoError("the dashboard does not get ready") from None
            time.sleep(_PAUSE_SECONDS)
