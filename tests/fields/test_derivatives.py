"""Central differences are exact on polynomials of low degree, and damp waves by a known factor."""

import numpy as np
import pytest
import torch

from eqviz.fields.derivatives import derivative_matrix, gradient


@pytest.mark.parametrize(("order", "everywhere", "inside", "margin"), [(2, 1, 2, 1), (4, 2, 4, 2)])
@pytest.mark.parametrize("length", [3, 5, 6, 11])
def test_exact_on_polynomials(order, everywhere, inside, margin, length):
    D, i = derivative_matrix(length, order), np.arange(length, dtype=float)
    for degree in range(inside + 1):
        found, true = D @ i**degree, degree * i ** max(degree - 1, 0) if degree else np.zeros(length)
        part = slice(None) if degree <= everywhere else slice(margin, length - margin)
        # values reach 11^4: rounding of 1e4 * 2^-52
        np.testing.assert_allclose(found[part], true[part], atol=1e-10)


@pytest.mark.parametrize("order", [2, 4])
def test_the_next_degree_is_not_exact(order):
    i = np.arange(11, dtype=float)
    error = derivative_matrix(11, order) @ i ** (order + 1) - (order + 1) * i**order
    assert np.abs(error[5]) > 0.9


def test_waves_are_damped_as_stated():
    i, w = np.arange(40), 2 * np.pi / 4
    for order, factor in ((2, np.sin(w)), (4, (8 * np.sin(w) - np.sin(2 * w)) / 6)):
        found = derivative_matrix(40, order) @ np.sin(w * i)
        np.testing.assert_allclose(found[2:-2], factor * np.cos(w * i)[2:-2], atol=1e-12)  # rounding
        assert factor / w == pytest.approx({2: 0.64, 4: 0.85}[order], abs=0.005)


@pytest.mark.parametrize("order", [2, 4])
def test_short_axes(order):
    assert derivative_matrix(1, order).tolist() == [[0.0]]
    assert derivative_matrix(2, order).tolist() == [[-1.0, 1.0], [-1.0, 1.0]]
    assert not derivative_matrix(4, order).flags.writeable


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_reversing_the_axis_reverses_the_sign(order, length):
    D = derivative_matrix(length, order)
    np.testing.assert_array_equal(D[::-1, ::-1], -D)


def test_the_gradient_is_down_and_right():
    i, j = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    downwards, rightwards = gradient((3 * i + 5 * j)[None, None], 4)
    torch.testing.assert_close(downwards, torch.full((1, 1, 4, 6), 3.0))
    torch.testing.assert_close(rightwards, torch.full((1, 1, 4, 6), 5.0))
