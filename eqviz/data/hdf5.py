"""Arrays in an HDF5 file, read row by row, so that no file can claim memory it does not fill or lead to other files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt8

from eqviz.errors import EqvizError

if TYPE_CHECKING:
    import h5py

_MOST_PACKED = 1032
"""Deflate never shrinks data by more than this factor."""

_ROOM = 2**26
"""Bytes of unpacked chunks that are kept, so that neighbouring rows are unpacked once."""


def read_rows(
    path: Path,
    key: str,
    shape: tuple[int, ...],
    rows: Int64[np.ndarray, " chosen"] | None = None,
    *,
    total: int | None = None,
) -> UInt8[np.ndarray, "..."]:
    """Rows of the bytes under `key`, which are of shape (n, *shape); all of them, or the ascending numbers in `rows`.

    Needs h5py. Raises EqvizError where that is missing, for a file that is not HDF5 or is truncated, for another shape
    or type, for `n` other than `total`, and for data that lie in another file.

    >>> read_rows(Path("no-such-file.h5"), "y", (1, 1, 1))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: no-such-file.h5: expected an HDF5 file with bytes under 'y'; found ...
    """
    with _opened(path, key) as stored:
        n = (stored.shape or (0,))[0]
        if stored.dtype != np.uint8 or stored.shape != (n, *shape) or n == 0 or total not in (None, n):
            wanted = ", ".join(map(str, ("n" if total is None else total, *shape)))
            raise _malformed(path, f"{key} as uint8 ({wanted})", f"{stored.dtype} of shape {stored.shape}")
        if stored.external or stored.is_virtual or stored.nbytes > path.stat().st_size * _MOST_PACKED:
            raise _malformed(path, f"{key} within the file", f"{stored.nbytes} bytes declared elsewhere or nowhere")
        if rows is None:
            return np.asarray(stored[:])
        found = np.empty((len(rows), *shape), np.uint8)
        for place, row in enumerate(rows):
            found[place] = stored[int(row)]
        return found


@contextmanager
def _opened(path: Path, key: str) -> Iterator["h5py.Dataset"]:
    try:
        import h5py
    except ImportError as error:
        raise EqvizError(
            str(path), expected="h5py, which reads HDF5 files", found="it is not installed",
            fix="run: pip install 'eqviz[hdf5]'",
        ) from error  # fmt: skip
    wanted = f"an HDF5 file with bytes under {key!r}"
    try:
        with h5py.File(path, "r", rdcc_nbytes=_ROOM) as file:
            link = file.get(key, getlink=True)
            stored = file[key] if isinstance(link, h5py.HardLink) else None
            if not isinstance(stored, h5py.Dataset):
                raise _malformed(path, wanted, f"{', '.join(map(repr, list(file)[:5])) or 'nothing'} in it")
            yield stored
    except EqvizError:
        raise
    # what h5py raises on files that are truncated or not what they say
    except (OSError, LookupError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError) as error:
        raise _malformed(path, wanted, str(error) or type(error).__name__) from error


def _malformed(path: Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(path), expected=expected, found=found, fix="get the file again from its official source")
