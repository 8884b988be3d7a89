"""Against e2cnn, an independent library: every convolution of theirs between regular fields is one of ours."""

import pytest
import torch

from eqviz.fields.field_types import Regular
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from tests.steerable_libraries import working_e2cnn

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call


def positions(G, space, enn):
    """For each of our elements, the place of the same motion of pixels in e2cnn's fibre."""
    picture = torch.arange(9.0, dtype=torch.float32).reshape(1, 1, 3, 3)
    scalar = enn.GeometricTensor(picture, enn.FieldType(space, [space.trivial_repr]))
    theirs = [scalar.transform(element).tensor for element in space.testing_elements]
    found = []
    for element in G.elements:
        ours = torch.rot90(picture, element.quarter_turns, (-2, -1))
        ours = ours.flip(-2) if element.reflected else ours
        found.append(next(j for j, moved in enumerate(theirs) if torch.allclose(moved, ours, atol=1e-5)))
    assert sorted(found) == list(range(G.order))
    return found


@pytest.fixture(scope="module")
def e2cnn():
    with working_e2cnn() as library:
        yield library


@pytest.fixture
def enn(e2cnn):
    return e2cnn.nn


@pytest.fixture(params=["C4", "D4"])
def setting(request, e2cnn):
    G = group(request.param)
    space = e2cnn.gspaces.Rot2dOnR2(4) if request.param == "C4" else e2cnn.gspaces.FlipRot2dOnR2(4)
    torch.set_default_dtype(torch.float32)  # e2cnn builds its bases in float32; the fixture `double` puts it back
    return G, space, positions(G, space, e2cnn.nn)


def test_their_action_on_regular_fields_is_ours_with_the_fibre_reordered(setting, enn):
    G, space, order = setting
    field = enn.FieldType(space, 2 * [space.regular_repr])
    theirs = torch.randn(1, 2 * G.order, 5, 5)
    ours = theirs.unflatten(1, (2, G.order))[:, :, order]
    for u, element in enumerate(G.elements):
        moved = enn.GeometricTensor(theirs, field).transform(list(space.testing_elements)[order[u]]).tensor
        expected = moved.unflatten(1, (2, G.order))[:, :, order]
        torch.testing.assert_close(Regular(G).act(ours, element), expected)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (5, 1, 2)])
def test_their_group_convolutions_are_ours(setting, enn, size, stride, padding):
    G, space, order = setting
    inner = enn.FieldType(space, 2 * [space.regular_repr])
    outer = enn.FieldType(space, 3 * [space.regular_repr])
    theirs = enn.R2Conv(inner, outer, kernel_size=size, stride=stride, padding=padding, bias=True)
    torch.nn.init.normal_(theirs.bias)
    weight, bias = theirs.expand_parameters()
    weight = weight.detach().unflatten(0, (3, G.order)).unflatten(2, (2, G.order))
    ours = GroupConv2d(G, 2, 3, size, stride, padding)
    with torch.no_grad():
        ours.weight.copy_(weight[:, order[0]][:, :, order])  # the copy of the identity, its fibre in our order
        ours.bias.copy_(bias.unflatten(0, (3, G.order))[:, 0])
        x = torch.randn(2, 2 * G.order, 7, 7)
        expected = theirs(enn.GeometricTensor(x, inner)).tensor.unflatten(1, (3, G.order))[:, :, order]
        found = ours(x.unflatten(1, (2, G.order))[:, :, order])
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_their_lifting_convolutions_are_ours(setting, enn):
    G, space, order = setting
    inner = enn.FieldType(space, 2 * [space.trivial_repr])
    outer = enn.FieldType(space, 3 * [space.regular_repr])
    theirs = enn.R2Conv(inner, outer, kernel_size=3, padding=1, bias=False)
    weight = theirs.expand_parameters()[0].detach().unflatten(0, (3, G.order))
    ours = LiftingConv2d(G, 2, 3, 3, padding=1, bias=False)
    with torch.no_grad():
        ours.weight.copy_(weight[:, order[0]].unsqueeze(2))
        x = torch.randn(2, 2, 7, 8)
        expected = theirs(enn.GeometricTensor(x, inner)).tensor.unflatten(1, (3, G.order))[:, :, order]
        torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)
