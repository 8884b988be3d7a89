"""Groups: axioms, the action on pixels, subgroups and cosets, each against brute force."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from eqviz.errors import EqvizError
from eqviz.groups.group import Element, Group, group
from eqviz.groups.irreps import fibre_permutation

D4 = group("D4")
D4_SUBGROUPS = (
    "C1", "C2", "C4", "D1(left-right)", "D1(up-down)", "D1(transpose)", "D1(anti-transpose)", "D2(axes)",
    "D2(diagonals)", "D4",
)  # fmt: skip
GROUPS = [group(name) for name in D4_SUBGROUPS] + [group(f"C{n}") for n in range(1, 13) if n not in (1, 2, 4)]
MIRRORED = [Group(3, Fraction(0)), Group(6, Fraction(1, 12)), Group(8, Fraction(0)), Group(1, Fraction(1, 3))]
every_group = pytest.mark.parametrize("G", GROUPS + MIRRORED, ids=str)


def move_pixels(picture: np.ndarray, element: Element) -> np.ndarray:
    """By numpy: rot90, then flip up-down."""
    turned = np.rot90(picture, element.quarter_turns, (0, 1))
    return np.flipud(turned) if element.reflected else turned


@every_group
def test_axioms(G):
    positions = range(G.order)
    table = np.array([[G.compose(g, h) for h in positions] for g in positions])
    assert (table == G.cayley).all()
    assert len(set(G.elements)) == G.order
    for row in (*table, *table.T):  # closure and cancellation
        assert sorted(row) == list(positions)
    assert (table[0] == positions).all()
    assert (table[:, 0] == positions).all()
    for g in positions:
        assert G.compose(g, G.inverse(g)) == G.compose(G.inverse(g), g) == 0
    for g, h, k in itertools.product(positions, repeat=3):
        assert table[table[g, h], k] == table[g, table[h, k]]


@every_group
def test_matrices_are_a_faithful_orthogonal_homomorphism(G):
    matrices = np.array([element.matrix for element in G.elements])
    # 1e-12: a handful of float64 roundings of numbers of size 1
    for g, h in itertools.product(range(G.order), repeat=2):
        np.testing.assert_allclose(matrices[g] @ matrices[h], matrices[G.compose(g, h)], atol=1e-12)
        assert g == h or np.abs(matrices[g] - matrices[h]).max() > 0.1
    np.testing.assert_allclose(np.linalg.det(matrices), [-1 if e.reflected else 1 for e in G.elements], atol=1e-12)


@pytest.mark.parametrize("element", D4.elements, ids=str)
def test_matrix_says_where_pixels_go(element):
    picture = np.arange(25).reshape(5, 5)
    moved = move_pixels(picture, element)
    for row, column in itertools.product(range(5), repeat=2):
        x, y = element.matrix @ np.array([column - 2.0, 2.0 - row])  # x to the right, y upwards
        assert moved[round(2 - y), round(x + 2)] == picture[row, column]


def test_composition_agrees_with_moving_pixels():
    picture = np.arange(16).reshape(4, 4)
    for g, h in itertools.product(D4.elements, repeat=2):
        np.testing.assert_array_equal(move_pixels(move_pixels(picture, h), g), move_pixels(picture, g * h))


def test_order_of_the_elements_of_d4():
    picture = np.arange(16).reshape(4, 4)
    expected = [
        picture, np.rot90(picture), np.rot90(picture, 2), np.rot90(picture, 3), np.flipud(picture), picture.T,
        np.fliplr(picture), np.rot90(picture, 2).T,
    ]  # fmt: skip
    for element, moved in zip(D4.elements, expected, strict=True):
        np.testing.assert_array_equal(move_pixels(picture, element), moved)
    assert [str(element) for element in D4.elements] == [
        "identity", "rotation 90", "rotation 180", "rotation 270", "flip up-down", "transpose", "flip left-right",
        "anti-transpose",
    ]  # fmt: skip


def test_fibre_permutations_of_d4():
    assert fibre_permutation(D4, 1) == (3, 0, 1, 2, 5, 6, 7, 4)
    assert fibre_permutation(D4, 6) == (6, 7, 4, 5, 2, 3, 0, 1)
    assert fibre_permutation(D4, 4) == (4, 5, 6, 7, 0, 1, 2, 3)
    assert fibre_permutation(group("C4"), 1) == (3, 0, 1, 2)


@every_group
def test_fibre_permutation_is_the_left_regular_representation(G):
    f = np.arange(G.order) ** 2 + 1
    for g, h in itertools.product(range(G.order), repeat=2):
        moved = f[list(fibre_permutation(G, g))]
        for u in range(G.order):  # (g f)(u) = f(g^-1 u), that is (g f)(g v) = f(v)
            assert moved[G.compose(g, u)] == f[u]
        np.testing.assert_array_equal(
            moved[list(fibre_permutation(G, h))], f[list(fibre_permutation(G, G.compose(h, g)))]
        )


def closures(G: Group) -> set[frozenset[int]]:
    """All subgroups as sets of positions; two generators are enough in a subgroup of O(2)."""
    found = set()
    for generators in itertools.combinations_with_replacement(range(G.order), 2):
        members = {0, *generators}
        while True:
            products = {G.compose(g, h) for g, h in itertools.product(members, repeat=2)}
            if products <= members:
                break
            members |= products
        found.add(frozenset(members))
    return found


@every_group
def test_subgroups_are_all_closures(G):
    listed = [frozenset(G.members(H)) for H in G.subgroups]
    assert len(listed) == len(set(listed))
    assert set(listed) == closures(G)
    assert [H.order for H in G.subgroups] == sorted(H.order for H in G.subgroups)
    assert G.subgroups[0].order == 1
    assert G.subgroups[-1] == G
    for H in G.subgroups:
        assert G.contains_group(H)
        assert H.elements[0] == Element(Fraction(0))


def test_the_ten_subgroups_of_d4_by_name():
    assert {H.name for H in D4.subgroups} == set(D4_SUBGROUPS)
    members = {H.name: D4.members(H) for H in D4.subgroups}
    assert members["D1(up-down)"] == (0, 4)
    assert members["D1(transpose)"] == (0, 5)
    assert members["D1(left-right)"] == (0, 6)
    assert members["D1(anti-transpose)"] == (0, 7)
    assert members["D2(axes)"] == (0, 2, 4, 6)
    assert members["D2(diagonals)"] == (0, 2, 5, 7)


@every_group
def test_cosets_partition(G):
    for H in G.subgroups:
        members = set(G.members(H))
        for cosets, product in ((G.right_cosets(H), lambda h, g: (h, g)), (G.left_cosets(H), lambda h, g: (g, h))):
            assert sorted(itertools.chain(*cosets)) == list(range(G.order))
            assert len(cosets) * H.order == G.order
            for coset in cosets:
                assert set(coset) == {G.compose(*product(h, coset[0])) for h in members}
            assert [coset[0] for coset in cosets] == sorted(coset[0] for coset in cosets)


@every_group
def test_exact_subgroup_has_every_element_on_the_grid(G):
    on_grid = {g for g in G.elements if any(np.allclose(g.matrix, e.matrix, atol=1e-9) for e in D4.elements)}
    assert set(G.exact_subgroup.elements) == on_grid
    assert G.on_grid == (len(on_grid) == G.order)


def test_exact_subgroups_of_known_groups():
    assert [group(f"C{n}").exact_subgroup.name for n in (3, 6, 8, 12)] == ["C1", "C2", "C4", "C4"]
    assert Group(8, Fraction(0)).exact_subgroup == D4


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("p4", "C4"), ("P4M", "D4"), ("p4m", "D4"), ("c8", "C8"), ("C12", "C12"), ("D1", "D1(left-right)"),
        ("D2", "D2(axes)"), ("D2(diagonals)", "D2(diagonals)"), ("C1", "C1"), ("C999", "C999"),
    ],
)  # fmt: skip
def test_names_and_aliases(name, found):
    assert group(name).name == str(group(name)) == found


@every_group
def test_every_group_is_found_by_its_own_name(G):
    assert group(G.name) == G
    assert group(G) is G


@pytest.mark.parametrize(
    "name", ["", "C0", "D3", "p5", "C-4", "C 4", "SO(2)", "C1000", "D2(nowhere)", "D8(mirror 1/0)"]
)
def test_unknown_names_are_refused_in_one_line(name):
    with pytest.raises(EqvizError, match="group: expected") as caught:
        group(name)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mistakes_in_code_are_plain_value_errors():
    with pytest.raises(ValueError, match="at least one rotation"):
        Group(0)
    with pytest.raises(ValueError, match="not an element of C4"):
        group("C4").index(Element(Fraction(0), reflected=True))
    with pytest.raises(ValueError, match="not an element of C2"):
        group("C2").members(group("C4"))
    with pytest.raises(ValueError, match="does not map the pixel grid"):
        _ = Element(Fraction(1, 8)).quarter_turns


def test_elements_are_equal_by_what_they_do():
    assert Element(Fraction(5, 4)) == Element(Fraction(1, 4)) == Element(Fraction(-3, 4))
    assert Group(4, Fraction(1, 4)) == D4
    assert hash(Group(4, Fraction(3, 4))) == hash(D4)
    assert Group(4, Fraction(1, 8)) != D4


def test_the_composition_table_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        D4.cayley[0, 0] = 1


def test_degrees_and_transposing_elements():
    assert [e.degrees for e in group("C8").elements] == [45.0 * r for r in range(8)]
    assert [g for g, e in enumerate(D4.elements) if e.transposes] == [1, 3, 5, 7]
    assert not any(e.transposes for e in group("C8").elements if not e.on_grid)
    assert math.isclose(Element(Fraction(1, 7)).degrees, 360 / 7)
