"""A comparison in words: the verdict with the interval that it rests on, and what so many trials could show."""

from __future__ import annotations

from typing import NamedTuple

from processor.core.text import printable
from processor.dashboard.comparing import read_path
from processor.dashboard.filters.text import called
from processor.dashboard.pages.rendering import brief, interval, share, signed
from processor.dashboard.statistics.intervals import REPLICATED
from processor.dashboard.statistics.results import Comparison, Contrast, Interval, figure_of


class Sentence(NamedTuple):
    """The verdict: what is said before, the word that matters with its class, what is said behind it."""

    before: str
    word: str
    cls: str
    after: str


def verdict(found: Comparison, one: Contrast) -> Sentence:
    """The answer in one sentence: the effect and its interval first, and whether trials or runs say so."""
    arm, base = printable(f"{name_of(found.parameter)} = {one.other}")[:120], printable(one.reference)[:80]
    metric = printable(name_of(found.metric))[:80]
    after = f"{_effect(found, one)}{_by_trials(one)}"
    if one.verdict in ("better", "worse", "higher", "lower"):
        cls = one.verdict if one.verdict in ("better", "worse") else ""
        return Sentence(f"With {arm}, {metric} is ", one.verdict, cls, f" than with {base}{after}")
    if one.verdict == "no difference is shown":
        return Sentence(f"Between {arm} and {base}, ", "no difference", "", f" of {metric} is shown{after}")
    return Sentence(f"{arm} beside {base}: ", one.verdict, "", "")


def name_of(path: str) -> str:
    """What a metric or a parameter, as it was asked for, is called."""
    return called(read_path(path))


def _effect(found: Comparison, one: Contrast) -> str:
    """The figure that decides, with its interval."""
    pooled = one.per_run.pooled if one.decided_by == "runs" else None
    figure = figure_of(one.effect, one.leading) if pooled is None else pooled.figure
    if figure.estimate is None or (figure.low is None and figure.high is None):
        return ""
    over = "" if pooled is None else f"on average over {pooled.runs} runs, "
    sure = f"{100 * found.confidence:g} % interval"
    if one.leading == "shift":
        return f": {over}a typical trial differs by {signed(figure.estimate)} ({sure} {interval(figure, 'signed')})"
    beside = "one of the other arm" if pooled is None else "one of the other arm in its run"
    said = f": {over}a trial has the larger value in {share(figure.estimate)} of pairs with {beside}, ties as halves"
    means = f"the means of all differ by {signed(one.effect.mean_difference.estimate)}"
    return f"{said} ({sure} {interval(figure, 'share')}); {means}"


def _by_trials(one: Contrast) -> str:
    """Who reads that an arm is better takes it for the next run too, unless it is said."""
    runs = one.per_run
    if one.decided_by == "runs" or runs.runs < 2:
        return ""
    both = f"{runs.runs_with_both} of {runs.runs} runs {'has' if runs.runs_with_both == 1 else 'have'} both arms"
    why = f"and it takes {REPLICATED}" if runs.runs_with_both < REPLICATED else "but their effects have no interval"
    return f". The trials of all runs together say so, not the runs: {both}, {why}"


def detectable(one: Contrast) -> str:
    """What would be shown in four cases of five; empty where it is not known."""
    pooled = one.per_run.pooled
    if one.decided_by == "runs" and pooled is not None and pooled.detectable is not None:
        if one.leading == "shift":
            return f"so many runs would show a shift of {brief(pooled.detectable)}, on average, in four cases of five"
        low, high = (share(min(max(0.5 + side * pooled.detectable, 0.0), 1.0)) for side in (-1, 1))
        return f"so many runs would show {low} or {high} of pairs, on average, in four cases of five"
    if one.effect.detectable is None:
        return ""
    what = "shift" if one.leading == "shift" else "difference of means"
    return f"so many trials would show a {what} of {brief(one.effect.detectable)} in four cases of five"


def said(found: Interval, how: str = "number") -> str:
    """`estimate (low to high)`; `points`: a difference of shares, in percentage points."""
    if found.estimate is None:
        return "–"
    if how == "points":
        bounds = "" if found.low is None or found.high is None else f" ({_points(found.low)} to {_points(found.high)})"
        return f"{_points(found.estimate)}{bounds} points"
    shown = {"number": brief, "share": share, "signed": signed}[how]
    bounds = interval(found, how)
    return f"{shown(found.estimate)} ({bounds})" if bounds else shown(found.estimate)


def _points(found: float) -> str:
    return signed(round(100 * found, 1))
