"""How differently the other parameters are spread in two arms: what else a difference may come from."""

from __future__ import annotations

import math

import numpy as np

from processor.core.text import natural_order
from processor.dashboard.statistics.results import Imbalance
from processor.dashboard.statistics.sample import Booleans, Floats, Integers, Parameter

#: the usual mark for a difference of standardised means that deserves a look (Austin, Statistics in Medicine 28, 2009)
MARKED = 0.1
#: of a mean: what is 0.1 in every trial that has it has means that differ in their last digit
_ROUNDING = 1e-12


def balance(parameters: list[Parameter], reference: Booleans, other: Booleans) -> tuple[Imbalance, ...]:
    """Of each parameter, the least balanced first."""
    found = [_imbalance(one, reference, other) for one in parameters]
    return tuple(
        sorted(
            found,
            key=lambda one: (-math.inf if one.difference is None else -one.difference, natural_order(one.parameter)),
        )
    )


def _imbalance(parameter: Parameter, reference: Booleans, other: Booleans) -> Imbalance:
    if parameter.numbers is not None:
        numbers = [parameter.numbers[side] for side in (reference, other)]
        missing = [_share(~np.isfinite(side)) for side in numbers]
        each = zip(numbers, [not share for share in missing], strict=True)
        difference = _of_numbers([side if every else side[np.isfinite(side)] for side, every in each])
    else:
        levels = [_levels_of(parameter)[side] for side in (reference, other)]
        missing = [_share(side < 0) for side in levels]
        difference = _of_levels(*(side[side >= 0] for side in levels))
    uneven = abs(missing[0] - missing[1]) > MARKED
    return Imbalance(
        parameter=parameter.name,
        kind="categorical" if parameter.numbers is None else "numeric",
        difference=difference,
        missing_reference=missing[0],
        missing_other=missing[1],
        marked=uneven or difference is None or difference > MARKED,
    )


def _levels_of(parameter: Parameter) -> Integers:
    if parameter.levels is None:
        raise ValueError(f"the parameter {parameter.name} has neither numbers nor levels")
    return parameter.levels


def _share(mask: Booleans) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _of_numbers(sides: list[Floats]) -> float | None:
    if not all(len(side) for side in sides):
        return 0.0
    return _standardised([float(side.mean()) for side in sides], [float(side.var()) for side in sides])


def _of_levels(reference: Integers, other: Integers) -> float | None:
    """That of the level for which it is largest."""
    if not (len(reference) and len(other)):
        return 0.0
    most = int(max(reference.max(), other.max())) + 1
    shares: list[Floats] = [np.bincount(side, minlength=most) / len(side) for side in (reference, other)]
    found = [
        _standardised([p, q], [p * (1 - p), q * (1 - q)])
        for p, q in zip(*(one.tolist() for one in shares), strict=True)
    ]
    return None if None in found else max(one for one in found if one is not None)


def _standardised(means: list[float], variances: list[float]) -> float | None:
    """|difference of means| in units of the spread within the arms; 0 where an arm holds none at all."""
    apart = abs(means[0] - means[1])
    if not math.isfinite(apart) or apart <= _ROUNDING * max(map(abs, means)):
        return 0.0
    spread = math.sqrt(sum(variances) / 2)
    return apart / spread if spread else None
