"""Every field type acts as a representation, and as brute force says."""

import itertools

import numpy as np
import pytest
import torch

from eqviz.errors import EqvizError
from eqviz.fields.field_types import (
    Image,
    Invariant,
    Regular,
    Tokens,
    Vector,
    declare,
    declared,
    declared_by_glob,
    field_type,
)
from eqviz.fields.orbit import align
from eqviz.groups.group import Group, group

D4 = group("D4")


def standard(G: Group) -> Vector:
    """Vectors in the plane: the matrices of the elements themselves."""
    return Vector(G, np.array([element.matrix for element in G.elements]))


CASES = [
    (Image(), (2, 3, 5, 5), D4),
    (Image(), (2, 5, 5), D4),
    (Image(), (2, 3, 4, 5, 7), D4),
    (Invariant(), (2, 6), D4),
    *[(Regular(H), (2, 3, H.order, 4, 4), H) for H in D4.subgroups],
    *[(Regular(H), (2, 3, H.order), H) for H in D4.subgroups],
    *[(Regular(H, flattened=True), (2, 3 * H.order, 4, 4), H) for H in D4.subgroups],
    (Regular(D4, flattened=True), (2, 24), D4),
    *[(Regular(H, reversed=True), (2, 3, H.order, 4, 4), H) for H in D4.subgroups],
    *[(Regular(H, group_first=True), (2, H.order, 3, 4, 4), H) for H in D4.subgroups],
    *[(Regular(H, True, True, True), (2, 3 * H.order, 4, 4), H) for H in D4.subgroups],
    (Regular(D4, True, False, True), (2, 24), D4),
    (Regular(D4, reversed=True, group_first=True), (2, 8, 3), D4),
    (Regular(D4), (2, 3, 8, 4, 6), D4),
    (Regular(D4), (2, 1, 8, 3, 3), group("C4")),
    (Regular(group("C8")), (2, 3, 8), group("C8")),
    (standard(D4), (2, 2, 5, 5), D4),
    (standard(group("C8")), (2, 2), group("C8")),
    (Tokens(3, 3), (2, 9, 4), D4),
    (Tokens(4, 4, 1), (2, 17, 3), D4),
    (Tokens(2, 3, 2), (2, 8, 3), group("D2")),
]


@pytest.mark.parametrize(("field", "shape", "G"), CASES, ids=[f"{f}-{len(s)}d-{G}" for f, s, G in CASES])
def test_act_is_an_orthogonal_representation(field, shape, G):
    assert field.fits(shape)
    features = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(field.act(features, G.elements[0]), features)
    # permutations are exact; a vector field multiplies by sines and cosines of float64
    tolerance = 1e-14 if isinstance(field, Vector) else 0
    for g, h in itertools.product(G.elements, repeat=2):
        twice = field.act(field.act(features, h), g)
        torch.testing.assert_close(twice, field.act(features, g * h), rtol=tolerance, atol=tolerance)
    for g in G.elements:
        assert float(field.act(features, g).norm()) == pytest.approx(float(features.norm()), rel=1e-12)


@pytest.mark.parametrize("G", D4.subgroups, ids=str)
@pytest.mark.parametrize("space", [(), (4, 4), (3, 5)])
def test_regular_against_brute_force(G, space, brute_regular):
    features = np.random.default_rng(1).normal(size=(2, 3, G.order, *space))
    for element in G.elements:
        expected = brute_regular(features, element, G)
        found = Regular(G).act(torch.from_numpy(features), element)
        np.testing.assert_array_equal(found, expected)
        flat = Regular(G, flattened=True).act(torch.from_numpy(features).flatten(1, 2), element)
        np.testing.assert_array_equal(flat, expected.reshape(len(expected), -1, *expected.shape[3:]))


def test_one_quarter_turn_rolls_the_fibre_of_c4_by_one():
    features = torch.randn(2, 3, 4)
    assert torch.equal(Regular(group("C4")).act(features, group("C4").elements[1]), features.roll(1, 2))
    assert torch.equal(field_type("regular(C4, reversed)").act(features, group("C4").elements[1]), features.roll(-1, 2))


@pytest.mark.parametrize("G", D4.subgroups, ids=str)
@pytest.mark.parametrize("space", [(), (4, 4)])
def test_a_reversed_axis_is_the_regular_one_with_each_entry_at_its_inverse(G, space, brute_regular):
    features = np.random.default_rng(1).normal(size=(2, 3, G.order, *space))
    inverse = [G.inverse(u) for u in range(G.order)]
    for element in G.elements:
        expected = brute_regular(features[:, :, inverse], element, G)[:, :, inverse]
        found = Regular(G, reversed=True).act(torch.from_numpy(features), element)
        np.testing.assert_array_equal(found, expected)
        first = Regular(G, group_first=True, reversed=True).act(torch.from_numpy(features).transpose(1, 2), element)
        np.testing.assert_array_equal(first.transpose(1, 2), expected)
        slowest = torch.from_numpy(features).transpose(1, 2).flatten(1, 2)
        flat = Regular(G, True, True, True).act(slowest, element)
        np.testing.assert_array_equal(flat, np.swapaxes(expected, 1, 2).reshape(2, -1, *expected.shape[3:]))


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        (Regular(D4, reversed=True), (2, 8, 4, 4)),
        (Regular(D4, True, True, True), (16, 4, 4)),
        (Regular(D4, True), (16, 4, 4)),
        (Tokens(3, 3, 1), (10, 5)),
    ],
    ids=str,
)
def test_one_gather_aligns_as_act_does(field, shape):
    stacked = torch.randn(8 * 3, *shape)
    found = align(stacked, D4.elements, field)
    for g, (part, aligned) in enumerate(zip(stacked.reshape(8, 3, *shape), found, strict=True)):
        assert torch.equal(aligned, field.act(part, D4.elements[g].inverse))


@pytest.mark.parametrize("element", D4.elements, ids=str)
def test_image_against_numpy(element, brute_pixels):
    maps = np.random.default_rng(2).normal(size=(2, 3, 4, 6))
    np.testing.assert_array_equal(Image().act(torch.from_numpy(maps), element), brute_pixels(maps, element))


@pytest.mark.parametrize("first", [0, 1, 3])
@pytest.mark.parametrize("element", D4.elements, ids=str)
def test_tokens_move_as_the_pixels_that_they_stand_for(element, first, brute_pixels):
    generator = np.random.default_rng(3)
    maps, others = generator.normal(size=(2, 3, 4, 4)), generator.normal(size=(2, first, 3))

    def sequence(maps):
        return np.concatenate([others, maps.reshape(2, 3, 16).swapaxes(1, 2)], axis=1)

    found = Tokens(4, 4, first).act(torch.from_numpy(sequence(maps)), element)
    np.testing.assert_array_equal(found, sequence(brute_pixels(maps, element)))


@pytest.mark.parametrize("element", D4.elements, ids=str)
def test_vector_moves_pixels_and_turns_what_is_in_them(element, brute_pixels):
    maps = np.random.default_rng(2).normal(size=(2, 2, 4, 5))
    pixels = brute_pixels(maps, element)
    expected = np.stack([sum(element.matrix[i, j] * pixels[:, j] for j in range(2)) for i in range(2)], axis=1)
    # 1e-14: one product and sum in float64
    np.testing.assert_allclose(standard(D4).act(torch.from_numpy(maps), element), expected, atol=1e-14)


def test_vector_keeps_the_dtype_of_the_features():
    assert standard(D4).act(torch.zeros(1, 2), D4.elements[1]).dtype == torch.float32


@pytest.mark.parametrize(
    ("matrices", "found"),
    [
        (np.zeros((8, 2, 3)), r"shape \(8, 2, 3\)"),
        (np.zeros((7, 2, 2)), r"shape \(7, 2, 2\)"),
        (2 * np.stack([np.eye(2)] * 8), "some that are not"),
        (np.array([e.matrix.T for e in D4.elements]), "a product that differs"),
    ],
)
def test_vector_refuses_what_is_no_orthogonal_representation(matrices, found):
    with pytest.raises(EqvizError, match=found) as caught:
        Vector(D4, matrices)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "shape", "fits"),
    [
        (Image(), (2, 3), False),
        (Image(), (2, 3, 3), True),
        (Invariant(), (2,), True),
        (Regular(D4), (2, 3, 8, 4, 4), True),
        (Regular(D4), (2, 3, 4, 4, 4), False),
        (Regular(D4), (2, 8, 4, 4), False),
        (Regular(D4, flattened=True), (2, 24, 4, 4), True),
        (Regular(D4, flattened=True), (2, 20, 4, 4), False),
        (Regular(D4, flattened=True), (2, 3, 8), False),
        (Regular(D4, group_first=True), (2, 8, 3, 4, 4), True),
        (Regular(D4, group_first=True), (2, 3, 8, 4, 4), False),
        (Regular(D4, flattened=True, group_first=True), (2, 24), True),
        (standard(D4), (2, 3), False),
        (standard(D4), (2, 2, 4, 4), True),
        (Tokens(2, 3), (2, 6, 5), True),
        (Tokens(2, 3, 1), (2, 7, 5), True),
        (Tokens(2, 3), (2, 7, 5), False),
        (Tokens(2, 3), (2, 6, 5, 5), False),
        (Tokens(2, 3), (2, 6), False),
    ],
)
def test_fits(field, shape, fits):
    assert field.fits(shape) is fits


def test_which_elements_a_type_represents():
    assert not Regular(group("C4")).represents(D4.elements[4])
    assert Regular(D4).represents(D4.elements[4])
    assert Image().represents(group("C8").elements[1])
    assert not standard(group("C4")).represents(D4.elements[5])
    assert Tokens(3, 3).represents(group("C8").elements[1])
    assert [Tokens(2, 3).represents(element) for element in D4.elements] == [not e.transposes for e in D4.elements]


@pytest.mark.parametrize(
    "name",
    [
        "image", "invariant", "regular(C4)", "regular(D4, flattened)", "regular(D2(axes))",
        "regular(D1(transpose), flattened)", "regular(C4, reversed)", "regular(C4, flattened, reversed)",
        "regular(C4, flattened, group first)", "regular(D2(axes), flattened, reversed, group first)",
        "tokens(7, 7)", "tokens(14, 16, class token)", "tokens(2, 2, 5 class tokens)",
    ],
)  # fmt: skip
def test_names_come_back(name):
    assert field_type(name).name == str(field_type(name)) == name
    assert field_type(field_type(name)) == field_type(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "regular",
        "regular()",
        "scalar",
        "regular(C4, flat)",
        "regular(p5)",
        "regular(C4, reversed, reversed)",
        "tokens",
        "tokens(7)",
        "tokens(0, 7)",
        "tokens(7, 7, cls)",
        "tokens(7, 7, 1, 2)",
        "tokens(-1, 7)",
    ],
)
def test_unknown_names_are_refused_in_one_line(name):
    with pytest.raises(EqvizError, match="expected") as caught:
        field_type(name)
    assert "\n" not in str(caught.value)


def test_declare_and_declared():
    module = torch.nn.ReLU()
    assert declared(module) is None
    assert declare(module, "regular(p4)") is module
    assert declared(module) == Regular(group("C4"))
    other = torch.nn.ReLU()
    other.field_type = "regular(C4)"  # of a library with attributes of that name: not ours, not guessed
    assert declared(other) is None
    assert not declared_by_glob(module)
    assert declared_by_glob(declare(module, "image", by_glob=True))
    assert not declared_by_glob(declare(module, "image"))
