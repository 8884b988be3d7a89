"""The spacing of maps is the product of strides, where the ratio of sizes is not."""

import pytest
from torch import nn

from eqviz.capture.map_spacing import MapSpacing
from eqviz.models.convolutions import LiftingConv2d
from eqviz.models.pooling import GroupMaxPool2d


@pytest.mark.parametrize(
    ("layer", "size", "expected"),
    [
        (nn.Conv2d(1, 1, 4), (5, 5), (1.0, 1.0)),  # no padding: 8/5 would be wrong
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), (4, 4), (2.0, 2.0)),
        (nn.Conv2d(1, 1, 3, stride=(2, 1), padding=1), (4, 8), (2.0, 1.0)),
        (nn.MaxPool2d(3, 2), (3, 3), (2.0, 2.0)),  # leaves a row over
        (nn.AvgPool2d(2), (4, 4), (2.0, 2.0)),
        (nn.ConvTranspose2d(1, 1, 2, stride=2), (16, 16), (0.5, 0.5)),
        (LiftingConv2d("C4", 1, 1, 3, stride=2, padding=1), (4, 4), (2.0, 2.0)),
        (GroupMaxPool2d(2), (4, 4), (2.0, 2.0)),
        (nn.ReLU(), (8, 8), (1.0, 1.0)),
        (nn.AdaptiveAvgPool2d(4), (4, 4), (2.0, 2.0)),
        (nn.Upsample(scale_factor=2), (16, 16), (0.5, 0.5)),
    ],
    ids=str,
)
def test_after_one_layer(layer, size, expected):
    spacing = MapSpacing((8, 8))
    assert spacing.after(layer, (8, 8), size) == expected
    assert spacing.of(size) == expected


def test_strides_multiply_and_a_block_has_that_of_the_maps_within():
    spacing = MapSpacing((33, 33))
    assert spacing.after(nn.Conv2d(1, 1, 3, stride=2, padding=1), (33, 33), (17, 17)) == (2.0, 2.0)
    assert spacing.after(nn.Conv2d(1, 1, 3, stride=2, padding=1), (17, 17), (9, 9)) == (4.0, 4.0)
    assert spacing.after(nn.Sequential(), (33, 33), (9, 9)) == (4.0, 4.0)
    assert spacing.after(nn.Sequential(), None, (17, 17)) == (2.0, 2.0)


def test_a_size_that_no_layer_gave_out_goes_by_its_ratio():
    assert MapSpacing((32, 16)).of((8, 8)) == (4.0, 2.0)


@pytest.mark.parametrize("stride", [0, (), (2.5, 1), "2", None])
def test_an_attribute_that_is_no_stride_is_not_taken_for_one(stride):
    layer = nn.Identity()
    layer.stride = stride
    assert MapSpacing((8, 8)).after(layer, (8, 8), (4, 4)) == (2.0, 2.0)
