"""The word for a contrast, and what it is about: by the runs where there are enough, else by the trials together."""

from __future__ import annotations

from typing import Literal, NamedTuple

from processor.dashboard.statistics.intervals import FEWEST, REPLICATED
from processor.dashboard.statistics.leading import none_of
from processor.dashboard.statistics.results import Better, Effect, Interval, Leading, PerRun, figure_of

TYPICAL: dict[Leading, str] = {
    "shift": "how much the typical trial differs",
    "superiority": "how often a trial has the larger value, ties as halves, since values are few or tie often,",
}
AMONG = "of those that succeeded with a finite value, of those that the filter holds"


class Decided(NamedTuple):
    """By what, the interval that says it, and the word."""

    by: Literal["runs", "trials"]
    interval: Interval
    word: str

    @property
    def differs(self) -> bool:
        return self.word in ("better", "worse", "higher", "lower")


def decide(effect: Effect, per_run: PerRun, leading: Leading, better: Better, sizes: tuple[int, int]) -> Decided:
    """Trials of one run are alike: many of them make an interval narrow that says nothing of the next run."""
    by, interval = _deciding(effect, per_run, leading)
    return Decided(by, interval, _word(interval, none_of(leading), better, sizes))


def _deciding(effect: Effect, per_run: PerRun, leading: Leading) -> tuple[Literal["runs", "trials"], Interval]:
    pooled = per_run.pooled
    if pooled is not None and pooled.runs >= REPLICATED:
        return "runs", pooled.figure
    return "trials", figure_of(effect, leading)


def _word(interval: Interval, none: float, better: Better, sizes: tuple[int, int]) -> str:
    """In words that a page shows as they are; the interval is what they rest on."""
    if not all(sizes):
        return "an arm has no finite value"
    if min(sizes) < FEWEST:
        return f"too few values: an interval takes {FEWEST} in each arm"
    # an interval that reaches beyond all differences has no bounds
    if interval.low is None or interval.high is None or interval.low <= none <= interval.high:
        return "no difference is shown"
    higher = interval.low > none
    if better == "unknown":
        return "higher" if higher else "lower"
    return "better" if higher == (better == "higher") else "worse"


def estimand(by: Literal["runs", "trials"], leading: Leading) -> str:
    """What the word is about, for a reader."""
    over = "within a run, on average over the runs" if by == "runs" else "over all trials together"
    return f"{TYPICAL[leading]} {over}; {AMONG}"
