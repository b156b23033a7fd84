"""A comparison as rows: a figure a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from processor.dashboard.pages.views import Table
from processor.dashboard.statistics.results import Comparison, Contrast, Interval

NAMES = ("reference", "other", "figure", "estimate", "low", "high", "note")


def table_of(found: Comparison) -> Table:
    """Every figure a row: of arms (`other` empty), then of contrasts."""
    rows: list[tuple[Any, ...]] = []
    for arm in found.arms:
        for name in ("trials", "succeeded", "failed", "other", "finite", "not_finite", "missing", "median", "sd"):
            rows.append((arm.arm, "", name, getattr(arm, name), "", "", ""))
        rows.append((arm.arm, "", "mean", arm.mean.estimate, arm.mean.low, arm.mean.high, ""))
    for one in found.contrasts:
        pair = one.reference, one.other
        for name, interval, note in figures(one):
            rows.append((*pair, name, interval.estimate, interval.low, interval.high, note))
        rows.append((*pair, "p", one.effect.p, "", "", "Brunner-Munzel"))
        rows += [(*pair, f"warning {place}", "", "", "", text) for place, text in enumerate(one.warnings, start=1)]
    rows += [(left.arm, "", "left out", left.count, "", "", left.why) for left in found.left_out]
    return Table(NAMES, rows)


def figures(one: Contrast) -> Iterator[tuple[str, Interval, str]]:
    """(name, interval, what it is) of every figure of a contrast that has one."""
    effect, pooled = one.effect, one.per_run.pooled
    yield "shift", effect.shift, "Hodges-Lehmann: other less reference"
    yield "superiority", effect.superiority, "P(other > reference), ties as halves"
    yield "mean_difference", effect.mean_difference, "other less reference"
    if effect.worst_rank is not None:
        yield "worst_rank", effect.worst_rank, "P(other better), failed and diverged trials being worst"
    if pooled is not None:
        yield "pooled_over_runs", pooled.shift, f"{pooled.method} over {pooled.runs} runs"
    if pooled is not None and pooled.superiority is not None:
        yield "pooled_over_runs_superiority", pooled.superiority, f"{pooled.method} over {pooled.runs} runs"
    if one.stratified.mean_difference is not None:
        yield "stratified_mean_difference", one.stratified.mean_difference, ", ".join(one.stratified.by)
    if one.stratified.superiority is not None:
        yield "stratified_superiority", one.stratified.superiority, ", ".join(one.stratified.by)
    for name, rates in (("failures", one.failures), ("divergences", one.divergences)):
        yield f"{name}_reference", rates.reference, rates.what
        yield f"{name}_other", rates.other, rates.what
        yield f"{name}_difference", rates.difference, "other less reference"
        if rates.stratified is not None:
            yield f"{name}_difference_stratified", rates.stratified, "other less reference, within strata"
    for point in one.budget.points:
        yield f"best_of_{point.k}_reference", point.reference, "median of the best"
        yield f"best_of_{point.k}_other", point.other, "median of the best"
        yield f"best_of_{point.k}_difference", point.difference, "other less reference"
