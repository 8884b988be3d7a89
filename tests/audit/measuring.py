"""Brute force: which elements g does a network commute with, Phi(g x) = rho(g) Phi(x), in float64 on random images?

Independent of the package but for the numbering of elements (rotate by r quarter turns, then flip up-down m times): it
moves pixels by torch.rot90 and flip, multiplies elements as 2x2 matrices, and draws its own images.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from eqviz.groups.group import Element, Group, group

EXACT, BROKEN = 1e-9, 1e-6
"""Relative error in float64: rounding stays below the first by far, a real break lies above the second by far."""
IMAGES = 32
Verdict = Literal["exact", "broken", "unclear"]
QUARTER, UP_DOWN = np.array([[0, -1], [1, 0]]), np.array([[1, 0], [0, -1]])


@cache
def matrix(element: Element) -> tuple[tuple[int, ...], ...]:
    """The element as an integer matrix on points (x to the right, y upwards)."""
    turned = np.linalg.matrix_power(QUARTER, element.quarter_turns)
    return tuple(map(tuple, (UP_DOWN @ turned if element.reflected else turned).tolist()))


@cache
def sources(name: str, element: Element) -> tuple[int, ...]:
    """Where entry u of a regular fibre of that group comes from: (g f)(u) = f(g^-1 u)."""
    members = [np.array(matrix(u)) for u in group(name).elements]
    inverse = np.array(matrix(element)).T
    return tuple(next(i for i, v in enumerate(members) if (v == inverse @ u).all()) for u in members)


@dataclass(frozen=True)
class Field:
    """How elements act on a tensor: pixels move if it has space, a group axis (third, of `fibre`) is permuted."""

    space: bool
    fibre: str | None = None

    @classmethod
    def of(cls, x: Tensor, fibre: str) -> "Field":
        return cls(x.dim() >= 4, fibre if x.dim() in (3, 5) else None)

    def act(self, x: Tensor, element: Element) -> Tensor:
        if self.space:
            x = torch.rot90(x, element.quarter_turns, (-2, -1))
            x = x.flip(-2) if element.reflected else x
        return x if self.fibre is None else x[:, :, list(sources(self.fibre, element))]


def error(function: Callable[[Tensor], Tensor], x: Tensor, element: Element, before: Field, fibre: str) -> float:
    """|Phi(g x) - rho(g) Phi(x)| / |Phi(x)|, over all images together; infinite if the shapes differ.

    Errors below 1e-12 a value count as rounding also where the output itself is (nearly) zero.
    """
    with torch.no_grad():
        found, upright = function(before.act(x, element).clone()), function(x.clone())
        expected = Field.of(upright, fibre).act(upright, element)
    if found.shape != expected.shape:
        return float("inf")
    scale = max(float(expected.norm()), 1e-3 * expected.numel() ** 0.5)
    return float((found - expected).norm()) / scale


def exact_elements(
    function: Callable[[Tensor], Tensor], x: Tensor, G: Group, before: Field, fibre: str
) -> frozenset[Element]:
    """The elements of G with which the function commutes on these inputs; not those whose inputs it refuses."""
    found = set()
    for g in G.elements:
        with suppress(RuntimeError):  # a term that fits only the upright shape
            found |= {g} if error(function, x, g, before, fibre) < EXACT else set()
    return frozenset(found)


@dataclass(frozen=True)
class Measurement:
    """Largest error of every element over the weight draws; `dead`: the output does not depend on the image at all."""

    errors: dict[Element, float]
    dead: bool

    def verdict(self, element: Element) -> Verdict:
        found = self.errors[element]
        return "exact" if found < EXACT else "broken" if found > BROKEN else "unclear"

    @property
    def unclear(self) -> dict[str, float]:
        return {str(g): e for g, e in self.errors.items() if self.verdict(g) == "unclear"}

    @property
    def surviving(self) -> frozenset[Element]:
        return frozenset(g for g in self.errors if self.verdict(g) == "exact")

    @property
    def exact(self) -> bool:
        return len(self.surviving) == len(self.errors)


def images(count: int, channels: int, size: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, *size, dtype=torch.float64, generator=generator)


def orbit_sizes(size: tuple[int, int], G: Group) -> list[tuple[int, int]]:
    """The sizes of the images in an orbit: the transposed one too where some elements transpose."""
    return sorted({size, size[::-1]} if any(element.transposes for element in G.elements) else {size})


def measure(
    networks: list[nn.Module], channels: int, size: tuple[int, int], G: Group, fibre: str = "C1", count: int = IMAGES
) -> Measurement:
    """Every element of G on random images, over networks that differ in their weights alone.

    Where some elements transpose, all of them are measured on images of the transposed size too: an element survives if
    the orbit does not tell hg from g, whatever g. `fibre` names the group of the group axis of three- and
    five-dimensional outputs.
    """
    errors = dict.fromkeys(G.elements, 0.0)
    dead = True
    for (draw, network), shape in product(enumerate(networks), orbit_sizes(size, G)):
        x = images(count, channels, shape, seed=17 + draw)
        with torch.no_grad():
            found = network(x.clone())
        dead &= float((found - found[:1]).abs().max()) < 1e-12
        for element in G.elements[1:]:
            errors[element] = max(errors[element], error(network, x, element, Field(space=True), fibre))
    return Measurement(errors, dead)
