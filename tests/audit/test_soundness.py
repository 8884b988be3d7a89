"""What must never be called exact: ways around the rules that were found by attack, each measured broken."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.audit.auditing import examine
from eqviz.audit.sizes import exact_sizes, nearest_sizes
from eqviz.errors import EqvizError

RAMP = torch.linspace(0.0, 1.0, 8)
POSITIONS = torch.arange(64.0).reshape(8, 8)


class Calls(nn.Module):
    """A model that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def written_out(x):
    out = torch.empty_like(x)
    torch.mul(x, POSITIONS, out=out)
    return out


def written_in_a_list(x):
    y = x.clone()
    torch._foreach_mul_([y], [POSITIONS])
    return y


def written_beside_a_transpose(x):
    x = x.clone()
    turned = x.transpose(-1, -2)
    x.relu_()
    return turned


def written_beside_a_slice(x):
    x = x.clone()
    inner, other = x[..., 1:-1, 1:-1], x[..., 2:, 2:]
    inner.relu_()
    return other


def written_in_part(x):
    x = x.clone()
    kept = x[..., 2:-2, 2:-2]
    x[..., :-3, :].relu_()
    return kept


def written_into_a_constant(x):
    found = torch.zeros(x.shape)
    found[..., 1:, :] = x[..., 1:, :]
    return found


def unlike_norm_of_tokens(x):
    return F.group_norm(x.flatten(2).mT, 16).relu().mean(1)


def weighted_within_shifted_windows(x):
    weights = torch.tensor([1.0, 2.0, 2.0, 1.0])
    blocks = x.roll((1, 1), (2, 3)).reshape(len(x), 3, 2, 4, 2, 4)
    return (blocks * weights * weights[:, None, None]).reshape(x.shape).roll((-1, -1), (2, 3))


def mixed_within_shifted_blocks(x):
    swapped = torch.eye(16).flip(0).reshape(16, 16, 1, 1)
    blocks = F.pixel_unshuffle(x[:, :1].roll((1, 1), (2, 3)), 4)
    return F.pixel_shuffle(F.conv2d(blocks, swapped), 4).roll((-1, -1), (2, 3))


def causal_attention(x):
    tokens = x.flatten(2).mT
    mask = torch.full((64, 64), -torch.inf).triu(1)
    return ((tokens @ tokens.mT + mask).softmax(-1) @ tokens).mean(1)


def weighted_keys(x):
    tokens = x.flatten(2).mT
    return ((tokens @ tokens.mT * torch.arange(64.0)).softmax(-1) @ tokens).mean(1)


def tokens_added_up_in_order(x):
    tokens = torch.cat([torch.ones(len(x), 1, 3), x.flatten(2).mT], 1)
    return F.linear(tokens.mT, torch.arange(65.0)[None]).flatten(1)


def written_then_shifted(x):
    out = torch.zeros_like(x)
    out[:, :2] = x[:, :2]
    _ = out.sum()
    out[:, 1:] = x[:, 1:].roll(1, -1)
    return out


def written_by_a_view(x):
    out = torch.zeros_like(x)
    flat = out.view(len(x), -1)
    flat[:, :100] = x.flatten(1)[:, :100]
    return out


class Writing(nn.Module):
    """Positions that are a parameter, written beside activations."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.linspace(0, 1, 8))

    def forward(self, x):
        out = torch.zeros(len(x), 4, *x.shape[2:])
        out[:, 3] = self.slope
        out[:, :3] = x
        return out


def test_what_is_written_counts_without_the_numbers_of_weights_too():
    for values in (True, False):
        assert examine(Writing(), 8, "C4", channels=3, values=values).grid_exact is not True


@pytest.mark.parametrize("read", [lambda out: out.tolist(), lambda out: out.numpy(), lambda out: out.sum().item()])
def test_numbers_read_out_of_memory_that_was_written_to_are_refused(read):
    def model(x):
        out = torch.zeros_like(x)
        out[:, :2] = x[:, :2]
        read(out)
        return x

    with pytest.raises(EqvizError, match="depend"):
        examine(Calls(model), 8, "C4", channels=3)


SQUARE = {
    "weights within shifted windows": weighted_within_shifted_windows,
    "channels exchanged within shifted blocks": mixed_within_shifted_blocks,
    "causal attention": causal_attention,
    "how much every place is looked at": lambda x: (x.flatten(2).mT @ x.flatten(2)).softmax(-1).sum(1),
    "class tokens and places in one row": lambda x: torch.cat([torch.ones(len(x), 3, 1), x.flatten(2)], 2).amax(1),
    "keys weighted by place": weighted_keys,
    "tokens added up in order": tokens_added_up_in_order,
    "written, read, and written again": written_then_shifted,
    "written by a view": written_by_a_view,
    "attention of rows": lambda x: (x @ x.mT).softmax(-1) @ x.roll(1, -2),
    "a gate by infinity": lambda x: (x + torch.full((8, 8), -torch.inf).triu(1)).exp(),
    "labels": lambda x: x.argmax(1),
    "one hot labels": lambda x: F.one_hot(x.flatten(1).argmax(1), 192).float(),
    "complex numbers": lambda x: torch.fft.fft2(x),
    "an iterator": lambda x: iter([x[..., 1:]]),
    "out=": written_out,
    "a list written in place": written_in_a_list,
    "a view beside a change in place": written_beside_a_transpose,
    "a slice beside a change in place": written_beside_a_slice,
    "a slice that is changed in part": written_in_part,
    "a constant written into": written_into_a_constant,
    "features laid out as an image": lambda x: x.mean((2, 3)).repeat(1, 12).view(-1, 1, 6, 6),
    "rows side by side of size 1": lambda x: torch.cat([x.mean((2, 3), True), x.amax((2, 3), True)], 2),
    "groups of rows": lambda x: F.group_norm(x.permute(0, 2, 1, 3), 4).permute(0, 2, 1, 3),
    "groups of tokens": unlike_norm_of_tokens,
    "softmax over taps of one axis": lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).softmax(-1).amax((-1, -2)),
    "a falling leaky relu": lambda x: F.max_pool2d(F.leaky_relu(F.max_pool2d(x, (1, 2)), -1.0), (2, 1)),
    "a threshold that falls": lambda x: F.threshold(x.amax(3), 1.5, 20.0).amax(2),
    "whole numbers": lambda x: (4 * x).mean(3).to(torch.int32).to(x.dtype).mean(2),
    "a fill from one pixel": lambda x: x.masked_fill(x > 0.5, x[0, 0, 0, 0]),
    "an imaginary ramp": lambda x: (x * (1 + 1j * RAMP)).abs(),
    "images of the batch side by side": lambda x: torch.cat([x[:1], x[1:2]], 2),
    "channels last": lambda x: x.permute(0, 2, 3, 1),
    "blocks of windows": lambda x: x.reshape(-1, 3, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).amax((4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", SQUARE)
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_on_square_images(name, group):
    assert examine(Calls(SQUARE[name]), 8, group, channels=3).exact is not True


NOT_SQUARE = {
    "divided by the width": lambda x: x / x.shape[-1],
    "scaled by the width": lambda x: (x * x.shape[-1] ** -0.5).softmax(1),
    "clamped by the width": lambda x: x.clamp(max=x.shape[-1] / 10),
    "rolled by the difference": lambda x: x.roll(x.shape[-1] - x.shape[-2], 1),
    "channels by the width": lambda x: x[:, :1] if x.shape[-1] > 9 else x[:, 1:2],
    "weights by the width": lambda x: F.conv2d(x, torch.full((3, 3, 1, 1), float(x.shape[-1]))),
}


@pytest.mark.parametrize("name", NOT_SQUARE)
@pytest.mark.parametrize("group", ["C4", "D4"])
def test_on_images_that_are_not_square(name, group):
    assert examine(Calls(NOT_SQUARE[name]), (8, 10), group, channels=3).exact is not True


class CallsMore(nn.Conv2d):
    """A module whose call does more than its forward pass."""

    def __call__(self, x):
        return super().__call__(x)[..., 1:]


class Rescued(nn.Module):
    """A model that catches what a layer of its raises."""

    def __init__(self):
        super().__init__()
        self.bad = nn.Conv2d(7, 7, 3)

    def forward(self, x):
        try:
            return self.bad(x)
        except RuntimeError:
            return F.max_pool2d(x, 2)


def test_what_a_call_returns_is_judged_not_what_forward_does():
    model = CallsMore(1, 1, 1)
    assert examine(model, 8, "C2").exact is False
    assert examine(Rescued(), 9, "C4", channels=1).exact is False
    assert examine(Rescued(), 8, "C4", channels=1).exact is True


def test_small_filters_are_not_forgotten_beside_large_ones():
    model = nn.Conv2d(1, 2, 3, bias=False)
    with torch.no_grad():
        model.weight[0] = 1.0
        model.weight[1] *= 1e-13
    assert examine(model, 8, "C4").exact is False


class ByWidth(nn.Module):
    """Other weights for large images than for small ones."""

    def __init__(self):
        super().__init__()
        self.large, self.small = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return (self.large if x.shape[-1] > 12 else self.small)(x)


def test_filters_that_depend_on_the_size_are_looked_at_again():
    assert exact_sizes(ByWidth(), range(8, 20)) == list(range(8, 13))
    assert nearest_sizes(ByWidth(), 12, reach=3)[0] == 11


class Hoarding(nn.Module):
    """A model that keeps what it sees."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += 1
        self.last = self.conv(x)
        return self.last


def test_the_model_is_left_as_it_was_whatever_it_keeps():
    model = Hoarding().train()
    examine(model, 8)
    assert float(model.seen) == 0
    assert not hasattr(model, "last")
    assert model.training
    assert model(torch.zeros(1, 1, 4, 4)).shape == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("model", "keywords", "words"),
    [
        (nn.LazyConv2d(2, 3), {}, "lazy"),
        (nn.ReLU(), {"channels": -1}, "channels"),
        (nn.ReLU(), {"channels": 2.5}, "channels"),
        (torch.relu, {}, "torch.nn.Module"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_line(model, keywords, words):
    with pytest.raises(EqvizError, match=words) as caught:
        examine(model, 8, **keywords)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch tells that it is old
def test_torchscript_is_refused_in_one_line():
    with pytest.raises(EqvizError, match="TorchScript"):
        examine(torch.jit.script(nn.ReLU()), 8)


def test_a_group_of_which_nothing_keeps_the_grid_is_refused():
    with pytest.raises(EqvizError, match="C3"):
        examine(nn.MaxPool2d(2), 9, "C3")


class Sorts(nn.Module):
    """The values of all places in order: exact, and not followed."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 8)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).mT
        return (tokens + self.head(tokens.sort(1).values)).mean(1)


def test_what_follows_an_unknown_operation_is_never_broken_for_sure():
    found = examine(Sorts(), 8, "C4")
    assert (found.exact, found.grid_exact) == (None, None)
