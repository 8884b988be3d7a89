"""Advice is given only where it helps: every change that is suggested is put to the reading lists."""

import itertools
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eqviz.audit.advice import advice
from eqviz.audit.auditing import Audit, Operation, examine
from eqviz.audit.layer_predictions import LayerPrediction
from eqviz.groups.group import group
from eqviz.groups.subsampling import windows
from eqviz.models.convolutions import LiftingConv2d


def operation(op="conv2d", size=(32, 32), *, layer="layer", grid="no", fibre="yes", **geometry):
    geometry = {"kernel": "3", "stride": "2", "padding": "1", "dilation": "1", "leftover": ""} | geometry
    exact = "no" if "no" in (grid, fibre) else "yes"
    return Operation(
        layer=layer, call=0, index=0, op=op, size=size, **geometry, grid_exact=grid, fibre_exact=fibre, exact=exact,
        surviving="C1", why="",
    )  # fmt: skip


def shape(size):
    """A layer whose output has this size: one that is met on the way."""
    return LayerPrediction("later", 0, (1, 1, *size), "", "", "yes", "yes", "yes", "C4")


def audit(*operations, size=(32, 32), fibre=True, met=((16, 16),)):
    fault = next((one for one in operations if one.exact == "no"), None)
    return Audit(
        group=group("C4"), input_size=size, channels=3, operations=operations,
        layers=tuple(map(shape, met)), exact=fault is None,
        grid_exact=all(one.grid_exact == "yes" for one in operations), fibre_exact=fibre, surviving=group("C1"),
        first_fault=fault,
    )  # fmt: skip


def changes(*operations, met=((16, 16),)):
    found = audit(*operations, met=met)
    return [line for line in advice(found, None, None) if "change what misfits" in line]


def test_an_exact_network_needs_no_advice():
    assert advice(audit(operation(grid="yes")), (29, 29), (33, 33)) == []


def test_sizes_come_first_and_a_pad_only_where_it_is_even():
    assert advice(audit(operation()), (29, 29), (33, 33))[0].startswith("resize the input to 29x29 or 33x33: the")
    assert not any("pad it" in line for line in advice(audit(operation()), (29, 29), (33, 33)))
    assert "or pad it to 36x36, by 2 on every side" in advice(audit(operation()), None, (36, 36))
    assert not any("resize" in line for line in advice(audit(operation(grid="yes", fibre="no")), (29, 29), (33, 33)))
    assert "every sampling grid fits" in advice(audit(operation(), fibre=None), None, (33, 33))[0]


def symmetric(n, kernel, stride, padding, dilation):
    reads = windows(n, kernel, stride, padding, padding, dilation)
    mirrored = [[-1 if p < 0 else n - 1 - p for p in reversed(row)] for row in reversed(reads.tolist())]
    return len(reads) > 0 and reads.tolist() == mirrored


@pytest.mark.parametrize("op", ["conv2d", "max_pool2d"])
def test_a_change_of_a_window_fits_and_keeps_the_size(op):
    told = set()
    for n, k, s, p, d in itertools.product(range(9, 18), range(1, 6), range(2, 5), range(3), (1, 2)):
        if d * (k - 1) + 1 > n + 2 * p or 2 * p > k or symmetric(n, k, s, p, d):
            continue
        one = operation(op, (n, n), kernel=str(k), stride=str(s), padding=str(p), dilation=str(d))
        length = len(windows(n, k, s, p, p, d))
        for line in changes(one, met=[(length, length)]):
            pool = re.search(r"stride 1 and a (\d)x\1 average pool", line)
            kernel, padding = (re.search(rf"{word} (\d+)", line) for word in ("kernel", "padding"))
            told.add("pool" if pool else "kernel" if kernel else "padding")
            if pool:
                dense = len(windows(n, k, 1, p, p, d))
                assert symmetric(dense, s, s, 0, 1), (n, k, s, p, d)
                assert len(windows(dense, s, s)) == length
            else:
                k2, p2 = int(kernel[1]) if kernel else k, int(padding[1]) if padding else p
                assert symmetric(n, k2, s, p2, d), (n, k, s, p, d, line)
                assert len(windows(n, k2, s, p2, p2, d)) == length
                assert op == "conv2d" or 2 * p2 <= k2
    assert told == ({"pool", "kernel", "padding"} if op == "conv2d" else {"kernel", "padding"})


def test_an_uneven_pad_inside_a_convolution_is_evened():
    class Same(nn.Module):
        def forward(self, images):
            return F.max_pool2d(F.pad(images, (0, 1, 0, 1)), 2, 1)

    found = examine(Same(), 9, "C4", channels=1)
    assert advice(found, None, None) == [
        "or, before training, change what misfits and keep the size: kernel 3 with padding 1 instead of 2 in (output)"
    ]


def test_layers_are_named_with_their_change_and_only_if_each_has_one():
    one, other = operation(layer="a"), operation(layer="b", kernel="1", padding="0")
    (line,) = changes(one, other, operation(layer="c"))
    assert "kernel 4 instead of 3 in a, c" in line
    assert "stride 1 and a 2x2 average pool after it in b" in line
    assert changes(one, operation("roll", kernel="", stride="", padding="")) == []


def test_filters_come_before_what_only_they_allow():
    plain, head = operation(grid="yes", fibre="no"), operation("linear", None, grid="yes", fibre="no", layer="fc")
    assert advice(audit(plain, head, fibre=False), None, None) == [
        "use group convolutions in place of the plain ones: layer"
    ]
    assert advice(audit(head, fibre=False), None, None) == [
        "take the maximum over the group axis before the linear layer: fc"
    ]
    norm = operation("batch_norm", grid="yes", fibre="no", layer="bn")
    assert "along the group axis" in advice(audit(norm, fibre=False), None, None)[0]


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


@pytest.mark.parametrize(
    ("function", "mended", "told"),
    [
        (nn.MaxPool2d(2), nn.MaxPool2d(3, 2), "kernel 3 instead of 2 in function"),
        (nn.MaxPool2d(4, 3, padding=2), nn.MaxPool2d(4, 3, padding=1), "padding 1 in function"),
        (nn.AvgPool2d(5, 4, padding=1), nn.AvgPool2d(5, 4), "padding 0 in function"),
        (nn.Upsample(scale_factor=1.3, mode="bilinear"), nn.Upsample((37, 37), mode="bilinear"), "to a size="),
        (nn.MaxPool2d(2, ceil_mode=True), None, None), (lambda x: x[..., 1:, 1:], None, None),
        (lambda x: x[..., ::2, :], None, None), (lambda x: x.roll(1, -1), None, None),
    ],
)  # fmt: skip
def test_what_is_told_of_a_real_operation_mends_it(function, mended, told):
    size = 29
    found = examine(Function(function), size, "D4", channels=1)
    assert found.exact is False
    lines = advice(found, None, None)
    if told is None:
        assert lines == []
        return
    assert told in lines[0]
    images = torch.rand(1, 1, size, size)
    assert Function(mended)(images).shape == Function(function)(images).shape
    assert examine(Function(mended), size, "D4", channels=1).exact is True


def test_a_pool_in_place_of_a_slice_where_it_reads_everything():
    def slices(size):
        found = examine(Function(lambda x: x[..., ::4, ::4]), size, "D4", channels=1)
        return found.exact, [line for line in advice(found, None, None) if "4x4 average pool in place of" in line]

    assert slices(28)[0] is False
    assert len(slices(28)[1]) == 1
    assert slices(27) == (False, [])  # a pool would leave three rows over
    assert slices(29) == (True, [])


def test_numbers_that_nothing_ties_are_to_be_shared():
    model = nn.Sequential(LiftingConv2d("C4", 1, 2, 3), nn.Flatten(1, 2), nn.BatchNorm2d(8))
    found = examine(model, 8, "C4")
    assert found.exact is None
    assert advice(found, None, None) == ["share the weight and the bias along the group axis, one for each channel: 2"]


def test_weights_for_every_position():
    found = examine(nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)), 8, "C4", channels=1)
    assert "a mean over space before the linear layer in 2" in advice(found, None, None)[0]
