"""Measures of equivariance from orbit statistics: pure functions, sums in, values out.

All of them take `norms` n_g = |A_g|^2, (..., |G|), and `distances` d_gh = |A_g - A_h|^2, (..., |G|, |G|), of the
aligned orbit, summed over images or for each image; leading axes are kept. Both must come from differences taken
before squaring: every term below is then a sum of such squares and a zero stays a zero.

A layer whose norms are all zero has no ratio; its values are NaN.
"""

import numpy as np
import numpy.typing as npt

from eqviz.groups.group import Group
from eqviz.groups.irreps import irreps, isotypic_projector

Array = npt.NDArray[np.float64]


def ratio(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Array:
    """Elementwise quotient; NaN where the denominator is zero or either is not finite."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    shape = np.broadcast_shapes(above.shape, below.shape)
    usable = (below != 0) & np.isfinite(above) & np.isfinite(below)
    quotient: Array = np.divide(above, below, out=np.full(shape, np.nan), where=usable)
    return quotient


def breaking_fraction(norms: Array, distances: Array) -> Array:
    """B = sum_g |D_g|^2 / sum_g |A_g|^2 = sum_gh d_gh / (2 |G| sum_g n_g), in [0, 1]; 0 when equivariant, (...).

    >>> breaking_fraction(np.array([1.0, 1.0]), np.array([[0.0, 4.0], [4.0, 0.0]]))
    array(1.)
    """
    order = norms.shape[-1]
    return ratio(distances.sum((-2, -1)), 2 * order * norms.sum(-1))


def relative_errors(norms: Array, distances: Array) -> Array:
    """Error of every element against the identity, |A_g - A_e| / |A_e| = sqrt(d_ge / n_e), (..., |G|)."""
    return np.asarray(np.sqrt(ratio(distances[..., 0], norms[..., :1])))


def cosines(norms: Array, distances: Array) -> Array:
    """Cosine between A_g and A_e, (n_g + n_e - d_ge) / (2 sqrt(n_g n_e)), (..., |G|)."""
    upright = norms[..., :1]
    with np.errstate(invalid="ignore"):  # infinite activations: NaN, without a warning
        products = norms + upright - distances[..., 0]
    return ratio(products, 2 * np.sqrt(norms) * np.sqrt(upright))


def over_group(values: Array, *, squares: bool = False) -> Array:
    """Mean over the elements other than the identity (axis -1); root mean square with `squares`.

    NaN for the trivial group, which has no other element.
    """
    others = values[..., 1:]
    if not others.shape[-1]:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.sqrt(np.mean(others**2, axis=-1)) if squares else np.mean(others, axis=-1))


def isotypic_energies(group: Group, norms: Array, distances: Array, *, epsilon: float) -> Array:
    """Fraction of energy in each isotypic component, E_r = |P_r A|^2 / sum_g |A_g|^2, (..., irrep); they add to 1.

    For non-trivial r it is -1/2 tr(P_r d) / sum_g n_g. Signs mix in that sum, so anything up to `epsilon` (machine
    epsilon of the measured activations) times |G| b is rounding and given as 0.
    """
    total = norms.sum(-1)
    broken = breaking_fraction(norms, distances)
    energies = []
    for irrep in irreps(group):
        if irrep.trivial:
            energies.append(1 - broken)
            continue
        projector = isotypic_projector(group, irrep)
        with np.errstate(invalid="ignore"):  # infinite activations: NaN, without a warning
            energy = ratio(-0.5 * np.einsum("gh,...hg->...", projector, distances), total)
        energies.append(np.where(np.abs(energy) <= epsilon * group.order * broken, 0.0, energy))
    return np.stack(energies, axis=-1)


def subgroup_residual(group: Group, subgroup: Group, norms: Array, distances: Array) -> Array:
    """res_H = sum_g sum_{h in H} d_{g,hg} / (2 |H| sum_g n_g), (...): 0 exactly when H survives.

    It is the energy fraction of (1 - 1/|H| sum_{h in H} L_h) A; for H = G it is the breaking fraction.
    """
    elements = np.arange(group.order)
    moved = sum(distances[..., elements, group.cayley[h]].sum(-1) for h in group.members(subgroup))
    return ratio(np.asarray(moved), 2 * subgroup.order * norms.sum(-1))
