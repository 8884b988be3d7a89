"""The best permutation, orthogonal matrix and ridge regression from second moments, and the error of any linear map.

With x = Phi(x)(u) and y = Phi(g x)(g u), the moments are xx = sum x x^T, xy = sum x y^T and yy = sum |y|^2, and the
squared error of a matrix M is sum |y - M x|^2 = yy - 2 tr(M xy) + tr(M xx M^T).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Float
from scipy.linalg import eigh, orthogonal_procrustes
from scipy.optimize import linear_sum_assignment

Array = npt.NDArray[np.float64]
Matrix = Float[np.ndarray, "d d"]

STRENGTHS: tuple[float, ...] = (0.0, *(10.0**power for power in range(-10, 1)))
"""Strengths of the ridge that are tried, in units of the mean squared entry of x."""

_SINGULAR = 1e-12  # directions of x with less than this share of the largest eigenvalue count as absent


def squared_error(M: Matrix, xx: Matrix, xy: Matrix, yy: float) -> float:
    """The sum |y - M x|^2 from the moments alone, not below 0; rounding leaves some 1e-16 of yy in it.

    >>> squared_error(np.eye(2), np.eye(2), np.eye(2), 2.0)
    0.0
    """
    return max(0.0, float(yy - 2 * np.sum(M * xy.T) + np.sum((M @ xx) * M)))


def best_permutation(xy: Matrix) -> Matrix:
    """The permutation matrix P with the least sum |y - P x|^2: a linear assignment on the cross-moment.

    >>> best_permutation(np.array([[0.0, 2.0], [3.0, 0.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    source, place = linear_sum_assignment(xy, maximize=True)
    P = np.zeros_like(xy)
    P[place, source] = 1.0
    return P


def best_orthogonal(xy: Matrix) -> Matrix:
    """The orthogonal matrix Q with the least sum |y - Q x|^2 (Schoenemann, "A generalized solution of the orthogonal
    Procrustes problem", Psychometrika 1966).

    >>> best_orthogonal(np.array([[0.0, 2.0], [-3.0, 0.0]])).round(12).tolist()
    [[0.0, -1.0], [1.0, 0.0]]
    """
    return np.asarray(orthogonal_procrustes(np.eye(len(xy)), xy)[0].T)


def best_linear(xx: Matrix, xy: Matrix, strength: float) -> Matrix:
    """The M with the least sum |y - M x|^2 + strength tr(xx)/d |M|^2; the one of least norm where several are best.

    >>> best_linear(np.diag([2.0, 0.0]), np.diag([6.0, 0.0]), 0.0).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = eigh(xx)
    return np.asarray(((vectors * _inverses(values, strength)) @ vectors.T @ xy).T)


def linear_errors(
    xx: Matrix, xy: Float[np.ndarray, "element d d"], other_xx: Matrix, other_xy: Float[np.ndarray, "element d d"],
    other_yy: Float[np.ndarray, " element"], strengths: Sequence[float] = STRENGTHS,
) -> Float[np.ndarray, "element strength"]:  # fmt: skip
    """`squared_error`, on other data, of `best_linear` of every element and strength: one decomposition for all."""
    values, vectors = eigh(xx)
    turned, against = vectors.T @ xy, vectors.T @ other_xy
    gains = np.einsum("eij,eij->ei", turned, against)
    costs = (vectors.T @ other_xx @ vectors) * (turned @ turned.transpose(0, 2, 1))
    shrunk = np.stack([_inverses(values, strength) for strength in strengths])
    errors = other_yy[:, None] - 2 * gains @ shrunk.T + np.einsum("si,eij,sj->es", shrunk, costs, shrunk)
    return np.asarray(np.maximum(errors, 0.0))


def _inverses(values: Array, strength: float) -> Array:
    """1 / (eigenvalue + strength * mean eigenvalue), 0 for directions that do not occur."""
    occurs = values > _SINGULAR * values.max(initial=0.0)
    added = strength * max(float(values.mean()), 0.0)
    return np.divide(1.0, values + added, out=np.zeros_like(values), where=occurs)
