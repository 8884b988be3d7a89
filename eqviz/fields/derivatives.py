"""Derivatives of maps along rows and columns, from central differences.

Maps are samples: their derivative is an approximation, exact for polynomials of low degree. Two orders are offered, so
that the difference between them can say what the approximation costs.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

Order = Literal[2, 4]

_FOURTH = np.array([1.0, -8.0, 0.0, 8.0, -1.0]) / 12


@lru_cache(maxsize=128)
def derivative_matrix(length: int, order: Order) -> npt.NDArray[np.float64]:
    """The matrix (length, length) that takes samples, one apart, to their derivative.

    order 2  (f[i+1] - f[i-1]) / 2, and the difference of the last two samples at either end
    order 4  (f[i-2] - 8 f[i-1] + 8 f[i+1] - f[i+2]) / 12; that of order 2 one sample from an end, and at the end
             (-3 f[0] + 4 f[1] - f[2]) / 2 and its mirror image

    Nothing is assumed about what lies beyond the ends: a constant has derivative 0 everywhere. Order 2 is exact for
    straight lines, and for parabolas away from the ends; order 4 for parabolas, and for fourth powers two samples away
    from the ends. A wave of w radians a sample comes out as sin(w) or (8 sin(w) - sin(2w)) / 6 in place of w: at four
    samples a period as 64% or 85%. One sample alone has derivative 0.
    Source: Fornberg 1988, Generation of finite difference formulas on arbitrarily spaced grids, tables 1 and 3.

    >>> derivative_matrix(3, 2).tolist()
    [[-1.0, 1.0, 0.0], [-0.5, 0.0, 0.5], [0.0, -1.0, 1.0]]
    """
    matrix = np.zeros((length, length))
    for i in range(1, length - 1):
        if order == 4 and 2 <= i < length - 2:
            matrix[i, i - 2 : i + 3] = _FOURTH
        else:
            matrix[i, i - 1 : i + 2] = -0.5, 0.0, 0.5
    if length > 2 and order == 4:
        matrix[0, :3] = -1.5, 2.0, -0.5
        matrix[-1, -3:] = 0.5, -2.0, 1.5
    elif length > 1:
        matrix[0, :2] = matrix[-1, -2:] = -1.0, 1.0
    matrix.flags.writeable = False
    return matrix


def gradient(
    maps: Float[Tensor, "*batch height width"], order: Order
) -> tuple[Float[Tensor, "*batch height width"], Float[Tensor, "*batch height width"]]:
    """The derivatives of maps along rows (downwards) and along columns (to the right), a pixel being the unit.

    >>> downwards, rightwards = gradient(torch.tensor([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0]]), 2)
    >>> downwards.unique().tolist(), rightwards.unique().tolist()
    ([5.0], [1.0])
    """
    rows, columns = (_as_tensor(derivative_matrix(length, order), maps) for length in maps.shape[-2:])
    return rows @ maps, maps @ columns.T


def _as_tensor(matrix: npt.NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.tensor(matrix, dtype=like.dtype, device=like.device)
