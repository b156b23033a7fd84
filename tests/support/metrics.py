"""What a process says of itself over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request

from processor.local.files import free_ports


def metrics_port() -> str:
    """A free port, for PROCESSOR_METRICS_PORT."""
    return str(free_ports(1)[0])


def metric(port: str, name: str) -> float | None:
    """The sample of that name (labels included, as Prometheus writes it); None where there is none."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    return None


def is_ready(port: str) -> bool:
    return _says_yes(port, "ready")


def is_live(port: str) -> bool:
    return _says_yes(port, "live")


def _says_yes(port: str, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10):
            return True
    except urllib.error.HTTPError:
        return False
