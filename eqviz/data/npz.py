"""The arrays in an .npz file, read so that no file, however made, can run code or claim memory it does not fill."""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np

from eqviz.errors import EqvizError

_DEFLATE_BEST = 1032
"""Deflate never shrinks data by more than this factor."""


def array_names(path: Path) -> list[str]:
    """Names of the arrays in an .npz file. Raises EqvizError when it is not one, or when a name leaves the archive.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.npz"
    >>> np.savez(path, x=np.zeros(3), y=np.ones(3))
    >>> array_names(path)
    ['x', 'y']
    """
    with _opened(path) as archive:
        members = archive.namelist()
    for member in members:
        place = PurePosixPath(member.replace("\\", "/"))
        if place.is_absolute() or ".." in place.parts:
            raise _fault(path, "plain names of arrays", repr(member))
    return [member.removesuffix(".npy") for member in members if member.endswith(".npy")]


def read_array(path: Path, name: str) -> np.ndarray:
    """The array `name` of an .npz file, with the shape and type it was saved with.

    Raises EqvizError for objects (pickles), a truncated file, and a header that declares more than the file holds.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.npz"
    >>> np.savez(path, x=np.arange(3))
    >>> read_array(path, "x").tolist()
    [0, 1, 2]
    """
    with _opened(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
        _check_room(path, archive, entry)
        with archive.open(entry) as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _check_room(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Refuses an array whose header or archive entry declares more than can be there."""
    packed = min(entry.compress_size, path.stat().st_size)
    if entry.file_size > packed * (_DEFLATE_BEST if entry.compress_type else 1):
        raise _fault(path, f"an array in {packed} bytes", f"{entry.filename} declaring {entry.file_size}")
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{entry.filename} in npy format {version}")
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject:
            raise ValueError(f"{entry.filename} holds Python objects")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != entry.file_size - stream.tell():
            raise ValueError(f"{entry.filename} declares shape {shape} in {entry.file_size} bytes")


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except EqvizError:
        raise
    # what zipfile and numpy raise on files that are truncated, encrypted, or not what they say
    except (
        OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError, SyntaxError, TypeError,
        zipfile.BadZipFile, zlib.error, tokenize.TokenError,
    ) as error:  # fmt: skip
        raise _fault(path, "an .npz file of plain arrays", str(error) or type(error).__name__) from error


def _fault(path: Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix="write it again with numpy.savez")
