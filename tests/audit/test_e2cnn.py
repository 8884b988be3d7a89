"""Small networks of e2cnn, whose layers write part by part into empty tensors: predicted as measured."""

import pytest
import torch
from torch import nn

from eqviz.audit.auditing import examine
from eqviz.groups.group import group
from tests.audit.measuring import Field, error
from tests.steerable_libraries import working_e2cnn

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call
EXACT, BROKEN = 1e-5, 1e-3
"""Relative error: e2cnn keeps its bases in float32, whatever the network runs in."""


@pytest.fixture(scope="module")
def library():
    before = torch.get_default_dtype()
    with working_e2cnn() as found:
        torch.set_default_dtype(torch.float32)
        yield found
    torch.set_default_dtype(before)


class Network(nn.Module):
    """Layers of e2cnn on images of one channel; gives a plain tensor."""

    def __init__(self, enn, *layers):
        super().__init__()
        self.net, self.wrap = enn.SequentialModule(*layers), enn.GeometricTensor
        self.kind = layers[0].in_type

    def forward(self, x):
        return self.net(self.wrap(x, self.kind)).tensor


def space_of(library, name):
    return library.gspaces.Rot2dOnR2(4) if name == "C4" else library.gspaces.FlipRot2dOnR2(4)


def layers(library, name, which):
    """The layers of a network, and the size of its images."""
    enn, space = library.nn, space_of(library, name)
    one, whole = space.trivial_repr, space.regular_repr
    image, regular, mixed = (enn.FieldType(space, kinds) for kinds in ([one], [whole] * 2, [whole, one, whole]))
    if which == "regular":
        return (
            enn.R2Conv(image, regular, 3, padding=1), enn.InnerBatchNorm(regular), enn.ReLU(regular, inplace=True),
            enn.PointwiseMaxPool(regular, 2), enn.R2Conv(regular, regular, 3, padding=1), enn.ReLU(regular),
            enn.PointwiseDropout(regular), enn.GroupPooling(regular),
        ), 10  # fmt: skip
    if which == "mixed":
        return (
            enn.R2Conv(image, mixed, 3, padding=1), enn.InnerBatchNorm(mixed), enn.ELU(mixed),
            enn.PointwiseMaxPoolAntialiased(mixed, 3, 2, 1), enn.R2Conv(mixed, mixed, 1), enn.R2Upsampling(mixed, 2),
            enn.NormPool(mixed),
        ), 9  # fmt: skip
    if which == "norm":
        return (
            enn.R2Conv(image, mixed, 3, padding=1), enn.NormNonLinearity(mixed), enn.PointwiseAvgPool(mixed, 2),
            enn.R2Conv(mixed, image, 3, padding=1),
        ), 10  # fmt: skip
    if which == "misfit":
        return (
            enn.R2Conv(image, regular, 3, padding=1), enn.PointwiseAvgPool(regular, 2),
            enn.R2Conv(regular, regular, 3, padding=1), enn.GroupPooling(regular),
        ), 9  # fmt: skip
    vectors = enn.FieldType(space, [space.irrep(*(1, 1) if name == "D4" else (1,)), one])
    return (
        enn.R2Conv(image, vectors, 3, padding=1), enn.NormNonLinearity(vectors),
        enn.R2Conv(vectors, image, 3, padding=1),
    ), 9  # fmt: skip


@pytest.mark.parametrize("name", ["C4", "D4"])
@pytest.mark.parametrize("which", ["regular", "mixed", "norm", "misfit", "vectors"])
def test_networks_of_e2cnn_are_predicted_as_measured(library, name, which):
    parts, size = layers(library, name, which)
    network = Network(library.nn, *parts)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_()
            module.weight.data.normal_()
    network.eval()
    x = torch.randn(8, 1, size, size)
    errors = [error(network, x, g, Field(space=True), "C1") for g in group(name).elements]
    assert not any(EXACT < e < BROKEN for e in errors)
    kept = frozenset(g for g, e in zip(group(name).elements, errors, strict=True) if e < EXACT)
    found = examine(network, size, name)
    rows = [(row.layer, row.op, row.exact, row.why) for row in found.operations]
    assert frozenset(found.surviving.elements) <= kept, rows
    assert examine(network, size, name, values=False).grid_exact is found.grid_exact, rows
    if which == "vectors":
        assert (found.exact, found.grid_exact) == (None, True), rows
        assert "matrices" in found.first_fault.why
    else:
        assert frozenset(found.surviving.elements) == kept, rows
        assert found.exact is (len(kept) == group(name).order), rows


def test_an_output_of_a_type_that_a_layer_declares_is_judged_by_it(library):
    enn, space = library.nn, library.gspaces.FlipRot2dOnR2(4)
    image, regular = (enn.FieldType(space, [kind]) for kind in (space.trivial_repr, space.regular_repr))
    found = examine(Network(enn, enn.R2Conv(image, regular, 3), enn.ReLU(regular)).eval(), 9, "D4")
    assert found.exact is True
    assert "regular" in found.layers[-1].field
