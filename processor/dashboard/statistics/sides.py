"""The two arms of a contrast in a sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from processor.dashboard.statistics.sample import Booleans, Floats, Sample


class Sides(NamedTuple):
    """The trials of both arms in a sample, and their finite values in order."""

    sample: Sample
    finite: Booleans
    reference: int
    other: int
    masks: tuple[Booleans, Booleans]
    values: tuple[Floats, Floats]

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.values[0]), len(self.values[1])


def sides_of(sample: Sample, reference: int, other: int, values: tuple[Floats, Floats] | None = None) -> Sides:
    """`values` are the finite ones of both in order, where they are known."""
    finite = sample.finite
    masks = sample.arm == reference, sample.arm == other
    if values is None:
        values = np.sort(sample.value[masks[0] & finite]), np.sort(sample.value[masks[1] & finite])
    return Sides(sample, finite, reference, other, masks, values)
