"""How eqviz moves a steerable field, against the library's own `transform`."""

import copy
import itertools
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from eqviz.fields.field_types import Regular, declare, field_type
from eqviz.fields.orbit import align
from eqviz.fields.steerable_reading import steerable
from eqviz.groups.group import Element, group

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call

ON_GRID = {
    "C1": "C1", "C2": "C2", "C4": "C4", "C8": "C4", "D2": "D2", "D2 diagonal": "D2(diagonals)", "D4": "D4",
    "D4 level": "D4", "D4 diagonal": "D4", "D4 slanted": "C4", "D3": "D1", "D8": "D4", "left-right": "D1(left-right)",
    "up-down": "D1(up-down)", "anti-transpose": "D1(anti-transpose)", "transpose": "D1(transpose)", "slanted": "C1",
    "SO(2)": "C4", "O(2)": "D4", "O(2) level": "D4",
}  # fmt: skip
"""The largest group on the pixel grid that acts."""


def every_kind(space):
    """All irreps, regular, quotient and induced representations, some twice and apart."""
    G = space.fibergroup
    found = [space.trivial_repr, *G.irreps.values()]
    if G.order() > 0:
        found += [space.regular_repr, space.regular_repr]
    if hasattr(G, "rotation_order") and G.order() > 0:
        found += [space.quotient_repr((0, 1)), space.quotient_repr((None, G.rotation_order))]
        found.append(space.induced_repr((None, G.rotation_order), G.subgroup((None, G.rotation_order))[0].irrep(1)))
    elif G.order() == 8:
        found.append(space.quotient_repr(2))
    return [*found, found[-1], found[0]]


def their_elements(space):
    """All that could be an element on the grid; of continuous groups by quarter turns."""
    if space.fibergroup.order() > 0:
        return list(space.testing_elements)
    quarters = [q * np.pi / 2 for q in range(4)]
    return list(itertools.product((0, 1), quarters)) if hasattr(space, "axis") else quarters


def partner(space, element):
    """Their element that moves a picture as ours does; None if none does."""
    picture = np.arange(9.0).reshape(1, 1, 3, 3)
    ours = np.rot90(picture, element.quarter_turns, (-2, -1))
    ours = ours[..., ::-1, :] if element.reflected else ours
    moved = ((g, space.featurefield_action(picture, space.trivial_repr, g)) for g in their_elements(space))
    return next((g for g, theirs in moved if np.allclose(ours, theirs, atol=1e-6)), None)


@pytest.mark.parametrize("name", ON_GRID)
def test_every_element_on_the_grid_acts_as_the_librarys_transform(e2cnn, spaces, name):
    space = spaces[name]
    theirs = e2cnn.nn.FieldType(space, every_kind(space))
    ours = steerable(theirs)
    x = torch.randn(2, theirs.size, 4, 4, dtype=torch.float64)
    partners = {g: partner(space, g) for g in group("D4").elements}
    acting = {g for g, their in partners.items() if their is not None}
    assert acting == set(ours.exact_group.elements) == set(group(ON_GRID[name]).elements)
    for g in group("D4").elements:
        assert ours.represents(g) == (g in acting)
    for g in acting:
        expected = torch.from_numpy(
            np.ascontiguousarray(space.featurefield_action(x.numpy(), theirs.representation, partners[g]))
        )
        # their matrices are products of rounded cosines; a flip and a turn may interpolate by 1e-15 of a turn
        torch.testing.assert_close(ours.act(x, g), expected, atol=1e-9, rtol=0)
        torch.testing.assert_close(ours.act(x[..., 0, 0], g), ours.act(x[..., :1, :1], g)[..., 0, 0])


@pytest.mark.parametrize(("name", "turns"), [("C8", 8), ("D3", 3), ("D8", 8), ("SO(2)", 16), ("O(2)", 5)])
def test_rotations_off_the_grid_have_the_librarys_matrices(e2cnn, spaces, name, turns):
    space = spaces[name]
    theirs = e2cnn.nn.FieldType(space, every_kind(space))
    for k in range(turns):
        angle = 2 * np.pi * k / turns if space.fibergroup.order() < 0 else k
        element = (0, angle) if hasattr(space, "axis") else angle
        found = steerable(theirs).fibre_matrix(Element(Fraction(k, turns)))
        np.testing.assert_allclose(found, theirs.representation(element), atol=1e-12)


@pytest.mark.parametrize("name", ["C8", "D4", "D4 slanted", "D3", "slanted", "SO(2)", "O(2) level"])
def test_actions_multiply_as_motions_do_and_keep_lengths(e2cnn, spaces, name):
    space = spaces[name]
    field = steerable(e2cnn.nn.FieldType(space, every_kind(space)))
    elements = [Element(Fraction(k, 5)) for k in range(5)] if field.group is None else list(field.group.elements)
    elements += [g for g in group("D4").elements if field.represents(g)]
    for g, h in itertools.product(elements, elements):
        product = field.fibre_matrix(g) @ field.fibre_matrix(h)
        np.testing.assert_allclose(product, field.fibre_matrix(g * h), atol=1e-12)
        np.testing.assert_allclose(field.fibre_matrix(g).T, field.fibre_matrix(g.inverse), atol=1e-12)


def test_a_vector_field_turns_its_vectors_as_the_plane(e2cnn, spaces):
    space = spaces["SO(2)"]
    field = steerable(e2cnn.nn.FieldType(space, [space.irrep(1)]))
    for g in (*group("C4").elements, *group("C16").elements):
        np.testing.assert_allclose(field.fibre_matrix(g), g.matrix, atol=1e-15)


def test_quarter_turns_of_irreps_are_exact(e2cnn, spaces):
    space = spaces["SO(2)"]
    field = steerable(e2cnn.nn.FieldType(space, [space.irrep(1), space.irrep(2), space.irrep(3)]))
    for g in group("C4").elements:
        matrix = field.fibre_matrix(g)
        assert np.array_equal(matrix, np.round(matrix))


def test_elements_that_are_not_in_the_group_do_not_act(e2cnn, spaces):
    field = steerable(e2cnn.nn.FieldType(spaces["C4"], [spaces["C4"].regular_repr]))
    for g in (Element(Fraction(1, 8)), Element(Fraction(0), reflected=True)):
        assert not field.represents(g)
        with pytest.raises(ValueError, match="does not act"):
            field.act(torch.zeros(1, 4), g)


def test_regular_fields_are_aligned_by_the_same_gather_as_field_by_field(e2cnn, spaces):
    space = spaces["D4"]
    field = steerable(e2cnn.nn.FieldType(space, 3 * [space.regular_repr]))
    elements = group("D4").elements
    x = torch.randn(2 * len(elements), 24, 5, 5)
    assert field.channel_shape(x.shape) == (1, 8, 5, 5)
    expected = torch.stack([field.act(part, g.inverse) for part, g in zip(x.chunk(8), elements, strict=True)])
    assert torch.equal(align(x, elements, field), expected)


def test_fields_that_mix_channels_have_no_channel_of_their_own(e2cnn, spaces):
    space = spaces["D4"]
    for kinds in ([space.irrep(1, 1)], [space.regular_repr, space.trivial_repr]):
        field = steerable(e2cnn.nn.FieldType(space, kinds))
        assert field.channel_shape((2, field.size, 5, 5)) is None


def test_types_are_values(e2cnn, spaces):
    theirs = e2cnn.nn.FieldType(spaces["D8"], every_kind(spaces["D8"]))
    field = steerable(theirs)
    assert field is steerable(theirs)
    for same in (pickle.loads(pickle.dumps(field)), copy.deepcopy(field), steerable(copy.deepcopy(theirs))):
        assert same == field
        assert hash(same) == hash(field)
        assert np.array_equal(same.fibre_matrix(Element(Fraction(1, 8))), field.fibre_matrix(Element(Fraction(1, 8))))


@pytest.mark.parametrize(("one", "other"), [("D4", "D4 diagonal"), ("D4", "D4 level"), ("O(2)", "O(2) level")])
def test_the_axis_of_the_flip_is_part_of_a_type(e2cnn, spaces, one, other):
    fields = [steerable(e2cnn.nn.FieldType(spaces[name], every_kind(spaces[name]))) for name in (one, other)]
    x = torch.randn(1, fields[0].size, 3, 3)
    flip = Element(Fraction(0), reflected=True)
    assert fields[0] != fields[1]
    assert not torch.allclose(fields[0].act(x, flip), fields[1].act(x, flip))


def test_a_type_says_which_group_and_which_fields(e2cnn, spaces):
    space = spaces["C4"]
    kinds = [space.regular_repr, space.irrep(1), space.regular_repr]
    assert str(steerable(e2cnn.nn.FieldType(space, kinds))) == "steerable(C4; 2 regular, 1 irrep_1)"
    assert str(steerable(e2cnn.nn.FieldType(spaces["SO(2)"], [spaces["SO(2)"].irrep(2)]))) == (
        "steerable(SO(2); 1 irrep_2)"
    )


def test_a_type_of_the_library_can_be_given_and_declared(e2cnn, spaces):
    theirs = e2cnn.nn.FieldType(spaces["C4"], [spaces["C4"].irrep(1)])
    assert field_type(theirs) == declare(torch.nn.ReLU(), theirs).field_type == steerable(theirs)


def test_their_regular_fields_are_ours_for_rotations(e2cnn, spaces):
    theirs = steerable(e2cnn.nn.FieldType(spaces["C4"], [spaces["C4"].regular_repr] * 2))
    x = torch.randn(2, 8, 4, 4)
    for g in group("C4").elements:
        assert torch.equal(theirs.act(x, g), Regular(group("C4"), flattened=True).act(x, g))
