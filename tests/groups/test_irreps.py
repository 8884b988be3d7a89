"""Real irreps and the projectors they give: orthogonality, completeness, and which irrep keeps which subgroup."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from eqviz.groups.group import Group, group
from eqviz.groups.irreps import irreps, isotypic_projector, left_translation, reynolds_projector

GROUPS = (
    list(group("D4").subgroups)
    + [group(f"C{n}") for n in range(1, 13) if n not in (1, 2, 4)]
    + [Group(3, Fraction(0)), Group(5, Fraction(0)), Group(6, Fraction(1, 12)), Group(8, Fraction(0))]
)
every_group = pytest.mark.parametrize("G", GROUPS, ids=str)
ROUNDING = 1e-12  # sums of at most 16 cosines in float64


def translate(G: Group, g: int, f: np.ndarray) -> np.ndarray:
    """L_g f by its definition, one element at a time: (L_g f)(g v) = f(v)."""
    moved = np.empty_like(f)
    for v in range(G.order):
        moved[G.compose(g, v)] = f[v]
    return moved


@every_group
def test_characters_are_orthogonal(G):
    for r, s in itertools.product(irreps(G), repeat=2):
        product = sum(a * b for a, b in zip(r.character, s.character, strict=True)) / G.order
        # <chi, chi> = dim End: 1, or 2 for two complex irreps joined
        assert product == pytest.approx(r.endomorphisms if r == s else 0, abs=ROUNDING)


@every_group
def test_dimensions_add_up_to_the_order(G):
    assert sum(r.dimension**2 / r.endomorphisms for r in irreps(G)) == G.order
    assert all(r.character[0] == r.dimension for r in irreps(G))


@every_group
def test_characters_are_class_functions(G):
    for r in irreps(G):
        for g, h in itertools.product(range(G.order), repeat=2):
            conjugate = G.compose(G.compose(h, g), G.inverse(h))
            assert r.character[conjugate] == pytest.approx(r.character[g], abs=ROUNDING)


@every_group
def test_the_trivial_irrep_comes_first_and_alone(G):
    assert [r.trivial for r in irreps(G)] == [True] + [False] * (len(irreps(G)) - 1)
    assert len({r.name for r in irreps(G)}) == len(irreps(G))


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("C1", "A"), ("C2", "A B"), ("C3", "A E"), ("C4", "A B E"), ("C5", "A E1 E2"), ("C8", "A B E1 E2 E3"),
        ("D1", "A1 A2"), ("D2", "A1 A2 B1 B2"), ("D2(diagonals)", "A1 A2 B1 B2"), ("D4", "A1 A2 B1 B2 E"),
    ],
)  # fmt: skip
def test_names(name, names):
    assert [r.name for r in irreps(group(name))] == names.split()


@every_group
def test_left_translation_is_its_definition(G):
    f = np.arange(G.order) ** 2 + 1.0
    for g in range(G.order):
        np.testing.assert_array_equal(left_translation(G, g) @ f, translate(G, g, f))


@every_group
def test_projectors_are_an_orthogonal_resolution_of_the_identity(G):
    projectors = [isotypic_projector(G, r) for r in irreps(G)]
    for (i, P), (j, Q) in itertools.product(enumerate(projectors), repeat=2):
        np.testing.assert_allclose(P @ Q, P if i == j else 0 * P, atol=ROUNDING)
    for P, r in zip(projectors, irreps(G), strict=True):
        np.testing.assert_allclose(P, P.T, atol=ROUNDING)
        assert np.trace(P) == pytest.approx(r.dimension**2 / r.endomorphisms, abs=ROUNDING)
        for g in range(G.order):
            L = np.array([translate(G, g, row) for row in np.eye(G.order)]).T
            np.testing.assert_allclose(P @ L, L @ P, atol=ROUNDING)
    np.testing.assert_allclose(sum(projectors), np.eye(G.order), atol=ROUNDING)


@pytest.mark.parametrize("n", range(1, 13))
def test_cyclic_projectors_are_the_fourier_transform(n):
    G = group(f"C{n}")
    rng = np.random.default_rng(n)
    f = rng.normal(size=n)
    power = np.abs(np.fft.fft(f)) ** 2 / n
    by_frequency = {k: power[k] + (power[n - k] if k not in (0, n - k) else 0) for k in range(n // 2 + 1)}
    frequencies = {
        r.name: (0 if r.name == "A" else n // 2 if r.name == "B" else int(r.name[1:] or 1)) for r in irreps(G)
    }
    for r in irreps(G):
        energy = ((isotypic_projector(G, r) @ f) ** 2).sum()
        assert energy == pytest.approx(by_frequency[frequencies[r.name]], abs=ROUNDING * n)


@every_group
def test_reynolds_projector_averages_over_the_subgroup(G):
    f = np.random.default_rng(0).normal(size=G.order)
    for H in G.subgroups:
        P = reynolds_projector(G, H)
        mean = sum(translate(G, h, f) for h in G.members(H)) / H.order
        np.testing.assert_allclose(P @ f, mean, atol=ROUNDING)
        np.testing.assert_allclose(P @ P, P, atol=ROUNDING)
        np.testing.assert_allclose(P, P.T, atol=ROUNDING)
        for coset in G.right_cosets(H):  # its image: functions constant on the right cosets H g
            assert np.ptp((P @ f)[list(coset)]) == pytest.approx(0, abs=ROUNDING)
            assert (P @ f)[coset[0]] == pytest.approx(f[list(coset)].mean(), abs=ROUNDING)
    np.testing.assert_allclose(reynolds_projector(G, G), isotypic_projector(G, irreps(G)[0]), atol=ROUNDING)


@pytest.mark.parametrize(("name", "survives"), [("A2", "C4"), ("B1", "D2(axes)"), ("B2", "D2(diagonals)"), ("E", "C1")])
def test_one_irrep_alone_keeps_one_subgroup_of_d4(name, survives):
    G = group("D4")
    r = next(r for r in irreps(G) if r.name == name)
    f = isotypic_projector(G, r) @ np.random.default_rng(3).normal(size=8)
    kept = {H.name for H in G.subgroups if all(np.allclose(translate(G, h, f), f, atol=ROUNDING) for h in G.members(H))}
    assert kept == {H.name for H in group(survives).subgroups}
