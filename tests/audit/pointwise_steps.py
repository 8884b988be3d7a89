"""Steps beside windows and cuts: terms, reductions, normalisation, activations, channel mixing, branches, heads."""

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn

from eqviz.models.normalisation import GroupBatchNorm2d
from eqviz.models.pooling import CosetMaxPool
from tests.audit.steps import Arguments, Call, Planar, Setting, Shape

# --- terms and factors that may vary over space ---------------------------------------------------------------------


def draw_term(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    over = rng.choice(["space", "space", "rows", "columns", "channels", "fibre"])
    return {"over": over, "symmetric": over in ("space", "rows", "columns") and rng.random() < 0.6}


def term(setting: Setting, shape: Shape, a: Arguments) -> Tensor:
    size = {"space": (1, 1, shape.height, shape.width), "rows": (1, 1, shape.height, 1),
            "columns": (1, 1, 1, shape.width), "channels": (shape.channels, 1, 1, 1),
            "fibre": (1, shape.fibre, 1, 1)}[a["over"]]  # fmt: skip
    values = torch.randn(size)
    if a["symmetric"]:  # in the plain family too: a term is no filter
        values = Setting("symmetric", setting.group, setting.copied).symmetric(values)
        if a["over"] in ("rows", "columns") and shape.height != shape.width:
            values = values + values.flip(-1, -2)
    return values if shape.fibre > 1 else values[:, 0]


def build_add(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Call(lambda x, p: x + p, term(setting, shape, a))


def build_multiply(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Call(lambda x, p: x * p, term(setting, shape, a))


# --- reductions over space, broadcast back or final -----------------------------------------------------------------


REDUCE: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean,
    "amax": torch.amax,
    "sum": lambda x, dims, keepdim=False: 0.02 * x.sum(dims, keepdim=keepdim),  # so that a tanh after it is not 1
}


def draw_excitation(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"reduce": rng.choice(["mean", "amax", "sum"]), "dims": rng.choice([(-2, -1), (-2, -1), (-1,), (-2,)]),
            "join": rng.choice(["mul", "add", "sub"])}  # fmt: skip


def build_excitation(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """Squeeze and excite: a reduction over space (or over one axis of it) gates the maps, or is added to them."""

    def excite(x: Tensor) -> Tensor:
        squeezed = REDUCE[a["reduce"]](x, a["dims"], keepdim=True)
        return {"mul": lambda: x * squeezed.sigmoid(), "add": lambda: x + squeezed, "sub": lambda: x - squeezed}[
            a["join"]
        ]()

    return Call(excite)


def draw_reduction(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"reduce": rng.choice(["mean", "mean", "amax", "sum"])}


def build_reduction(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Call(lambda x: REDUCE[a["reduce"]](x, (-2, -1)))


def draw_flatten(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"symmetric": setting.family == "symmetric" and rng.random() < 0.5}


def build_flatten(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """Space (and the group axis) flattened into a linear layer with three outputs."""
    layer = nn.Linear(shape.planar * shape.height * shape.width, 3)
    if a["symmetric"]:
        weight = layer.weight.detach().reshape(3, shape.planar, shape.height, shape.width)
        layer.weight = nn.Parameter(setting.symmetric(weight).flatten(1))
    return nn.Sequential(nn.Flatten(), layer)


def draw_linear(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {}


def build_linear(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A linear layer after space is gone; on the flattened group axis, if there is one."""
    layer = nn.Linear(shape.planar, 3)
    return nn.Sequential(nn.Flatten(), layer) if shape.fibre > 1 else layer


def build_coset_max(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return CosetMaxPool() if not shape.height else Call(lambda x: x.amax(2))


# --- normalisation --------------------------------------------------------------------------------------------------


def draw_normalisation(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kind": rng.choice(["batch", "batch", "group", "layer", "channels_last", "instance", "per_position"]),
            "each": shape.fibre > 1 and rng.random() < 0.3, "affine": rng.random() < 0.6}  # fmt: skip


def build_normalisation(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """Normalisation; `each`: with statistics and affine parameters of every orientation by itself."""
    joined, affine, kind = shape.fibre == 1 or a["each"], a["affine"], a["kind"]
    channels = shape.planar if joined else shape.channels
    norm: nn.Module
    if kind == "batch":
        norm = nn.BatchNorm2d(channels, affine=affine) if joined else GroupBatchNorm2d(channels)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    elif kind == "group":
        norm = nn.GroupNorm(shape.channels, channels, affine=affine)
    elif kind == "layer":
        norm = nn.GroupNorm(1, channels, affine=affine)
    elif kind == "instance":
        norm = (nn.InstanceNorm2d if joined else nn.InstanceNorm3d)(channels, affine=affine)
    elif kind == "channels_last":
        if channels == 1:
            raise ValueError("one channel less its mean is nothing")
        norm = nn.LayerNorm(channels, elementwise_affine=affine)
    else:
        size = (shape.height, shape.width)
        norm = nn.LayerNorm((channels, *size) if joined else (channels, shape.fibre, *size), elementwise_affine=affine)
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    if kind == "channels_last":
        return _Last(norm) if not joined else Planar(_Last(norm))
    return Planar(norm) if joined else norm


class _Last(nn.Module):
    """A layer on the last axis, applied to the channels, as in ConvNeXt."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.movedim(1, -1)).movedim(-1, 1)


# --- activations and channel mixing ---------------------------------------------------------------------------------


def draw_activation(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"name": rng.choice(["relu", "relu", "tanh", "sigmoid"]), "inplace": rng.random() < 0.2}


def build_activation(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    if a["name"] == "relu":
        return nn.ReLU(inplace=a["inplace"])
    return nn.Tanh() if a["name"] == "tanh" else nn.Sigmoid()


def draw_nothing(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {}


def build_mixing(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A 1x1 convolution of all planar channels that knows no group."""
    return Planar(nn.Conv2d(shape.planar, shape.planar, 1))


# --- branches -------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """Several branches of one input, joined."""

    def __init__(self, branches: list[list[nn.Module]], join: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*branch) for branch in branches)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join([branch(x) for branch in self.branches])


JOINS: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "sum": lambda found: sum(found[1:], start=found[0]),
    "concatenate": lambda found: torch.cat(found, 1),
    "product": lambda found: found[0] * found[1].sigmoid(),
}
