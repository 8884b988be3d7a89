"""What kind of file something is, by its first bytes: names say little (`.pth.tar` is never a tar archive)."""

import os
import stat
import struct
import tarfile
from pathlib import Path

from eqviz.errors import EqvizError

WEIGHTS = "weights: safetensors, or a file of torch.save"
MOST_HEADER = 100 * 2**20
"""Bytes of the header of safetensors; the library's own limit."""

TAR = "torch, before 0.1.10"
_START, _PLAUSIBLE = 1024, 2**56
"""Bytes that are looked at; a header length above that is text, whose eighth byte is not zero."""

_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The number that torch.save wrote first, before 1.6, as a pickle."""

_OTHERS = {
    b"version https://git-lfs": ("a git-lfs pointer, not the weights", "fetch the weights with `git lfs pull`"),
    b"<": ("a web page or XML, perhaps the error page of a download", "download it again"),
    b"\x89PNG": ("a picture", ""),
    b"\xff\xd8\xff": ("a picture", ""),
    b"GIF8": ("a picture", ""),
    b"%PDF": ("a PDF", ""),
    b"\x89HDF": ("HDF5, as Keras and MATLAB write it", "save the weights from torch"),
    b"\x93NUMPY": ("an array of NumPy (.npy)", "save the weights from torch"),
    b"GGUF": ("GGUF", "save the weights from torch"),
    b"PK\x05\x06": ("an empty zip archive", "copy the file again"),
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"\xfd7zXZ": ("an xz archive", "unpack it first"),
    b"BZh": ("a bzip2 archive", "unpack it first"),
    b"7z\xbc\xaf": ("a 7z archive", "unpack it first"),
    b"Rar!": ("a rar archive", "unpack it first"),
    b"(\xb5/\xfd": ("a zstd archive", "unpack it first"),
    b"{": ("JSON, without weights", ""),
}


def kind_of(path: Path) -> tuple[str, int]:
    """("safetensors", "torch", "torch, before 1.6" or TAR, which may be any tar archive; the file's length in bytes).

    Raises EqvizError for what is no file (folders, pipes, devices, links in a circle), cannot be read, or holds
    something else.

    >>> kind_of(Path("/"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: /: expected a file of weights: safetensors, or a file of torch.save; found a folder; name a file in it
    """  # noqa: E501  # the message is one line
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise not_weights(path, "a folder", "name a file in it")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise not_weights(path, "a pipe, socket or device", "name a file")
        with open(path, "rb") as file:
            start = file.read(_START)
    except OSError as error:
        raise not_weights(path, (error.strerror or str(error)).lower()) from None
    except ValueError as error:
        if isinstance(error, EqvizError):
            raise
        raise not_weights(path, f"a name that no file has, {error}", "mend the name") from None
    return _kind(path, start, status.st_size), status.st_size


def not_weights(path: Path, found: str, fix: str = "") -> EqvizError:
    """The error for a file that is not what a checkpoint is."""
    return EqvizError(
        str(path), expected=f"a file of {WEIGHTS}", found=found,
        fix=fix or "choose a file of weights, or copy it again from where it was made",
    )  # fmt: skip


def _kind(path: Path, start: bytes, size: int) -> str:
    if not start:
        raise not_weights(path, "an empty file of 0 bytes", "copy the file again")
    if start[8:9] == b"{" and _header_length(start) < _PLAUSIBLE:  # before all others: its first byte may be any
        if not 2 <= _header_length(start) <= min(MOST_HEADER, size - 8):
            raise not_weights(
                path, f"safetensors with a header of {_header_length(start)} bytes in a file of {size}",
                "copy the file again",
            )  # fmt: skip
        return "safetensors"
    if start.startswith(b"PK\x03\x04"):
        return "torch"
    if _LEGACY in start[:32]:
        return "torch, before 1.6"
    if start[257:262] == b"ustar" or (len(start) == _START and _is_tar_header(start[:512])):
        return TAR
    for magic, (found, fix) in _OTHERS.items():
        if start.lstrip().startswith(magic):
            raise not_weights(path, found, fix)
    if start.startswith(b"\x80"):
        raise not_weights(path, "a pickle that torch.save did not write", "save the weights with torch.save")
    raise not_weights(path, "text" if start.isascii() and b"\x00" not in start else "other bytes")


def _header_length(start: bytes) -> int:
    length: int = struct.unpack("<Q", start[:8])[0]
    return length


def _is_tar_header(block: bytes) -> bool:
    """Whether the checksum of an old tar header, which has no magic number, is right."""
    try:
        tarfile.TarInfo.frombuf(block, "ascii", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
