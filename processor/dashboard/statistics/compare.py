"""The arms of a boolean or categorical parameter beside each other, for one metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from processor.core.errors import UsageError
from processor.dashboard.statistics.contrast import contrast
from processor.dashboard.statistics.describing import describe
from processor.dashboard.statistics.directions import guess_direction
from processor.dashboard.statistics.intervals import Confidence, adjusted
from processor.dashboard.statistics.results import (
    ArmSummary,
    Better,
    Comparison,
    Contrast,
    Direction,
    LeftOut,
    Validity,
)
from processor.dashboard.statistics.sample import BEYOND, LACKING, MOST_LEVELS, Floats, Sample
from processor.dashboard.statistics.sides import Sides, sides_of

#: arms beyond so many, the smallest ones, are counted and not compared: a parameter with more is no choice but a number
MOST_ARMS = 8
FIXED = "intervals are for one look at these trials; whoever looks again and again takes the ones valid at every look"
ALWAYS = (
    "intervals hold at every look, however often one looks, but for those of the best of k; a p value is for one look, "
    "and is not shown here"
)
MANY = "several arms are compared: each interval has its own confidence, and `adjusted_p` counts that they are several"
SAMPLED = (
    "whether the arms are alike otherwise, and what is said of trials that are alike in parameters, comes from a "
    "random sample of {trials} of these trials; all other figures are of all of them"
)


class UnknownArm(UsageError):  # noqa: N818 - as what it is a kind of is used: told, not mended
    """The reference that was asked for is no arm of these trials; the text names those that are."""


def compare(
    sample: Sample,
    *,
    parameter: str,
    metric: str,
    better: Better | None = None,
    reference: str | None = None,
    matched: Sequence[str] | None = None,
    leave_out_defaulted: bool = False,
    confidence: float = 0.95,
    validity: Validity = "fixed",
    told: Sequence[str] = (),
) -> Comparison:
    """All arms of `parameter` by `metric`. `better` None: guessed from the name, and told as a guess.

    `reference` is the arm that the others are held to: by default "false" where it is one, else the largest. `matched`
    names other parameters that a stratum has in common. `told` is what the notes say beside their own. Raises
    `UnknownArm` where `reference` is none.
    """
    chosen, left_out, notes = _chosen(sample, leave_out_defaulted)
    sure = Confidence(confidence, validity)
    direction = guess_direction(metric) if better is None else Direction(better, "chosen")
    sizes = np.bincount(chosen.arm, minlength=len(chosen.arms)) if len(chosen.arm) else np.zeros(len(chosen.arms))
    arms = [int(code) for code in np.argsort(-sizes, kind="stable") if sizes[code]][:MOST_ARMS]
    base = _reference(chosen.arms, arms, reference)
    finite = chosen.finite
    # a sum of values near a double's end is none, and is told as none
    with np.errstate(over="ignore", invalid="ignore"):
        masks = {one: chosen.arm == one for one in arms}
        values = {one: np.sort(chosen.value[mine & finite]) for one, mine in masks.items()}
        summaries = [
            describe(chosen.arms[one], chosen, masks[one], values[one], sure)
            for one in sorted(arms, key=lambda one: (one != base, one))
        ]
        contrasts = [
            contrast(_sides(chosen, base, one, values), direction.better, sure, matched)
            for one in sorted(arms)
            if one != base
        ]
    left_out += _without_value(summaries)
    if chosen.looked is not None:
        notes.append(SAMPLED.replace("{trials}", str(int(chosen.looked.sum()))))
    notes += [*told, FIXED if sure.fixed else ALWAYS, *([MANY] if len(contrasts) > 1 else [])]
    return Comparison(
        parameter, metric, direction, validity, confidence, len(sample.arm),
        tuple(summaries), tuple(contrasts), _adjusted(contrasts), tuple(left_out), tuple(notes),
    )  # fmt: skip


def _chosen(sample: Sample, leave_out_defaulted: bool) -> tuple[Sample, list[LeftOut], list[str]]:
    """The trials that have an arm that is compared, and what became of the others."""
    left_out, notes = [], []
    keep = sample.arm >= 0
    for code, why in (
        (LACKING, "the trial lacks the parameter"),
        (BEYOND, f"its value is none of the most frequent {MOST_LEVELS}"),
    ):
        if count := int((sample.arm == code).sum()):
            left_out.append(LeftOut(None, count, why))
    defaulted = int((keep & sample.defaulted).sum())
    if defaulted and leave_out_defaulted:
        left_out.append(LeftOut(None, defaulted, "the parameter was never reported: the default stands there"))
        keep = keep & ~sample.defaulted
    elif defaulted:
        notes.append(
            f"{defaulted} trial{'' if defaulted == 1 else 's'} never reported the parameter: "
            "the default stands there, and counts"
        )
    sizes = np.bincount(sample.arm[keep], minlength=len(sample.arms))
    for code in np.argsort(-sizes, kind="stable")[MOST_ARMS:]:
        if sizes[code]:
            left_out.append(
                LeftOut(sample.arms[code], int(sizes[code]), f"only the {MOST_ARMS} largest arms are compared")
            )
            keep = keep & (sample.arm != code)
    return (sample if keep.all() else sample.of(keep)), left_out, notes


def _adjusted(contrasts: Sequence[Contrast]) -> tuple[float | None, ...]:
    known = [one.deciding_p for one in contrasts]
    found = iter(adjusted([p for p in known if p is not None]))
    return tuple(None if p is None else next(found) for p in known)


def _sides(sample: Sample, reference: int, other: int, values: Mapping[int, Floats]) -> Sides:
    """The trials of two arms alone: no figure of them may depend on a third."""
    keep = (sample.arm == reference) | (sample.arm == other)
    pair = sample if keep.all() else sample.of(keep)
    return sides_of(pair, reference, other, (values[reference], values[other]))


def _reference(names: Sequence[str], arms: list[int], wanted: str | None) -> int:
    found = [code for code in arms if names[code] == (wanted or "false")]
    if found:
        return found[0]
    if wanted is not None:
        raise UnknownArm(
            f"there is no arm {wanted!r}: the arms are {', '.join(names[code] for code in arms) or 'none'}"
        )
    return arms[0] if arms else -1


def _without_value(summaries: list[ArmSummary]) -> list[LeftOut]:
    """Trials that are in no figure of values, though they may be in those of failures."""
    found = []
    for one in summaries:
        for count, why in (
            (one.failed, "it failed: in the failures, the worst ranks and the budget, in no other figure"),
            (one.other, "it was skipped or cancelled: in no figure"),
            (one.not_finite, "its value is NaN or infinite: in the divergences, the worst ranks and the budget"),
            (one.missing, "it succeeded without a number for the metric: in the worst ranks and the budget"),
        ):
            if count:
                found.append(LeftOut(one.arm, count, why))
    return found
