"""One picture file: what it holds, and its pixels."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from eqviz.errors import EqvizError

if TYPE_CHECKING:
    import PIL.Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm")
"""File names that are taken for pictures, in either case."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What may be in them. Named one by one, since some of Pillow's other readers start programs (Ghostscript)."""

_GREY = ("1", "L", "LA", "I", "F")
_DEEPEST = 65535


@dataclass(frozen=True)
class Probe:
    """What the head of a picture file says: grey or colour, and (height, width) in pixels."""

    grey: bool
    size: tuple[int, int]


def probe(path: Path) -> Probe:
    """Reads the head of a picture, not its pixels. Raises EqvizError for a file that is not a picture.

    >>> probe(Path("no-such-picture.png"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: no-such-picture.png: expected a picture that can be read; found ...
    """
    with _opened(path) as picture:
        return Probe(_is_grey(picture), (picture.height, picture.width))


def read_picture(path: Path, channels: int) -> Float32[np.ndarray, "channel height width"]:
    """The pixels of a picture, values 0..1, with 1 channel (of colour the mean) or 3 (red, green, blue).

    Grey pictures may have 1, 8 or 16 bits, or be floats in 0..1; a palette counts as
    colour; transparency is dropped; of an animation, the first frame counts; the orientation that cameras note in
    EXIF is not applied. Raises EqvizError, naming the file, for broken or dangerously large pictures and for values
    outside 0..1.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "black-white.pgm"
    >>> _ = path.write_bytes(b"P5 2 1 255 " + bytes([0, 255]))
    >>> read_picture(path, 1).tolist()
    [[[0.0, 1.0]]]
    """
    with _opened(path) as picture:
        if not _is_grey(picture):
            has_palette_alpha = picture.mode == "P" and "transparency" in picture.info
            colour = picture.convert("RGBA").convert("RGB") if has_palette_alpha else picture.convert("RGB")
            pixels = np.asarray(colour).transpose(2, 0, 1) / np.float32(255)
        else:
            pixels = _grey_values(picture)[None]
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise EqvizError(
                str(path), expected="values 0..65535, or floats in 0..1", found=f"{picture.mode} values beyond them",
                fix="rescale it",
            )  # fmt: skip
    if channels == 1 and len(pixels) > 1:
        pixels = pixels.mean(0, keepdims=True)
    shape = (channels, *pixels.shape[1:])
    return np.broadcast_to(pixels, shape).astype(np.float32)


def _grey_values(picture: "PIL.Image.Image") -> Float32[np.ndarray, "height width"]:
    if picture.mode == "F":
        return np.asarray(picture, np.float32)
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.float32) / np.float32(_DEEPEST)
    return np.asarray(picture.convert("L")) / np.float32(255)


def _is_grey(picture: "PIL.Image.Image") -> bool:
    return picture.mode in _GREY or picture.mode.startswith("I;16")


@contextmanager
def _opened(path: Path) -> Iterator["PIL.Image.Image"]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)  # which is not used
            with Image.open(path, formats=_FORMATS) as picture:
                yield picture
    except EqvizError:
        raise
    # Pillow's readers raise errors of many kinds, and documents few of them
    except Exception as error:
        raise EqvizError(
            str(path), expected="a picture that can be read", found=str(error) or type(error).__name__,
            fix="replace the file or take it out of the folder",
        ) from error  # fmt: skip
