"""Tiny networks of e2cnn, built once."""

import pytest
import torch
from torch import nn

from tests.steerable_libraries import working_e2cnn


@pytest.fixture(scope="session")
def e2cnn():
    """gspaces and nn of the library."""
    with working_e2cnn() as library:
        yield library


@pytest.fixture(scope="session")
def spaces(e2cnn):
    """A gspace by name; the same one each time."""
    g = e2cnn.gspaces
    pi = torch.pi
    return {
        "C1": g.TrivialOnR2(), "C2": g.Rot2dOnR2(2), "C4": g.Rot2dOnR2(4), "C8": g.Rot2dOnR2(8),
        "D2": g.FlipRot2dOnR2(2), "D2 diagonal": g.FlipRot2dOnR2(2, axis=pi / 4),
        "D4": g.FlipRot2dOnR2(4), "D4 level": g.FlipRot2dOnR2(4, axis=0.0),
        "D4 diagonal": g.FlipRot2dOnR2(4, axis=pi / 4), "D4 slanted": g.FlipRot2dOnR2(4, axis=pi / 8),
        "D3": g.FlipRot2dOnR2(3), "D8": g.FlipRot2dOnR2(8),
        "left-right": g.Flip2dOnR2(), "up-down": g.Flip2dOnR2(axis=0.0), "anti-transpose": g.Flip2dOnR2(axis=pi / 4),
        "transpose": g.Flip2dOnR2(axis=3 * pi / 4), "slanted": g.Flip2dOnR2(axis=pi / 8),
        "SO(2)": g.Rot2dOnR2(-1, maximum_frequency=3), "O(2)": g.FlipRot2dOnR2(-1, maximum_frequency=3),
        "O(2) level": g.FlipRot2dOnR2(-1, maximum_frequency=3, axis=0.0),
    }  # fmt: skip


class Net(nn.Module):
    """Two convolutions, the second with a stride; a head on what does not turn."""

    def __init__(self, library, space, fields, *, norms=False, stride=2):
        super().__init__()
        self.wrapped = library.GeometricTensor
        self.input_type = library.FieldType(space, [space.trivial_repr])
        inner = library.FieldType(space, fields)
        self.conv1 = library.R2Conv(self.input_type, inner, 3, padding=1)
        self.norm = nn.Identity() if norms else library.InnerBatchNorm(inner)
        self.act = library.NormNonLinearity(inner) if norms else library.ReLU(inner)
        self.conv2 = library.R2Conv(inner, inner, 3, padding=1, stride=stride)
        self.pool = library.NormPool(inner) if norms else library.GroupPooling(inner)
        self.fc = nn.Linear(self.pool.out_type.size, 3)

    def forward(self, images):
        x = self.wrapped(images, self.input_type)
        x = self.pool(self.conv2(self.act(self.norm(self.conv1(x)))))
        return self.fc(x.tensor.mean((2, 3)))


class Block(nn.Module):
    """A user's own module: it says nothing of types, what it gives out does."""

    def __init__(self, library, kind):
        super().__init__()
        self.a = library.R2Conv(kind, kind, 3, padding=1)
        self.act = library.ReLU(kind)
        self.b = library.R2Conv(kind, kind, 3, padding=1)

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))) + x)


class Residual(nn.Module):
    """A network around such a block."""

    def __init__(self, library, space):
        super().__init__()
        self.wrapped = library.GeometricTensor
        self.input_type = library.FieldType(space, [space.trivial_repr])
        inner = library.FieldType(space, [space.regular_repr])
        self.stem = library.R2Conv(self.input_type, inner, 3, padding=1)
        self.block = Block(library, inner)
        self.down = library.SequentialModule(
            library.R2Conv(inner, inner, 3, padding=1, stride=2), library.InnerBatchNorm(inner), library.ReLU(inner)
        )
        self.pool = library.GroupPooling(inner)

    def forward(self, images):
        x = self.wrapped(images, self.input_type)
        return self.pool(self.down(self.block(self.stem(x)))).tensor.flatten(2).mean(2)


def in_general_position(model, seed=0):
    """The model with every parameter and statistic moved, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith("running_var"):
                tensor.add_(torch.rand(tensor.shape, generator=generator))
            elif name.endswith("running_mean") or (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


@pytest.fixture(scope="session")
def build(e2cnn, spaces):
    """Builds a network by name, in general position and in evaluation mode."""

    def built(name, **options):
        torch.manual_seed(0)
        space = spaces.get(name.removesuffix(" mixed"))
        if name == "residual":
            return in_general_position(Residual(e2cnn.nn, spaces["C4"]))
        if name == "SO(2)":
            fields = [space.irrep(0), space.irrep(1), space.irrep(2), space.irrep(0)]
            return in_general_position(Net(e2cnn.nn, space, fields, norms=True, **options))
        if name == "D4 mixed":
            fields = [space.irrep(1, 1), space.regular_repr, space.quotient_repr((0, 1)), space.irrep(1, 1)]
            return in_general_position(Net(e2cnn.nn, space, fields, norms=True, **options))
        fields = [space.trivial_repr] * 2 if name == "C1" else [space.regular_repr] * 2
        return in_general_position(Net(e2cnn.nn, space, fields, **options))

    return built


@pytest.fixture(scope="session")
def networks(build):
    """Networks by name, built once; not to be changed."""
    known = {}

    def network(name):
        if name not in known:
            known[name] = build(name)
        return known[name]

    return network
