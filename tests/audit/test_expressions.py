"""The algebra of expressions: equal numbers mean equal values."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.audit.expressions import Expressions, Line
from eqviz.groups.subsampling import OUTSIDE, fits, windows

WINDOW = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2), st.integers(1, 2))


def values(reads, taps, x):
    """What a window with these tap weights computes from the numbers x."""
    return np.array([sum(taps[t] * x[p] for t, p in enumerate(row) if p != OUTSIDE) for row in reads.tolist()])


@given(length=st.integers(3, 14), window=WINDOW, seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None)
def test_a_window_is_symmetric_exactly_when_the_mirrored_filter_gives_the_mirrored_output(length, window, seed):
    kernel, stride, before, after, dilation = window
    reads = windows(length, kernel, stride, before, after, dilation)
    if not len(reads):
        return
    rng = np.random.default_rng(seed)
    x, taps = rng.normal(size=length), rng.normal(size=kernel)
    mirrored = values(reads, taps[::-1], x[::-1])
    measured = np.allclose(values(reads, taps, x), mirrored[::-1], rtol=0, atol=1e-12)  # sums of at most 4 products
    space = Expressions()
    assert space.taps(space.fresh(length), reads, 1).symmetric == measured


@given(length=st.integers(3, 40), window=WINDOW)
@settings(max_examples=300, deadline=None)
def test_the_closed_form_says_the_same_as_the_list(length, window):
    kernel, stride, before, after, dilation = window
    reads = windows(length, kernel, stride, before, after, dilation)
    if len(reads) < 2 or not (reads != OUTSIDE).any(1).all() or max(before, after) > dilation * (kernel - 1):
        return  # one window for the whole axis, or windows that see nothing: there the list decides, not the form
    space = Expressions()
    symmetric = space.taps(space.fresh(length), reads, 1).symmetric
    assert symmetric == fits(length, kernel, stride, before, after, dilation)


def test_sums_are_equal_however_they_were_put_together():
    space = Expressions()
    line = space.fresh(6)
    half, third = Fraction(1, 2), Fraction(1, 3)
    pairs = space.weighted(line, [[(0, half), (1, half)], [(2, half), (3, half)], [(4, half), (5, half)]], 1)
    whole = space.weighted(pairs, [[(0, third), (1, third), (2, third)]], 1)
    assert whole == space.weighted(line, [[(p, Fraction(1, 6)) for p in range(6)]], 1)
    assert whole != space.weighted(pairs, [[(0, third), (1, third), (2, third)]], 2)  # something came in between


def test_maxima_of_overlapping_windows_are_maxima_of_all_they_cover():
    space = Expressions()
    line = space.fresh(4)
    twice = space.maximum(space.maximum(line, [[0, 1], [1, 2], [2, 3]], 1), [[0, 1, 2]], 1)
    assert twice == space.maximum(line, [[0, 1, 2, 3]], 1)


def test_zeros_vanish_in_sums_and_stay_in_maxima():
    space = Expressions()
    alone = space.fresh(1)
    padded = Line((space.zero, *alone.plain), (*alone.mirrored, space.zero))
    one = Fraction(1)
    assert space.weighted(padded, [[(0, one), (1, one)]], 1).plain == space.weighted(alone, [[(0, one)]], 1).plain
    assert space.maximum(padded, [[0, 1]], 1).plain != space.maximum(alone, [[0]], 1).plain


def test_a_crop_on_one_side_and_a_crop_on_the_other_make_up_for_each_other():
    space = Expressions()
    line = space.fresh(9)
    left = line.take(range(1, 9))
    assert not left.symmetric
    assert not space.taps(left, windows(8, 3, 1, 1, 1), 1).symmetric
    valid = space.taps(left, windows(8, 3), 2)
    assert valid.take(range(5)).symmetric


@pytest.mark.parametrize("method", ["placed", "joined", "gathered", "informed", "marked"])
def test_symmetric_lines_stay_symmetric(method):
    space = Expressions()
    assert getattr(space, method)(space.fresh(5), 1).symmetric


def test_order_matters_where_places_have_weights_of_their_own_and_not_elsewhere():
    space = Expressions()
    broken = space.fresh(6).take([1, 2, 3, 4, 5])
    rolled = space.fresh(6).take([1, 2, 3, 4, 5, 0])
    assert not space.gathered(broken, 1).symmetric
    assert space.gathered(rolled, 1).symmetric
    assert not space.joined(rolled, 1).symmetric
    assert space.informed(rolled, 1).plain != space.informed(rolled, 1).mirrored[::-1]


def test_a_mirror_image_filter_weighs_a_tap_and_its_mirror_image_alike():
    space = Expressions()
    constant = space.fresh(1)
    reads = windows(1, 2, 1, 0, 1)
    assert not space.taps(constant, reads, 1).symmetric
    assert space.taps(constant, reads, 1, even=True).symmetric
