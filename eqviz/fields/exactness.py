"""Exact or approximate? Decided by how far a broken energy falls when the arithmetic gets finer.

Rounding leaves an energy of about epsilon squared, which falls from 1e-14 to 1e-30 between float32 and float64; a real
break stays where it is. No fixed tolerance can tell them apart, since rounding grows with depth.
"""

import math
from typing import Literal

Verdict = Literal["yes", "no", "undecided"]

FALL_IF_EXACT = 1e6
FALL_IF_BROKEN = 10.0
_EPSILON_64 = 2.0**-52


def exact_by_fall(single: float, double: float) -> Verdict:
    """Whether an energy fraction measured in float32 (`single`) and float64 (`double`) is zero but for rounding.

    yes: it falls by a factor of 1e6 or more, or is 0 in both; no: it falls by less than 10; undecided in between, or
    where one is NaN or infinite. If float32 happened to round to less than float64 did, it is yes when both are at the
    floor of float64.

    >>> exact_by_fall(3e-14, 2e-31), exact_by_fall(0.12, 0.12), exact_by_fall(1e-9, 1e-12)
    ('yes', 'no', 'undecided')
    """
    if not (math.isfinite(single) and math.isfinite(double)):
        return "undecided"
    if single == double == 0 or max(single, double) < screening_floor(_EPSILON_64):
        return "yes"
    if single >= FALL_IF_EXACT * double:
        return "yes"
    return "no" if single < FALL_IF_BROKEN * double else "undecided"


def first_look(value: float, epsilon: float) -> bool | None:
    """Whether an energy fraction measured in one precision alone looks like rounding (True), a break (False) or either.

    True up to epsilon ** 1.75 (8e-13 for float32), which a few layers of rounding reach; False from epsilon on (1e-7),
    which rounding does not reach; None in between, or for NaN. A break weaker than rounding cannot be seen this way:
    :func:`exact_by_fall` decides.

    >>> first_look(3e-14, 2**-23), first_look(0.1, 2**-23), first_look(4e-11, 2**-23)
    (True, False, None)
    """
    if value <= epsilon**1.75:
        return True
    return False if value >= epsilon else None


def screening_floor(epsilon: float) -> float:
    """Energy fraction below which a measurement in one precision looks like rounding: epsilon ** 1.5.

    On a logarithmic scale midway between the energy of one rounding error, epsilon squared, and epsilon: 4e-11 for
    float32, 3e-24 for float64.
    """
    return float(epsilon**1.5)
