import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from eqviz.data.images import Normalisation
from eqviz.data.pairs import draw_picture, load_mirrored_pair, load_rotated_pair, load_transposed_pair
from eqviz.data.registry import load_images
from eqviz.data.resize import resize
from eqviz.errors import EqvizError
from eqviz.models.single import p4conv, p4mconv

MOVES = {
    "rotated": (load_rotated_pair, lambda picture: np.rot90(picture)),
    "mirrored": (load_mirrored_pair, np.fliplr),
    "transposed": (load_transposed_pair, np.transpose),
}


@pytest.mark.parametrize("side", [*range(8, 41), 64, 65])
def test_no_symmetry_of_the_square_leaves_the_picture_as_it_is(side):
    picture = draw_picture(side)
    copies = [np.rot90(each, turns) for each in (picture, picture.T) for turns in range(4)]
    for first in range(8):
        for second in range(first):
            # not by rounding: a good part of the range of values, on a good part of the pixels
            assert np.abs(copies[first] - copies[second]).mean() > 0.05


def test_every_size_shows_the_same_picture():
    large = draw_picture(264)
    for side in (24, 32, 33, 44):
        small = draw_picture(side)
        shrunk = resize(large[None, None], (side, side))[0, 0]
        # what differs is the weave (of amplitude 0.1 on a quarter of the picture) and softened edges
        assert np.abs(small - shrunk).mean() < 0.04
    assert (large.min(), large.dtype) == (0, np.float32)
    assert large.max() <= 1


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("side", [8, 32, 33])
def test_the_second_image_is_the_first_one_moved_exactly(name, side):
    loader, move = MOVES[name]
    data = loader("train", size=(side, side))
    picture, moved = data.images[:, 0]
    np.testing.assert_array_equal(picture, draw_picture(side))
    np.testing.assert_array_equal(moved, move(picture))
    assert (data.labels.tolist(), data.classes) == ([0, 1], ("picture", name))
    np.testing.assert_array_equal(loader("test", size=(side, side)).images, data.images)


@pytest.mark.parametrize("name", MOVES)
def test_they_are_registered_drawn_at_their_size_and_never_halved(name):
    data = load_images(f"{name}-pair", "test", size=(33, 33), limit=100, seed=5)
    np.testing.assert_array_equal(data.images[0, 0], draw_picture(33))
    assert len(load_images(f"{name}-pair", "train", limit=2)) == 2
    with pytest.raises(EqvizError, match="both images; found limit 1"):
        load_images(f"{name}-pair", "train", limit=1)


@pytest.mark.parametrize("size", [(32, 33), (7, 7), (0, 8)])
def test_sizes_that_cannot_be_turned_or_seen_are_refused(size):
    with pytest.raises(EqvizError, match="found"):
        load_rotated_pair("train", size=size)


def lowest_loss(name, side, model, steps):
    """What SGD (learning rate 1e-3, momentum 0.9) comes down to on the two images."""
    data = load_images(name, "train", size=(side, side))
    images = Normalisation((0.55,), (0.02,)).apply(torch.from_numpy(data.images))
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    losses = []
    for _ in range(steps):
        loss = cross_entropy(model(images), torch.from_numpy(data.labels))
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return min(losses)


@pytest.mark.parametrize(
    ("name", "side", "network", "learned"),
    [
        ("rotated-pair", 32, p4conv, True),
        ("rotated-pair", 33, p4conv, False),
        ("mirrored-pair", 32, p4mconv, True),
        ("mirrored-pair", 33, p4mconv, False),
        ("transposed-pair", 32, p4mconv, False),
    ],
)
def test_one_strided_convolution_learns_what_its_stride_breaks_and_nothing_else(name, side, network, learned):
    torch.manual_seed(3)
    lowest = lowest_loss(name, side, network(), 400)
    if learned:
        assert lowest < 0.3
    else:
        assert lowest > math.log(2) - 1e-6  # two equal outputs cannot do better; float32 rounds at 6e-8
