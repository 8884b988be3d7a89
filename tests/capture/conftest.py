"""Small models, and a brute force that runs every element on its own and keeps everything."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eqviz.fields.field_types import declare
from eqviz.groups.group import Element, group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(2308)
        yield


def move(maps: np.ndarray, element: Element) -> np.ndarray:
    turned = np.rot90(maps, element.quarter_turns, (-2, -1))
    return np.flip(turned, -2) if element.reflected else turned


def brute_orbit(network: Callable[[Tensor], Tensor], images: Tensor, G: str, fibre: str | None) -> np.ndarray:
    """Aligned orbit (element, image, ...) in float64 of a network's maps, by numpy: one element and image at a time.

    `fibre` names the group of the group axis of `(batch, channel, |H|, height, width)`; None for plain maps.
    """
    orbit = []
    for element in group(G).elements:
        aligned = []
        for image in images:
            moved = torch.from_numpy(move(image.numpy(), element).copy())
            with torch.no_grad():
                output = network(moved[None])[0].double().numpy()
            back = move(output, element.inverse)
            if fibre is not None:
                H = group(fibre)
                source = back
                back = np.empty_like(source)
                for v, h in enumerate(H.elements):
                    back[:, H.index(element.inverse * h)] = source[:, v]
            aligned.append(back)
        orbit.append(np.stack(aligned))
    return np.stack(orbit)


@pytest.fixture
def brute() -> Callable[..., np.ndarray]:
    return brute_orbit


@pytest.fixture
def group_network() -> Callable[..., nn.Sequential]:
    """Lifting convolution, ReLU, group convolution of stride 2: exact on odd sizes, broken on even ones."""

    def make(G: str, stride: int = 2) -> nn.Sequential:
        field = f"regular({G})"
        return nn.Sequential(
            LiftingConv2d(G, 1, 3, 3, padding=1),
            declare(nn.ReLU(inplace=True), field),
            declare(GroupConv2d(G, 3, 3, 3, stride=stride, padding=1), field),
        )

    return make
