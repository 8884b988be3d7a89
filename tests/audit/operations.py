"""Single operations with many arguments, on two channels and with symmetric weights, by the name of the operation."""

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eqviz.groups.group import group
from tests.audit.steps import Call, Setting

Builds = list[Callable[[], nn.Module]]


def kernel(out: int, into: int, k: Any) -> Tensor:
    """Symmetric under all of D4, or under D2 if it is not square."""
    height, width = (k, k) if isinstance(k, int) else k
    return Setting("symmetric", group("D4")).symmetric(torch.randn(out, into, height, width, dtype=torch.float64))


def conv(k: Any, *arguments: Any, groups: int = 1, mode: str = "zeros") -> nn.Module:
    layer = nn.Conv2d(2, 2, k, *arguments, groups=groups, padding_mode=mode).double()
    layer.weight = nn.Parameter(kernel(2, 2 // groups, k))
    return layer


def transposed(k: Any, *arguments: Any, dilation: int = 1) -> nn.Module:
    layer = nn.ConvTranspose2d(2, 2, k, *arguments, dilation=dilation).double()
    layer.weight = nn.Parameter(kernel(2, 2, k))
    return layer


def same(k: int) -> nn.Module:
    return Call(lambda x, weight: F.conv2d(x, weight, padding="same"), kernel(2, 2, k))


def slices(rows: tuple[int | None, ...], columns: tuple[int | None, ...]) -> nn.Module:
    return Call(lambda x: x[..., slice(*rows), slice(*columns)])


def pad(amounts: tuple[int, ...], mode: str = "constant", value: float | None = None) -> nn.Module:
    return Call(lambda x: F.pad(x, amounts, mode, value))


def resize(**arguments: Any) -> nn.Module:
    return Call(lambda x: F.interpolate(x, **arguments))


def im2col(k: int, d: int, p: int, s: int) -> nn.Module:
    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        reach = [n + 2 * p - d * (k - 1) - 1 for n in x.shape[-2:]]
        return (weight @ F.unfold(x, k, d, p, s)).reshape(len(x), len(weight), *(r // s + 1 for r in reach))

    return Call(convolve, kernel(2, 2, k).flatten(1))


def taps(k: int, s: int, reduce: str) -> nn.Module:
    return Call(lambda x: getattr(x.unfold(-2, k, s).unfold(-2, k, s), reduce)((-2, -1)))


def reduction(reduce: str, dims: tuple[int, ...], keep: bool) -> nn.Module:
    return Call(lambda x: getattr(x, reduce)(dims, keepdim=keep))


def excitation(reduce: str) -> nn.Module:
    return Call(lambda x: x * getattr(x, reduce)((-2, -1), keepdim=True).sigmoid())


def each(build: Callable[..., nn.Module], arguments: Any) -> Builds:
    """One build for every tuple of arguments."""
    return [lambda a=a: build(*a) for a in arguments]


def named(build: Callable[..., nn.Module], *keys: str, values: Any, **fixed: Any) -> Builds:
    """One build for every tuple of values of these keywords."""
    return [lambda v=v: build(**dict(zip(keys, v, strict=True)), **fixed) for v in values]


PADDING_MODES = ("reflect", "replicate", "circular")
PADS = [(1, 1, 1, 1), (2, 2, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1), (2, 0, 0, 0), (0, 0, 1, 2), (1, 1, 0, 0)]
NEGATIVE_PADS = [(-1, 0, -1, 0), (-1, -1, -1, -1), (1, -1, 1, -1)]
PAD_MODULES = (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.CircularPad2d)
TWO_SIDES = [((1, 3), 1, 0), ((3, 1), 1, (1, 0)), (3, (1, 2), 1), (3, 2, (0, 1)), ((2, 3), 2, 1)]
RESIZES = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
ALL, BOTH, EVERY, ODD = (None,), (1, -1), (None, None, 2), (1, None, 2)
THIRD, ODD_THIRD = (None, None, 3), (1, None, 3)
SLICES = [
    ((1, None), (1, None)), (BOTH, BOTH), ((None, 3), (None, 3)), ((0, 2), ALL), (ALL, (1, None)), (BOTH, ALL),
    (EVERY, EVERY), (ODD, ODD), (EVERY, ALL), (THIRD, THIRD), (ODD_THIRD, ODD_THIRD), (EVERY, ODD),
]  # fmt: skip
ROLLS = [(1, 1), (0, 1), (2, 3), (-1, 1), (4, 4), (12, 12)]
REDUCTIONS = [((-2, -1), True), ((-2, -1), False), ((-1,), True), ((-2,), True)]
ADAPTIVE = [(n,) for n in (1, 2, 3, 5, 7, (2, 3), (None, 2), (1, 4))]
FLAGS = (False, True)


def roll(*shifts: int) -> nn.Module:
    return Call(lambda x: torch.roll(x, shifts, (-2, -1)))


def _transposed_arguments() -> Builds:
    found: Builds = []
    for k, s, p, o, d in product([1, 2, 3, 4], [1, 2, 3], [0, 1], [0, 1, (0, 1)], [1, 2]):
        if max(o if isinstance(o, tuple) else (o,)) < max(s, d):
            found.append(lambda k=k, s=s, p=p, o=o, d=d: transposed(k, s, p, o, dilation=d))
    return found


SINGLE: dict[str, Builds] = {
    "convolution": each(conv, product([1, 2, 3, 4], [1, 2, 3], [0, 1, 2])),
    "dilated convolution": each(conv, product([2, 3], [1, 2], [0, 1, 2], [2])),
    "same convolution": each(conv, product([1, 2, 3, 4], [1], ["same"], [1, 2])),
    "same convolution by call": each(same, [(2,), (3,)]),
    "convolution with a padding mode": [
        lambda m=m, s=s, p=p: conv(3, s, p, mode=m) for m, s, p in product(PADDING_MODES, [1, 2], [1, 2])
    ],
    "same with a padding mode": [
        lambda m=m, k=k: conv(k, 1, "same", mode=m) for m, k in product(PADDING_MODES, [2, 3])
    ],
    "depthwise convolution": [lambda s=s: conv(3, s, 1, groups=2) for s in (1, 2)],
    "convolution with two sides": each(conv, TWO_SIDES),
    "transposed convolution": _transposed_arguments(),
    "maximum pool": named(
        nn.MaxPool2d, "kernel_size", "stride", "padding", "ceil_mode",
        values=[*product([2, 3, (2, 3)], [None, 1, 2, 3], [0, 1], FLAGS), *product([(3, 1)], [None, 2], [0], FLAGS)],
    ),
    "dilated maximum pool": each(nn.MaxPool2d, product([2, 3], [1, 2], [0, 1], [2])),
    "average pool": each(nn.AvgPool2d, product([2, 3, (2, 3)], [None, 1, 2, 3], [0, 1], FLAGS, FLAGS)),
    "average pool with a divisor": each(nn.AvgPool2d, product([2], [2], [0], FLAGS, [True], [3])),
    "lp pool": each(nn.LPPool2d, product([1, 2], [2, 3, (2, 3)], [None, 1, 2], FLAGS)),
    "adaptive average pool": each(nn.AdaptiveAvgPool2d, ADAPTIVE),
    "adaptive maximum pool": each(nn.AdaptiveMaxPool2d, ADAPTIVE),
    "interpolation to a size": named(
        resize, "mode", "size", values=product(RESIZES, [1, 3, 4, 7, 12, 15, (5, 8)])
    ),
    "interpolation by a factor": named(
        resize, "mode", "scale_factor", values=product(RESIZES, [2, 3, 0.5, 1.5, 0.7, (2, 1.5)])
    ),
    "interpolation with recomputed factors": named(
        resize, "mode", "scale_factor", values=product(RESIZES[:4], [0.5, 1.5, 0.7]), recompute_scale_factor=True
    ),
    "interpolation with aligned corners": named(
        resize, "mode", "size", values=product(["bilinear", "bicubic"], [1, 2, 3, 7, 12, (1, 5)]), align_corners=True
    ),
    "interpolation with antialias": named(
        resize, "mode", "size", "align_corners", values=product(["bilinear", "bicubic"], [1, 2, 3, 5, 8], FLAGS),
        antialias=True,
    ),
    "padding": each(pad, product(PADS, ["constant", *PADDING_MODES])),
    "padding with a value": each(pad, product(PADS, ["constant"], [0.7])),
    "padding by less than nothing": each(pad, [(p,) for p in NEGATIVE_PADS]),
    "padding modules": [lambda c=c, p=p: c(p) for c, p in product(PAD_MODULES, [1, (0, 1, 0, 1)])],
    "slices": each(slices, SLICES),
    "roll": each(roll, ROLLS),
    "flip": [lambda d=d: Call(lambda x: x.flip(d)) for d in [(-1,), (-2,), (-2, -1)]],
    "turn": [lambda r=r: Call(lambda x: torch.rot90(x, r, (-2, -1))) for r in (1, 2)],
    "transpose": [
        lambda: Call(lambda x: x.transpose(-1, -2)), lambda: Call(lambda x: x.permute(0, 1, 3, 2).contiguous())
    ],
    "im2col": each(im2col, product([2, 3], [1, 2], [0, 1], [1, 2])),
    "taps": each(taps, product([2, 3], [1, 2, 3], ["mean", "amax", "sum"])),
    "pixel shuffle": [lambda: nn.Sequential(nn.Conv2d(2, 4, 1).double(), nn.PixelShuffle(2))],
    "pixel unshuffle": [lambda: nn.PixelUnshuffle(2)],
    "reduction": [
        lambda r=r, a=a: reduction(r, *a) for r, a in product(["mean", "amax", "sum", "amin"], REDUCTIONS)
    ],
    "squeeze and excite": each(excitation, [("mean",), ("amax",), ("sum",)]),
    "normalisation": [
        lambda: nn.GroupNorm(1, 2).double(), lambda: nn.InstanceNorm2d(2, affine=True).double(),
        lambda: nn.BatchNorm2d(2).double().eval(),
    ],
}  # fmt: skip
