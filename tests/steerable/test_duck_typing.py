"""What is asked of a steerable library, on a fake of escnn's interface, and on escnn itself where it is installed."""

import itertools
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.capture.orbit_capture import capture
from eqviz.capture.patching import run_patched
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declared
from eqviz.fields.generators import fibre_generator
from eqviz.fields.geometric_tensors import is_geometric, is_library_type, tensor_of, with_tensor
from eqviz.fields.layer_calls import LayerCall, tensors_in
from eqviz.fields.stated_types import carried_types
from eqviz.fields.steerable_reading import steerable
from eqviz.groups.group import Element, group
from tests.steerable.escnn_like import FieldType, GeometricTensor, GSpace

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call

SPACES = {
    "C4": GSpace(4), "C8": GSpace(8), "C3": GSpace(3), "D4": GSpace(4, np.pi / 2), "D4(level)": GSpace(4, 0.0),
    "D1(anti-transpose)": GSpace(1, np.pi / 4), "D2(axes)": GSpace(2, 0.0), "SO(2)": GSpace(-1),
    "O(2)": GSpace(-1, np.pi / 2), "O(2) slanted": GSpace(-1, 0.3),
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_elements_stand_for_the_motion_that_their_matrix_on_points_is(name):
    space = SPACES[name]
    field = steerable(FieldType(space, [space.basespace_action, space.trivial_repr, space.irrep(2)]))
    elements = [Element(Fraction(k, 12)) for k in range(12)] if field.group is None else list(field.group.elements)
    if field.reflects and field.group is None:
        elements += [Element(Fraction(k, 5), reflected=True) for k in range(5)]
    for g in elements:  # on the plane itself the representation is the motion
        np.testing.assert_allclose(field.fibre_matrix(g)[:2, :2], g.matrix, atol=1e-12)
    for g, h in itertools.product(elements, elements):
        product = field.fibre_matrix(g) @ field.fibre_matrix(h)
        np.testing.assert_allclose(product, field.fibre_matrix(g * h), atol=1e-12)


@pytest.mark.parametrize("name", ["C4", "D4", "D1(anti-transpose)", "D2(axes)", "SO(2)", "O(2)"])
def test_the_group_is_named_as_ours(name):
    field = steerable(FieldType(SPACES[name], [SPACES[name].trivial_repr]))
    assert field.symmetry == name
    assert str(field.group or name) == name
    assert field.still


def test_the_derivative_of_a_continuous_field_is_that_of_its_matrices():
    space = SPACES["O(2)"]
    field = steerable(FieldType(space, [space.irrep(1), space.trivial_repr, space.irrep(3)]))
    turn = Fraction(1, 10**6)
    difference = field.fibre_matrix(Element(turn)) - field.fibre_matrix(Element(-turn))
    np.testing.assert_allclose(fibre_generator(field), difference / (4 * np.pi * float(turn)), atol=1e-6)
    assert fibre_generator(steerable(FieldType(space, [space.trivial_repr]))) is None


def test_the_derivative_of_a_finite_field_interpolates_between_its_rotations():
    space = SPACES["C8"]
    field = steerable(FieldType(space, [space.irrep(1), space.irrep(3)]))
    expected = np.zeros((4, 4))
    expected[:2, :2], expected[2:, 2:] = [[0, -1], [1, 0]], [[0, -3], [3, 0]]
    np.testing.assert_allclose(fibre_generator(field), expected, atol=1e-12)


def test_tensors_are_found_in_geometric_ones_and_put_back():
    kind = FieldType(SPACES["C4"], [SPACES["C4"].irrep(1)])
    x = GeometricTensor(torch.zeros(3, 2, 5, 5), kind, coords="kept")
    assert is_geometric(x)
    assert is_library_type(kind)
    assert tensor_of(x) is x.tensor
    found = dict(tensors_in([x, {"a": x}]))
    assert list(found) == ["[0]", "[1][a]"]
    assert all(tensor is x.tensor for tensor in found.values())
    assert carried_types((x,)) == {"[0]": steerable(kind)}
    other = with_tensor(x, torch.ones(1, 2, 5, 5))
    assert (other.type, other.coords, len(other.tensor), len(x.tensor)) == (kind, "kept", 1, 3)


@pytest.mark.parametrize("value", [torch.zeros(2), torch.dtype, nn.ReLU(), "text", {"tensor": 1}, None, 3.0])
def test_nothing_else_is_taken_for_a_geometric_tensor(value):
    assert not is_geometric(value)
    assert not is_library_type(value)


class Turning(nn.Module):
    """The gradient of an image, a vector field under C4; several at once."""

    def __init__(self):
        super().__init__()
        space = SPACES["C4"]
        self.types = FieldType(space, [space.trivial_repr]), FieldType(space, [space.irrep(1)])
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        right = (x[..., 1:-1, 2:] - x[..., 1:-1, :-2]) * self.weight
        up = (x[..., :-2, 1:-1] - x[..., 2:, 1:-1]) * self.weight
        vectors = GeometricTensor(torch.cat([right, up], 1), self.types[1])
        return {"length": GeometricTensor((right**2 + up**2), self.types[0]), "vectors": vectors}


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.turning = Turning()

    def forward(self, x):
        found = self.turning(x)
        return found["length"].tensor.mean((1, 2, 3), keepdim=False)[:, None] + 0 * found["vectors"].tensor.mean()


def test_each_of_several_outputs_has_its_own_type():
    x = torch.randn(4, 1, 7, 7)
    table = capture(Model(), x, "C4").equivariance().set_index("layer")
    assert table.loc["turning[vectors]", ["field", "field_source"]].tolist() == ["steerable(C4; 1 irrep_1)", "declared"]
    assert table.loc["turning[length]", "field"] == "steerable(C4; 1 irrep_0)"
    assert (table["breaking_fraction"] < 1e-12).all()


def test_one_of_several_outputs_is_replaced_and_keeps_its_type():
    x = torch.randn(4, 1, 7, 7)
    found = run_patched(Model(), x, LayerCall("turning[length]", 0), torch.full((4, 1, 5, 5), 2.0))
    torch.testing.assert_close(found, torch.full((4, 1), 2.0))


def test_a_type_that_is_not_over_the_plane_is_skipped_with_the_reason():
    space = GSpace(4, dimensionality=3)

    class Solid(nn.Module):
        def __init__(self):
            super().__init__()
            self.out_type = FieldType(space, [space.trivial_repr])

        def forward(self, x):
            return GeometricTensor(x, self.out_type)

    layer = Solid()
    model = nn.Sequential(layer, nn.Identity())
    model[1].forward = lambda x: x.tensor
    found = capture(model, torch.rand(2, 1, 5, 5), "C4")
    assert "3 dimensions" in found.skipped["0"]
    assert declared(layer) is None
    with pytest.raises(EqvizError, match="rotations and reflections of the plane"):
        steerable(layer.out_type)


def test_matrices_that_are_not_orthogonal_are_refused():
    space = SPACES["C4"]
    skewed = space._representation("skewed", 2, lambda f, a: np.diag([1, 2]) @ rotation_of(a) @ np.diag([1, 0.5]))
    with pytest.raises(EqvizError, match="orthogonal"):
        steerable(FieldType(space, [skewed]))


def rotation_of(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_escnn_itself():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from escnn import gspaces
            from escnn import nn as library
        except ImportError as error:
            pytest.skip(f"escnn: {error}")  # it needs numpy before 2
    from tests.steerable.conftest import Net, in_general_position

    space = gspaces.rot2dOnR2(4)
    network = in_general_position(Net(library, space, [space.regular_repr, space.irrep(1)], norms=True))
    x = torch.randn(8, 1, 9, 9)
    table = capture(network, x, "C4").equivariance().set_index("layer")
    assert table.loc["conv2", "field"] == "steerable(C4; 1 regular, 1 irrep_1)"
    assert (table["breaking_fraction"] < 1e-10).all()
    for k, g in enumerate(group("C4").elements):
        kind = network.conv2.out_type
        moved = kind(x.expand(-1, 6, -1, -1)).transform(space.fibergroup.element(k)).tensor
        torch.testing.assert_close(declared(network.conv2).act(x.expand(-1, 6, -1, -1), g), moved, atol=1e-5, rtol=0)
