"""What the audit does not know it says; what it cannot trace is one line that names the layer."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.audit.auditing import examine
from eqviz.errors import EqvizError
from eqviz.groups.group import group
from tests.audit.measuring import measure
from tests.audit.steps import Call, Setting


def identity_grid(x):
    theta = torch.eye(2, 3, dtype=x.dtype).expand(len(x), 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


def scattered(x):
    index = torch.arange(x.shape[-1]).roll(1).expand(x.shape)
    return torch.zeros_like(x).scatter(-1, index, x)


UNKNOWN = {
    "grid_sample": identity_grid,
    "gather": lambda x: x.gather(-1, torch.arange(x.shape[-1]).roll(1).expand(x.shape)),
    "scatter": scattered,
    "fft": lambda x: torch.fft.fft2(x).real,
    "fft and back": lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real,
    "sort": lambda x: x.sort(-1).values,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_operations_are_reported_unknown(name):
    network = Call(UNKNOWN[name])
    found = examine(network, 8, "D4", channels=2)
    assert found.exact is None
    assert found.grid_exact is None
    assert any(row.exact == "unknown" and row.why for row in found.operations)
    measured = measure([network], 2, (8, 8), group("D4"), count=8)
    assert frozenset(found.surviving.elements) <= measured.surviving


def test_an_unknown_operation_stays_unknown_further_on_and_a_break_is_still_a_break():
    def symmetric(stride):
        layer = nn.Conv2d(2, 2, 3, stride, 1)
        layer.weight = nn.Parameter(Setting("symmetric", group("D4")).symmetric(layer.weight.detach()))
        return layer

    unknown = Call(identity_grid)
    assert examine(nn.Sequential(unknown, symmetric(1)), 9, "D4", channels=2).exact is None
    assert examine(nn.Sequential(symmetric(1), unknown, symmetric(2)), 9, "D4").exact is None
    assert examine(nn.Sequential(symmetric(2), unknown), 8, "D4").exact is not True
    assert examine(nn.Sequential(unknown, symmetric(2)), 8, "D4", channels=2).exact is not True


def attention(x):
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).reshape(x.shape)


def slope(x):
    return torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)


OTHER = {
    "softmax over space": lambda x: x.flatten(2).softmax(-1).reshape(x.shape),
    "softmax over channels": lambda x: x.softmax(1),
    "softmax over a row": lambda x: x.softmax(-1),
    "cumulative sum": lambda x: x.cumsum(-1),
    "difference": lambda x: x.diff(dim=-1),
    "matrix product of maps": lambda x: x @ x.transpose(-1, -2),
    "attention": attention,
    "variance": lambda x: (x - x.mean((-2, -1), keepdim=True)) / x.std((-2, -1), keepdim=True),
    "first pixel": lambda x: x[..., 0, 0],
    "middle": lambda x: x[..., x.shape[-2] // 2, x.shape[-1] // 2],
    "select a row": lambda x: x.select(-2, 1).unsqueeze(-2),
    "rows by index": lambda x: x[..., torch.arange(x.shape[-2]).flip(0), :],
    "index_select": lambda x: x.index_select(-1, torch.tensor([0, 2])),
    "split and swap": lambda x: torch.cat(x.split(4, -1)[::-1], -1),
    "chunks of channels": lambda x: torch.cat([c.relu() for c in x.chunk(2, 1)], 1),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "clamp and abs": lambda x: x.clamp(-1, 1).abs(),
    "local response": lambda x: F.local_response_norm(x, 2),
    "fold": lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[-2:], 3, padding=1),
    "einsum over space": lambda x: torch.einsum("bchw,bdhw->bcd", x, x).flatten(1),
    "einsum of axes": lambda x: torch.einsum("bchw->bcwh", x),
    "norm over space": lambda x: x / x.norm(dim=(-2, -1), keepdim=True),
    "logsumexp": lambda x: x.logsumexp((-2, -1)),
    "largest position": lambda x: x.flatten(2).argmax(-1).to(x.dtype),
    "top values": lambda x: x.flatten(2).topk(3, -1).values.flatten(1),
    "coordinates": lambda x: torch.cat([x, slope(x).expand(len(x), 1, *x.shape[-2:])], 1),
    "symmetric coordinates": lambda x: x * slope(x).abs(),
    "mask": lambda x: x * torch.ones_like(x).triu(),
    "mask by tril_": lambda x: x.tril(),
    "in place": lambda x: x.clone().add_(1).relu_().mul_(2),
    "in place on a slice": lambda x: _cleared(x),
    "strided view": lambda x: x.contiguous().as_strided((len(x), 2, 3, 3), (128, 64, 16, 2)),
    "repeat": lambda x: x.repeat(1, 1, 2, 2),
    "repeat each": lambda x: x.repeat_interleave(2, -1).repeat_interleave(2, -2),
    "stack": lambda x: torch.stack([x, x.flip(-1)], 0).amax(0),
    "orbit mean": lambda x: (x + x.flip(-1)) / 2,
    "Frobenius": lambda x: x.square().sum((1, 2, 3)).sqrt()[:, None],
    "outer product": lambda x: x.mean(-1, keepdim=True) * x.mean(-2, keepdim=True),
    "batched matrix": lambda x: torch.bmm(x.flatten(0, 1), x.flatten(0, 1)).reshape(x.shape),
    "batch mean": lambda x: x - x.mean(0, keepdim=True),
    "float and back": lambda x: (x > 0).float().to(x.dtype),
    "number of positives": lambda x: (x > 0).sum((-2, -1)).to(x.dtype),
    "whole numbers": lambda x: (x > 0).long().cumsum(-1).to(x.dtype),
    "complex numbers": lambda x: torch.complex(x, x.flip(-1)).imag,
    "space before channels": lambda x: x.permute(0, 2, 3, 1),
    "median": lambda x: x.flatten(2).median(-1).values,
    "grouped by reshape": lambda x: x.reshape(len(x), 2, 4, 2, 4, 2).mean((3, 5)),
    "window partition": lambda x: x.reshape(len(x), 2, 2, 4, 2, 4).permute(0, 2, 4, 1, 3, 5).amax((4, 5)),
    "max with indices": lambda x: x.max(-1).values.max(-1).values,
    "one side longer": lambda x: F.pad(x, (0, 1)).mean((-2, -1)),
    "checkerboard": lambda x: x * ((torch.arange(8)[:, None] + torch.arange(8)) % 2).to(x.dtype),
    "adaptive by call": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1).softmax(-1),
}  # fmt: skip


EXCLUDED = {"outer product": "compensation", "one side longer": "reduction"}
"""More survives than is predicted, by the rules of test_fuzz: two branches make up for each other; a mean over all."""


def _cleared(x):
    x = x.clone()
    x[..., 0, :] = 0
    return x


@pytest.mark.parametrize("name", OTHER)
def test_whatever_it_makes_of_other_operations_is_sound(name):
    """Not every operation need be known; but none may be called exact, or surviving, that is not, nor the reverse."""
    network = Call(OTHER[name])
    measured = measure([network], 2, (8, 8), group("D4"), count=16)
    assert not measured.unclear, measured.errors
    found = examine(network, 8, "D4", channels=2)
    rows = [(row.op, row.exact, row.surviving, row.why) for row in found.operations]
    assert frozenset(found.surviving.elements) <= measured.surviving, rows
    if found.exact is not None and name not in EXCLUDED:
        assert found.exact is measured.exact, rows
        assert frozenset(found.surviving.elements) == measured.surviving, rows


def test_an_axis_of_one_position_is_an_axis_on_the_transposed_image_too():
    """On 10x19 one row is left, whose sum is itself; on 19x10 one column is left, and its sum is a sum."""
    network = nn.Sequential(
        Call(lambda x: x[..., ::2, ::2]),
        Call(lambda x: x[..., 2 : x.shape[-2] - 2, 2 : x.shape[-1] - 2]),
        Call(lambda x: x * x.sum(-2, keepdim=True)),
    )
    for size in ((10, 19), (12, 19)):
        measured = measure([network], 1, size, group("D4"), count=8)
        found = examine(network, size, "D4", channels=1)
        assert found.exact is not True
        assert frozenset(found.surviving.elements) <= measured.surviving


def test_no_verdict_is_unknown_without_a_reason():
    """Pixels become channels: another field than the image that its shape is taken for."""
    found = examine(nn.PixelUnshuffle(2), 8, "D4", channels=1)
    assert found.exact is False or any(row.exact == "unknown" for row in found.operations) or found.notes


# --- errors ---------------------------------------------------------------------------------------------------------


class Broken(nn.Module):
    def forward(self, x):
        raise KeyError("no such thing")


class Deciding(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Reading(nn.Module):
    def forward(self, x):
        return x * math.sqrt(x.abs().max().item())


def nested(module):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), module))


@pytest.mark.parametrize(
    ("network", "layer", "words"),
    [
        (nested(Broken()), "1.1", "no such thing"),
        (nested(Deciding()), "1.1", ""),
        (nested(Reading()), "1.1", ""),
        (nested(nn.Conv2d(5, 2, 3)), "1.1", "5"),
        (nested(nn.Linear(7, 2)), "1.1", ""),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 9)), "2", ""),
    ],
)
def test_what_cannot_be_traced_is_one_line_that_names_the_layer(network, layer, words):
    with pytest.raises(EqvizError) as caught:
        examine(network, 8, "p4")
    text = str(caught.value)
    assert layer in text
    assert words in text
    assert "\n" not in text
    assert len(text) < 500


def test_wrong_channels_name_the_first_convolution():
    with pytest.raises(EqvizError, match="0"):
        examine(nn.Sequential(nn.Conv2d(3, 2, 3)), 8, "p4", channels=1)


def test_a_model_without_convolutions_needs_to_be_told_its_channels():
    with pytest.raises(EqvizError, match="channels"):
        examine(nn.Sequential(nn.ReLU(), nn.Bilinear(3, 3, 3)), 8, "p4")


@pytest.mark.parametrize("size", [0, -3, (8, 0), (8, 8, 8), 8.5, "large", True])
def test_sizes_that_are_none(size):
    with pytest.raises(EqvizError):
        examine(nn.Conv2d(1, 1, 3), size, "p4")


def test_of_a_group_off_the_grid_its_part_on_the_grid_is_audited_and_a_note_says_so():
    found = examine(nn.MaxPool2d(2), 8, "C8")
    assert (found.group.name, found.exact) == ("C4", True)
    assert any("C8" in note and "C4" in note for note in found.notes)


def test_the_model_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.ReLU(inplace=True)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    examine(network, 9, "p4")
    assert network.training
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()] == hooks
    assert all(p.device.type == "cpu" and p.requires_grad for p in network.parameters())
