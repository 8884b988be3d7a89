"""The steps that random networks are made of, and those that convolve: how to draw their arguments, how to build them.

A step works on planar maps `(batch, channel, height, width)` or on maps with a group axis `(batch, channel, |G|,
height, width)`; these are seen by planar functions through a view that joins the group axis to the channels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.groups.group import Element, Group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One operation with its arguments, some of which may be steps of a branch."""

    kind: str
    arguments: Arguments = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{name}={_text(value)}' for name, value in self.arguments.items())})"


def _text(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else repr(value)


@dataclass(frozen=True)
class Setting:
    """What all steps of a network share: `family` is group, symmetric or plain; `group` symmetrises its filters."""

    family: str
    group: Group
    copied: bool = True

    def symmetric(self, weight: Tensor) -> Tensor:
        """`weight` (..., height, width), symmetrised if the family is; by what keeps the shape if it is not square."""
        if self.family == "plain":
            return weight
        height, width = weight.shape[-2:]
        elements = [g for g in self.group.elements if height == width or not g.transposes]
        if not self.copied:
            return torch.stack([moved(weight, g) for g in elements]).mean(0)
        cells = torch.arange(height * width).reshape(height, width)
        first = torch.stack([moved(cells, g) for g in elements]).amin(0)  # the same for all cells of an orbit
        return weight.flatten(-2)[..., first]


def moved(maps: Tensor, element: Element) -> Tensor:
    turned = torch.rot90(maps, element.quarter_turns, (-2, -1))
    return turned.flip(-2) if element.reflected else turned


@dataclass(frozen=True)
class Shape:
    """Shape of an activation without its batch; `fibre` is 1 where there is no group axis, `height` 0 without space."""

    channels: int
    fibre: int
    height: int
    width: int

    @classmethod
    def of(cls, x: Tensor) -> "Shape":
        size = tuple(x.shape[-2:]) if x.dim() >= 4 else (0, 0)
        return cls(x.shape[1], x.shape[2] if x.dim() in (3, 5) else 1, *size)

    @property
    def planar(self) -> int:
        return self.channels * self.fibre


class Planar(nn.Module):
    """A function or module of planar maps, on a view that joins the group axis, if there is one, to the channels."""

    def __init__(self, inner: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            return self.inner(x)
        found = self.inner(x.flatten(1, 2))
        return found.reshape(len(found), -1, x.shape[2], *found.shape[2:])


class Call(nn.Module):
    """A function of tensors and of parameters that belong to it."""

    def __init__(self, function: Callable[..., Tensor], *parameters: Tensor | None) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ParameterList([nn.Parameter(p) for p in parameters if p is not None])

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts)


# --- filters --------------------------------------------------------------------------------------------------------


def filters(
    setting: Setting, shape: Shape, out: int, kernel: Any, groups: int = 1, *, backwards: bool = False
) -> Tensor:
    """Weight of a planar convolution from this shape; `backwards`: of a transposed one, which has (in, out/groups)."""
    into, onto = (out, shape.channels) if backwards else (shape.channels, out)
    if shape.fibre > 1:
        parts = [GroupConv2d(setting.group, into // groups, onto // groups, kernel) for _ in range(groups)]
        return torch.cat([part.planar_filter() for part in parts]).detach()
    weight = torch.randn(onto, into // groups, *_pair(kernel))
    return setting.symmetric(weight / (weight[0].numel() ** 0.5))


def biases(shape: Shape, out: int, bias: str) -> Tensor | None:
    if bias == "none":
        return None
    return (
        torch.randn(out * shape.fibre) / 2 if bias == "each" else (torch.randn(out) / 2).repeat_interleave(shape.fibre)
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def draw_convolution(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    kernel: Any = rng.choice([1, 2, 3, 3, 3, 4, 5])
    if shape.fibre == 1 and rng.random() < 0.1:
        kernel = rng.choice([(1, 3), (3, 1), (2, 3), (3, 5)])
    stride: Any = rng.choice([1, 1, 2, 2, 3] + [(1, 2), (3, 2)] * (rng.random() < 0.2))
    padding: Any = rng.choice([0, 0, 1, 1, 2, "same", (0, 1)])
    return {
        "kernel": kernel, "stride": 1 if padding == "same" else stride, "padding": padding,
        "dilation": rng.choice([1, 1, 1, 2]), "mode": rng.choice(["zeros"] * 4 + ["reflect", "replicate", "circular"]),
        "out": rng.choice([2, 3]), "depthwise": rng.random() < 0.2,
        "bias": rng.choice(["shared"] * 8 + ["none"] * 4 + ["each"]), "how": rng.choice(["layer", "module", "call"]),
    }  # fmt: skip


def build_convolution(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    groups, out = (shape.channels, shape.channels) if a["depthwise"] else (1, a["out"])
    plain_arguments = groups == 1 and a["mode"] == "zeros" and a["bias"] != "each" and a["how"] == "layer"
    if shape.fibre > 1 and plain_arguments and all(isinstance(a[key], int) for key in ("stride", "padding")):
        return GroupConv2d(setting.group, shape.channels, out, a["kernel"], a["stride"], a["padding"], a["dilation"],
                           a["bias"] == "shared")  # fmt: skip
    weight, bias = filters(setting, shape, out, a["kernel"], groups), biases(shape, out, a["bias"])
    stride, padding, dilation = a["stride"], a["padding"], a["dilation"]
    if a["how"] == "call" and a["mode"] == "zeros":
        return Planar(Call(lambda x, w, b=None: F.conv2d(x, w, b, stride, padding, dilation, groups), weight, bias))
    layer = nn.Conv2d(shape.planar, out * shape.fibre, a["kernel"], stride, padding, dilation, groups,
                      bias=bias is not None, padding_mode=a["mode"])  # fmt: skip
    return _with(layer, weight, bias, shape)


def _with(layer: nn.Module, weight: Tensor, bias: Tensor | None, shape: Shape) -> nn.Module:
    layer.weight = nn.Parameter(weight)
    layer.bias = None if bias is None else nn.Parameter(bias)
    return layer if shape.fibre == 1 else Planar(layer)


def draw_lifting(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kernel": rng.choice([1, 2, 3, 3, 3, 4, 5]), "stride": rng.choice([1, 1, 1, 2, 3]),
            "padding": rng.choice([0, 0, 1, 1, 2]), "dilation": rng.choice([1, 1, 1, 2]), "out": 2}  # fmt: skip


def build_lifting(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return LiftingConv2d(setting.group, shape.channels, a["out"], a["kernel"], a["stride"], a["padding"], a["dilation"])


def draw_transposed(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {
        "kernel": rng.choice([1, 2, 2, 3, 3, 4]), "stride": rng.choice([1, 2, 2, 3]),
        "padding": rng.choice([0, 0, 1]), "output_padding": rng.choice([0, 0, 0, 1, (0, 1)]),
        "dilation": rng.choice([1, 1, 2]), "out": rng.choice([2, 3]),
        "bias": rng.choice(["shared", "shared", "none"]), "how": rng.choice(["module", "call"]),
    }  # fmt: skip


def build_transposed(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    weight = filters(setting, shape, a["out"], a["kernel"], backwards=True)
    bias = biases(shape, a["out"], a["bias"])
    stride, padding, extra, dilation = a["stride"], a["padding"], a["output_padding"], a["dilation"]
    if a["how"] == "call":
        return Planar(
            Call(lambda x, w, b=None: F.conv_transpose2d(x, w, b, stride, padding, extra, 1, dilation), weight, bias)
        )
    layer = nn.ConvTranspose2d(shape.planar, a["out"] * shape.fibre, a["kernel"], stride, padding, extra,
                               bias=bias is not None, dilation=dilation)  # fmt: skip
    return _with(layer, weight, bias, shape)


def draw_im2col(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kernel": rng.choice([2, 3, 3]), "stride": rng.choice([1, 2, 2, 3]), "padding": rng.choice([0, 0, 1]),
            "dilation": rng.choice([1, 1, 2]), "out": rng.choice([2, 3])}  # fmt: skip


def build_im2col(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A convolution written as unfold, matrix product, reshape."""
    weight, k = filters(setting, shape, a["out"], a["kernel"]).flatten(1), a["kernel"]

    def convolve(x: Tensor, w: Tensor) -> Tensor:
        columns = F.unfold(x, k, a["dilation"], a["padding"], a["stride"])
        reach = [n + 2 * a["padding"] - a["dilation"] * (k - 1) - 1 for n in x.shape[-2:]]
        return (w @ columns).reshape(len(x), len(w), *(r // a["stride"] + 1 for r in reach))

    return Planar(Call(convolve, weight))
