"""One matrix of numbers in a MATLAB file (version 5), read so that no file, however made, can do more than be refused.

A file is a header of 128 bytes and elements: a type and a length (4 bytes each, or 2 and 2 for up to 4 bytes of data),
the data, and padding to 8 bytes. A matrix is an element of elements: flags, dimensions, name, numbers; it may be packed
with zlib (The MathWorks, "MAT-File Format", version 5 files). scipy's reader takes such files as well, and crashes on
broken ones.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqviz.errors import EqvizError

_HEADER, _MATRIX, _PACKED = 128, 14, 15
_NUMBERS = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_NUMERIC_CLASSES = range(6, 16)
_MOST = 2**20
"""Bytes of a file, and of a matrix once it is unpacked."""


def read_matrix(path: Path, name: str) -> np.ndarray:
    """The matrix of real numbers that is called `name`, with its own type and shape.

    Raises EqvizError for a file that is not of version 5, larger than 1 MiB or broken, and for a name that is not there
    or is no matrix of real numbers.

    >>> import tempfile
    >>> from scipy.io import savemat
    >>> path = Path(tempfile.mkdtemp()) / "two.mat"
    >>> savemat(path, {"labels": np.array([[1, 2, 3]], np.uint8)})
    >>> read_matrix(path, "labels").tolist()
    [[1, 2, 3]]
    """
    try:
        if path.stat().st_size > _MOST:
            raise ValueError(f"{path.stat().st_size} bytes")
        content = path.read_bytes()
        order = {b"IM": "<", b"MI": ">"}.get(content[126:_HEADER])
        if order is None or struct.unpack(f"{order}H", content[124:126]) != (0x0100,):
            raise ValueError("another version, or no MATLAB file")
        for kind, data in _elements(content[_HEADER:], order):
            matrix = _named(kind, data, order, name)
            if matrix is not None:
                return matrix
        raise ValueError(f"no {name} in it")
    except (OSError, ValueError, struct.error, zlib.error, KeyError, IndexError) as error:
        if isinstance(error, EqvizError):
            raise
        found = f"a type that is not known, {error}" if isinstance(error, KeyError) else str(error)
        raise EqvizError(
            str(path), expected=f"a small MATLAB file with {name}, a matrix of numbers", found=found or "a broken file",
            fix="get the file again from its official source",
        ) from error  # fmt: skip


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Type and data of every element, one after another."""
    place = 0
    while place + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, place)
        if kind >> 16:  # a small element: length and type share four bytes, and the data the next four
            kind, length, start, after = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            after = start + length + (0 if kind == _PACKED else -length % 8)
        if start + length > len(content):
            raise ValueError("an element that is cut off")
        yield kind, content[start : start + length]
        place = after


def _named(kind: int, data: bytes, order: str, name: str) -> np.ndarray | None:
    """The matrix in an element, if it is called `name`."""
    if kind == _PACKED:
        unpacked = zlib.decompressobj().decompress(data, _MOST)
        return next((_named(inner, part, order, name) for inner, part in _elements(unpacked, order)), None)
    if kind != _MATRIX:
        return None
    parts = list(_elements(data, order))
    if len(parts) < 3 or parts[2][1].decode("ascii", "replace") != name:
        return None
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & 0x0800 or len(parts) != 4:
        raise ValueError(f"{name} that is no matrix of real numbers")
    shape = np.frombuffer(parts[1][1], f"{order}i4").tolist()
    numbers = np.frombuffer(parts[3][1], order + _NUMBERS[parts[3][0]])
    if min(shape, default=0) < 0 or math.prod(shape) != len(numbers):
        raise ValueError(f"{name} of shape {tuple(shape)} with {len(numbers)} numbers")
    return numbers.reshape(shape, order="F")
