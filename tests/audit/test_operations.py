"""Every operation one by one: predicted against brute force, over sizes and arguments, with symmetric weights."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.audit.auditing import examine
from eqviz.groups.group import group
from tests.audit.measuring import measure
from tests.audit.operations import SINGLE, conv, slices
from tests.audit.steps import Call

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch tells that even kernels cost a copy
SQUARES = [(n, n) for n in range(3, 13)]
OTHERS = [(5, 8), (6, 9), (7, 11), (4, 10)]
MOST_BUILDS = 12


def judged(network, size, name="D4", channels=2):
    """Predicted and measured surviving elements; None where the network does not run on every size of the orbit."""
    try:
        measured = measure([network], channels, size, group(name), count=16)
    except (RuntimeError, ValueError):
        return None
    assert not measured.unclear, (network, size, measured.errors)
    return examine(network, size, name, channels=channels), measured


def disagreements(build, sizes, name="D4"):
    found = []
    for size in sizes:
        network = build()
        judgement = judged(network, size, name)
        if judgement is None:
            continue
        audit, measured = judgement
        if frozenset(audit.surviving.elements) != measured.surviving or audit.exact is not measured.exact:
            kept = ", ".join(sorted(str(g) for g in measured.surviving))
            rows = [(row.op, row.surviving, row.why) for row in audit.operations]
            found.append(f"{size}: exact {audit.exact}, keeps {audit.surviving}; measured: {kept}; {network}, {rows}")
    return found


@pytest.mark.parametrize("operation", SINGLE)
def test_single_operations_are_predicted_as_measured(operation):
    """Some arguments of each, on a few sizes in turn."""
    found = []
    builds = SINGLE[operation][:: max(1, len(SINGLE[operation]) // MOST_BUILDS)]
    for number, build in enumerate(builds):
        sizes = [SQUARES[3 + number % 7], *OTHERS[number % 8 :][:1]]
        found += [f"{operation} {number}: {text}" for text in disagreements(build, sizes)]
    assert not found, f"{len(found)}\n" + "\n".join(found[:12])


@pytest.mark.slow
@pytest.mark.parametrize("operation", SINGLE)
def test_all_arguments_on_all_sizes(operation):
    found = []
    for number, build in enumerate(SINGLE[operation]):
        found += [f"{operation} {number}: {text}" for text in disagreements(build, SQUARES + OTHERS)]
    assert not found, f"{len(found)}\n" + "\n".join(found[:12])


@pytest.mark.parametrize("name", ["D2(axes)", "D1(left-right)", "C2"])
@pytest.mark.parametrize("operation", ["convolution with two sides", "slices", "padding", "interpolation to a size"])
def test_single_operations_under_groups_that_keep_the_shape(operation, name):
    found = []
    for number, build in enumerate(SINGLE[operation][:: max(1, len(SINGLE[operation]) // 7)]):
        found += disagreements(build, [OTHERS[number % 4]], name)
    assert not found, "\n".join(found[:12])


COMPENSATING = {
    "crop left, then right": lambda: Call(lambda x: x[..., 1:][..., :-1]),
    "crop left, ReLU, crop right": lambda: Call(lambda x: x[..., 1:].relu()[..., :-1]),
    "crop on all sides, one by one": lambda: Call(lambda x: x[..., 1:, :][..., :-1, :][..., 1:][..., :-1]),
    "two slices, one axis each": lambda: Call(lambda x: x[..., ::2, :][..., ::2]),
    "both axes at once": lambda: Call(lambda x: x[..., ::2, ::2]),
    "strided twice": lambda: Call(lambda x: x[..., ::2, ::2][..., 1::2, 1::2]),
    "strided, then cropped": lambda: Call(lambda x: x[..., ::2, ::2][..., 1:, 1:]),
    "one side padded, then cut off": lambda: Call(lambda x: F.pad(x, (0, 2, 0, 2))[..., :-2, :-2]),
    "padded by two calls": lambda: Call(lambda x: F.pad(F.pad(x, (1, 0, 1, 0)), (0, 1, 0, 1))),
    "rolled there and back": lambda: Call(lambda x: x.roll(1, -1).tanh().roll(-1, -1)),
    "flipped there and back": lambda: Call(lambda x: x.flip(-1).sigmoid().flip(-1)),
    "flipped on both axes, one by one": lambda: Call(lambda x: x.flip(-1).flip(-2)),
    "uneven pad, strided convolution": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(3, 2, 0)),
    "uneven pad on the other side": lambda: nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), conv(2, 2, 0)),
    "uneven pad, even kernel": lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv(4, 1, 1)),
    "reflecting pad, strided convolution": lambda: nn.Sequential(nn.ReflectionPad2d((0, 1, 0, 1)), conv(3, 2, 0)),
    "crop, then a pool": lambda: nn.Sequential(slices((None, -1), (None, -1)), nn.MaxPool2d(2)),
    "crop, batch norm, then a pool": lambda: nn.Sequential(
        slices((None, -1), (None, -1)), nn.BatchNorm2d(2).double().eval(), nn.ReLU(), nn.AvgPool2d(2)
    ),
    "a pool of rows, then of columns": lambda: nn.Sequential(nn.MaxPool2d((2, 1)), nn.MaxPool2d((1, 2))),
    "a mean of rows, then of columns": lambda: nn.Sequential(
        nn.AvgPool2d((3, 1), (2, 1)), nn.AvgPool2d((1, 3), (1, 2))
    ),
    "strided convolution without a kernel": lambda: conv(1, 2, 0),
    "enlarged, then every second": lambda: Call(lambda x: F.interpolate(x, scale_factor=2)[..., ::2, ::2]),
    "roll, then the mean": lambda: Call(lambda x: x.roll((1, 2), (-2, -1)).mean((-2, -1))),
    "mean over one axis, then the other": lambda: Call(lambda x: x.mean(-1).mean(-1)),
    "one tap of rows, one of columns": lambda: Call(lambda x: x.unfold(-2, 2, 2).amax(-1).unfold(-1, 2, 2).amax(-1)),
    "a transpose and back": lambda: Call(lambda x: x.transpose(-1, -2).relu().transpose(-1, -2)),
    "space flattened and back": lambda: Call(lambda x: x.flatten(2).tanh().reshape(x.shape)),
    "shuffled and back": lambda: Call(lambda x: F.pixel_shuffle(F.pixel_unshuffle(x, 2), 2)),
    "both halves": lambda: Call(lambda x: torch.cat([x[..., :2], x[..., 2:]], -1)),
    "mirrored and joined": lambda: Call(lambda x: torch.cat([x, x.flip(-1)], -1)),
    "channels last": lambda: Call(lambda x: x.permute(0, 2, 3, 1).softmax(-1).permute(0, 3, 1, 2)),
}


@pytest.mark.parametrize("name", COMPENSATING)
def test_consecutive_operations_are_composed(name):
    found = disagreements(COMPENSATING[name], [(8, 8), (9, 9), (10, 10), (13, 13), (7, 8), (8, 10)])
    assert not found, f"{len(found)}\n" + "\n".join(found[:6])
