"""Throughput over time and the distribution of latency, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

BIN_SECONDS = 0.5


def draw_throughput(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Rows committed per second, each contestant's last run."""
    figure, axes = plt.subplots(figsize=(9, 4.5))
    last = {run["contestant"]: run["commits"] for run in runs if run.get("commits")}
    for name, commits in last.items():
        bins: dict[int, int] = {}
        for at, rows in commits:
            bins[int(at / BIN_SECONDS)] = bins.get(int(at / BIN_SECONDS), 0) + rows
        numbers = range(max(bins) + 1)
        axes.step(
            [number * BIN_SECONDS for number in numbers],
            [bins.get(number, 0) / BIN_SECONDS for number in numbers],
            where="post",
            label=name,
        )
    axes.set(xlabel="seconds since the group got its partitions", ylabel="rows committed per second")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_latency(latencies: Sequence[dict[str, Any]], path: Path) -> None:
    """Share of reports that had arrived after so many milliseconds."""
    figure, axes = plt.subplots(figsize=(9, 4.5))
    for result in latencies:
        for kind, words in (("row_ms", "row committed"), ("event_ms", "event readable")):
            if kind in result:
                sample = sorted(result[kind]["sample"])
                shares = [(place + 1) / len(sample) for place in range(len(sample))]
                axes.plot(sample, shares, label=f"{result['contestant']}: {words}")
    axes.set(xscale="log", xlabel="milliseconds since produce", ylabel="share of reports")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
