"""Tiny networks built as known architectures are, with symmetric filters: predicted as measured, nothing unknown."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.audit.auditing import examine
from eqviz.groups.group import group
from tests.audit.measuring import measure
from tests.audit.steps import Call, Setting


def symmetric(network):
    """The network with square filters that are symmetric under D4, and statistics of batch norms that are none."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight = nn.Parameter(Setting("symmetric", group("D4")).symmetric(layer.weight.detach()))
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network


def same(into, out, k=3, **options):
    return nn.Conv2d(into, out, k, padding=k // 2, **options)


class UNet(nn.Module):
    def __init__(self, up):
        super().__init__()
        self.down, self.deep = (
            nn.Sequential(same(1, 4), nn.BatchNorm2d(4), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(2), same(4, 8)),
        )
        self.up, self.last = up, same(8, 2)

    def forward(self, x):
        skip = self.down(x)
        up = self.up(self.deep(skip))
        rows, columns = (n - m for n, m in zip(skip.shape[-2:], up.shape[-2:], strict=True))
        up = F.pad(up, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return self.last(torch.cat([skip, up], 1))


class ChannelsLast(nn.Module):
    """Layers that see the channels last."""

    def __init__(self, *layers):
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x):
        return self.inner(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Residual(nn.Module):
    def __init__(self, *layers, scale=None):
        super().__init__()
        self.inner, self.scale = nn.Sequential(*layers), scale

    def forward(self, x):
        return x + self.inner(x) * (1 if self.scale is None else self.scale[:, None, None])


class ResponseNorm(nn.Module):
    """The global response normalisation of ConvNeXt V2, channels last."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = (nn.Parameter(torch.randn(1, 1, 1, channels)) for _ in range(2))

    def forward(self, x):
        size = x.norm(dim=(1, 2), keepdim=True)
        return self.weight * (x * size / (size.mean(-1, keepdim=True) + 1e-6)) + self.bias + x


def convnext():
    mlp = ChannelsLast(nn.LayerNorm(4), nn.Linear(4, 8), nn.GELU(), ResponseNorm(8), nn.Linear(8, 4))
    return nn.Sequential(
        nn.Conv2d(1, 4, 2, 2), ChannelsLast(nn.LayerNorm(4)),
        Residual(same(4, 4, 7, groups=4), mlp, scale=nn.Parameter(torch.randn(4))), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.LayerNorm(4), nn.Linear(4, 3),
    )  # fmt: skip


class Gate(nn.Module):
    """What comes in, times something that is made of it."""

    def __init__(self, *layers):
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x):
        return x * self.inner(x)


def mobilenet():
    squeeze = Gate(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Hardsigmoid())
    depthwise = nn.Conv2d(4, 4, 3, 2, 1, groups=4)
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Hardswish(), depthwise, nn.BatchNorm2d(4), nn.ReLU6(), squeeze,
        nn.Conv2d(4, 2, 1), Call(lambda x: x.mean((2, 3))),
    )  # fmt: skip


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.layers = same(1, 2), nn.ModuleList(same(2 + 2 * number, 2) for number in range(3))

    def forward(self, x):
        found = [self.first(x)]
        for layer in self.layers:
            found.append(layer(torch.cat(found, 1).relu()))
        return F.avg_pool2d(torch.cat(found, 1), 2)


class SideBySide(nn.Module):
    """Branches on the same map, side by side."""

    def __init__(self, *branches):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x):
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception():
    pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.Conv2d(1, 2, 1))
    return SideBySide(nn.Conv2d(1, 2, 1), nn.Sequential(same(1, 2), nn.ReLU(), same(2, 2)), same(1, 2, 5), pooled)


def pyramid():
    whole = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 2, 1))
    spread = Call(lambda x: F.interpolate(x, size=(8, 8), mode="bilinear", align_corners=False))
    dilated = [nn.Conv2d(1, 2, 3, padding=d, dilation=d) for d in (1, 2, 3)]
    return SideBySide(*dilated, nn.Sequential(whole, spread))


class ChannelAttention(nn.Module):
    """A convolution over the channels."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return x * self.inner(x.mean((2, 3))[:, None])[:, 0, :, None, None].sigmoid()


def shuffled(x):
    return x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def radius(x):
    rows, columns = (torch.linspace(-1, 1, n, dtype=x.dtype) for n in x.shape[-2:])
    return torch.cat([x, (rows[:, None] ** 2 + columns**2).sqrt().expand(len(x), 1, *x.shape[-2:])], 1)


def coordinates(x):
    rows, columns = (torch.linspace(-1, 1, n, dtype=x.dtype) for n in x.shape[-2:])
    maps = torch.stack([rows[:, None].expand(x.shape[-2:]), columns.expand(x.shape[-2:])])
    return torch.cat([x, maps.expand(len(x), -1, -1, -1)], 1)


def mixed(x, weight):
    return F.linear(x.flatten(2), weight).reshape(x.shape)


def volume(kernel):
    def run(x, weight):
        return F.conv3d(x.unflatten(1, (1, 4)), weight, padding=(kernel // 2, 1, 1)).flatten(1, 2)

    filters = Setting("symmetric", group("D4")).symmetric(torch.randn(2, 1, kernel, 3, 3, dtype=torch.float64))
    return nn.Sequential(same(1, 4), Call(run, filters))


def blurred(x):
    weights = torch.tensor([1.0, 2, 1], dtype=x.dtype)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weights.outer(weights)[None, None] / 16, stride=2)


ACTIVATIONS = (
    nn.Softplus(), nn.PReLU(), nn.Mish(), nn.Softsign(), nn.Tanhshrink(), nn.Softshrink(0.01), nn.Hardshrink(0.01),
    nn.LogSigmoid(), nn.RReLU(), nn.CELU(), nn.Threshold(-2, -0.5),
)  # fmt: skip
NETWORKS = {
    "U-Net, transposed": lambda: UNet(nn.ConvTranspose2d(8, 4, 2, 2)),
    "U-Net, bilinear": lambda: UNet(nn.Sequential(nn.UpsamplingBilinear2d(scale_factor=2), nn.Conv2d(8, 4, 1))),
    "U-Net, nearest": lambda: UNet(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(8, 4, 1))),
    "ConvNeXt": convnext, "MobileNet": mobilenet, "DenseNet": Dense, "Inception": inception, "pyramid": pyramid,
    "channel attention": lambda: nn.Sequential(same(1, 8), ChannelAttention()),
    "spatial attention": lambda: nn.Sequential(
        same(1, 4), Gate(Call(lambda x: torch.cat([x.amax(1, True), x.mean(1, True)], 1)), same(2, 1, 7), nn.Sigmoid())
    ),
    "squeeze and excite by a linear layer": lambda: nn.Sequential(
        same(1, 4), Gate(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4), nn.Unflatten(1, (4, 1, 1)))
    ),
    "shuffled channels": lambda: nn.Sequential(same(1, 4), Call(shuffled), same(4, 4, groups=2)),
    "the radius beside": lambda: nn.Sequential(Call(radius), same(2, 2)),
    "coordinates beside": lambda: nn.Sequential(Call(coordinates), same(3, 2)),
    "mixed by place": lambda: Call(mixed, torch.randn(64, 64)),
    "mixed by all alike": lambda: Call(lambda x: mixed(x, torch.eye(64, dtype=x.dtype) + 0.1)),
    "a convolution in three dimensions": lambda: volume(3), "the same with a kernel of 1": lambda: volume(1),
    "pools in three dimensions": lambda: nn.Sequential(
        same(1, 4), nn.Unflatten(1, (1, 4)), nn.BatchNorm3d(1), nn.MaxPool3d(2), nn.AvgPool3d((2, 1, 1)),
        nn.Flatten(1, 2),
    ),
    "response norm": lambda: nn.Sequential(same(1, 4), nn.LocalResponseNorm(2)),
    "gated linear unit": lambda: nn.Sequential(same(1, 4), nn.GLU(1)),
    "fold": lambda: Call(lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), x.shape[-2:], 3, padding=1, stride=2)),
    "fold of blocks": lambda: Call(lambda x: F.fold(F.unfold(x, 2, stride=2).relu(), x.shape[-2:], 2, stride=2)),
    "fold of channels": lambda: nn.Sequential(same(1, 4), Call(lambda x: F.fold(x.flatten(2), (16, 16), 2, stride=2))),
    "pixels repeated": lambda: Call(lambda x: x.repeat_interleave(2, -1).repeat_interleave(2, -2)),
    "channels repeated": lambda: nn.Sequential(same(1, 2), Call(lambda x: torch.repeat_interleave(x, 2, dim=1))),
    "a convolution of places": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(1, 3, 1), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    ),
    "a largest place": lambda: nn.Sequential(nn.Flatten(2), nn.AdaptiveMaxPool1d(1), nn.Flatten()),
    "blurred": lambda: nn.Sequential(same(1, 1), Call(blurred)),
    "a general mean": lambda: Call(lambda x: F.avg_pool2d(x.clamp(1e-6).pow(3.0), 8).pow(1 / 3).flatten(1)),
    "both moments": lambda: Call(lambda x: torch.var_mean(x, (2, 3), keepdim=True)[0].sqrt() * x),
    "lengths": lambda: nn.Sequential(same(1, 4), Call(lambda x: F.normalize(x, dim=1))),
    "activations": lambda: nn.Sequential(same(1, 2), *ACTIVATIONS),
}  # fmt: skip
NOT_FOLLOWED = {
    "windows of places one behind the other": (lambda x: F.avg_pool1d(x.flatten(2), 4).mean(-1), "rows"),
    "a kernel over places one behind the other": (
        lambda x: F.conv1d(x.flatten(2), x.new_ones(1, 1, 3)).mean(-1), "one behind the other"
    ),
    "pools by indices": (lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2), "places of their own"),
    "several maps in a row": (
        lambda x: torch.cat([F.adaptive_max_pool2d(x, n).flatten(2) for n in (2, 4)], 2).mean(-1), "several maps"
    ),
    "sums along an axis": (lambda x: x.cumsum(-1), "one direction"),
    "ranks": (lambda x: x.flatten(2).sort(-1).values.flatten(1), "rank"),
    "frequencies": (lambda x: torch.fft.rfft2(x).abs().mean((2, 3)), "frequencies"),
    "chance": (lambda x: F.dropout(x, 0.5, training=True), "random"),
    "a number drawn at random": (lambda x: x * torch.rand(()), "random"),
    "noise": (lambda x: x + torch.randn(1, 1, 1, 1), "random"),
}  # fmt: skip


def judged(network, size=8):
    network = network.double().eval()
    measured = measure([network], 1, (size, size), group("D4"), count=8)
    return examine(network, size, "D4", channels=1), measured


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [8, 9])
def test_networks_as_people_build_them_are_predicted_as_measured(name, size):
    network = symmetric(NETWORKS[name]().double())
    try:
        found, measured = judged(network, size)
    except RuntimeError:  # one that runs at one size
        return
    rows = [(row.layer, row.op, row.exact, row.why) for row in found.operations]
    assert not measured.unclear
    assert frozenset(found.surviving.elements) == measured.surviving, rows
    assert found.exact is measured.exact, rows


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_what_is_not_followed_says_why_and_what_to_do(name):
    function, word = NOT_FOLLOWED[name]
    found = examine(Call(function), 8, "D4", channels=1)
    assert found.exact is None
    assert word in found.first_fault.why
    assert "--verify" in found.first_fault.why
