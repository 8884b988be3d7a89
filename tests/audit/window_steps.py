"""Steps that pool, resize, cut, pad or move space: how to draw their arguments, and how to build them."""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.audit.steps import Arguments, Call, Planar, Setting, Shape, filters

# --- pooling, interpolation -----------------------------------------------------------------------------------------


def _window(rng: Random) -> Any:
    return rng.choice([2, 2, 3, 3, 4, (2, 3), (3, 1)])


def draw_max_pool(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kernel": _window(rng), "stride": rng.choice([None, None, 1, 2, 3, (2, 1)]),
            "padding": rng.choice([0, 0, 1]), "dilation": rng.choice([1, 1, 1, 2]), "ceil": rng.random() < 0.3,
            "how": rng.choice(["module", "call"])}  # fmt: skip


def build_max_pool(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    numbers = (a["kernel"], a["stride"], a["padding"], a["dilation"])
    if a["how"] == "module":
        return Planar(nn.MaxPool2d(*numbers, ceil_mode=a["ceil"]))
    return Planar(lambda x: F.max_pool2d(x, *numbers, ceil_mode=a["ceil"]))


def draw_avg_pool(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kernel": _window(rng), "stride": rng.choice([None, None, 1, 2, 3, (2, 1)]),
            "padding": rng.choice([0, 0, 1]), "ceil": rng.random() < 0.3, "count": rng.random() < 0.5,
            "divisor": rng.choice([None, None, None, 3]), "how": rng.choice(["module", "call"])}  # fmt: skip


def build_avg_pool(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    numbers = (a["kernel"], a["stride"], a["padding"], a["ceil"], a["count"], a["divisor"])
    return Planar(nn.AvgPool2d(*numbers) if a["how"] == "module" else lambda x: F.avg_pool2d(x, *numbers))


def draw_lp_pool(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"norm": rng.choice([1, 2]), "kernel": _window(rng), "stride": rng.choice([None, 1, 2, 3]),
            "ceil": rng.random() < 0.3}  # fmt: skip


def build_lp_pool(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Planar(nn.LPPool2d(a["norm"], a["kernel"], a["stride"], a["ceil"]))


def draw_taps(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"kernel": (rng.choice([2, 3]), rng.choice([2, 3])), "stride": (rng.choice([1, 2]), rng.choice([1, 2])),
            "reduce": rng.choice(["mean", "amax"])}  # fmt: skip


def build_taps(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A pool written as Tensor.unfold along both axes and a reduction over the taps."""
    (kh, kw), (sh, sw) = a["kernel"], a["stride"]
    return Planar(lambda x: getattr(x.unfold(-2, kh, sh).unfold(-2, kw, sw), a["reduce"])((-2, -1)))


def draw_adaptive(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    n = rng.choice([1, 2, 3, 4, 5, 7])
    return {"size": rng.choice([n, n, (n, rng.choice([3, 4])), (None, n)]), "reduce": rng.choice(["avg", "max"])}


def build_adaptive(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Planar((nn.AdaptiveAvgPool2d if a["reduce"] == "avg" else nn.AdaptiveMaxPool2d)(a["size"]))


def draw_interpolation(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    mode = rng.choice(["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
    a: Arguments = {"mode": mode}
    if rng.random() < 0.5:
        n = rng.randint(3, 20)
        a["size"] = rng.choice([(n, n), (n, rng.randint(3, 20)), (2 * shape.height, 2 * shape.width)])
    else:
        a["scale_factor"] = rng.choice([2.0, 2.0, 3.0, 0.5, 1.5, 0.75, 2.3, 0.4, (2.0, 1.5)])
    if mode in ("bilinear", "bicubic"):
        a["align_corners"] = rng.random() < 0.4
        a["antialias"] = rng.random() < 0.3
    return a


def build_interpolation(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Planar(lambda x: F.interpolate(x, **a))


# --- moving, cutting and padding ------------------------------------------------------------------------------------


def draw_pad(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    n, m = rng.randint(1, 3), rng.randint(0, 3)
    amounts = rng.choice([(n, n, n, n), (n, n, m, m), (n, m, n, m), (0, n, 0, n), (n, 0, 0, 0), (0, 0, m, n)])
    mode = rng.choice(["constant", "constant", "reflect", "replicate", "circular"])
    return {"amounts": amounts, "mode": mode, "value": rng.choice([0.0, 0.7]) if mode == "constant" else None}


def build_pad(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Planar(lambda x: F.pad(x, a["amounts"], a["mode"], a["value"]))


def draw_crop(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    n, m = rng.randint(0, 2), rng.randint(0, 2)
    rows, columns = rng.choice(
        [((n, n), (n, n)), ((n, n), (m, m)), ((n, m), (n, m)), ((n, m), (0, 0)), ((0, 0), (0, n))]
    )
    return {"rows": rows, "columns": columns}


def build_crop(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    (top, bottom), (left, right) = a["rows"], a["columns"]
    return Call(lambda x: x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right])


def draw_stride(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    n = rng.choice([2, 2, 3])
    starts = rng.choice([(0, 0), (0, 0), (1, 1), (0, 1)])
    return {"steps": rng.choice([(n, n), (n, n), (n, 1), (1, n)]), "starts": starts}


def build_stride(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    (sh, sw), (h, w) = a["steps"], a["starts"]
    return Call(lambda x: x[..., h::sh, w::sw])


def draw_roll(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    n = rng.choice([1, 2, shape.width // 2, shape.width])
    return {"shifts": rng.choice([(n, n), (0, n), (n, 0), (n, -n)])}


def build_roll(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Call(lambda x: torch.roll(x, a["shifts"], (-2, -1)))


def draw_flip(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"dims": rng.choice([(-1,), (-2,), (-2, -1)])}


def build_flip(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    return Call(lambda x: x.flip(a["dims"]))


def draw_shuffle(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"factor": 2, "out": rng.choice([1, 2])}


def build_shuffle(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A 1x1 convolution to four times `out` channels, which become pixels; every group element by itself."""
    factor, weight = a["factor"], filters(setting, shape, a["out"] * a["factor"] ** 2, 1)
    mix = Planar(Call(F.conv2d, weight))
    return nn.Sequential(mix, Call(lambda x: _by_element(x, lambda maps: F.pixel_shuffle(maps, factor))))


def build_unshuffle(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """Pixels of the first channels become channels; every group element by itself."""
    return Call(lambda x: _by_element(x, lambda maps: F.pixel_unshuffle(maps[:, : a["out"]], a["factor"])))


def _by_element(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    if x.dim() == 4:
        return function(x)
    found = function(x.transpose(1, 2).flatten(0, 1))
    return found.reshape(len(x), x.shape[2], *found.shape[1:]).transpose(1, 2)
