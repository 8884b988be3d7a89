"""The zip archive that torch.save writes, looked over before torch opens it.

Its members are stored, never compressed: `NAME/data.pkl` and, for each storage, `NAME/data/KEY`. Whatever differs was
not written by torch, and is refused: a compressed member may unfold to any size, a name may lead out of a folder.
What two readers of archives could take for two different things is refused too, since torch has a reader of its own and
must see what was looked over: torch goes by the place that the end of the file tells of the table of members, Python by
what stands before the end; torch takes `data.pkl` and `DATA.PKL` for one.
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

_END = struct.Struct("<4s8xIIH")
"""The end of an archive: a word, then length and place of the table of members, and the length of a comment."""
_LOCATOR = struct.Struct("<4s4xQ4x")
"""Before the end: a word, and the place of the long end."""
_LONG_END = struct.Struct("<4s36xQQ")
"""The end with longer numbers: a word, then length and place of the table of members."""


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
            _check_end(file, size, archive.start_dir)
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


def _check_end(file: BufferedReader, size: int, table: int) -> None:
    """The table of members, which Python found at `table`, is where the end says, and nothing is between them."""
    end = size - _END.size
    file.seek(end)
    word, length, place, comment = _END.unpack(file.read(_END.size))
    if word != b"PK\x05\x06" or comment:
        raise BadArchiveError("a zip archive with a comment or more behind its end")
    if end >= _LOCATOR.size + _LONG_END.size:
        file.seek(end - _LOCATOR.size)
        word, told = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if word == b"PK\x06\x07":
            end -= _LOCATOR.size + _LONG_END.size
            file.seek(end)
            word, length, place = _LONG_END.unpack(file.read(_LONG_END.size))
            if word != b"PK\x06\x06" or told != end:
                raise BadArchiveError("a zip archive with two ends")
    if place != table or table + length != end:
        raise BadArchiveError("a zip archive with more than one table of members")


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
    name, often = Counter(map(_as_torch_sees, members)).most_common(1)[0]
    if often > 1:
        raise BadArchiveError(f"{often} members called {name[:80]!r}")
    if sum(member.file_size for member in members) > size:
        raise BadArchiveError("members that are larger together than the file")


def _as_torch_sees(member: zipfile.ZipInfo) -> str:
    """A member's name as torch compares it: its bytes, whatever their encoding, in small letters."""
    if member.filename != member.orig_filename:
        raise BadArchiveError(f"a member with two names, {member.filename[:80]!a}")
    utf8 = member.flag_bits & 0x800
    return member.orig_filename.encode("utf-8" if utf8 else "cp437").lower().decode("ascii", "backslashreplace")


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
