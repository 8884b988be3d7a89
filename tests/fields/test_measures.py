"""Every measure against its definition by explicit S, D and P_r, computed from the vectors themselves."""

import numpy as np
import pytest
import torch

from eqviz.fields.measures import (
    breaking_fraction,
    cosines,
    isotypic_energies,
    over_group,
    ratio,
    relative_errors,
    subgroup_residual,
)
from eqviz.fields.sums import reduce_orbit
from eqviz.groups.group import Group, group
from eqviz.groups.irreps import irreps

GROUPS = [*group("D4").subgroups, group("C3"), group("C5"), group("C8")]
every_group = pytest.mark.parametrize("G", GROUPS, ids=str)
CLOSE = 1e-12  # float64 sums of some hundred terms


def vectors(G: Group, images: int = 3) -> np.ndarray:
    """Aligned orbits (element, image, entry), with a shared mean so that no part vanishes."""
    rng = np.random.default_rng(G.order)
    return rng.normal(size=(G.order, images, 20)) + rng.normal(size=(1, images, 20))


def sums(A: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = np.array([sum(a @ a for a in A[g]) for g in range(len(A))])
    d = np.array([[sum(x @ x for x in A[g] - A[h]) for h in range(len(A))] for g in range(len(A))])
    return n, d


def translated(G: Group, g: int, A: np.ndarray) -> np.ndarray:
    """L_g A: (L_g A)(g v) = A(v)."""
    moved = np.empty_like(A)
    for v in range(G.order):
        moved[G.compose(g, v)] = A[v]
    return moved


@every_group
def test_breaking_fraction_is_the_energy_of_d(G):
    A = vectors(G)
    D = A - A.mean(0)
    n, d = sums(A)
    b = float(breaking_fraction(n, d))
    assert b == pytest.approx((D**2).sum() / (A**2).sum(), abs=CLOSE)
    assert 0 <= b <= 1
    # the mean over ordered pairs is twice the mean breaking energy
    assert d.mean() == pytest.approx(2 * (D**2).sum() / G.order, rel=CLOSE)


@every_group
def test_isotypic_energies_are_those_of_the_projected_orbit(G):
    A = vectors(G)
    n, d = sums(A)
    energies = isotypic_energies(G, n, d, epsilon=2.0**-52)
    for r, energy in zip(irreps(G), energies, strict=True):
        P = sum(r.character[G.inverse(g)] * translated(G, g, A) for g in range(G.order))
        P = P * r.dimension / (G.order * r.endomorphisms)
        assert energy == pytest.approx((P**2).sum() / (A**2).sum(), abs=CLOSE)
    assert energies.sum() == pytest.approx(1, abs=CLOSE)
    assert energies[1:].sum() == pytest.approx(float(breaking_fraction(n, d)), abs=CLOSE)


@every_group
def test_subgroup_residual_is_the_energy_off_the_projection(G):
    A = vectors(G)
    n, d = sums(A)
    for H in G.subgroups:
        mean = sum(translated(G, h, A) for h in G.members(H)) / H.order
        expected = ((A - mean) ** 2).sum() / (A**2).sum()
        assert float(subgroup_residual(G, H, n, d)) == pytest.approx(expected, abs=CLOSE)
    assert float(subgroup_residual(G, G, n, d)) == pytest.approx(float(breaking_fraction(n, d)), abs=CLOSE)


@every_group
def test_a_subgroup_survives_exactly_when_the_orbit_is_constant_on_its_right_cosets(G):
    for H in G.subgroups:
        A = vectors(G)
        for coset in G.right_cosets(H):
            A[list(coset)] = A[coset[0]]
        n, d = sums(A)
        kept = {K.name for K in G.subgroups if float(subgroup_residual(G, K, n, d)) == 0}
        assert kept == {K.name for K in H.subgroups}


@pytest.mark.parametrize(("dtype", "floor"), [(torch.float32, 1e-10), (torch.float64, 1e-25)])
@pytest.mark.parametrize("name", ["C2", "C4", "D1(transpose)", "D2(axes)", "D2(diagonals)"])
def test_differences_first_leave_a_surviving_subgroup_at_the_rounding_floor(name, dtype, floor):
    """Squares of some epsilons, far above 1e-14 and 1e-31; a Gram of uncentred vectors would leave 1e-7 and 1e-16."""
    G, H = group("D4"), group(name)
    A = vectors(G)
    for coset in G.right_cosets(H):
        A[list(coset)] = A[coset[0]]
    noise = torch.finfo(dtype).eps * torch.randn(
        A.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found = reduce_orbit((torch.from_numpy(A) * (1 + noise)).to(dtype)).summed()
    assert 0 < float(subgroup_residual(G, H, found.norms, found.distances)) < floor
    assert float(breaking_fraction(found.norms, found.distances)) > 0.05
    gone = {"C2": "A2", "C4": "E", "D2(axes)": "E", "D2(diagonals)": "E", "D1(transpose)": "A2"}[name]
    energies = isotypic_energies(G, found.norms, found.distances, epsilon=torch.finfo(dtype).eps)
    position = [r.name for r in irreps(G)].index(gone)
    assert (energies[position] == 0) == (name != "C2")  # C2 in D4 is kept by A2: that energy is real


@pytest.mark.parametrize(("irrep", "kept"), [("A2", "C4"), ("B1", "D2(axes)"), ("B2", "D2(diagonals)")])
def test_one_irrep_of_d4_beside_the_trivial_one_keeps_one_subgroup(irrep, kept):
    G = group("D4")
    character = next(r.character for r in irreps(G) if r.name == irrep)
    rng = np.random.default_rng(0)
    same, broken = rng.normal(size=(2, 1, 20))
    A = np.stack([same + sign * broken for sign in character])
    n, d = sums(A)
    energies = dict(zip([r.name for r in irreps(G)], isotypic_energies(G, n, d, epsilon=2.0**-52), strict=True))
    assert {name for name, energy in energies.items() if energy > 0} == {"A1", irrep}
    survivors = {H.name for H in G.subgroups if float(subgroup_residual(G, H, n, d)) == 0}
    assert survivors == {H.name for H in group(kept).subgroups}


@every_group
def test_errors_and_cosines_against_the_upright_image(G):
    A = vectors(G)
    n, d = sums(A)
    flat = A.reshape(G.order, -1)
    for g in range(G.order):
        assert relative_errors(n, d)[g] == pytest.approx(
            np.linalg.norm(flat[g] - flat[0]) / np.linalg.norm(flat[0]), abs=CLOSE
        )
        cosine = flat[g] @ flat[0] / np.linalg.norm(flat[g]) / np.linalg.norm(flat[0])
        assert cosines(n, d)[g] == pytest.approx(cosine, abs=CLOSE)


def test_an_alternating_orbit_reaches_one_and_unrelated_vectors_one_minus_one_over_the_order():
    n, d = sums(np.array([[[1.0, 2.0]], [[-1.0, -2.0]]]))
    assert float(breaking_fraction(n, d)) == 1
    n, d = sums(np.random.default_rng(0).normal(size=(8, 200, 50)))
    # 80,000 numbers: the fraction scatters by about 1 / sqrt(80,000)
    assert float(breaking_fraction(n, d)) == pytest.approx(1 - 1 / 8, abs=0.01)


def test_over_group_leaves_the_identity_out():
    values = np.array([[9.0, 3.0, 4.0], [9.0, 0.0, 2.0]])
    np.testing.assert_allclose(over_group(values), [3.5, 1.0])
    np.testing.assert_allclose(over_group(values, squares=True), [np.sqrt(12.5), np.sqrt(2.0)])
    assert np.isnan(over_group(np.array([1.0])))
    assert np.isnan(over_group(np.ones((2, 1)))).tolist() == [True, True]


def test_leading_axes_are_kept():
    G = group("D4")
    A = vectors(G, images=4)
    rows = [sums(A[:, i : i + 1]) for i in range(4)]
    n, d = np.stack([row[0] for row in rows]), np.stack([row[1] for row in rows])
    found = (
        breaking_fraction(n, d), subgroup_residual(G, group("C4"), n, d), isotypic_energies(G, n, d, epsilon=0.0),
        relative_errors(n, d), cosines(n, d),
    )  # fmt: skip
    for i, (n_i, d_i) in enumerate(rows):
        alone = (
            breaking_fraction(n_i, d_i), subgroup_residual(G, group("C4"), n_i, d_i),
            isotypic_energies(G, n_i, d_i, epsilon=0.0), relative_errors(n_i, d_i), cosines(n_i, d_i),
        )  # fmt: skip
        for many, one in zip(found, alone, strict=True):
            np.testing.assert_allclose(many[i], one, rtol=1e-13, atol=1e-15)  # einsum adds in another order


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sums_that_are_not_finite_give_nan_without_a_warning(value):
    G = group("D4")
    n, d = np.full(8, value), np.full((8, 8), value)
    assert np.isnan(breaking_fraction(n, d))
    assert np.isnan(subgroup_residual(G, group("C4"), n, d))
    assert np.isnan(isotypic_energies(G, n, d, epsilon=1e-7)).all()
    assert np.isnan(relative_errors(n, d)).all()
    assert np.isnan(cosines(n, d)).all()


def test_a_dead_layer_has_no_ratio():
    G = group("C4")
    n, d = np.zeros(4), np.zeros((4, 4))
    assert np.isnan(breaking_fraction(n, d))
    assert np.isnan(subgroup_residual(G, group("C2"), n, d))
    assert np.isnan(isotypic_energies(G, n, d, epsilon=1e-7)).all()
    assert np.isnan(cosines(n, d)).all()


def test_ratio_broadcasts():
    np.testing.assert_array_equal(ratio([1.0, 2.0], [[2.0], [0.0]]), [[0.5, 1.0], [np.nan, np.nan]])
