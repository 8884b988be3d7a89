"""The zip archive that torch.save writes, looked over before torch opens it.

Its members are stored, never compressed: `NAME/data.pkl` and, for each storage, `NAME/data/KEY`. Whatever differs was
not written by torch, and is refused: a compressed member may unfold to any size, a name may lead out of a folder.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader

MOST_PICKLE = 100 * 2**20
"""Bytes of the pickle: names, shapes and settings, without the weights."""
_MOST_MEMBERS = 200_000


class BadArchiveError(ValueError):
    """What is wrong with an archive, in a few words."""


class ProgramError(BadArchiveError):
    """A TorchScript module."""


@dataclass(frozen=True)
class Archive:
    """What torch will read: the pickle, and the bytes of each storage by its key."""

    pickle: bytes
    storages: Mapping[str, int]


def look_over(file: BufferedReader, size: int) -> Archive:
    """The pickle and the storages in a zip archive of torch's; `size` is the file's length in bytes.

    Raises BadArchiveError for everything that torch.save does not write.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, size)
            folder = members[0].filename.split("/")[0]
            names = {member.filename: member for member in members}
            _check_purpose(names, folder)
            pickle = names[f"{folder}/data.pkl"]
            if pickle.file_size > MOST_PICKLE:
                raise BadArchiveError(f"a pickle of {pickle.file_size >> 20} MiB, without the weights")
            start = f"{folder}/data/"
            storages = {name[len(start) :]: one.file_size for name, one in names.items() if name.startswith(start)}
            return Archive(archive.read(pickle), storages)
    except (
        zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError,
        OverflowError, IndexError, KeyError,
    ) as error:  # fmt: skip
        if isinstance(error, BadArchiveError):
            raise
        raise BadArchiveError("a damaged or truncated zip archive") from None


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if not members:
        raise BadArchiveError("an empty zip archive")
    if len(members) > _MOST_MEMBERS:
        raise BadArchiveError(f"a zip archive of {len(members)} members")
    for member in members:
        name = member.filename
        if ".." in name.split("/") or re.match(r"/|[A-Za-z]:/", name) or "\\" in name:
            raise BadArchiveError(f"a member that leads out of its folder, {name[:80]!a}")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise BadArchiveError(f"a member that is a link, {name[:80]!a}")
        if member.flag_bits & 0x1:
            raise BadArchiveError("encrypted members")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            _check_no_program(members)  # which torch compresses
            raise BadArchiveError("compressed members, which torch.save does not write")
        if member.header_offset < 0 or member.header_offset + member.file_size > size:
            raise BadArchiveError(f"a member larger than the file, {name[:80]!a}")
    name, often = Counter(member.filename for member in members).most_common(1)[0]
    if often > 1:
        raise BadArchiveError(f"{often} members called {name[:80]!a}")
    if sum(member.file_size for member in members) > size:
        raise BadArchiveError("members that are larger together than the file")


def _check_no_program(members: Iterable[zipfile.ZipInfo]) -> None:
    """TorchScript is told by its file of constants, as torch itself does."""
    if any(member.filename.partition("/")[2] == "constants.pkl" for member in members):
        raise ProgramError("a TorchScript module, which is a program")


def _check_purpose(names: Mapping[str, zipfile.ZipInfo], folder: str) -> None:
    """TorchScript, NumPy archives and all others are not for torch.load."""
    _check_no_program(names.values())
    if all(name.endswith(".npy") for name in names):
        raise BadArchiveError("arrays of NumPy (.npz)")
    if f"{folder}/data.pkl" not in names:
        raise BadArchiveError("a zip archive without torch's data.pkl")
