"""MNIST and Fashion-MNIST, from their IDX files, gzipped or not.

An IDX file is two zero bytes, a type byte, the number of dimensions (1 byte), each dimension (4 bytes, big-endian)
and the values in C order, big-endian (Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database").
"""

import gzip
import io
import math
import zlib
from pathlib import Path

import numpy as np

from eqviz.data.images import LabelledImages
from eqviz.data.locate import locate
from eqviz.data.resize import from_bytes
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The type byte, and the values it stands for."""

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_BEST = 1032
"""Deflate never shrinks data by more than this factor, so a small file cannot hold what a large header declares."""
_CHUNK = 2**20


def load_mnist(split: str, root: Path | None = None) -> LabelledImages:
    """MNIST: 60,000 train or 10,000 test digits of 28x28 pixels, one channel, values 0..1.

    The files are in `root` or `root/mnist`; without `root` they are in the cache, downloaded if need be. Raises
    EqvizError when they are missing or malformed.

    >>> load_mnist("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: mnist: expected its files in no-such-folder or ...
    """
    return _load("mnist", split, root, ("mnist", "MNIST/raw"), tuple("0123456789"))


def load_fashion_mnist(split: str, root: Path | None = None) -> LabelledImages:
    """Fashion-MNIST: 60,000 train or 10,000 test pictures of clothes, 28x28 pixels, one channel, values 0..1.

    The files are in `root` or `root/fashion-mnist`; without `root` they are in the cache, downloaded if need be.
    Raises EqvizError when they are missing or malformed.

    >>> load_fashion_mnist("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: fashion-mnist: expected its files in no-such-folder or ...
    """
    return _load("fashion-mnist", split, root, ("fashion-mnist", "FashionMNIST/raw"), FASHION_CLASSES)


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped or not, with the shape and (native) type that its header declares.

    Nothing larger than the file can hold is ever allocated. Raises EqvizError for a file that is not IDX, is
    truncated, or goes on after its values.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "labels-idx1-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    >>> read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            stream = gzip.GzipFile(fileobj=file) if zipped else file
            dtype, shape = _header(stream, path)
            size = math.prod(shape) * dtype.itemsize
            room = path.stat().st_size * (_GZIP_BEST if zipped else 1)
            values = _body(stream, size) if size <= room else b""
    except (OSError, EOFError, zlib.error) as error:
        raise _malformed(path, "a readable IDX file", str(error)) from error
    if len(values) != size:
        found = "more bytes" if len(values) > size else f"{len(values)} bytes"
        raise _malformed(path, f"{size} bytes of values for shape {shape}", found)
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _header(stream: io.BufferedIOBase, path: Path) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or magic[3] == 0:
        raise _malformed(path, "an IDX file (0, 0, type, dimensions)", f"first bytes {magic.hex(' ') or '(none)'}")
    dimensions = stream.read(4 * magic[3])
    if len(dimensions) < 4 * magic[3]:
        raise _malformed(path, f"{magic[3]} dimensions", "the end of the file")
    shape = tuple(np.frombuffer(dimensions, ">u4").tolist())
    if 0 in shape or len(shape) > 8:
        raise _malformed(path, "up to 8 dimensions, none of them 0", f"shape {shape}")
    return np.dtype(TYPES[magic[2]]), shape


def _body(stream: io.BufferedIOBase, size: int) -> bytearray:
    """Up to `size` bytes and one more, in chunks: memory grows with what is there, not with what is declared."""
    values = bytearray()
    while len(values) <= size and (chunk := stream.read(min(_CHUNK, size + 1 - len(values)))):
        values += chunk
    return values


def _malformed(path: Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix="get the file again from its official source")


def _load(
    name: str, split: str, root: Path | None, subfolders: tuple[str, ...], classes: tuple[str, ...]
) -> LabelledImages:
    check_split(split)
    stem = "train" if split == "train" else "t10k"
    wanted = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")

    def missing(place: Path) -> list[str]:
        return [f"{file}.gz" for file in wanted if _find(place, file) is None]

    folder = locate(name, root, subfolders, missing)
    paths = [_find(folder, file) or folder / file for file in wanted]
    images, labels = _bytes(paths[0], 3), _bytes(paths[1], 1)
    if len(images) != len(labels):
        raise _malformed(paths[1], f"{len(images)} labels, as many as images", f"{len(labels)}")
    if labels.max() >= len(classes):
        raise _malformed(paths[1], f"labels 0..{len(classes) - 1}", f"label {labels.max()}")
    return LabelledImages(name, split, from_bytes(images[:, None]), labels.astype(np.int64), classes)


def _bytes(path: Path, dimensions: int) -> np.ndarray:
    values = read_idx(path)
    if values.dtype != np.uint8 or values.ndim != dimensions:
        raise _malformed(path, f"bytes in {dimensions} dimensions", f"{values.dtype} of shape {values.shape}")
    return values


def _find(folder: Path, file: str) -> Path | None:
    """The file as it is, gzipped, or with the dot that some mirrors write before `idx`."""
    spellings = (file, f"{file}.gz", file.replace("-idx", ".idx"), file.replace("-idx", ".idx") + ".gz")
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)
