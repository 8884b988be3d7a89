"""The promise as a whole: `eqviz init`, then `eqviz figures`, on the folders that people have; every verdict right.

What a network ought to be is known by its architecture: a plain CNN of kernels above 1 breaks in every layer, the
others are exact where their strides and pools fit, and keep the transpose if they have reflections and misfit.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from eqviz.cli.main import run
from eqviz.models import lookup
from tests.models.groupy_reference import write_folder
from tests.steerable_libraries import working_e2cnn

ROOT = Path(__file__).parent.parent
MODULE = "analyses.foreign_models"
FEW = ("--limit", "20", "--orbit-images", "8", "--every", "90", "--device", "cpu", "--format", "png")
FIGURES = ("breaking_by_layer", "predicted_and_measured", "surviving_subgroups", "accuracy_over_rotation")

EVERYTHING, NOTHING, TRANSPOSE = "all", "C1", "D1(transpose)"


def save(network, path, **content):
    args = argparse.Namespace(dataset="digits", mean=[0.3], std=[0.32], **content.pop("args", {}))
    torch.save({"epoch": 3, "state_dict": network.state_dict(), "args": args, **content}, path)


def plain(folder, models):
    """State dicts of a CNN that eqviz does not know, as a training script leaves them."""
    for seed in (0, 1):
        torch.manual_seed(seed)
        save(models.PlainNet(width=2), folder / f"plain_12px_seed{seed}.pth.tar", args={"width": 2})
    return {"plain_12px_seed0": NOTHING, "plain_12px_seed1": NOTHING}


def lightning(folder, models):
    """A Lightning checkpoint: names start with `model.`, settings are hyper_parameters, much lies beside them."""
    torch.manual_seed(0)
    network = models.PlainNet(width=2)
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    content = {
        "epoch": 2, "global_step": 9, "pytorch-lightning_version": "2.6.6", "state_dict": state, "loops": {},
        "callbacks": {}, "optimizer_states": [torch.optim.Adam(network.parameters()).state_dict()], "lr_schedulers": [],
        "hparams_name": "kwargs", "hyper_parameters": {"width": 2, "lr": 0.1, "dataset": "digits", "input_size": 12},
    }  # fmt: skip
    (folder / "version_0" / "checkpoints").mkdir(parents=True)
    torch.save(content, folder / "version_0" / "checkpoints" / "epoch=2-step=9.ckpt")
    return {"version_0/checkpoints": NOTHING}


def steerable(folder, models):
    """An e2cnn network over rotations and one with reflections, at a size that its stride fits and at one that not."""
    expected = {}
    for flips, name, left in ((False, "c4", NOTHING), (True, "d4", TRANSPOSE)):
        for size in (8, 9):
            torch.manual_seed(size)
            network = models.SteerableNet(width=1, flips=flips)
            save(network, folder / f"steer_{name}_n{size}.pth", args={"width": 1, "flips": flips, "input_size": size})
            expected[f"steer_{name}_n{size}"] = EVERYTHING if size == 9 else left
    return expected


def lineage(folder, models):
    """P4 and P4M networks as a reimplementation of the GrouPy layout writes them, by brute force."""
    del models
    write_folder(folder, seeds=(0,), channels=3)
    for path in folder.glob("z2*"):
        path.unlink()
    left = {"p4": NOTHING, "p4m": TRANSPOSE}
    return {
        f"{name}_n{size}_seed0": EVERYTHING if size == 8 else kept for name, kept in left.items() for size in (8, 9)
    }


KINDS = {
    "plain": (plain, ("--import", MODULE, "--input-size", "12")),
    "lightning": (lightning, ("--import", MODULE)),
    "steerable": (steerable, ("--import", MODULE)),
    "lineage": (lineage, ("--data", "digits")),
}


@pytest.fixture(scope="module", params=KINDS)
def done(request, tmp_path_factory):
    """The kind, its folder and its report after both commands, what was printed, and what is to be expected."""
    write, options = KINDS[request.param]
    folder, report = tmp_path_factory.mktemp(request.param), tmp_path_factory.mktemp("reports") / request.param
    imports = options[:2] if "--import" in options else ()
    with pytest.MonkeyPatch.context() as changed, working_e2cnn():
        changed.chdir(ROOT)
        changed.setattr(sys, "path", [*sys.path])
        changed.setattr(lookup, "_IMPORTED", [])
        from analyses import foreign_models

        expected = write(folder, foreign_models)
        assert run(["init", str(folder), *options]) == 0
        assert run(["runs", str(folder), *imports]) == 0
        only = [word for name in FIGURES for word in ("--only", name)]
        assert run(["figures", str(folder), "-o", str(report), *imports, *only, *FEW]) == 0
    tables = {path.stem: pd.read_csv(path, keep_default_na=False) for path in (report / "tables").glob("*.csv")}
    return request.param, report, tables, expected


def test_figures_and_tables_are_there(done):
    _, report, tables, _ = done
    drawn = {path.stem.split("-")[0] for path in report.glob("*.png")}
    assert set(FIGURES) <= drawn
    assert {"accuracy", "equivariance", "subgroups", "verdict", "audit"} <= set(tables)
    assert "nan" not in (report / "index.html").read_text().lower().split()


def test_every_verdict_is_right(done):
    _, _, tables, expected = done
    outputs = tables["verdict"].query("layer == '(output)' and weights == 'trained'")
    found = {str(row["run"]): (row["exact"], row["surviving"]) for _, row in outputs.iterrows()}
    groups = {str(row["run"]): str(row["group"]) for _, row in outputs.iterrows()}
    matched = {name: next(run for run in found if run.startswith(name)) for name in expected}
    assert len(set(matched.values())) == len(found) == len(expected)
    for name, kept in expected.items():
        exact, surviving = found[matched[name]]
        assert exact == ("yes" if kept == EVERYTHING else "no"), name
        assert surviving == (groups[matched[name]] if kept == EVERYTHING else kept), name


def test_prediction_and_measurement_never_contradict_each_other(done):
    _, _, tables, _ = done
    assert set(tables["verdict"]["agrees"]) <= {"yes", ""}  # "" is open: nothing was predicted, or a layer is dead
    assert not ((tables["verdict"]["predicted"] == "yes") & (tables["verdict"]["exact"] == "no")).any()


def test_every_unknown_says_what_is_missing(done):
    _, _, tables, _ = done
    unknown = tables["audit"].query("exact == 'unknown'")
    assert (unknown["why"].str.len() > 20).all()
    assert (tables["audit"].query("exact == 'no'")["why"].str.len() > 20).all()
