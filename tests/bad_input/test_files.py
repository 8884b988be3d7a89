"""Checkpoints that are no checkpoints, are broken, declare more than they hold, or hold other things than weights."""

import io
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from tests.bad_input.conftest import describe
from tests.bad_input.crafting import (
    FORMATS,
    NO_FILES,
    entry,
    flipped,
    in_legacy,
    in_tar,
    in_zip,
    packed,
    tensors_file,
    zipped,
)  # fmt: skip

NET = "net.pt"


@pytest.fixture
def spoil(folder, refused):
    """Writes these bytes as the checkpoint, which must be refused by its name."""

    def call(content, *names, name=NET):
        if name != NET:
            (folder / NET).unlink()
            describe(folder, files=name)
        (folder / name).write_bytes(content)
        return refused(folder, names=(str(folder / name), *names))

    return call


@pytest.mark.parametrize("name", ["net.pt", "net.pth.tar", "net.ckpt", "net.safetensors"])
def test_an_empty_file(spoil, name):
    assert "copy the file again" in spoil(b"", "an empty file of 0 bytes", name=name)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("kept", [1, 12, 0.3, 0.7, -1])
def test_files_cut_off(spoil, state, kind, kept):
    whole = packed(state, kind)
    spoil(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])


@pytest.mark.parametrize(("kind", "place"), [
        ("safetensors", 0.0), ("safetensors", 0.3), ("torch", 0.0), ("torch", -20), ("legacy", 0.01), ("legacy", 0.3),
    ])  # fmt: skip
def test_a_bit_of_another_value(spoil, state, kind, place):
    spoil(flipped(packed(state, kind), place))


def archive_of_arrays():
    stream = io.BytesIO()
    np.savez(stream, weight=np.ones(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "a picture"), (b"\xff\xd8\xff\xe0" + bytes(60), "a picture"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"), (b"\n <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "git lfs pull"),
        (b"weights go here\n", "text"), (b'{"weight": [1, 2]}', "JSON"), (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (b"%PDF-1.7\n", "a PDF"), (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"), (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"GGUF\x03\x00\x00\x00" + bytes(40), "GGUF"), (bytes(200), "other bytes"),
        (b"PK\x05\x06" + bytes(18), "zip"), (archive_of_arrays(), "arrays of NumPy"),
        (zipped([("README.md", "hello")]), "data.pkl"), (in_tar(b"\x80\x02}."), "tar archive"),
        (b"\xef\xbb\xbfnot weights", ""), (b"\x80\x04\x95" + bytes(9), "pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_files_of_another_kind(spoil, content, found):
    spoil(content, found)


PICKLE = b"\x80\x02}q\x00."


def encrypted(content):
    """The archive with the sign of encryption on all members."""
    changed = bytearray(content)
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = changed.find(start)
        while place >= 0:
            changed[place + flags] |= 1
            place = changed.find(start, place + 1)
    return bytes(changed)


def linked():
    info = zipfile.ZipInfo("archive/data/0")
    info.external_attr = 0o120777 << 16
    return zipped([("archive/data.pkl", PICKLE), (info, "/etc/passwd")])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (zipped([("archive/data.pkl", PICKLE), ("../../evil", "x")]), "leads out"),
        (zipped([("archive/data.pkl", PICKLE), ("/tmp/evil", "x")]), "leads out"),
        (zipped([("archive/data.pkl", PICKLE), ("archive/..\\..\\evil", "x")]), "leads out"),
        (zipped([("archive/data.pkl", PICKLE), ("C:/evil", "x")]), "leads out"),
        (zipped([("archive/data.pkl", PICKLE), ("archive/a\x1b[2J\n", "x"), ("../b\x1b[2J\n", "x")]), "leads out"),
        (linked(), "a link"), (encrypted(in_zip(PICKLE)), "encrypted"),
        (zipped([("archive/data.pkl", PICKLE)] * 2), "2 members"),
        (zipped([("archive/data.pkl", PICKLE), ("archive/data/0", bytes(10**6))], zipfile.ZIP_DEFLATED), "compressed"),
        (in_zip(b""), "pickle"), (in_zip(b"\x80\x02"), "pickle"), (in_zip(b"junk"), "pickle"),
        (in_zip(b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"."), "deep"),
        (in_zip(b"\x80\x02]" + b"q\x00h\x00a" * 3 + b"."), "no named weights"),
    ],
    ids=["slip", "absolute", "backslash", "drive", "escapes", "link", "encrypted", "twice", "compressed", "nothing",
         "cut", "junk", "deep", "itself"],
)  # fmt: skip
def test_archives_that_torch_does_not_write(spoil, tmp_path, content, found):
    spoil(content, found)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "content",
    [
        tensors_file({"conv.weight": entry([2**31, 2**31], 0, 2**64)}),
        tensors_file({"conv.weight": entry([2**40], 0, 4)}, bytes(4)),
        tensors_file({"conv.weight": entry([2], 0, 8), "fc.weight": entry([2], 4, 12)}, bytes(12)),
        tensors_file({"conv.weight": entry([2], -8, 0)}, bytes(8)),
        tensors_file({"conv.weight": entry([2], 8, 0)}, bytes(8)),
        tensors_file({"conv.weight": entry([-2], 0, 8)}, bytes(8)),
        tensors_file({"conv.weight": entry([2], 0, 8, "F99")}, bytes(8)),
        tensors_file({"conv.weight": entry([2], 0, 8)}, bytes(80)), tensors_file({"conv.weight": 3}),
        tensors_file(b"[1, 2]  "), tensors_file(b"{" + b'"a":{' * 5000), tensors_file(b'{"__metadata__": {"a": 1}}'),
        tensors_file({}), b"\xff\xff\xff\x06\x00\x00\x00\x00{" + bytes(99),
        tensors_file(b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, "a": 3}'),
    ],
    ids=["huge", "huge shape", "overlapping", "negative", "backwards", "negative shape", "dtype", "more bytes",
    "number",
         "list", "deep", "metadata", "nothing", "long header", "twice"],
)  # fmt: skip
def test_safetensors_that_lie(spoil, content):
    spoil(content)


def rebuilt(shape, strides, offset=0, length=4):
    """A pickle of one float tensor with this shape in a storage of so many numbers."""

    def whole(number):
        return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)

    def text(word):
        return b"X" + len(word).to_bytes(4, "little") + word

    sizes = b"".join(b"(" + b"".join(map(whole, numbers)) + b"t" for numbers in (shape, strides))
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu") + whole(length) + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + whole(offset) + sizes
    return b"\x80\x02}" + text(b"conv.weight") + tensor + b"\x89ccollections\nOrderedDict\n)RtRs."


@pytest.mark.parametrize(
    "content",
    [
        rebuilt([2**40], [1]), rebuilt([2**31, 2**31], [2**31, 1]), rebuilt([-4], [1]), rebuilt([4], [-1]),
        rebuilt([4], [1], offset=-1), rebuilt([4], [1], offset=2**40), rebuilt([2**60], [0]),
        rebuilt([4], [1], length=2**60), rebuilt([4], [1], length=-4),
    ],
    ids=["shape", "product", "negative", "backwards", "before", "behind", "repeated", "storage", "negative storage"],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [in_zip, in_legacy])
def test_tensors_that_declare_more_than_there_is(spoil, content, wrap):
    spoil(wrap(content))


def itself():
    content = {"epoch": 3}
    content["model"] = {"again": content}
    return content


def optimiser(state):
    network = nn.Linear(2, 1)
    made = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    made.step()
    return {"optimizer": made.state_dict(), "epoch": 3}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (lambda state: {}, "no named weights"), (lambda state: {"epoch": 3, "loss": 0.5}, "no named weights"),
        (optimiser, "no named weights"), (lambda state: itself(), "no named weights"),
        (lambda state: [1, 2, 3], "no named weights"), (lambda state: torch.ones(3), "no named weights"),
        (lambda state: list(state.values()), "no named weights"), (lambda state: None, "no named weights"),
        (lambda state: {"state_dict": dict.fromkeys(state, 1.0)}, "no named weights"),
        (lambda state: {f"{name}": torch.ones(3) for name in ("a", "b")}, "missing"),
        (lambda state: state | {"fc.weight": state["fc.weight"][:3]}, "of another shape"),
        (lambda state: state | {"fc.weight": state["fc.weight"].T.clone()}, "of another shape"),
        (lambda state: state | {"fc.more": torch.ones(3)}, "unexpected: fc.more"),
        (lambda state: {"a": dict(state), "b": {"c": torch.ones(3)}} | {"optimizer": {}}, ""),
    ],
    ids=["nothing", "numbers", "optimiser", "itself", "list", "tensor", "unnamed", "none", "no tensors", "others",
         "shape", "transposed", "more", "two"],
)  # fmt: skip
def test_files_without_the_weights(folder, spoil, works, state, content, found, request):
    if request.node.callspec.id == "two":  # the one that fits is taken
        torch.save(content(state), folder / NET)
        works(folder)
    else:
        spoil(packed(content(state)), found)


def test_two_networks_that_fit_are_a_choice_for_the_user(spoil, state):
    others = {name: value + 1 for name, value in state.items()}
    both = {f"{which}.{name}": value for which, its in (("a", state), ("b", others)) for name, value in its.items()}
    assert "ignore = " in spoil(packed(both), "one network", "several")


def changed(name, make):
    return lambda state: state | {name: make(state[name])}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (changed("fc.bias", lambda bias: bias.long()), "fc.bias"),
        (changed("fc.bias", lambda bias: bias > 0), "fc.bias"),
        (changed("fc.bias", lambda bias: bias + 1j), "complex"),
        (changed("fc.bias", lambda bias: torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8)), "quantised"),
        (changed("fc.weight", lambda weight: weight.to_sparse()), "sparse"),
        (changed("fc.bias", lambda bias: bias.to("meta")), ""),
        (changed("fc.bias", lambda bias: bias * float("nan")), "NaN or infinity in fc.bias"),
        (changed("fc.bias", lambda bias: bias + float("inf")), "NaN or infinity in fc.bias"),
        (changed("fc.bias", lambda bias: (bias - float("inf")).half()), "NaN or infinity in fc.bias"),
        (changed("fc.bias", lambda bias: bias.double() * 0 + 1e300), "too large"),
    ],
    ids=["int", "bool", "complex", "quantised", "sparse", "meta", "nan", "inf", "half -inf", "overflow"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore")  # torch's, on quantised tensors
def test_weights_that_are_no_weights(spoil, state, change, found):
    spoil(packed(change(state)), found)


@pytest.mark.parametrize(
    "make",
    [
        lambda state: {name: value.half() for name, value in state.items()},
        lambda state: {name: value.bfloat16() for name, value in state.items()},
        lambda state: {name: value.double() for name, value in state.items()},
        lambda state: {name: nn.Parameter(value) for name, value in state.items()},
        lambda state: state | {"fc.weight": state["fc.weight"].T.contiguous().T},
        lambda state: {"a": dict(state), "b": state, "epoch": 7},
        lambda state: {"ema": {"shadow": dict(state)}, "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}}},
        lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"model.{name}": value for name, value in state.items()}, "loss": float("nan")},
        lambda state: state | {"fc.bias": torch.stack([state["fc.bias"]] * 4, 1)[:, 2]},
    ],
    ids=["half", "bfloat16", "double", "parameters", "transposed", "shared", "averages", "wrapped", "lightning",
    "strided"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["torch", "legacy"])
def test_weights_that_people_have(works, folder, state, make, kind):
    (folder / NET).write_bytes(packed(make(state), kind))
    works(folder, command="runs")


@pytest.mark.parametrize(
    "name", [
        "fc\x1b[31mRED\x1b[0m", "fc\nTraceback (most recent call last):", "fc\r\x07\x00", "x" * 10**6, "‮gnp.exe",
        "\ud800half", "../../fc.weight", "{name}%s%n$(touch owned)",
    ],
    ids=["colour", "lines", "bell", "long", "right to left", "half", "path", "format"],
)  # fmt: skip
def test_names_in_a_file_are_shown_clean_and_short(spoil, state, name):
    spoil(packed(state | {name: torch.ones(3)}), "unexpected")


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, images):
        return self.fc(images)


@pytest.mark.parametrize("kind", ["torch", "legacy"])
def test_whole_models_name_the_class_and_the_way_out(spoil, kind):
    line = spoil(packed(Whole(), kind), "Whole", "refused")
    assert "eqviz convert --trust" in line


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_torchscript_is_a_program(spoil):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 1)), stream)
    assert "TorchScript" in spoil(stream.getvalue())


@pytest.mark.parametrize("make", NO_FILES)
def test_what_is_no_file(folder, refused, make):
    (folder / NET).unlink()
    make(folder / NET)
    refused(folder, names=(NET,))


def test_a_link_out_of_the_folder(folder, refused, tmp_path):
    (folder / NET).rename(tmp_path / "elsewhere.pt")
    (folder / NET).symlink_to(tmp_path / "elsewhere.pt")
    refused(folder, names=(NET, "a link to"))


def test_one_good_file_among_everything_that_is_bad(eqviz, folder, state):
    """`init` describes the good one and says why not the others; `runs` and `audit` then go on with it."""
    (folder / "eqviz.toml").unlink()
    (folder / NET).rename(folder / "good_seed0_epoch3.pt")
    bad = {
        "empty.pt": b"", "cut.ckpt": packed(state)[:-50], "page.pth": b"<html>",
        "lfs.bin": b"version https://git-lfs\n",
        "tar.pth.tar": in_tar(PICKLE), "zip.pt": zipped([("../../x", "y")]), "other.pt": packed({"a.b": torch.ones(3)}),
        "nan.pt": packed({"fc.weight": torch.ones(2, 2) * float("nan")}), "whole.pt": packed(Whole()),
        "it\x1b[2J.pt": b"",
        "optimiser.pt": packed(optimiser(state)), "lies.safetensors": tensors_file({"a": entry([2**40], 0, 4)},
        bytes(4)),
        "lines\n[[runs]]\nfiles = 'x'.pt": b"x", "long" + "x" * 240 + ".pt": b"x", "quote\"'\\.pt": packed({}),
    }  # fmt: skip
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    for place, make in enumerate(NO_FILES):
        make(folder / f"nofile{place}.pt")
    done = eqviz("init", folder)
    assert done.status == 0, done.err
    listed = eqviz("runs", folder)
    audited = eqviz("audit", folder)
    assert audited.status in (0, 2, 3, 4)
    assert "good" in listed.out
    assert listed.status in (0, 2)
    for line in (done.out + listed.out + audited.out + audited.err).splitlines():
        assert line.isprintable(), line
