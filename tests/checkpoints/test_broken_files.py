"""Files that are broken, cut off or something else, and archives that lie: one line each, soon."""

import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.checkpoints.file_kinds import kind_of
from eqviz.checkpoints.reading import read_checkpoint
from tests.checkpoints.files import FORMATS, of, tensor, write, write_zip

NUMBERS = struct.pack("<2f", 1, 2)
GOOD = tensor((2,), (1,))


def member(path, name, content=b"x", **changes):
    """An archive of torch's with one more member, which is changed like this."""
    write_zip(path, of(w=GOOD), [NUMBERS])
    info = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # of a name that is there twice
        archive.writestr(info, content)
    return path


MEMBERS = {
    "out of the folder": ({"name": "archive/../../evil"}, "leads out of its folder"),
    "absolute": ({"name": "/etc/evil"}, "leads out of its folder"),
    "of another drive": ({"name": "C:/evil"}, "leads out of its folder"),
    "with backslashes": ({"name": "archive\\evil"}, "leads out of its folder"),
    "a link": ({"name": "archive/link", "external_attr": 0o120777 << 16}, "a link"),
    "twice": ({"name": "archive/data/0"}, "2 members called"),
    "twice for torch": ({"name": "archive/DATA.pkl"}, "2 members called 'archive/data.pkl'"),
    "compressed": ({"name": "archive/x", "compress_type": zipfile.ZIP_DEFLATED}, "compressed members"),
    "a bomb": (
        {"name": "archive/x", "content": bytes(10**7), "compress_type": zipfile.ZIP_DEFLATED}, "compressed members",
    ),
    "a program": ({"name": "archive/constants.pkl"}, "a TorchScript module.*eqviz convert --trust FILE"),
}  # fmt: skip


@pytest.mark.parametrize("case", MEMBERS)
def test_members_that_torch_does_not_write(tmp_path, refused, case):
    changes, words = MEMBERS[case]
    refused(words, read_checkpoint, member(tmp_path / "a.pt", **changes))


def patched(path, old, new, last=False):
    data = path.read_bytes()
    place = data.rindex(old) if last else data.index(old)
    path.write_bytes(data[:place] + new + data[place + len(old) :])
    return path


def test_archives_whose_directory_lies(tmp_path, refused):
    """The directory at the end says how long members are, and whether they are encrypted."""
    size, crc = struct.pack("<I", len(NUMBERS)), struct.pack("<I", zlib.crc32(NUMBERS))
    for length in (10**6, 2**32 - 2):
        path = write_zip(tmp_path / "a", of(w=GOOD), [NUMBERS])
        patched(path, crc + size + size, crc + struct.pack("<II", length, length), last=True)
        refused("larger than the file|damaged", read_checkpoint, path)
    path = write_zip(tmp_path / "b", of(w=GOOD), [NUMBERS])
    patched(path, b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    refused("encrypted", read_checkpoint, path)


def two_tables(path, seen_by_torch, seen_by_python):
    """An archive whose end tells of one table of members and has another one before it, of the same length."""
    parts, starts, tables = [], [0], []
    for pickled in (seen_by_torch, seen_by_python):
        data = write_zip(path, pickled, [NUMBERS]).read_bytes()
        table = data.index(b"PK\x01\x02")
        parts += [data[:table], data[table:-22]]
        tables.append(starts[-1] + table)
        starts.append(starts[-1] + len(data) - 22)
    end = data[-22:-6] + struct.pack("<IH", tables[0], 0)
    moved = bytearray(parts[3])
    for entry in [place for place in range(len(moved)) if moved.startswith(b"PK\x01\x02", place)]:
        (place,) = struct.unpack_from("<I", moved, entry + 42)
        struct.pack_into("<I", moved, entry + 42, place + starts[1] - (tables[1] - tables[0]))
    path.write_bytes(b"".join(parts[:3]) + bytes(moved) + end)
    return path


def test_archives_that_torch_and_python_read_as_different_things(tmp_path, refused):
    """Each finds another pickle in such a file, both of them sound: what is looked over must be what is loaded."""
    evil, good = of(w=tensor((2**40,), (0,))), of(w=GOOD)
    path = two_tables(tmp_path / "a.pt", seen_by_torch=evil, seen_by_python=good)
    with zipfile.ZipFile(path) as archive:
        assert archive.read("archive/data.pkl") == good
    with path.open("rb") as file:
        assert torch._C.PyTorchFileReader(file).get_record("data.pkl") == evil
    refused("more than one table of members", read_checkpoint, path)


@pytest.mark.parametrize("rest", [b"x", bytes(22), b"PK\x05\x06" + bytes(18)])
def test_archives_with_more_behind_their_end(tmp_path, refused, rest):
    path = write_zip(tmp_path / "a.pt", of(w=GOOD), [NUMBERS])
    path.write_bytes(path.read_bytes() + rest)
    refused("behind its end|more than one table|damaged|empty zip", read_checkpoint, path)


def test_a_long_end_that_is_somewhere_else(tmp_path, refused):
    """torch writes a long end, which says where it is itself."""
    path = write(tmp_path / "a.pt", {"w": torch.ones(2)})
    data = path.read_bytes()
    assert read_checkpoint(path).states[""]["w"].tolist() == [1, 1]
    locator = data.rindex(b"PK\x06\x07")
    place = struct.pack("<Q", 0)
    path.write_bytes(data[: locator + 8] + place + data[locator + 16 :])
    refused("two ends|damaged", read_checkpoint, path)


def test_many_members_over_the_same_bytes(tmp_path, refused):
    """Together larger than the file, each within it."""
    path = write_zip(tmp_path / "a", of(w=GOOD), [bytes(20_000), *[b""] * 9])
    data, entry = path.read_bytes(), struct.pack("<I", 20_000)
    start = data.index(b"PK\x01\x02")
    directory = data[start:].replace(struct.pack("<III", 0, 0, 0), struct.pack("<I", 0) + entry + entry)
    path.write_bytes(data[:start] + directory)
    refused("larger together than the file|larger than the file", read_checkpoint, path)


@pytest.mark.filterwarnings("ignore:.torch.jit")  # torch tells that it is old
def test_other_archives(tmp_path, refused):
    np.savez(tmp_path / "a.npz", w=np.ones(2))
    refused("arrays of NumPy", read_checkpoint, tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("word/document.xml", "x")
    refused("without torch's data.pkl", read_checkpoint, tmp_path / "b.zip")
    with zipfile.ZipFile(tmp_path / "c.zip", "w"):
        pass
    refused("an empty zip archive", read_checkpoint, tmp_path / "c.zip")
    with tarfile.open(tmp_path / "d.pth.tar", "w") as packed:
        packed.add(tmp_path / "a.npz", "a.npz")
    refused("a tar archive.*eqviz convert --trust FILE", read_checkpoint, tmp_path / "d.pth.tar")
    torch.jit.script(nn.Linear(2, 1)).save(tmp_path / "e.pt")
    refused("a TorchScript module", read_checkpoint, tmp_path / "e.pt")


OTHERS = {
    "nothing": (b"", "an empty file of 0 bytes"),
    "a byte": (b"\x00", "other bytes"),
    "zeros": (bytes(5000), "other bytes"),
    "noise": (bytes(range(255, 0, -1)) * 9, "other bytes"),
    "text": (b"weights are elsewhere\n", "found text"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "a git-lfs pointer, not the weights",
    ),
    "html": (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
    "json": (b'{"message": "not found"}', "JSON"),
    "indented json": (b'        {"message": "not found"}', "JSON"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(99), "a picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(99), "a picture"),
    "pdf": (b"%PDF-1.5", "a PDF"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "gzip": (b"\x1f\x8b" + bytes(99), "a gzip archive; unpack it first"),
    "npy": (b"\x93NUMPY\x01\x00", "an array of NumPy"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle that torch.save did not write"),
    "half a zip": (b"PK\x03\x04", "damaged or truncated zip"),
    "a zip of noise": (b"PK\x03\x04" + bytes(range(256)) * 9, "damaged or truncated zip"),
    "half a magic number": (b"\x80\x02\x8a\nl\xfc\x9cF", "a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_files_that_hold_something_else(tmp_path, refused, case):
    content, words = OTHERS[case]
    (tmp_path / "a.pth.tar").write_bytes(content)
    refused(words, read_checkpoint, tmp_path / "a.pth.tar")


def test_what_is_no_file(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "here").symlink_to(tmp_path / "there")
    (tmp_path / "there").symlink_to(tmp_path / "here")
    (tmp_path / "loose").symlink_to(tmp_path / "gone")
    cases = {
        "pipe": "a pipe", "folder": "a folder", "here": "symbolic links", "loose": "no such file",
        "gone": "no such file", "pipe/x": "not a directory", "x" * 300: "too long", "a\0b": "a name that no file has",
    }  # fmt: skip
    for name, words in cases.items():
        refused(f"(?i){words}", read_checkpoint, tmp_path / name)
    refused("a pipe, socket or device", read_checkpoint, Path(os.devnull))


def test_files_that_may_not_be_read(tmp_path, refused, monkeypatch):
    write(tmp_path / "a", {"w": torch.ones(2)})

    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", closed)
    refused("permission denied", kind_of, tmp_path / "a")


@pytest.mark.parametrize("kind", FORMATS)
def test_files_that_are_cut_off(tmp_path, refused, kind):
    whole_file = write(tmp_path / "a", {"w": torch.ones(300), "v": torch.ones(2, 2)}, kind).read_bytes()
    for length in {*range(0, len(whole_file), 97), len(whole_file) - 1}:
        (tmp_path / "b").write_bytes(whole_file[:length])
        refused("found", read_checkpoint, tmp_path / "b")


def test_the_pickle_is_checked_against_its_sum(tmp_path, refused):
    path = write(tmp_path / "a", {"weight": torch.ones(2)})
    refused("damaged", read_checkpoint, patched(path, b"weight", b"weighs"))


def header(entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(shape, end, kind="F32"):
    return {"w": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


SAFETENSORS = {
    "more than the file": header(entry([10**9], 4 * 10**9), bytes(8)),
    "an overflow": header(entry([2**40, 2**40], 8), bytes(8)),
    "more than its bytes": header(entry([4], 8), bytes(8)),
    "a negative size": header(entry([-2], 8), bytes(8)),
    "offsets that cross": header({"w": {"dtype": "F32", "shape": [0], "data_offsets": [8, 0]}}, bytes(8)),
    "an unknown kind": header(entry([2], 8, "F33"), bytes(8)),
    "no JSON": header(b"{w: 1}"),
    "no text": header(b"{\xff\xfe}"),
    "deep JSON": header(b'{"w":' + b"[" * 5000),
    "a list": header(entry([2], 8)["w"]["shape"], bytes(8)),
    "numbers as names": header(b'{"__metadata__": {"a": 1}}'),
    "a long header": header(b"{}", length=2**30),
    "an endless header": header(b"{}", length=2**50),
    "a short header": header(b"{}", length=1),
    "bytes left over": header(entry([2], 8), bytes(16)),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors_that_lie(tmp_path, refused, case):
    (tmp_path / "a").write_bytes(SAFETENSORS[case])
    refused("found", read_checkpoint, tmp_path / "a")


def test_memory_that_is_not_there(tmp_path, refused, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    for kind, name in zip(FORMATS, ("eqviz.checkpoints.safetensors_files.safe_open", *["torch.load"] * 2), strict=True):
        monkeypatch.setattr(name, full)
        refused("more than fits into memory", read_checkpoint, write(tmp_path / "a", {"w": torch.ones(2)}, kind))


def test_whatever_torch_raises_is_one_line(tmp_path, refused, monkeypatch):
    path = write(tmp_path / "a", {"w": torch.ones(2)})
    for error in (RuntimeError("a\nb" * 500), AssertionError(), KeyError("x"), RecursionError("deep")):
        monkeypatch.setattr("torch.load", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        refused("something that torch cannot read", read_checkpoint, path)
