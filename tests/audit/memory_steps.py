"""Steps that attend to all places, write part by part, or put constants beside channels: arguments and modules."""

from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.audit.steps import Arguments, Call, Planar, Setting, Shape, filters

# --- attention ------------------------------------------------------------------------------------------------------


def draw_attention(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"how": rng.choice(["one", "products", "transposed", "linear"]), "token": rng.random() < 0.3,
            "windows": rng.choice([0, 0, 2, 3]), "shift": rng.choice([0, 0, 1])}  # fmt: skip


def build_attention(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """Attention over all places, or within windows that may be shifted, added to what came in."""
    weights = [filters(setting, shape, shape.channels, 1) for _ in range(3)]
    token = torch.randn(shape.channels).repeat_interleave(shape.fibre)

    def attend(x: Tensor, *parts: Tensor) -> Tensor:
        *by, token = parts
        if not a["windows"]:
            return x + _attended(a, x.flatten(2).mT, by, token).mT.reshape(x.shape)
        side, (b, c, h, w) = a["windows"], x.shape
        y = x.roll((-a["shift"], -a["shift"]), (-2, -1)).reshape(b, c, h // side, side, w // side, side)
        y = y.permute(0, 2, 4, 3, 5, 1).reshape(-1, side * side, c)
        y = _attended({**a, "token": False}, y, by, token).reshape(b, h // side, w // side, side, side, c)
        y = y.permute(0, 5, 1, 3, 2, 4).reshape(x.shape)
        return x + y.roll((a["shift"], a["shift"]), (-2, -1))

    return Planar(Call(attend, *weights, token))


def _attended(a: Arguments, x: Tensor, by: list[Tensor], token: Tensor) -> Tensor:
    """Tokens (image, place, channel) after attention, by weights (channel, channel, 1, 1)."""
    if a["token"]:
        x = torch.cat([token.expand(len(x), 1, -1), x], 1)
    q, k, v = (x @ weight[..., 0, 0].T for weight in by)
    if a["how"] == "one":
        found = F.scaled_dot_product_attention(q, k, v)
    elif a["how"] == "products":
        found = torch.baddbmm(x.new_zeros(1), q, k.mT).softmax(-1) @ v
    elif a["how"] == "transposed":
        found = (v.mT @ (k @ q.mT).softmax(-2)).mT
    else:
        found = q.softmax(-1) @ (k.softmax(1).mT @ v)
    return found[:, 1:] if a["token"] else found


# --- writing --------------------------------------------------------------------------------------------------------


def draw_written(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    return {"how": rng.choice(["halves", "index", "zeros", "pad", "uneven", "in place", "added"])}


def build_written(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """What another step would do in one piece, written part by part."""
    return Call(WRITTEN[a["how"]])


def _halves(x: Tensor) -> Tensor:
    out, middle = torch.empty_like(x), x.shape[1] // 2
    out[:, middle:] = x[:, middle:].tanh()
    out[:, :middle] = x[:, :middle]
    return out


def _index(x: Tensor) -> Tensor:
    out, order = x.new_empty(x.shape), torch.arange(x.shape[1]).roll(1)
    out[:, order] = x.sigmoid()
    return out


def _zeros(x: Tensor) -> Tensor:
    out = torch.zeros(len(x), x.shape[1] + 2, *x.shape[2:], dtype=x.dtype)
    out[:, 1:-1] = x
    return out


def _pad(x: Tensor, before: int = 1, after: int = 1) -> Tensor:
    height, width = (n + before + after for n in x.shape[-2:])
    out = torch.zeros(*x.shape[:-2], height, width, dtype=x.dtype)
    out[..., before : height - after, before : width - after] = x
    return out


def _in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :1] = x[:, :1].relu()
    x[:, -1:] += 0.3
    return x


def _added(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for part in (x, x.tanh()):
        total += part
    return total


WRITTEN = {
    "halves": _halves, "index": _index, "zeros": _zeros, "pad": _pad, "uneven": lambda x: _pad(x, 1, 0),
    "in place": _in_place, "added": _added,
}  # fmt: skip

# --- constants ------------------------------------------------------------------------------------------------------


def draw_beside(rng: Random, setting: Setting, shape: Shape) -> Arguments:
    square = shape.height == shape.width
    return {"map": rng.choice(["ones", "bowl", "slope", "random"] if square else ["ones"]), "first": rng.random() < 0.5}


def build_beside(setting: Setting, shape: Shape, a: Arguments) -> nn.Module:
    """A constant map beside the channels."""
    rows, columns = (
        torch.linspace(-1, 1, n)[:, None] if n > 1 else torch.ones(1, 1) for n in (shape.height, shape.width)
    )
    maps = {
        "ones": torch.ones(1, 1), "bowl": rows**2 + columns.T**2, "slope": columns.T + 0 * rows,
        "random": torch.randn(shape.height, shape.width),
    }  # fmt: skip

    def beside(x: Tensor, constant: Tensor) -> Tensor:
        constant = constant.expand(len(x), 1, *x.shape[2:])
        return torch.cat([constant, x] if a["first"] else [x, constant], 1)

    return Call(beside, 0.5 * maps[a["map"]])
