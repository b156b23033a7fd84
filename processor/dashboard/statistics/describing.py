"""One arm by itself."""

from __future__ import annotations

import math

import numpy as np

from processor.dashboard.statistics.intervals import FEWEST, Confidence
from processor.dashboard.statistics.results import ArmSummary, Interval
from processor.dashboard.statistics.sample import FAILED, SUCCEEDED, Booleans, Floats, Sample

SHARES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def describe(name: str, sample: Sample, mine: Booleans, values: Floats, confidence: Confidence) -> ArmSummary:
    """`mine` are the arm's trials, `values` their finite values in order."""
    ending = sample.ending[mine]
    succeeded = int((ending == SUCCEEDED).sum())
    failed = int((ending == FAILED).sum())
    numbers = int((mine & sample.has_value & (sample.ending == SUCCEEDED)).sum())
    count = len(values)
    sd = _told(float(values.std(ddof=1))) if count > 1 else None
    quantiles = np.quantile(values, SHARES).tolist() if count else []
    return ArmSummary(
        arm=name,
        trials=len(ending),
        succeeded=succeeded,
        failed=failed,
        other=len(ending) - succeeded - failed,
        finite=count,
        not_finite=numbers - count,
        missing=succeeded - numbers,
        mean=_mean(values, sd, confidence),
        median=_median(values) if count else None,
        sd=sd,
        least=float(values[0]) if count else None,
        greatest=float(values[-1]) if count else None,
        quantiles=tuple(zip(SHARES, quantiles, strict=True)) if count else (),
    )


def _median(values: Floats) -> float:
    """Of values in order; the sum of the two in the middle may be beyond a double's end, their halves are not."""
    low, high = float(values[(len(values) - 1) // 2]), float(values[len(values) // 2])
    found = (low + high) / 2
    return found if math.isfinite(found) else low / 2 + high / 2


def _mean(values: Floats, sd: float | None, confidence: Confidence) -> Interval:
    count = len(values)
    mean = _told(float(values.mean())) if count else None
    if mean is None or sd is None or count < FEWEST:
        return Interval(mean, None, None)
    return confidence.around(mean, sd / math.sqrt(count), count, count - 1)


def _told(number: float) -> float | None:
    """A sum of values near a double's end is none."""
    return number if math.isfinite(number) else None
