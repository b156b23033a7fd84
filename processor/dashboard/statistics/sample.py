"""The trials of a comparison as columns: a million of them are a few arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: how a trial ended, as codes of `Sample.ending`
SUCCEEDED, FAILED, OTHER = 0, 1, 2
#: codes of `Sample.arm` that are no arm: the trial lacks the parameter, or has a value that is too rare to be one
LACKING, BEYOND = -1, -2
#: values of a parameter that are told apart as arms, the most frequent ones
MOST_LEVELS = 50


class Parameter(NamedTuple):
    """One other parameter over the same trials.

    `numbers`: NaN where it is missing or no number. `levels`: codes of its values as text, -1 where it is missing.
    One of both is there.
    """

    name: str
    numbers: Floats | None = None
    levels: Integers | None = None


class Sample(NamedTuple):
    """All trials that a filter holds, one entry of each array a trial, in no order.

    `arm` are codes into `arms` (or `LACKING`, `BEYOND`), `run` codes into `runs`. `value` is the metric;
    `has_value` says whether there is a number at all, a NaN or infinite one included. `order` is any number that grows
    with the time at which the trial ran. `defaulted`: the arm was never reported, it is a column's default.
    `looked`: the trials of which `parameters` tell, a random sample of them; None: of all.
    """

    arms: Sequence[str]
    runs: Sequence[str]
    arm: Integers
    run: Integers
    value: Floats
    has_value: Booleans
    ending: Integers
    order: Floats
    defaulted: Booleans
    parameters: Sequence[Parameter] = ()
    looked: Booleans | None = None

    @property
    def finite(self) -> Booleans:
        """The trials whose value counts: they succeeded, and have a finite number."""
        return np.asarray((self.ending == SUCCEEDED) & self.has_value & np.isfinite(self.value))

    def detailed(self) -> Sample:
        """The trials alone of which parameters are told."""
        return self if self.looked is None else self.of(self.looked)._replace(looked=None)

    def of(self, chosen: Booleans) -> Sample:
        """These trials alone."""
        told = chosen if self.looked is None else chosen[self.looked]
        parameters = [
            Parameter(
                one.name,
                None if one.numbers is None else one.numbers[told],
                None if one.levels is None else one.levels[told],
            )
            for one in self.parameters
        ]
        return self._replace(
            arm=self.arm[chosen],
            run=self.run[chosen],
            value=self.value[chosen],
            has_value=self.has_value[chosen],
            ending=self.ending[chosen],
            order=self.order[chosen],
            defaulted=self.defaulted[chosen],
            parameters=parameters,
            looked=None if self.looked is None else self.looked[chosen],
        )
