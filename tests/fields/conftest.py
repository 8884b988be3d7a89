"""Brute force for the tests of this folder: numpy, one element at a time, float64."""

from collections.abc import Callable

import numpy as np
import pytest

from eqviz.groups.group import Element, Group

BruteAction = Callable[[np.ndarray, Element], np.ndarray]


def move_pixels(maps: np.ndarray, element: Element) -> np.ndarray:
    turned = np.rot90(maps, element.quarter_turns, (-2, -1))
    return np.flip(turned, -2) if element.reflected else turned


def move_regular(features: np.ndarray, element: Element, G: Group) -> np.ndarray:
    """(g f)(g v) = g f(v) for `(batch, channel, |G|, ...)`, one place of the group axis at a time."""
    moved = [np.empty(0)] * G.order
    for v in range(G.order):
        fibre = features[:, :, v]
        moved[G.index(element * G.elements[v])] = move_pixels(fibre, element) if features.ndim == 5 else fibre
    return np.stack(moved, axis=2)


@pytest.fixture
def brute_pixels() -> BruteAction:
    return move_pixels


@pytest.fixture
def brute_regular() -> Callable[[np.ndarray, Element, Group], np.ndarray]:
    return move_regular
