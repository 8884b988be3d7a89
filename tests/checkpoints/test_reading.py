"""Which state dicts a file holds, and what else it says, in every format."""

import argparse
import collections
import json
import pathlib
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eqviz.checkpoints import torch_files
from eqviz.checkpoints.contents import find_states
from eqviz.checkpoints.reading import read_checkpoint, states_at
from tests.checkpoints.files import FORMATS, of, storage, tensor, text, whole, write, write_zip

PICKLED = FORMATS[1:]


def network():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


@pytest.fixture
def state():
    return network().state_dict()


def optimiser():
    """The state of an optimiser that has moved: tensors by number, two a weight."""
    model = nn.Linear(2, 1)
    moving = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    moving.step()
    return moving.state_dict()


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_whatever_the_name_of_the_file(tmp_path, state, kind):
    for name in ("model.pth.tar", "epoch=3-val:0.9.ckpt", "a b.safetensors", "ümläut.pt", "none"):
        read = read_checkpoint(write(tmp_path / name, state, kind))
        assert (read.format, read.path, read.epoch, list(read.states)) == (kind, tmp_path / name, None, [""])
        assert read.hyperparameters == {}
        assert {name: torch.equal(read.states[""][name], value) for name, value in state.items()} == dict.fromkeys(
            state, True
        )


def test_links_and_text_are_followed(tmp_path, state):
    write(tmp_path / "a.pt", state)
    (tmp_path / "link").symlink_to(tmp_path / "a.pt")
    assert same(read_checkpoint(tmp_path / "link").states[""], state)


def test_a_large_file_is_mapped_and_reads_the_same(tmp_path, state, monkeypatch):
    monkeypatch.setattr(torch_files, "_MAPPED", 0)
    for name in ("a.pth", "a.safetensors"):
        assert same(read_checkpoint(write(tmp_path / name, state)).states[""], state)


CONTENTS = {
    "bare": (lambda s: s, [""]),
    "plain values beside": (lambda s: {**s, "epoch": 3, "arch": "resnet", "scores": [0.1]}, [""]),
    "state_dict": (lambda s: {"epoch": 3, "state_dict": s, "optimizer": optimiser()}, ["state_dict"]),
    "model": (lambda s: {"model": s, "optimizer": optimiser(), "lr_scheduler": {"last": torch.ones(3)}}, ["model"]),
    "model_state_dict": (lambda s: {"model_state_dict": s, "optimizer_state_dict": optimiser()}, ["model_state_dict"]),
    "optimiser of another name": (lambda s: {"net": s, "o": optimiser()}, ["net"]),
    "lightning": (
        lambda s: {
            "epoch": 1, "global_step": 2, "pytorch-lightning_version": "2.0", "state_dict": s, "loops": {"a": {}},
            "callbacks": {"ModelCheckpoint{}": {"best_model_score": torch.tensor(0.9), "x": torch.ones(2)}},
            "optimizer_states": [optimiser()], "lr_schedulers": [{"T_max": 3}],
        },
        ["state_dict"],
    ),
    "an averaging callback": (
        lambda s: {"state_dict": s, "callbacks": {"EMA": {"ema_weights": s.copy()}, "x": {"y": torch.ones(2)}}},
        ["state_dict", "callbacks.EMA.ema_weights"],
    ),
    "timm": (lambda s: {"state_dict_ema": s, "arch": "a", "state_dict": s.copy()}, ["state_dict", "state_dict_ema"]),
    "averages first": (lambda s: {"ema": {"decay": 0.9, "shadow": s}, "net": s.copy()}, ["net", "ema.shadow"]),
    "only averages": (lambda s: {"model_ema": s}, ["model_ema"]),
    "lists of averages": (lambda s: {"model": s, "ema": {"shadow_params": [torch.ones(2)]}}, ["model"]),
    "several networks": (lambda s: {"G": s, "D": s.copy()}, ["G", "D"]),
    "a list": (lambda s: {"models": [s, s.copy()]}, ["models.0", "models.1"]),
    "a pair": (lambda s: (s, 3), ["0"]),
    "by number": (lambda s: {0: s}, ["0"]),
    "deep": (lambda s: {"a": {"b": {"c": {"d": s}}}}, ["a.b.c.d"]),
    "loose tensors beside": (lambda s: {"net": s, "mean": torch.ones(3), "rng": {"r": torch.ones(3)}}, ["net"]),
    "usual names first": (lambda s: {"b": s, "weights": s.copy(), "model": s.copy()}, ["model", "weights", "b"]),
    "the same twice": (lambda s: {"model": s, "best": s}, ["model"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize("case", CONTENTS)
def test_state_dicts_are_found_best_first(tmp_path, state, case, kind):
    content, places = CONTENTS[case]
    read = read_checkpoint(write(tmp_path / "a.pt", content(dict(state)), kind))
    assert list(read.states) == places
    assert all(same(found, state) for found in read.states.values())


def test_places():
    states = {"net": {}, "ema.shadow": {}, "ema.other": {}}
    found = {place: list(states_at(pathlib.Path("a"), states, place)) for place in (None, "net", "ema", "ema.other")}
    assert found == {
        None: list(states), "net": ["net"], "ema": ["ema.shadow", "ema.other"], "ema.other": ["ema.other"],
    }  # fmt: skip
    assert list(states_at(pathlib.Path("a"), {"net": {}, "state_dict_ema": {}}, "ema")) == ["state_dict_ema"]


def test_a_place_that_is_not_there(refused):
    refused("weights at 'x'; found them at 'net'", states_at, pathlib.Path("a"), {"net": {}}, "x")
    refused("weights at 'ema'; found them at 'net'", states_at, pathlib.Path("a"), {"net": {}}, "ema")


SETTINGS = {
    "lr": 0.1, "name": "p4", "flip": True, "sizes": [28, (1, 2)], "none": None, "inner": {"a": 1, "b": None, 3: "x"},
    "tensor": torch.ones(2),
}  # fmt: skip
PLAIN = {"lr": 0.1, "name": "p4", "flip": True, "sizes": [28, [1, 2]], "inner": {"a": 1, "3": "x"}}


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize("key", ["hyper_parameters", "args", "config", "cfg", "hparams", "opt"])
@pytest.mark.parametrize("wrap", [dict, lambda settings: argparse.Namespace(**settings)])
def test_plain_settings(tmp_path, state, kind, key, wrap):
    read = read_checkpoint(write(tmp_path / "a.pt", {key: wrap(SETTINGS), "state_dict": state}, kind))
    assert read.hyperparameters == PLAIN
    assert list(read.states) == ["state_dict"]


@pytest.mark.parametrize("kind", PICKLED)
def test_harmless_things_are_read_as_what_they_say(tmp_path, state, kind):
    defaults = collections.defaultdict(list, {"a": [1]})
    settings = {
        "path": pathlib.PurePosixPath("/data/mnist"), "here": pathlib.Path("runs/a"), "defaults": defaults,
        "best": np.float64(0.25), "count": np.int64(3), "good": np.bool_(True), "half": np.float32(0.5),
        "big": np.array(2.5, ">f8")[()], "version": torch.torch_version.TorchVersion("2.1.0"), "array": np.arange(3),
        "class": np.array(["a"], object), "steps": collections.Counter({30: 1}), "set": {1},
    }  # fmt: skip
    read = read_checkpoint(write(tmp_path / "a.pt", {"args": settings, "model": state, "epoch": np.int64(7)}, kind))
    assert read.hyperparameters == {
        "path": "/data/mnist", "here": "runs/a", "defaults": {"a": [1]}, "best": 0.25, "count": 3, "good": True,
        "half": 0.5, "big": 2.5, "version": "2.1.0", "steps": {"30": 1},
    }  # fmt: skip
    assert read.epoch == 7
    assert type(read.hyperparameters["version"]) is str
    assert type(read.hyperparameters["best"]) is float


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize(
    "empty", [argparse.Namespace(), {}, *map(collections.defaultdict, (int, str, dict)), [], None, 3]
)
def test_settings_without_any(tmp_path, state, kind, empty):
    assert read_checkpoint(write(tmp_path / "a", {"args": empty, "model": state}, kind)).hyperparameters == {}


def test_of_several_tables_the_first_counts(tmp_path, state):
    content = {"args": {"lr": 1, "seed": 2}, "hyper_parameters": {"lr": 3}, "model": state}
    assert read_checkpoint(write(tmp_path / "a.pt", content)).hyperparameters == {"lr": 3, "seed": 2}


@pytest.mark.parametrize(
    ("said", "epoch"),
    [(25, 25), (0, 0), (torch.tensor(4), 4), (True, None), ("3", None), (-1, None), (2.0, None), (10**30, None)],
)
def test_the_epoch(tmp_path, state, said, epoch):
    assert read_checkpoint(write(tmp_path / "a.pt", {"epoch": said, "model": state})).epoch == epoch


def test_settings_of_safetensors(tmp_path, state):
    metadata = {
        "format": "pt", "epoch": "12", "arch": "p4cnn", "classes": "10", "version": "2.10", "broken": "{",
        "hyperparameters": json.dumps({"lr": 0.1}), "config": json.dumps({"lr": 3, "width": 2}), "deep": "[" * 9999,
    }  # fmt: skip
    save_file(state, tmp_path / "a", metadata)
    read = read_checkpoint(tmp_path / "a")
    assert read.hyperparameters == {
        "lr": 0.1, "width": 2, "arch": "p4cnn", "classes": 10, "version": "2.10", "broken": "{", "deep": "[" * 9999,
    }  # fmt: skip
    assert read.epoch == 12


def test_settings_without_end_are_cut(tmp_path, state):
    many = [1]
    for _ in range(60):
        many = [many] * 10
    around = {"lr": 0.1}
    around["self"] = around
    content = {"args": around, "config": many, "opt": {"long": "x" * 10**6, "list": list(range(10**5))}, "model": state}
    settings = read_checkpoint(write(tmp_path / "a.pt", content)).hyperparameters
    assert settings["lr"] == 0.1
    assert settings.keys() <= {"lr", "self"}


def test_a_file_that_holds_itself(tmp_path, state):
    content = {"state_dict": state, "list": []}
    content["self"] = content
    content["list"].append(content["list"])
    assert list(read_checkpoint(write(tmp_path / "a.pt", content)).states) == ["state_dict"]


@pytest.mark.parametrize(
    "content",
    [
        torch.ones(2), {}, [], 3, None, "text", {"epoch": 3}, {0: torch.ones(2)}, {"rng": torch.ones(2).byte()},
        optimiser(), {"optimizer": optimiser()}, {"best": torch.tensor(0.5)}, [torch.ones(2)], {"a": {"b": {}}},
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", PICKLED)
def test_files_without_weights(tmp_path, refused, content, kind):
    refused("no named weights", read_checkpoint, write(tmp_path / "a.pt", content, kind))


def test_safetensors_without_weights(tmp_path, refused):
    refused("no named weights", read_checkpoint, write(tmp_path / "a", {}, "safetensors"))


def test_half_and_shared_and_transposed_tensors_are_as_saved(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    content = {"a": weight.half(), "b": weight.bfloat16(), "c": weight, "d": weight[0], "e": weight.t()}
    content |= {"f": torch.nn.Parameter(weight), "g": torch.ones(1).expand(4), "h": torch.ones(2).to(torch.uint16)}
    found = read_checkpoint(write(tmp_path / "a.pt", content)).states[""]
    assert same(found, content)
    assert [value.dtype for value in found.values()] == [value.dtype for value in content.values()]


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps:0", "xla:1", "nowhere"])
def test_tensors_of_other_devices_come_to_the_cpu(tmp_path, device):
    pickled = of(w=tensor((2,), (1,), where=storage(2, device=device)))
    found = read_checkpoint(write_zip(tmp_path / "a", pickled, [struct.pack("<2f", 1, 2)])).states[""]["w"]
    assert (found.device.type, found.tolist()) == ("cpu", [1, 2])


def test_the_other_order_of_bytes(tmp_path, monkeypatch):
    pickled, numbers = of(w=tensor((2,), (1,))), [struct.pack(">2f", 1, 2)]
    path = write_zip(tmp_path / "a", pickled, numbers, byteorder="big")
    for mapped in (2**30, 0):
        monkeypatch.setattr(torch_files, "_MAPPED", mapped)
        assert read_checkpoint(path).states[""]["w"].tolist() == [1, 2]


def test_text_of_python_2(tmp_path):
    pickled = of(w=tensor((2,), (1,)), epoch=whole(3)).replace(text("storage"), b"U\x07storage")
    pickled = pickled.replace(text("cpu"), b"U\x03cpu").replace(text("w"), b"U\x01w")
    read = read_checkpoint(write_zip(tmp_path / "a", pickled, [struct.pack("<2f", 1, 2)]))
    assert (read.states[""]["w"].tolist(), read.epoch) == ([1, 2], 3)


def test_callbacks_of_old_lightning_are_named_by_their_class(tmp_path):
    name = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    callbacks = b"}" + name + b"}" + text("best_model_score") + b"Nss"
    pickled = of(callbacks=callbacks, state_dict=b"}" + text("w") + tensor((2,), (1,)) + b"s")
    read = read_checkpoint(write_zip(tmp_path / "a", pickled, [struct.pack("<2f", 1, 2)]))
    assert list(read.states) == ["state_dict"]


def test_many_threads_read_at_once(tmp_path, state):
    write(tmp_path / "a.pt", {"state_dict": state, "args": argparse.Namespace(lr=0.1)})
    with ThreadPoolExecutor(8) as pool:
        for read in pool.map(read_checkpoint, [tmp_path / "a.pt"] * 40):
            assert (read.hyperparameters, same(read.states["state_dict"], state)) == ({"lr": 0.1}, True)


def test_whole_modules_are_found_where_they_can_be(state):
    model = network()
    model.load_state_dict(state)
    assert same(find_states({"model": model, "epoch": 1})["model"], state)
    assert same(find_states(model)[""], state)


def test_the_file_is_left_alone(tmp_path, state):
    for kind in FORMATS:
        path = write(tmp_path / "a", state, kind)
        before = path.read_bytes()
        read = read_checkpoint(path)
        next(iter(read.states[""].values())).data.zero_()
        assert path.read_bytes() == before
        shutil.move(path, tmp_path / "b")
        assert [one.name for one in tmp_path.iterdir()] == ["b"]
