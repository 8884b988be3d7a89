"""What is proposed of checkpoints, and why: arguments, sizes, data, which weights, and what the user says."""

import pytest
import torch

from eqviz import open_runs
from eqviz.errors import EqvizError
from eqviz.models import lookup
from eqviz.models.registry import build_model
from eqviz.studies.extensions import import_modules
from eqviz.studies.foreign.proposals import Asked
from eqviz.studies.foreign.proposing import propose
from tests.studies.foreign import users_networks
from tests.studies.foreign.users_networks import Small, Turned
from tests.studies.plain_networks import ResNet, Vgg

MODULES = ("tests.studies.plain_networks", "tests.studies.foreign.users_networks")


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    monkeypatch.setattr(lookup, "_IMPORTED", [])
    import_modules(MODULES)


@pytest.fixture
def only(tmp_path):
    """The one table that is proposed for a file with this content, and its entries by key."""

    def call(content, name="net.pt", **asked):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, path)
        (table,) = propose(tmp_path, Asked(**asked)).tables
        return table.values, {entry.key: entry for entry in table.entries}

    return call


SMALL = Small().state_dict()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"img_size": 12}, [12, False]), ({"input_shape": [1, 10, 12]}, [[10, 12], False]),
        ({"size": "16x20"}, [[16, 20], False]), ({"data": {"name": "x", "image_size": 14}}, [14, False]),
        ({"size": "large"}, [28, True]), ({"dataset": "FashionMNIST"}, [28, True]),
    ],
)  # fmt: skip
def test_the_input_size_of_the_settings(only, said, expected):
    values, entries = only({"state_dict": SMALL, "args": said})
    assert [values["input_size"], entries["input_size"].guessed] == expected


@pytest.mark.parametrize(
    ("name", "size", "guessed"), [("net_20.pt", 20, True), ("net_n20.pt", None, False), ("net20.pt", 28, True)]
)
def test_the_input_size_of_the_names(only, name, size, guessed):
    values, entries = only(SMALL, name)
    assert values.get("input_size") == size
    assert size is None or entries["input_size"].guessed == guessed


def test_a_size_in_the_names_counts_before_one_that_is_given(tmp_path):
    torch.save(SMALL, tmp_path / "net_28px.pt")
    (table,) = propose(tmp_path, Asked(input_size=(8, 8))).tables
    assert "input_size" not in table.values
    assert "does not count here" in table.notes[0]


def test_the_only_size_at_which_a_network_runs_is_known(only):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 36, 3))
    values, entries = only(network.state_dict(), constructor=lambda: network)
    assert (values["input_size"], entries["input_size"].guessed) == (8, False)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(2 * 81, 3))
    values, entries = only(network.state_dict(), constructor=lambda: network)
    assert (values["input_size"], entries["input_size"].guessed) == (11, True)


@pytest.mark.parametrize(
    ("said", "name", "expected"),
    [
        ({"dataset": "CIFAR-10"}, "a.pt", {"source": "cifar10", "channels": 1}),
        ({}, "mnist/a.pt", {"source": "mnist"}),
        ({"data_dir": "/data/flowers102"}, "a.pt", {"source": "flowers102", "channels": 1, "labels": False}),
        ({}, "a.pt", {"source": "digits", "labels": False}),
        ({"data": "administration"}, "a.pt", {"source": "digits", "labels": False}),
    ],
)  # fmt: skip
def test_the_data_by_settings_and_names(only, said, name, expected):
    values, _ = only({"state_dict": SMALL, "hparams": said}, name)
    assert values["data"] == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"mean": [0.2], "std": [0.5]}, {"mean": [0.2], "std": [0.5]}),
        ({"mean": 0.2, "std": 0.5}, {"mean": [0.2], "std": [0.5]}),
        ({"dataset": "mnist"}, {"mean": [0.1307], "std": [0.3081]}),
        ({"mean": 45.0, "std": 20.0}, {"mean": [0.0], "std": [1.0]}),
        ({"dataset": "cifar10"}, {"mean": [0.473367], "std": [0.2507]}), ({}, {"mean": [0.0], "std": [1.0]}),
    ],
)  # fmt: skip
def test_the_normalisation(only, said, expected):
    values, _ = only({"state_dict": SMALL, "hparams": said})
    assert values["normalisation"] == expected


def test_arguments_of_the_settings_and_of_the_shapes(only):
    content = {"state_dict": ResNet(3, 7, 4).state_dict(), "args": {"output": "pair", "lr": 0.1, "classes": 7}}
    values, entries = only(content)
    assert values["model"] == "ResNet"
    assert values["arguments"] == {"in_channels": 3, "classes": 7, "channels": 4, "output": "pair"}
    assert (values["output"], entries["output"].guessed) == (0, True)


def test_settings_do_no_more_than_build(only):
    harmful = {"pretrained": True, "weights_path": "https://example.org/a.pt", "kernel": 5, "classes": 10}
    values, _ = only({"state_dict": Small(kernel=5).state_dict(), "hparams": harmful})
    assert values["arguments"] == {"kernel": 5, "classes": 10}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weights", "DEFAULT"), ("resume", "last"), ("from_hub", True), ("cache", "there"), ("source", "a.pkl"),
        ("source", "hub:net"), ("source", ["a", "../b"]),
    ],
)  # fmt: skip
def test_settings_that_would_have_something_fetched(only, monkeypatch, key, value):
    """Nor are switches of that kind tried."""
    fetched = []

    class Careless(Small):
        def __init__(self, kernel=3, weights="", resume="", from_hub=False, cache="", source=""):
            super().__init__(kernel=kernel)
            fetched.extend(given for given in (weights, resume, from_hub, cache, source) if given)

    monkeypatch.setattr(users_networks, "Careless", Careless, raising=False)
    values, _ = only({"state_dict": SMALL, "hparams": {key: value, "kernel": 3}}, model="Careless")
    assert values["arguments"] == {"kernel": 3}
    assert fetched == []


def test_a_network_that_the_file_names_comes_first(only):
    content = {"state_dict": build_model("p4cnn_two_pools", channels=1).state_dict(), "arch": "p4cnn_two_pools"}
    assert only({**content, "args": {"arch": "p4cnn_two_pools"}})[0]["model"] == "p4cnn_two_pools"
    assert only(content)[0]["model"] == "p4cnn"
    assert only(content, model="p4cnn_two_pools")[0]["model"] == "p4cnn_two_pools"


def test_of_several_weights_in_a_file_the_first_that_fit(only):
    values, entries = only({"state_dict": SMALL, "ema": {"shadow": Small().state_dict()}})
    assert values["weights"] == "state_dict"
    assert "'ema.shadow'" in entries["weights"].why


def test_prefixes_that_differ_within_a_network(only):
    renamed = {name.replace("conv.", "features.").replace("fc.", "head."): value for name, value in SMALL.items()}
    values, _ = only(renamed, model="Small")
    assert values["rename"] == {"features.": "conv.", "head.": "fc."}


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ({"state_dict": SMALL, "epoch": 7, "args": {"seed": 3}}, "a.pt", {"epoch": 7, "seed": 3}), (SMALL, "a.pt", {}),
        (SMALL, "net_init.pt", {"epoch": 0}), ({"state_dict": SMALL, "epoch": 0}, "best.pt", {}),
        ({"state_dict": SMALL, "epoch": 7}, "a_epoch3_seed2.pt", {}),
    ],
)  # fmt: skip
def test_epoch_and_seed(only, content, name, expected):
    values, _ = only(content, name)
    assert {key: values[key] for key in ("epoch", "seed") if key in values} == expected


def test_what_is_nearest_is_told(tmp_path):
    torch.save({**SMALL, "extra.weight": torch.ones(3)}, tmp_path / "a.pt")
    (table,) = propose(tmp_path, Asked(model="Small")).tables
    assert table.missing.tried == ("Small",)
    assert "unexpected: extra.weight" in table.missing.nearest
    (table,) = propose(tmp_path, Asked(model="Fails")).tables
    assert "RuntimeError: no such network" in table.missing.nearest


def test_files_of_one_network_that_are_no_seeds_have_labels(tmp_path):
    for name in ("checkpoint.pth.tar", "model_best.pth.tar"):
        torch.save(SMALL, tmp_path / name)
    torch.save(Turned().state_dict(), tmp_path / "other.pt")
    tables = propose(tmp_path).tables
    assert [table.values.get("label") for table in tables] == ["Small checkpoint", "Small model best", None]


def test_epochs_that_count_from_0_are_told(tmp_path):
    for epoch in (0, 1):
        torch.save(SMALL, tmp_path / f"epoch={epoch}-step={9 * epoch + 9}.ckpt")
    (table,) = propose(tmp_path).tables
    assert "count from 0" in table.notes[0]


def test_it_is_told_which_files_are_opened(tmp_path):
    for seed in range(9):
        torch.save(SMALL, tmp_path / f"a_seed{seed}.pt")
    told = []
    propose(tmp_path, tell=told.append)
    assert told[:2] == ["opening a_seed0.pt", "opening a_seed8.pt"]
    assert len(told) <= 3


def test_descriptions_further_below_are_left_alone(tmp_path):
    for name in ("a.pt", "done/b.pt", "own/epoch-0001.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(SMALL, tmp_path / name)
    (tmp_path / "done/eqviz.toml").write_text("format = 1")
    (tmp_path / "own/run.toml").write_text("format = 1")
    assert [table.files for table in propose(tmp_path).tables] == [("a.pt",)]
    with pytest.raises(EqvizError, match="only 1 runs that it did"):
        propose(tmp_path / "own")


@pytest.mark.parametrize("model", [Vgg, lambda in_channels=1, classes=10: Vgg(in_channels, classes), Vgg(1, 5)])
def test_a_constructor_does_without_a_description(tmp_path, model):
    for seed in (0, 1):
        torch.save({"state_dict": Vgg(1, 5).state_dict(), "epoch": 4}, tmp_path / f"net_seed{seed}.ckpt")
    torch.save(SMALL, tmp_path / "another.pt")
    with pytest.raises(EqvizError, match="input_size=N"):
        open_runs(tmp_path, model=model)
    runs = open_runs(tmp_path, model=model, input_size=8, limit=4, orbit_images=2, layers="avgpool", device="cpu")
    assert [(run.name, run.seed, run.epochs) for run in runs] == [("net_seed0", 0, (4,)), ("net_seed1", 1, (4,))]
    assert len(runs.equivariance()) > 0
    assert not (tmp_path / "eqviz.toml").exists()


def test_a_constructor_that_fits_nothing(tmp_path):
    torch.save(SMALL, tmp_path / "a.pt")
    with pytest.raises(EqvizError, match="missing: "):
        open_runs(tmp_path, model=Vgg)
    with pytest.raises(EqvizError, match="leave it out"):
        open_runs(tmp_path, input_size=8)
