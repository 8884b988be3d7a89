"""Files of weights in every format, and pickles written by hand."""

import zipfile

import torch
from safetensors.torch import save_file

FORMATS = ("safetensors", "torch", "torch, before 1.6")


def write(path, content, kind="torch"):
    """A file in one of FORMATS."""
    if kind == "safetensors":
        save_file(content, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "torch")
    return path


def write_zip(path, pickle, storages=(), **members):
    """An archive as torch writes it, around any pickle; `storages` are the bytes of each, by its number."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/version", "3\n")
        for number, content in enumerate(storages):
            archive.writestr(f"archive/data/{number}", content)
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_legacy(path, pickle, storages=b""):
    """A file as torch wrote it before 1.6, around any pickle."""
    path.write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}." + pickle + b"\x80\x02]." + storages
    )
    return path


def text(word):
    """The instruction for a text."""
    data = word.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def whole(number):
    """The instruction for a whole number."""
    size = (number.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + number.to_bytes(size, "little", signed=True)


def storage(length, key="0", kind="torch FloatStorage", device="cpu"):
    """The instructions for a storage of `length` numbers."""
    name = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    return b"(" + text("storage") + name + text(key) + text(device) + whole(length) + b"tQ"


def tensor(shape, strides, offset=0, where=None, function="torch._utils _rebuild_tensor_v2"):
    """The instructions for a tensor."""
    name = b"c" + function.replace(" ", "\n").encode() + b"\n"
    sizes = b"".join(b"(" + b"".join(map(whole, numbers)) + b"t" for numbers in (shape, strides))
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return name + b"(" + (where or storage(2)) + whole(offset) + sizes + hooks + b"tR"


def of(**values):
    """A pickle of a dictionary with these instructions as values."""
    return b"\x80\x02}(" + b"".join(text(name) + value for name, value in values.items()) + b"u."
