"""Transformers on patches, and other attention: tokens are places of a map, and attention sums over all of them."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.audit.auditing import examine
from eqviz.groups.group import group
from tests.audit.measuring import measure
from tests.audit.steps import Call, Setting

WIDTH, HEADS = 8, 2


def symmetric(weight):
    return nn.Parameter(Setting("symmetric", group("D4")).symmetric(weight.detach()))


class Patches(nn.Module):
    """Patches of 2x2 pixels as tokens; with symmetric filters by themselves exact."""

    def __init__(self, *, plain=False):
        super().__init__()
        self.conv = nn.Conv2d(1, WIDTH, 2, 2)
        self.conv.weight = self.conv.weight if plain else symmetric(self.conv.weight)

    def forward(self, x):
        return self.conv(x).flatten(2).transpose(1, 2)


def heads(x, linear):
    return linear(x).reshape(len(x), -1, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)


def together(x):
    return x.transpose(1, 2).flatten(2)


def as_one(x, qkv):
    return together(F.scaled_dot_product_attention(*heads(x, qkv)))


def by_products(x, qkv):
    q, k, v = heads(x, qkv)
    return together((q @ k.transpose(-2, -1) * math.sqrt(HEADS / WIDTH)).softmax(-1) @ v)


def by_einsum(x, qkv):
    q, k, v = (part.unflatten(-1, (HEADS, -1)) for part in qkv(x).chunk(3, -1))
    weights = torch.einsum("bihd,bjhd->bhij", q, k).softmax(-1)
    return torch.einsum("bhij,bjhd->bihd", weights, v).flatten(2)


def one_head(x, qkv):
    q, k, v = qkv(x).chunk(3, -1)
    return torch.baddbmm(x.new_zeros(1), q, k.mT, beta=1, alpha=1).softmax(-1) @ v


def linear_attention(x, qkv):
    q, k, v = heads(x, qkv)
    q, k = F.elu(q) + 1, F.elu(k) + 1
    return together(q @ (k.mT @ v) / (q @ k.sum(2, keepdim=True).mT))


def of_channels(x, qkv):
    q, k, v = heads(x, qkv)
    return together(((q.mT @ k).softmax(-1) @ v.mT).mT)


def transposed(x, qkv):
    q, k, v = qkv(x).mT.chunk(3, 1)
    weights = (q.mT @ k).softmax(-1)
    return (v @ weights.mT).mT


def of_queries(x, qkv):
    """Softmax over the wrong axis: still the same for all places."""
    q, k, v = heads(x, qkv)
    return together((q @ k.mT).softmax(-2) @ v)


def causal(x, qkv):
    return together(F.scaled_dot_product_attention(*heads(x, qkv), is_causal=True))


def causal_by_mask(x, qkv):
    q, k, v = heads(x, qkv)
    mask = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype).triu(1)
    return together((q @ k.mT + mask).softmax(-1) @ v)


def by_distance(x, qkv):
    """A bias that depends on how far apart two places are."""
    side = math.isqrt(x.shape[1])
    rows, columns = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
    far = (rows[:, None] - rows) ** 2 + (columns[:, None] - columns) ** 2
    return together(F.scaled_dot_product_attention(*heads(x, qkv), attn_mask=-far.to(x.dtype) / 4))


def by_offset(x, qkv):
    q, k, v = heads(x, qkv)
    offset = torch.arange(x.shape[1], dtype=x.dtype)
    return together((q @ k.mT + (offset[:, None] - offset).sin()).softmax(-1) @ v)


KINDS = {
    "as one operation": as_one, "by products": by_products, "by einsum": by_einsum, "with one head": one_head,
    "linear": linear_attention, "of channels": of_channels, "transposed": transposed, "over queries": of_queries,
    "causal by mask": causal_by_mask, "biased by distance": by_distance, "biased by offset": by_offset,
}  # fmt: skip


class Block(nn.Module):
    def __init__(self, attention):
        super().__init__()
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
        self.attention = attention

    def forward(self, x):
        x = x + self.out(self.attention(self.before(x), self.qkv))
        return x + self.mlp(self.after(x))


class OfTorch(nn.Module):
    def __init__(self, *, batch_first, weights):
        super().__init__()
        self.inner, self.weights = nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first), weights

    def forward(self, x):
        x = x if self.inner.batch_first else x.transpose(0, 1)
        found = self.inner(x, x, x, need_weights=self.weights)[0]
        return found if self.inner.batch_first else found.transpose(0, 1)


class Encoder(nn.Module):
    def __init__(self, *, batch_first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=batch_first, norm_first=not batch_first)
        self.inner = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.batch_first = batch_first

    def forward(self, x):
        return self.inner(x) if self.batch_first else self.inner(x.transpose(0, 1)).transpose(0, 1)


class Tokens(nn.Module):
    """A class token, or two with one of them last, and positions."""

    def __init__(self, positions=None, first=1, last=0):
        super().__init__()
        self.first, self.last = (nn.Parameter(torch.randn(1, count, WIDTH)) for count in (first, last))
        self.positions = positions

    def forward(self, x):
        x = torch.cat([self.first.expand(len(x), -1, -1), x, self.last.repeat(len(x), 1, 1)], 1)
        return x if self.positions is None else x + self.positions


def bowl(side, tokens=0):
    along = torch.linspace(-1, 1, side)
    places = (along[:, None] ** 2 + along**2).reshape(-1, 1) * torch.randn(WIDTH)
    return nn.Parameter(torch.cat([torch.randn(tokens, WIDTH), places])[None])


def learned(side, tokens=0):
    return nn.Parameter(torch.randn(1, side * side + tokens, WIDTH))


mean, token = Call(lambda x: x.mean(1)), Call(lambda x: x[:, 0])
as_map = Call(lambda x: x.mT.unflatten(2, (4, 4)))
NETWORKS = {
    "a class token": lambda: (Tokens(), Block(as_one), token),
    "a class token, mean of patches": lambda: (Tokens(), Block(by_products), Call(lambda x: x[:, 1:].mean(1))),
    "a class token, mean of all": lambda: (Tokens(), Block(as_one), mean),
    "tokens before and after": lambda: (Tokens(None, 1, 1), Block(as_one), Call(lambda x: x[:, -1])),
    "patches taken out of tokens": lambda: (Tokens(None, 1, 2), Block(as_one), Call(lambda x: x[:, 1:-2]), as_map),
    "learned positions": lambda: (Call(lambda x, p: x + p, learned(4)), Block(as_one), mean),
    "learned positions and a class token": lambda: (Tokens(learned(4, 1)), Block(as_one), token),
    "a bowl as positions": lambda: (Call(lambda x, p: x + p, bowl(4)), Block(as_one), mean),
    "a bowl as positions, and a class token": lambda: (Tokens(bowl(4, 1)), Block(as_one), token),
    "back to a map": lambda: (Block(as_one), as_map, nn.AvgPool2d(2)),
    "torch's": lambda: (OfTorch(batch_first=True, weights=False), mean),
    "torch's, with weights": lambda: (OfTorch(batch_first=False, weights=True), mean),
    "torch's encoder": lambda: (Encoder(batch_first=True), mean),
    "torch's encoder, tokens first": lambda: (Encoder(batch_first=False), mean),
    **{f"attention {name}": lambda kind=kind: (Block(kind), mean) for name, kind in KINDS.items()},
}


def judged(network, size=8, channels=1):
    network = network.double().eval()
    sides = (size, size) if isinstance(size, int) else size
    return examine(network, size, "D4", channels=channels), measure([network], channels, sides, group("D4"), count=8)


@pytest.mark.parametrize("name", NETWORKS)
def test_transformers_on_patches_are_predicted_as_measured(name):
    found, measured = judged(nn.Sequential(Patches(), *NETWORKS[name]()))
    rows = [(row.op, row.exact, row.surviving, row.why) for row in found.operations]
    assert not measured.unclear
    assert found.exact is measured.exact, rows
    assert frozenset(found.surviving.elements) == measured.surviving, rows


def test_what_breaks_them_is_said():
    found, _ = judged(nn.Sequential(Patches(plain=True), Block(as_one), mean))
    assert (found.exact, found.first_fault.layer) == (False, "0.conv")
    found, measured = judged(nn.Sequential(Patches(), Block(as_one), mean), 9)
    assert (found.grid_exact, found.first_fault.op) == (False, "conv2d")
    assert frozenset(found.surviving.elements) == measured.surviving
    found, _ = judged(nn.Sequential(Patches(), Tokens(learned(4, 1)), Block(as_one), token))
    assert "varies over space" in found.first_fault.why


@pytest.mark.parametrize("attention", [as_one, by_products])
def test_images_that_are_not_square(attention):
    found, measured = judged(nn.Sequential(Patches(), Tokens(), Block(attention), token), (8, 12))
    assert found.exact is True
    assert measured.exact


def test_positions_that_are_zero_before_training_are_unknown():
    zeros = nn.Parameter(torch.zeros(1, 17, WIDTH))
    found, _ = judged(nn.Sequential(Patches(), Tokens(zeros), Block(as_one), token))
    assert found.exact is None
    assert "nothing ties them" in found.first_fault.why


class NonLocal(nn.Module):
    """Attention of a convolutional network, on all places of a map."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x):
        q, k, v = (layer(x).flatten(2) for layer in (self.q, self.k, self.v))
        return x + torch.bmm(v, torch.bmm(q.permute(0, 2, 1), k).softmax(-1).permute(0, 2, 1)).view_as(x)


def test_attention_in_a_convolutional_network():
    found, measured = judged(NonLocal(), channels=2)
    assert found.exact is True
    assert measured.exact
    found, measured = judged(nn.Sequential(Call(lambda x: x[..., 1:, 1:]), NonLocal()), channels=2)
    assert found.exact is False
    assert frozenset(found.surviving.elements) == measured.surviving


def windows(x, side):
    b, h, w, c = x.shape
    return x.view(b, h // side, side, w // side, side, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, c)


class Windowed(nn.Module):
    """Attention within windows, with a bias of its own for every pair of places, and windows that are shifted."""

    def __init__(self, side, *, shift=0, bias=None):
        super().__init__()
        self.side, self.shift, self.bias = side, shift, bias
        self.norm, self.qkv = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x):
        b, h, w, c = x.shape
        y = self.norm(x).roll((-self.shift, -self.shift), (1, 2))
        q, k, v = heads(windows(y, self.side), self.qkv)
        scores = q @ k.mT if self.bias is None else q @ k.mT + self.bias
        y = together(scores.softmax(-1) @ v)
        y = y.view(b, h // self.side, w // self.side, self.side, self.side, c).permute(0, 1, 3, 2, 4, 5)
        return x + y.reshape(b, h, w, c).roll((self.shift, self.shift), (1, 2))


last = Call(lambda x: x.permute(0, 2, 3, 1))
first = Call(lambda x: x.permute(0, 3, 1, 2))
SHIFTED = {
    "windows": lambda: Windowed(2), "shifted windows": lambda: Windowed(2, shift=1),
    "windows shifted to no place": lambda: Windowed(4, shift=1),
    "a bias for every pair": lambda: Windowed(2, bias=nn.Parameter(torch.randn(1, HEADS, 4, 4))),
    "a bias by distance": lambda: Windowed(
        2, bias=torch.tensor([[0.0, 1, 1, 2], [1, 0, 2, 1], [1, 2, 0, 1], [2, 1, 1, 0]])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SHIFTED)
def test_attention_within_windows(name):
    conv = nn.Conv2d(1, WIDTH, 3, 1, 1)
    conv.weight = symmetric(conv.weight)
    found, measured = judged(nn.Sequential(conv, last, SHIFTED[name](), first, nn.AvgPool2d(2)))
    rows = [(row.op, row.exact, row.surviving, row.why) for row in found.operations]
    assert found.exact is measured.exact, rows
    assert frozenset(found.surviving.elements) == measured.surviving, rows


def learned_queries(x, qkv):
    q, k, v = heads(x, qkv)
    return together(F.scaled_dot_product_attention(torch.ones_like(q), k, v))


NOT_FOLLOWED = {"causal": causal, "learned queries": learned_queries}


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_attention_that_is_not_followed_says_why(name):
    found, measured = judged(nn.Sequential(Patches(), Block(NOT_FOLLOWED[name]), mean))
    assert found.exact is None
    assert "not followed" in found.first_fault.why
    assert frozenset(found.surviving.elements) <= measured.surviving
