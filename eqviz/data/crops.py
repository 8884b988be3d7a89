"""Pictures of any shape brought to one size without changing their proportions: a crop, resized bilinearly.

As networks on photographs are trained and tested (Szegedy et al., "Going Deeper with Convolutions", 2015; He et al.,
"Deep Residual Learning for Image Recognition", 2016): random crops of random scale to train on, the centre to test on.
"""

import math

import numpy as np
import torch
from jaxtyping import Float32

from eqviz.data.resize import check_size, resize

SHARE = 224 / 256
"""Of the largest centred box of the right proportions, the part of each side that the centre crop keeps."""

SCALE = (0.08, 1.0)
RATIO = (3 / 4, 4 / 3)

_TRIES = 10


def centre_crop(
    picture: Float32[np.ndarray, "channel height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "channel new_height new_width"]:
    """The middle of a picture at `size` (height, width): the shorter side brought to 256/224 of it, then cropped.

    In one step: the box is cut out of the picture first and resized once. It is centred to the pixel, so that
    the crop of a picture turned by 90 degrees is the turned crop (for a square `size`). Raises EqvizError for a size
    that is not two numbers >= 1.

    >>> centre_crop(np.ones((3, 375, 500), np.float32), (224, 224)).shape
    (3, 224, 224)
    """
    new = check_size(size)
    factor = SHARE * min(side / wanted for side, wanted in zip(picture.shape[1:], new, strict=True))
    box = [_centred(side, factor * wanted) for side, wanted in zip(picture.shape[1:], new, strict=True)]
    top, left = ((side - length) // 2 for side, length in zip(picture.shape[1:], box, strict=True))
    return _resized(picture[:, top : top + box[0], left : left + box[1]], new)


def random_resized_crop(
    picture: Float32[np.ndarray, "channel height width"],
    size: tuple[int, int],
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = SCALE,
    ratio: tuple[float, float] = RATIO,
) -> Float32[np.ndarray, "channel new_height new_width"]:
    """A random box of a picture at `size` (height, width), for training.

    Its area is a fraction of the picture's, uniform in `scale`; its width over height is log-uniform in `ratio`; its
    place is uniform. After ten boxes that do not fit, it is the largest centred one within `ratio`. Always draws the
    same number of random numbers. Raises EqvizError for a size that is not two numbers >= 1.

    >>> picture = np.ones((3, 375, 500), np.float32)
    >>> random_resized_crop(picture, (224, 224), torch.Generator().manual_seed(0)).shape
    (3, 224, 224)
    """
    top, left, height, width = _random_box(picture.shape[1:], generator, scale, ratio)
    return _resized(picture[:, top : top + height, left : left + width], size)


def _resized(
    box: Float32[np.ndarray, "channel height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "channel new_height new_width"]:
    picture: np.ndarray = resize(box[None], size)[0]
    return picture


def _centred(side: int, length: float) -> int:
    """The length nearest to `length` that leaves as much on either end of `side`."""
    return side - 2 * min(round((side - length) / 2), (side - 1) // 2)


def _random_box(
    picture: tuple[int, ...], generator: torch.Generator, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random box."""
    height, width = picture
    draws = torch.rand(_TRIES, 2, generator=generator, dtype=torch.float64).tolist()
    down, across = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    for draw, shape in draws:
        area = height * width * (scale[0] + draw * (scale[1] - scale[0]))
        proportion = ratio[0] * (ratio[1] / ratio[0]) ** shape
        tall, wide = round(math.sqrt(area / proportion)), round(math.sqrt(area * proportion))
        if 0 < tall <= height and 0 < wide <= width:
            return int(down * (height - tall + 1)), int(across * (width - wide + 1)), tall, wide
    tall = min(height, max(1, round(width / ratio[0])))
    wide = min(width, max(1, round(height * ratio[1])))
    return (height - tall) // 2, (width - wide) // 2, tall, wide
