"""A comparison as rows: all that its JSON has, a figure a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from processor.dashboard.pages.views import Table
from processor.dashboard.statistics.results import ArmSummary, Comparison, Contrast, Interval, PerRun

#: `of` came later, and so stands last: the run, the parameter or the share that a figure is of
NAMES = ("reference", "other", "figure", "estimate", "low", "high", "note", "of")
COUNTS = ("trials", "succeeded", "failed", "other", "finite", "not_finite", "missing", "median", "sd")

Row = tuple[Any, ...]


def table_of(found: Comparison) -> Table:
    """Of arms (`other` empty), then of contrasts, then of the comparison (both empty)."""
    rows = [(arm.arm, "", *row) for arm in found.arms for row in _arm(arm)]
    for one, adjusted in zip(found.contrasts, found.adjusted_p, strict=True):
        rows += [(one.reference, one.other, *row) for row in _contrast(one, adjusted)]
    rows += [(left.arm, "", *_row("left out", left.count, left.why)) for left in found.left_out]
    return Table(NAMES, rows + [("", "", *row) for row in _whole(found)])


def _row(figure: str, estimate: Any = "", note: str = "", of: Any = "") -> Row:
    return figure, estimate, "", "", note, of


def _interval(figure: str, found: Interval, note: str = "", of: Any = "") -> Row:
    return figure, found.estimate, found.low, found.high, note, of


def _texts(figure: str, texts: tuple[str, ...]) -> list[Row]:
    return [_row(f"{figure} {place}", note=text) for place, text in enumerate(texts, start=1)]


def _arm(arm: ArmSummary) -> Iterator[Row]:
    for name in COUNTS:
        yield _row(name, getattr(arm, name))
    yield _interval("mean", arm.mean)
    yield _row("least", arm.least)
    yield _row("greatest", arm.greatest)
    for share, value in arm.quantiles:
        yield _row("quantile", value, of=share)


def _contrast(one: Contrast, adjusted: float | None) -> Iterator[Row]:
    for name, interval, note in figures(one):
        yield _interval(name, interval, note)
    yield _row("p", one.effect.p, "Brunner-Munzel")
    yield from _texts("warning", one.warnings)
    yield _row("adjusted_p", adjusted, f"Benjamini-Hochberg, over the comparisons, of the {one.decided_by}' p")
    yield _row("verdict", note=one.verdict)
    yield _row("estimand", note=one.estimand)
    yield _row("leading", note=one.leading)
    yield _row("decided_by", note=one.decided_by)
    yield _row("detectable", one.effect.detectable)
    yield from _runs(one.per_run)
    strata = one.stratified
    for name in ("strata", "strata_with_both", "matched_reference", "matched_other"):
        yield _row(name, getattr(strata, name))
    yield from _texts("stratified by", strata.by)
    if strata.refused is not None:
        yield _row("refused", note=strata.refused)
    for each in one.balance:
        none = "" if each.difference is not None else ", nothing in common"
        yield _row("balance", each.difference, f"{each.kind}{none}", each.parameter)
        yield _row("balance_missing_reference", each.missing_reference, of=each.parameter)
        yield _row("balance_missing_other", each.missing_other, of=each.parameter)
        yield _row("balance_marked", each.marked, of=each.parameter)
    for point in one.budget.points:
        for side in ("reference", "other"):
            yield _row(f"best_of_{point.k}_expected_{side}", getattr(point, f"expected_{side}"))
            yield _row(f"best_of_{point.k}_nothing_{side}", getattr(point, f"nothing_{side}"))
    yield from _texts("budget note", one.budget.notes)


def _runs(per_run: PerRun) -> Iterator[Row]:
    yield _row("runs", per_run.runs)
    yield _row("runs_with_both", per_run.runs_with_both)
    for one in per_run.effects:
        yield _interval("run_shift", one.shift, of=one.run)
        yield _interval("run_superiority", one.superiority, of=one.run)
        yield _row("run_weight", one.weight, of=one.run)
        yield _row("run_reference_finite", one.reference_finite, of=one.run)
        yield _row("run_other_finite", one.other_finite, of=one.run)
    if per_run.pooled is not None:
        yield _row("pooled_over_runs_method", note=per_run.pooled.method)
        for name in ("runs", "tau2", "i2", "p", "detectable", "freedom"):
            yield _row(f"pooled_over_runs_{name}", getattr(per_run.pooled, name))
    yield from _texts("run note", per_run.notes)


def _whole(found: Comparison) -> Iterator[Row]:
    for name in ("parameter", "metric", "validity"):
        yield _row(name, note=getattr(found, name))
    yield _row("better", note=found.direction.better)
    yield _row("better_because", note=found.direction.because)
    yield _row("confidence", found.confidence)
    yield _row("trials", found.trials)
    yield from _texts("note", found.notes)


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
