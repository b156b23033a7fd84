"""What a server counts of its requests and connections: each server has metrics of its own."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram


class Meters(NamedTuple):
    """`requests` has the labels path and status, `closed` the label cause."""

    requests: Counter
    seconds: Histogram
    connections: Gauge
    closed: Counter
