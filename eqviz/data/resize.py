"""Images at another size, bilinearly, in chunks that bound the memory."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8

from eqviz.errors import EqvizError

_CHUNK = 2**23
"""Pixels (times channels) resized at once: 32 MiB of float32."""


def check_size(size: object) -> tuple[int, int]:
    """`size` as (height, width) in pixels. Raises EqvizError unless it is two whole numbers of at least 1.

    >>> check_size((28, 32))
    (28, 32)
    """
    sides = tuple(size) if isinstance(size, (tuple, list)) else ()
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and side >= 1 for side in sides):
        raise EqvizError("size", expected="(height, width) in pixels", found=repr(size), fix="give two numbers >= 1")
    return int(sides[0]), int(sides[1])


def blank(n: int, channels: int, size: tuple[int, int]) -> Float32[np.ndarray, "n channel height width"]:
    """Room for `n` images, not filled in. Raises EqvizError when there is not enough memory for them.

    >>> blank(2, 3, (4, 5)).shape
    (2, 3, 4, 5)
    """
    height, width = check_size(size)
    try:
        return np.empty((n, channels, height, width), dtype=np.float32)
    except (MemoryError, ValueError):
        found = f"{n} of {channels}x{height}x{width}"
        raise EqvizError(
            "images", expected="images that fit in memory", found=found, fix="lower size or limit"
        ) from None


def from_bytes(pixels: UInt8[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Bytes 0..255 as float32 values 0..1.

    >>> from_bytes(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    scaled: np.ndarray = np.divide(pixels, np.float32(255), dtype=np.float32)
    return scaled


def resize(
    images: Float32[np.ndarray, "n channel height width"], size: tuple[int, int]
) -> Float32[np.ndarray, "n channel new_height new_width"]:
    """Images at `size` (height, width) in pixels, bilinearly; values stay within 0..1.

    Pixel centres are aligned as squares of area are (`align_corners=False`), so resizing commutes with quarter turns
    and flips. Shrinking widens the filter (antialiasing). The aspect ratio follows `size`. Raises EqvizError for a
    size that is not two numbers >= 1 or does not fit in memory.

    >>> resize(np.array([[[[0.0, 1.0]]]], np.float32), (1, 4)).ravel().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    n, channels, height, width = images.shape
    new = check_size(size)
    resized = blank(n, channels, new)
    step = max(1, _CHUNK // (channels * max(height * width, new[0] * new[1])))
    for start in range(0, n, step):
        chunk = torch.from_numpy(np.array(images[start : start + step], order="C"))
        shrinks = new[0] < height or new[1] < width
        bigger = F.interpolate(chunk, size=new, mode="bilinear", align_corners=False, antialias=shrinks)
        resized[start : start + step] = bigger.clamp_(0, 1).numpy()
    return resized
