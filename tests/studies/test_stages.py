"""The error after every stage, against plain loops of rot90, and what is measured of which network."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.models.registry import MODELS, build_model
from eqviz.studies.recipes import parse_recipe
from eqviz.studies.run_folders import Run, read_run
from eqviz.studies.runs import open_runs
from eqviz.studies.stages import stage_settings
from eqviz.studies.training import train_recipe

RECIPE = {
    "name": "stages", "seeds": [0], "data": {"source": "digits", "train_limit": 20, "test_limit": 20},
    "training": {"epochs": 1, "batch_size": 10, "learning_rate": 0.01},
    "runs": [
        {"model": "p4resnet8", "input_size": 10, "arguments": {"widths": [1, 2, 2]}},  # misfits: 10 is not 1 mod 4
        {"model": "p4resnet8", "input_size": 9, "arguments": {"widths": [1, 2, 2]}},
        {"model": "p4cnn", "input_size": 8, "arguments": {"channels": 1}},
    ],
}  # fmt: skip
QUICK = {"limit": 20, "analysis_images": 3, "device": "cpu"}
STAGES = ["conv1", "layers.0", "layers.1", "layers.2", "(output)"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("stages") / "runs"
    train_recipe(parse_recipe(RECIPE, "stages.toml"), made, device="cpu")
    return made


def hidden(images):
    """The images with 0 outside the inscribed disc, pixel by pixel."""
    size = images.shape[-1]
    masked = images.clone()
    for row in range(size):
        for column in range(size):
            if (row - (size - 1) / 2) ** 2 + (column - (size - 1) / 2) ** 2 > (size / 2) ** 2:
                masked[..., row, column] = 0
    return masked


def turned_back(features, quarters):
    """Features (image, channel, fibre, height, width) of images turned by so many quarters, turned back by loops."""
    back = torch.empty_like(features)
    for image in range(features.shape[0]):
        for channel in range(features.shape[1]):
            for place in range(4):
                moved = features[image, channel, (place + quarters) % 4]
                back[image, channel, place] = torch.rot90(moved, -quarters)
    return back


class Auxiliary(nn.Module):
    """A head that only runs while training, and a block within a wrapper."""

    def __init__(self, in_channels=1, classes=10, channels=2):
        super().__init__()
        self.conv, self.conv10 = nn.Conv2d(in_channels, channels, 3), nn.Conv2d(channels, classes, 3)
        self.aux = nn.Conv2d(channels, classes, 1)

    def forward(self, images):
        return self.conv10(self.conv(images)).mean((-2, -1))


def test_a_stage_that_never_runs_is_left_out(write_run, tmp_path, monkeypatch):
    monkeypatch.setitem(MODELS, "auxiliary", f"{__name__}:Auxiliary")
    write_run("aux", model="auxiliary", group="C4", arguments={"channels": 2})
    table = open_runs(tmp_path, **QUICK).stage_errors()
    assert table["layer"].unique().tolist() == ["conv", "conv10", "(output)"]


def published_l1(model, images, stage):
    """Mean absolute difference to the features of the upright image, summed over the three rotations."""
    held = {}
    module = model if stage == "(output)" else model.get_submodule(stage)
    hook = module.register_forward_hook(lambda _, inputs, output: held.update(output=output))
    upright, total = None, 0.0
    with torch.no_grad():
        for quarters in range(4):
            model(torch.rot90(images, quarters, (-2, -1)))
            output = held["output"]
            back = output if output.dim() == 2 else turned_back(output, quarters)
            upright = back if quarters == 0 else upright
            total += sum(abs(a - b) for a, b in zip(back.flatten().tolist(), upright.flatten().tolist(), strict=True))
    hook.remove()
    return total / upright.numel()


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("mask", [False, True])
def test_l1_is_that_of_plain_loops(folder, epoch, mask):
    runs = open_runs(folder, **QUICK)
    table = runs.stage_errors().query("model == 'p4resnet8' and input_size == 10")
    own = table[(table["epoch"] == epoch) & (table["mask"] == mask)].set_index("layer")
    (run,) = [run for run in runs if run.name == own["run"].iloc[0]]
    model, images = run.build(epoch), shown(run)
    for stage in STAGES:
        expected = published_l1(model, hidden(images) if mask else images, stage)
        # float32 both times; sums of a few hundred terms of order 1
        assert own.loc[stage, "l1"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert own.loc["layers.1", "l1"] > 1e-3 > 1e-5 > own.loc["layers.0", "l1"]


def shown(run):
    from eqviz.studies.measuring import test_images
    from eqviz.studies.measuring_settings import Settings

    images = test_images(run, Settings(limit=20)).take(3, run.data.seed)
    return run.normalisation.apply(torch.from_numpy(images.images))


def test_every_saved_epoch_under_both_masks_and_nothing_else(folder):
    table = open_runs(folder, **QUICK).stage_errors()
    assert set(table["epoch"]) == {0, 1}
    assert set(table["n"]) == {3}
    resnet = table[table["model"] == "p4resnet8"]
    for _, part in resnet.groupby(["run", "epoch", "mask"]):
        assert part["layer"].astype(str).tolist() == STAGES
        assert part["subsamples"].tolist() == [False, False, True, True, False]
    assert len(resnet) == 2 * 2 * 2 * len(STAGES)
    plain = table[table["model"] == "p4cnn"]
    assert {"convolution", "pooling", "output"} == set(plain["kind"])
    assert {"conv1", "pool", "conv7"} <= set(plain["layer"])


def test_where_the_size_fits_every_stage_is_at_the_rounding_floor(folder):
    table = open_runs(folder, **QUICK).stage_errors()
    fits = table.query("model == 'p4resnet8' and input_size == 9")
    # the floor is an estimate that exact layers lie about; a break is many orders of magnitude above it
    assert (fits["breaking_fraction"] < 100 * fits["floor"] + 1e-15).all()
    broken = table.query("model == 'p4resnet8' and input_size == 10 and layer == 'layers.2'")
    assert (broken["breaking_fraction"] > 1e6 * broken["floor"]).all()


def test_the_second_time_comes_from_the_cache(folder, monkeypatch):
    first = open_runs(folder, **QUICK).stage_errors()
    steps = []

    def build(self, epoch=None):
        raise AssertionError("a network was built")

    monkeypatch.setattr(Run, "build", build)
    again = open_runs(folder, **QUICK, on_step=steps.append)
    assert again.stage_errors().equals(first)
    assert {step.kind for step in steps} == {"analysed"}
    assert again.reused == len(again.checkpoints)


def test_layers_that_were_asked_for_are_kept(folder):
    run = read_run(folder / "p4resnet8-9-seed0")
    runs = open_runs(folder / "p4resnet8-9-seed0", **QUICK, layers="bn1")
    assert set(runs.stage_errors()["layer"]) == {"bn1", "(output)"}
    chosen = stage_settings(run, runs.settings, mask=True)
    assert (chosen.mask, chosen.layers, chosen.orbit_images) == (True, "bn1", 3)


def test_an_architecture_has_shapes_and_no_values(folder):
    run = read_run(folder / "p4resnet8-9-seed0")
    names = {name: tuple(value.shape) for name, value in run.architecture().state_dict().items()}
    built = build_model("p4resnet8", **run.arguments).state_dict()
    assert names == {name: tuple(value.shape) for name, value in built.items()}
    assert all(value.is_meta for value in run.architecture().parameters())


def test_over_seeds_it_is_what_pandas_says(folder):
    runs = open_runs(folder, **QUICK)
    table, summary = runs.stage_errors(), runs.stage_errors_summary()
    assert len(summary) == 5 * len(table) - int(table[["relative_error", "relative_l1", "cosine"]].isna().sum().sum())
    row = summary.query("model == 'p4resnet8' and input_size == 10 and epoch == 1 and mask and layer == 'layers.1'")
    own = table.query("model == 'p4resnet8' and input_size == 10 and epoch == 1 and mask and layer == 'layers.1'")
    for measure, value in row.set_index("measure")["mean"].items():
        np.testing.assert_allclose(value, own[measure].iloc[0])
