"""Pickles that want to run something, or lie about what they hold: one line each, and nothing happens."""

import os
import pickle
import struct

import pytest
import torch
from torch import nn

from eqviz.checkpoints import zip_archives
from eqviz.checkpoints.pickle_names import STAND_INS
from eqviz.checkpoints.reading import read_checkpoint
from tests.checkpoints.files import FORMATS, of, storage, tensor, text, whole, write, write_legacy, write_zip

NUMBERS = struct.pack("<2f", 1, 2)
LENGTH = struct.pack("<q", 2)
LEGACY_STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(2) + b"NtQ"
GOOD = tensor((2,), (1,))


def test_the_pickles_of_these_tests_are_read_where_nothing_is_wrong(tmp_path):
    read = read_checkpoint(write_zip(tmp_path / "a", of(w=GOOD), [NUMBERS]))
    assert read.states[""]["w"].tolist() == [1, 2]
    keys = b"\x80\x02](" + text("0") + b"e."
    pickled = of(w=tensor((2,), (1,), where=LEGACY_STORAGE))
    path = write_legacy(tmp_path / "b", pickled, LENGTH + NUMBERS)
    path.write_bytes(path.read_bytes().replace(b"\x80\x02]." + LENGTH, keys + LENGTH))
    assert read_checkpoint(path).states[""]["w"].tolist() == [1, 2]


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


class Exec(Bomb):
    def __reduce__(self):
        return exec, (f"import os; os.mkdir({self.path!r})",)


class Later(Bomb):
    """A known class, with a state that is a bomb."""

    def __reduce__(self):
        return torch.nn.Parameter, (torch.ones(2),), {"a": Bomb(self.path)}


class Named(Bomb):
    def __reduce__(self):
        return torch.hub.load, (self.path, "model", "local")


PLACES = {
    "alone": lambda bomb, state: bomb,
    "beside": lambda bomb, state: {"state_dict": state, "note": bomb},
    "as a weight": lambda bomb, state: {**state, "weight": bomb},
    "as a name": lambda bomb, state: {**state, (1, bomb): 3},
    "in settings": lambda bomb, state: {"state_dict": state, "hyper_parameters": {"lr": [bomb]}},
    "in an optimiser": lambda bomb, state: {"state_dict": state, "optimizer": {"state": {0: bomb}, "param_groups": []}},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("bomb", [Bomb, Exec, Later, Named])
@pytest.mark.parametrize("kind", FORMATS[1:])
def test_nothing_planted_goes_off(tmp_path, refused, kind, bomb, place):
    bomb = bomb(tmp_path / "exploded")
    content = PLACES[place](bomb, {"weight": torch.ones(2)})
    path = write(tmp_path / "a.pt", content, kind)
    message = refused("refused; convert it if you trust it.*eqviz convert --trust FILE", read_checkpoint, path)
    assert any(name in message for name in ("posix.mkdir", "builtins.exec", "torch.hub.load"))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("write_it", [write_zip, write_legacy])
def test_nor_in_any_protocol(tmp_path, refused, protocol, write_it):
    content = pickle.dumps({"weight": Bomb(tmp_path / "exploded")}, protocol)
    refused("mkdir, refused", read_checkpoint, write_it(tmp_path / "a.pt", content))
    refused("a pickle that torch.save did not write|found", read_checkpoint, write_plain(tmp_path / "b", content))
    assert not (tmp_path / "exploded").exists()


def write_plain(path, content):
    path.write_bytes(content)
    return path


def test_the_names_of_what_is_refused(tmp_path, refused):
    path = write(tmp_path / "a", nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
    message = refused("container.Sequential and 2 more, refused", read_checkpoint, path)
    assert "found torch.nn.modules.activation.ReLU, torch.nn.modules.batchnorm.BatchNorm2d, " in message


def test_names_that_move_the_cursor_are_shown_plainly(tmp_path, refused):
    planted = b"\x80\x04\x8c\x05a\x1b[2J\x8c\x01b\x93."
    assert "\x1b" not in refused("refused", read_checkpoint, write_zip(tmp_path / "a", planted))


def test_what_stands_in_for_names_is_eqviz_s_own(tmp_path):
    """No code of NumPy, pathlib or Lightning is ever handed to torch."""
    assert {stand_in.__module__ for stand_in in STAND_INS.values()} == {"eqviz.checkpoints.pickle_names"}
    before = set(torch.serialization.get_safe_globals())
    for kind in FORMATS[1:]:
        read_checkpoint(write(tmp_path / "a", {"w": torch.ones(2)}, kind))
    assert set(torch.serialization.get_safe_globals()) == before


def call(name, *arguments):
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


PICKLES = {
    "larger than its storage": (tensor((10**6, 10**6), (10**6, 1)), "a tensor of shape .1000000, 1000000."),
    "beyond its storage": (tensor((2,), (1,), offset=1), "a tensor of shape .2,. in a storage of 8 bytes"),
    "beyond by its stride": (tensor((2,), (2,)), "a tensor of shape"),
    "endless by strides of 0": (tensor((2**40, 2**40), (0, 0)), "a tensor of shape"),
    "many by strides of 0": (tensor((2**12, 2**11), (0, 0)), "a tensor of shape"),
    "a negative stride": (tensor((2,), (-1,), offset=1), "negative"),
    "a negative size": (tensor((-2,), (1,)), "negative"),
    "a negative offset": (tensor((2,), (1,), offset=-1), "negative"),
    "too few strides": (tensor((2, 1), (1,)), "without shape and strides"),
    "enormous numbers": (tensor((2**200,), (1,)), "negative or no whole numbers"),
    "an absurd storage": (tensor((2,), (1,), where=storage(10**15)), "a storage of 4000000000000000 bytes"),
    "a negative storage": (tensor((2,), (1,), where=storage(-2)), "a storage that is not described"),
    "no such storage": (tensor((2,), (1,), where=storage(2, "7")), "missing"),
    "a path as storage": (tensor((2,), (1,), where=storage(2, "../data.pkl")), "missing"),
    "a storage of nothing known": (tensor((2,), (1,), where=storage(2, kind="torch BigStorage")), "not described"),
    "a storage whose key is a number": (
        tensor((2,), (1,), where=storage(2).replace(text("0"), whole(0))), "key is no text",
    ),
    "a tensor without storage": (tensor((2,), (1,), where=whole(1)), "without a storage"),
    "the older function": (tensor((9,), (1,), function="torch._utils _rebuild_tensor"), "a tensor of shape"),
    "a tensor made larger": (
        GOOD + b"(" + storage(2) + whole(0) + b"(" + whole(99) + b"t(" + whole(1) + b"ttb", "a state for something",
    ),
    "memory for nothing": (call("builtins bytearray", whole(10**12)), "builtins.bytearray, refused"),
    "a tensor by length": (call("torch Tensor", whole(10**12)), "a call of torch.Tensor"),
    "a typed one": (call("torch FloatTensor", whole(10**12)), "torch.FloatTensor, refused"),
    "text that doubles": (call("_codecs encode", text("ab"), text("hex")), "a call of _codecs.encode"),
    "counting without end": (call("collections Counter", tensor((2**20,), (0,))), "a call of collections.Counter"),
    "a set without end": (call("builtins set", storage(2)), "a call of builtins.set"),
    "tuples in tuples": (b")" + b"\x85" * 300_000, "tuples 101 deep"),
    "a call of a tuple": (b")" + whole(1) + b"\x85R", "a call of something that has no name"),
    "a dotted name": (call("torch serialization.os.system", text("true")), "torch.serialization.os.system, refused"),
    "a module": (b"ctorch\n_utils\n", "torch._utils, refused"),
    "nested tensors": (call("torch._utils _rebuild_nested_tensor"), "nested_tensor, refused"),
    "nothing on the stack": (b"00000000", "broken or truncated pickle"),
    "no such memory": (b"h\x09", "broken or truncated pickle"),
    "an extension": (b"\x82\x01", "cannot read"),
}  # fmt: skip


@pytest.mark.parametrize("case", PICKLES)
@pytest.mark.parametrize("write_it", [write_zip, write_legacy])
def test_pickles_that_declare_or_call_too_much(tmp_path, refused, case, write_it):
    content, words = PICKLES[case]
    words += "|a file that is cut off" if write_it is write_legacy else ""
    refused(
        words, read_checkpoint, write_it(tmp_path / "a.pt", of(w=content), [NUMBERS] if write_it is write_zip else b"")
    )


@pytest.mark.parametrize(
    "content", [b"", b".", b"\x80\x02", b"\x80\x02}", b"abc", b"\x80\x02X\xff\xff\xff\xffabc.", b"\xff" * 99]
)
@pytest.mark.parametrize("write_it", [write_zip, write_legacy])
def test_pickles_that_are_none(tmp_path, refused, content, write_it):
    refused("broken or truncated pickle|cannot read", read_checkpoint, write_it(tmp_path / "a.pt", content))


ATTRIBUTES = b"}" + b"".join(
    text(name) + whole(5) + b"s" for name in ("items", "values", "keys", "get", "dim", "detach", "is_floating_point")
)


@pytest.mark.parametrize("kind", ["OrderedDict", "Counter"])
def test_attributes_that_stand_in_for_methods_are_gone(tmp_path, kind):
    """torch sets what a pickle says on dictionaries and tensors."""
    dictionary = b"ccollections\n" + kind.encode() + b"\n)R" + text("w") + b"%ss" + ATTRIBUTES + b"b"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    value = b"ctorch._utils\n_rebuild_parameter_with_state\n(" + GOOD + hooks + ATTRIBUTES + b"tR"
    settings = dictionary % whole(3)
    path = write_zip(tmp_path / "a", of(state_dict=dictionary % value, args=settings), [NUMBERS])
    checkpoint = read_checkpoint(path)
    assert checkpoint.hyperparameters == {"w": 3}
    assert checkpoint.states["state_dict"]["w"].detach().tolist() == [1, 2]


def test_deep_lists_and_dictionaries_are_no_trouble(tmp_path, refused):
    for content in (b"]" * 20_000 + b"a" * 19_999, (b"}" + text("a")) * 5_000 + b"}" + b"s" * 5_000):
        refused("no named weights", read_checkpoint, write_zip(tmp_path / "a", b"\x80\x02" + content + b"."))


def test_a_pickle_without_end(tmp_path, refused, monkeypatch):
    monkeypatch.setattr("eqviz.checkpoints.pickle_scan._MOST_STEPS", 1000)
    refused("more than 1000 instructions", read_checkpoint, write_zip(tmp_path / "a", b"\x80\x02" + b"]" * 2000 + b"."))
    monkeypatch.setattr("eqviz.checkpoints.pickle_scan.MOST_TENSORS", 1)
    refused("more than 1 tensors", read_checkpoint, write_zip(tmp_path / "a", of(a=GOOD, b=GOOD), [NUMBERS]))
    monkeypatch.setattr(zip_archives, "MOST_PICKLE", 100)
    refused("a pickle of 0 MiB", read_checkpoint, write_zip(tmp_path / "a", of(a=GOOD, b=GOOD), [NUMBERS]))


def test_a_later_pickle_can_be_converted(tmp_path, refused):
    torch.save({"w": torch.ones(2)}, tmp_path / "a", pickle_protocol=4)
    refused("a pickle of protocol 4.*eqviz convert --trust FILE", read_checkpoint, tmp_path / "a")
