"""Checkpoints made by hand: every format, pickles that no library would write, and containers that lie."""

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile

import torch
from safetensors.torch import save

FORMATS = ("safetensors", "torch", "legacy")
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."


def packed(content, kind="torch"):
    """The bytes of a file in one of FORMATS."""
    if kind == "safetensors":
        return save({name: value.detach().contiguous().clone() for name, value in content.items()})
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised and old kinds of tensors
        torch.save(content, stream, _use_new_zipfile_serialization=kind == "torch")
    return stream.getvalue()


def zipped(members, compression=zipfile.ZIP_STORED):
    """A zip archive of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that stand twice
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def in_zip(pickled):
    """An archive as torch writes it, around any pickle."""
    return zipped([("archive/data.pkl", pickled), ("archive/version", "3\n")])


def in_legacy(pickled):
    """A file as torch wrote it before 1.6, around any pickle."""
    return LEGACY_START + pickled + pickle.dumps([], protocol=2)


def in_tar(pickled):
    """A tar archive as torch wrote it before 0.1.10, around any pickle."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickled if name == "pickle" else pickle.dumps(0, protocol=2)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def tensors_file(header, numbers=b""):
    """A safetensors file with this header (a dictionary, or its text)."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def entry(shape, start, end, dtype="F32"):
    """What the header of a safetensors file says of a tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


def flipped(content, place):
    """The bytes with one bit of another value; `place` from 0 to 1, or a negative index."""
    index = place if place < 0 else int(place * len(content))
    changed = bytearray(content)
    changed[index] ^= 0x10
    return bytes(changed)


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def loop(path):
    path.symlink_to(path.name)


def dangling(path):
    path.symlink_to("nowhere")


NO_FILES = (pipe, device, loop, dangling, os.mkdir)
"""Make what is no file where a file belongs."""
