"""`eqviz init` on folders of every kind, and what comes of them: `eqviz runs`, and tables measured."""

import argparse
import os
import tomllib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from eqviz import open_runs
from eqviz.models.registry import build_model
from tests.steerable_libraries import working_e2cnn
from tests.studies.foreign.users_networks import Small, Turned
from tests.studies.plain_networks import ResNet, UNet, Vgg

MODULE, OTHERS = "tests.studies.plain_networks", "tests.studies.foreign.users_networks"
FEW = {"limit": 4, "orbit_images": 2, "angles": (0.0, 90.0), "layers": "*", "device": "cpu"}


def state(network, prefix=""):
    return {f"{prefix}{name}": value for name, value in network.state_dict().items()}


def seeded(make, seed):
    torch.manual_seed(seed)
    return make()


def pth_tar(folder):
    """The layout of many training scripts: several seeds, epochs and sizes, wrapped by DataParallel."""
    for size in (8, 9):
        for seed in (0, 1):
            for epoch in (5, 10):
                weights = state(seeded(lambda: build_model("p4cnn", channels=2), seed), "module.")
                content = {"epoch": epoch, "state_dict": weights, "args": argparse.Namespace(lr=0.1, seed=seed)}
                torch.save(content, folder / f"p4_n{size}_seed{seed}_epoch{epoch}.pth.tar")
    return {"files": "p4_n{size}_seed{seed}_epoch{epoch}.pth.tar", "model": "p4cnn", "group": "C4"}, 4


def bare(folder):
    """State dicts alone, and the best of them."""
    for name in ("net_1.pt", "net_2.pt", "net_best.pt"):
        torch.save(state(build_model("p4mcnn", channels=1, in_channels=3)), folder / name)
    return {"files": "net_{epoch}.pt", "model": "p4mcnn", "group": "D4", "label": "p4mcnn"}, 2


def safetensors(folder):
    """One file for each run, with the data in its name."""
    for seed in (3, 4):
        save_file(state(build_model("z2cnn", channels=2)), folder / f"z2_digits_seed{seed}.safetensors")
    return {"files": "z2_digits_seed{seed}.safetensors", "data": {"source": "digits"}, "input_size": 8}, 2


def resnet(folder):
    """A residual network with words among its arguments."""
    (folder / "some where").mkdir()
    network = build_model("p4resnet8", in_channels=1, widths=[1, 2, 2], head="flatten")
    torch.save({"net": state(network, "_orig_mod."), "acc": 0.5, "epoch": 3}, folder / "some where/ckpt.t é.pth")
    return {"model": "p4resnet8", "epoch": 3}, 1


def lightning(folder):
    """The folders of Lightning, with the hyperparameters of a module that holds the network."""
    for version in (0, 1):
        inner = folder / f"lightning_logs/version_{version}/checkpoints"
        inner.mkdir(parents=True)
        for epoch in (3, 4):
            torch.save(
                {
                    "epoch": epoch, "global_step": 9 * epoch, "pytorch-lightning_version": "2.6.6",
                    "state_dict": {**state(Vgg(3, 4), "model."), "criterion.weight": torch.ones(4)},
                    "hyper_parameters": {"in_channels": 3, "classes": 4, "img_size": 9, "lr": 0.1},
                    "optimizer_states": [{"state": {}, "param_groups": []}], "loops": {}, "callbacks": {},
                },
                inner / f"epoch={epoch}-step={9 * epoch}.ckpt",
            )  # fmt: skip
    return {
        "files": "lightning_logs/version_{seed}/checkpoints/epoch={epoch}-step={step}.ckpt", "model": "Vgg",
        "arguments": {"in_channels": 3, "classes": 4}, "input_size": 9,
    }, 2  # fmt: skip


def widths(folder):
    """A class of the user's, its width in no file, in networks of two widths."""
    for channels in (2, 3):
        for seed in (0, 1):
            torch.save({"model": state(ResNet(1, 7, channels))}, folder / f"w{channels}_s{seed}.pt")
    return {"files": "w3_s{seed}.pt", "arguments": {"channels": 3, "classes": 7}, "data": {"labels": False}}, 4


def pairs(folder):
    """A network that returns a tuple."""
    save = {"state_dict": state(ResNet(1, 5)), "hparams": {"output": "pair", "classes": 5, "image_size": [9, 9]}}
    torch.save(save, folder / "a.pt")
    return {"output": 0, "input_size": 9, "arguments": {"classes": 5, "output": "pair"}}, 1


def maps(folder):
    """Scores for every pixel."""
    torch.save(state(UNet(3, 2)), folder / "unet_32.pt")
    return {"model": "UNet", "data": {"channels": 3, "labels": False}, "arguments": {"in_channels": 3, "classes": 2}}, 1


KINDS = {
    pth_tar: [], bare: ["--input-size", "8"], safetensors: [], resnet: ["--input-size", "9", "--data", "digits"],
    lightning: ["--import", MODULE], widths: ["--import", MODULE, "--input-size", "8"], pairs: ["--import", MODULE],
    maps: ["--import", MODULE, "--model", "UNet", "--input-size", "8"],
}  # fmt: skip


def holds(table, expected):
    return all(
        holds(table[key], value) if isinstance(value, dict) else table[key] == value for key, value in expected.items()
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_folder_is_understood_listed_and_measured(eqviz, tmp_path, kind):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    expected, runs = kind(folder)
    done = eqviz("init", folder, *KINDS[kind])
    assert (done.status, done.err) == (0, "")
    assert "left out" not in done.out
    imports = ["--import", MODULE] if MODULE in KINDS[kind] else []
    assert done.out.splitlines()[-1].endswith(f"next: eqviz runs {folder}{' ' if imports else ''}{' '.join(imports)}")
    tables = tomllib.loads((folder / "eqviz.toml").read_text())["runs"]
    assert any(holds(table, expected) for table in tables), tables
    listed = eqviz("runs", folder, *imports)
    assert listed.status == 0, listed.out
    assert "not " not in listed.out
    found = open_runs(folder, **FEW)
    assert len(found) == runs
    table = found.equivariance()
    assert set(table["run"]) == {run.name for run in found}
    assert table["relative_error"].notna().any()
    if kind is pth_tar:
        networks = found.networks()
        assert dict(zip(networks["input_size"], networks["exact"], strict=True)) == {8: "yes", 9: "no"}


def test_a_dry_run_writes_nothing_but_the_file_to_standard_output(eqviz, tmp_path):
    bare(tmp_path)
    done = eqviz("init", tmp_path, "--dry-run")
    assert done.status == 0
    assert [table["model"] for table in tomllib.loads(done.out)["runs"]] == ["p4mcnn", "p4mcnn"]
    assert "guessed: input_size" in done.err
    assert not (tmp_path / "eqviz.toml").exists()


def test_a_description_is_not_replaced_unless_forced(eqviz, tmp_path):
    bare(tmp_path)
    (tmp_path / "eqviz.toml").write_text("mine")
    done = eqviz("init", tmp_path)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--force" in done.err
    assert (tmp_path / "eqviz.toml").read_text() == "mine"
    assert eqviz("init", tmp_path, "--force").status == 0
    assert (tmp_path / "eqviz.toml").read_text() != "mine"


def test_networks_that_nobody_knows_are_to_be_filled_in(eqviz, tmp_path):
    torch.save(state(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(98, 2))), tmp_path / "a.pt")
    done = eqviz("init", tmp_path, "--import", MODULE)
    assert done.status == 0
    assert "to be filled in" in done.out
    assert "tried" in done.out
    text = (tmp_path / "eqviz.toml").read_text()
    assert '# model = "..."' in text
    assert "nearest is" in text
    listed = eqviz("runs", tmp_path)
    assert listed.status == 2
    assert "runs[1].model" in listed.out
    assert "not described" not in listed.out


def test_what_the_user_says_counts(eqviz, tmp_path):
    torch.save(state(Vgg(3, 5, 4)), tmp_path / "a.pt")
    say = ("--import", MODULE, "--model", "Vgg", "--set", "channels=4", "--input-size", "12x10", "--group", "p4m",
           "--data", "cifar10", "--data-root", tmp_path)  # fmt: skip
    assert eqviz("init", tmp_path, *say).status == 0
    table = tomllib.loads((tmp_path / "eqviz.toml").read_text())["runs"][0]
    assert (table["input_size"], table["group"], table["arguments"]["channels"]) == ([12, 10], "D4", 4)
    assert table["data"] == {"source": "cifar10", "root": str(tmp_path), "labels": False}


def test_networks_of_a_steerable_library(eqviz, tmp_path):
    with working_e2cnn():
        from tests.studies.foreign.users_steerable import Steered

        torch.save(state(Steered(2)), tmp_path / "c4_s0.pt")
        torch.save(state(Steered(flips=True)), tmp_path / "d4_s0.pt")
        done = eqviz("init", tmp_path, "--import", "tests.studies.foreign.users_steerable", "--input-size", "8")
        assert done.status == 0
        first, second = tomllib.loads((tmp_path / "eqviz.toml").read_text())["runs"]
        assert (first["group"], first["arguments"]["channels"]) == ("C4", 2)
        assert (second["group"], second["arguments"]) == ("D4", {"flips": True})
        assert open_runs(tmp_path, **FEW).networks()["exact"].tolist() == ["yes", "yes"]


def test_field_types_by_evidence(eqviz, tmp_path):
    torch.save(state(Turned(classes=3)), tmp_path / "a.pt")
    torch.save(state(Small()), tmp_path / "b.pt")
    done = eqviz("init", tmp_path, "--infer-fields", "--import", OTHERS, "--input-size", "8")
    assert done.status == 0
    text = (tmp_path / "eqviz.toml").read_text()
    first, second = tomllib.loads(text)["runs"]
    assert first["fields"] == {"lift": "regular(C4)", "relu": "regular(C4)", "fc": "invariant", "(output)": "invariant"}
    assert "# defect " in text
    assert "fields" not in second
    assert "# undecided, no candidate fits: conv, fc, (output)" in text
    table = open_runs(tmp_path, **FEW).equivariance().set_index(["run", "layer"])
    assert set(table.loc["a"]["field_source"]) == {"declared"}
    assert table.loc["a"]["relative_error"].max() < 1e-5  # rounding in float32: the network is exact


NOTHING = {
    "empty": lambda folder: None,
    "no checkpoint": lambda folder: (folder / "notes.txt").write_text("hello"),
    "broken": lambda folder: (folder / "a.pt").write_bytes(b"nothing"),
    "zero bytes": lambda folder: (folder / "a.safetensors").write_bytes(b""),
    "an optimiser": lambda folder: torch.save({"param_groups": [{"lr": 1}], "state": {}}, folder / "a.pt"),
    "a folder": lambda folder: (folder / "a.pt").mkdir(),
    "nowhere": lambda folder: (folder / "a.pt").symlink_to("nowhere"),
    "elsewhere": lambda folder: (folder / "a.pt").symlink_to("/dev/zero"),
    "a pipe": lambda folder: os.mkfifo(folder / "a.pt"),
    "a loop": lambda folder: (folder / "a.pt").symlink_to("a.pt"),
    "a bad name": lambda folder: torch.save(state(nn.Linear(2, 1)), folder / "a{seed}*.pt"),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_where_nothing_is_understood_nothing_is_written(eqviz, tmp_path, kind):
    NOTHING[kind](tmp_path)
    before = sorted(tmp_path.iterdir())
    done = eqviz("init", tmp_path)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert str(tmp_path) in done.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "p4cn"], "did you mean p4cnn"), (["--set", "channels"], "channels"), (["--group", "Q8"], "Q8"),
        (["--input-size", "0"], "--input-size"), (["--data", "mnits"], "did you mean 'mnist'"),
        (["--import", "no_such_module"], "no_such_module"), (["--pie"], "--pie"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(eqviz, tmp_path, arguments, words):
    bare(tmp_path)
    done = eqviz("init", tmp_path, *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert words in done.err
    assert not (tmp_path / "eqviz.toml").exists()


def test_files_that_cannot_be_described_are_named(eqviz, tmp_path):
    bare(tmp_path)
    (tmp_path / "broken\n.pt").write_bytes(b"nothing")
    torch.save(state(Vgg()), tmp_path / "a{x}.pt")
    done = eqviz("init", tmp_path)
    assert done.status == 0
    left = done.out.split("left out:")[1]
    assert "broken\\n.pt: expected" in left
    assert "a{x}.pt: no pattern" in left
    listed = eqviz("runs", tmp_path)
    assert listed.status == 0
    assert "a{x}.pt" in listed.out.split("not described:")[1]


def test_runs_that_cannot_be_used_are_told_with_the_reason(eqviz, tmp_path):
    pth_tar(tmp_path)
    eqviz("init", tmp_path)
    path = tmp_path / "eqviz.toml"
    text = path.read_text()
    changes = {
        "channels = 2": ("channels = 3", "of another shape"), "p4cnn": ("p5cnn", "did you mean p4cnn"),
        "_epoch{epoch}": ("_e{epoch}", "none; there are p4_n8_seed0"), "format = 1": ("format = 9", "update eqviz"),
        "channels = 2 ": ("chanels = 2 ", "did you mean channels"),
    }  # fmt: skip
    for old, (new, words) in changes.items():
        assert old in text
        path.write_text(text.replace(old, new))
        listed = eqviz("runs", tmp_path)
        assert listed.status == 2
        assert words in listed.out.split("not usable:")[1]
    path.write_text(text)
    whole = (tmp_path / "p4_n9_seed1_epoch10.pth.tar").read_bytes()
    (tmp_path / "p4_n9_seed1_epoch10.pth.tar").write_bytes(whole[: len(whole) // 2])
    listed = eqviz("runs", tmp_path)
    assert listed.status == 2
    assert listed.out.split("not usable:")[1].strip().startswith("p4_n9_seed1: ")
    assert "p4_n9_seed0" in listed.out.split("not usable:")[0]


def test_runs_says_of_what_nothing_describes_whether_it_can_be_read_at_all(eqviz, tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    torch.save({"other.weight": torch.ones(2)}, tmp_path / "other.pt")
    listed = eqviz("runs", tmp_path)
    lines = {line.partition(": ")[0].strip(): line for line in listed.out.splitlines()}
    assert "eqviz convert --trust" in lines["whole.pt"]
    assert "eqviz init" in lines["other.pt"]


def test_a_guessed_normalisation_is_said_where_accuracies_are_measured(eqviz, tmp_path):
    torch.save(state(build_model("p4cnn", channels=2)), tmp_path / "p4.pt")
    assert "guessed: normalisation" in eqviz("init", tmp_path, "--data", "digits", "--dry-run").err
    assert "guessed: normalisation" not in eqviz("init", tmp_path, "--dry-run").err
