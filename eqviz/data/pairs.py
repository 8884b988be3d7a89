"""A picture and its moved copy: two images that an equivariant network cannot tell apart.

The task of learned un-equivariance (Edixhoven, Lengyel and van Gemert, "Using and Abusing Equivariance", 2023), with a
picture of our own: a woven flag on its pole above a slope. No rotation or reflection leaves it as it is, and its weave
is about as fine as 32 pixels can show: what a stride of 2 can tell apart is what changes from pixel to pixel.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Float64

from eqviz.data.images import LabelledImages
from eqviz.data.resize import check_size
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Element

SIZE = (32, 32)
LEAST = 8

_THREADS = 15
"""Of the weave, along each side of the picture."""


def load_rotated_pair(
    split: str, root: Path | None = None, *, size: tuple[int, int] = SIZE, limit: int | None = None
) -> LabelledImages:
    """The picture (class 0) and itself rotated by 90 degrees counter-clockwise (class 1), one channel, values 0..1.

    Both splits are these two images; `root` is not used. The picture is drawn anew at each `size`, and moved exactly,
    by `rot90`. Raises EqvizError for a size that is not square or below 8, and for a limit below 2.

    >>> load_rotated_pair("train")
    LabelledImages('rotated-pair', 'train': 2 images of 1x32x32, 2 classes)
    """
    return _pair("rotated", Element(Fraction(1, 4)), split, size, limit)


def load_mirrored_pair(
    split: str, root: Path | None = None, *, size: tuple[int, int] = SIZE, limit: int | None = None
) -> LabelledImages:
    """The picture (class 0) and itself flipped left-right (class 1); all else as for :func:`load_rotated_pair`.

    >>> picture, mirrored = load_mirrored_pair("test").images[:, 0]
    >>> bool((mirrored == picture[:, ::-1]).all())
    True
    """
    return _pair("mirrored", Element(Fraction(1, 2), reflected=True), split, size, limit)


def load_transposed_pair(
    split: str, root: Path | None = None, *, size: tuple[int, int] = SIZE, limit: int | None = None
) -> LabelledImages:
    """The picture (class 0) and its transpose (class 1); all else as for :func:`load_rotated_pair`.

    >>> picture, transposed = load_transposed_pair("test").images[:, 0]
    >>> bool((transposed == picture.T).all())
    True
    """
    return _pair("transposed", Element(Fraction(1, 4), reflected=True), split, size, limit)


def draw_picture(side: int) -> Float32[np.ndarray, "side side"]:
    """The picture at `side` x `side` pixels, values 0..1, its edges softened over one pixel.

    Pixel (i, j) shows the point ((i + 1/2) / side, (j + 1/2) / side), so that every size shows the same picture; below
    30 pixels the weave is too fine to be seen.

    >>> draw_picture(33).shape
    (33, 33)
    """
    place = (np.arange(side) + 0.5) / side
    down, right = np.meshgrid(place, place, indexing="ij")
    picture = 0.85 - 0.5 * down  # the sky
    for distance, tone in (_flag(down, right), _pole(down, right), _slope(down, right)):
        covered = np.clip(0.5 - distance * side, 0, 1)
        picture = picture * (1 - covered) + tone * covered
    return np.clip(picture, 0, 1).astype(np.float32)


_Grid = Float64[np.ndarray, "side side"]


def _flag(down: _Grid, right: _Grid) -> tuple[_Grid, _Grid]:
    """A two-coloured swallowtail in the wind: distance from its edge (negative within) and tone."""
    hanging = down + 0.03 * np.sin(3 * np.pi * right)
    middle = 0.36
    tail = right - 0.92 + 0.5 * (0.22 - np.abs(hanging - middle))
    outline = np.maximum(np.maximum(0.2 - right, np.abs(hanging - middle) - 0.22), tail)
    weave = 0.1 * np.cos(2 * np.pi * _THREADS * (down + right))
    return outline, np.where(hanging < middle, 0.95, 0.2) + weave


def _pole(down: _Grid, right: _Grid) -> tuple[_Grid, _Grid]:
    return np.maximum(np.abs(right - 0.15) - 0.03, 0.06 - down), np.zeros_like(down)


def _slope(down: _Grid, right: _Grid) -> tuple[_Grid, _Grid]:
    return 0.86 - 0.1 * right - down, 0.3 + 0.25 * right


def _pair(moved: str, element: Element, split: str, size: tuple[int, int], limit: int | None) -> LabelledImages:
    name = f"{moved}-pair"
    height, width = check_size(size)
    if height != width or height < LEAST:
        raise EqvizError(
            name, expected=f"a square size of at least {LEAST} pixels", found=f"{height}x{width}", fix="choose another"
        )
    if limit is not None and limit < 2:
        raise EqvizError(name, expected="both images", found=f"limit {limit}", fix="leave the limit out")
    picture = torch.from_numpy(draw_picture(height))
    images = torch.stack([picture, act_on_grid(picture, element)])[:, None].numpy()
    return LabelledImages(name, check_split(split), images, np.arange(2), ("picture", moved))
