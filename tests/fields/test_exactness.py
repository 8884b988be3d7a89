"""The rule by which exact is told from approximate, as a table of cases."""

import math

import pytest

from eqviz.fields.exactness import exact_by_fall, first_look, screening_floor

inf, nan = math.inf, math.nan


@pytest.mark.parametrize(
    ("single", "double", "verdict"),
    [
        (0.0, 0.0, "yes"),
        (3e-14, 2e-31, "yes"),  # rounding of one layer
        (4e-12, 2e-29, "yes"),  # rounding of twenty
        (1e-14, 0.0, "yes"),
        (0.0, 2e-32, "yes"),  # float32 happened to round to nothing
        (1e-9, 1e-15, "yes"),  # exactly a factor of 1e6
        (1e-9, 1.1e-15, "undecided"),
        (1e-9, 1e-10, "undecided"),  # exactly a factor of 10
        (1e-9, 1.1e-10, "no"),
        (0.12, 0.12, "no"),
        (1e-13, 1e-13, "no"),  # a real break, however small
        (0.5, 0.6, "no"),
        (0.0, 1e-5, "no"),
        (1.0, 1e-3, "undecided"),
        (nan, nan, "undecided"),
        (nan, 0.0, "undecided"),
        (0.0, nan, "undecided"),
        (1e-30, nan, "undecided"),
        (inf, inf, "undecided"),
        (inf, 0.0, "undecided"),
        (0.1, inf, "undecided"),
    ],
)
def test_verdicts(single, double, verdict):
    assert exact_by_fall(single, double) == verdict


def test_screening_floor_lies_midway_between_epsilon_squared_and_epsilon():
    for epsilon in (2.0**-23, 2.0**-52, 2.0**-10):
        assert math.log(screening_floor(epsilon)) == pytest.approx((2 * math.log(epsilon) + math.log(epsilon)) / 2)


@pytest.mark.parametrize(
    ("value", "answer"),
    [(0.0, True), (1e-14, True), (4.4e-11, None), (1e-8, None), (1e-6, False), (0.5, False), (math.nan, None)],
)
def test_a_first_look_in_float32_says_so_where_it_cannot_tell(value, answer):
    assert first_look(value, 2.0**-23) is answer
