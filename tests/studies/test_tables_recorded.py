"""Learning curves, feature maps over training and published numbers of a folder of runs."""

import numpy as np
import pandas as pd
import pytest
import torch

from eqviz.analysis.published import COLUMNS
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.studies import feature_maps as module
from eqviz.studies.feature_maps import pairing_element
from eqviz.studies.run_folders import Run
from eqviz.studies.runs import open_runs
from eqviz.tables import SCHEMAS

QUICK = {"limit": 10, "orbit_images": 2, "angles": (0.0, 90.0), "device": "cpu"}


@pytest.fixture
def folder(write_run, tmp_path):
    """Two seeds of a network at 9 pixels, of three saved epochs, and one network at 8."""
    for size, seed in ((9, 0), (9, 1), (8, 0)):
        write_run(f"runs/p4cnn-{size}-seed{seed}", size=size, seed=seed, epochs=(0, 1, 4))
    return tmp_path / "runs"


def test_learning_curves_are_what_the_runs_recorded(folder):
    runs = open_runs(folder, **QUICK, data="mnist")
    table = runs.learning_curves()
    assert set(table["data"]) == {"digits"}  # of its own test images, whatever it is measured on
    rows = table[(table["measure"] == "test_accuracy") & (table["input_size"] == 9)]
    assert rows["epoch"].tolist() == list(range(5))  # all epochs, not the saved ones alone
    assert (
        rows[["mean", "lowest", "highest", "n_seeds"]].to_numpy().tolist() == [pytest.approx([0.55, 0.5, 0.6, 2])] * 5
    )
    assert not (folder / ".eqviz").exists()  # nothing was measured


def test_runs_without_metrics_are_left_out_until_none_has_any(folder):
    (folder / "p4cnn-9-seed0/metrics.csv").unlink()
    left = open_runs(folder, **QUICK).learning_curves()
    assert left[left["input_size"] == 9]["n_seeds"].max() == 1
    for path in folder.glob("*/metrics.csv"):
        path.unlink()
    with pytest.raises(EqvizError, match=r"metrics\.csv"):
        open_runs(folder, **QUICK).learning_curves()


def as_map(rows):
    return rows.pivot_table(index="row", columns="column", values="value").to_numpy()


def test_feature_maps_are_those_of_the_network_at_every_saved_epoch(folder):
    runs = open_runs(folder, **QUICK)
    table = runs.feature_maps()
    assert tuple(table.columns) == SCHEMAS["feature_maps"]
    assert set(table["run"]) == {"p4cnn-8-seed0", "p4cnn-9-seed0"}  # the first of every network
    assert set(table["layer"]) == {"pool"}
    channels = set()
    for run in (runs[0], runs[1]):
        picture = torch.from_numpy(load_images("digits", "test", limit=10, size=run.input_size).images[:1])
        copies = torch.cat([picture, torch.rot90(picture, 1, (-2, -1))])
        own = table[table["run"] == run.name]
        assert set(own["element"]) == {"rotation 90"}
        channels |= set(zip(own["run"], own["channel"], strict=True))
        for epoch in (0, 1, 4):
            shown = own[own["epoch"] == epoch].groupby("panel")
            found = {}
            model = run.build(epoch)
            model.pool.register_forward_hook(
                lambda layer, inputs, output, found=found: found.update(maps=output.detach())
            )
            model(run.normalisation.apply(copies))
            channel = int(own["channel"].iloc[0])
            plain, moved = found["maps"][0, channel, 0], found["maps"][1, channel]
            back = torch.rot90(moved[1], -1, (-2, -1))  # T moves the fibre too: element 0 comes from element 1
            maps = {panel: as_map(rows) for panel, rows in shown}
            # float32 convolutions over batches of one and of two images differ by rounding
            np.testing.assert_allclose(maps["features"], plain, atol=1e-5)
            np.testing.assert_allclose(maps["aligned"], back, atol=1e-5)
            np.testing.assert_allclose(maps["difference"], maps["aligned"] - maps["features"], atol=1e-12)
            assert ("image" in maps) == ("moved image" in maps) == (epoch == 0)
        images = {panel: as_map(rows) for panel, rows in own[own["epoch"] == 0].groupby("panel")}
        np.testing.assert_allclose(images["image"], picture[0, 0])
        np.testing.assert_allclose(images["moved image"], copies[1, 0])
    assert len(channels) == 2  # one a network, at all of its epochs


def test_feature_maps_come_from_the_cache_the_second_time(folder, monkeypatch):
    first = open_runs(folder, **QUICK).feature_maps()
    monkeypatch.setattr(Run, "build", lambda *_: pytest.fail("a network was built"))
    again = open_runs(folder, **QUICK)
    pd.testing.assert_frame_equal(again.feature_maps(), first)
    monkeypatch.undo()
    (folder / "p4cnn-9-seed0/epoch-0001.safetensors").write_bytes(
        (folder / "p4cnn-9-seed1/epoch-0001.safetensors").read_bytes()
    )
    changed = open_runs(folder, **QUICK).feature_maps()
    assert not changed["value"].equals(first["value"])


@pytest.mark.parametrize(
    ("data", "model", "element"),
    [("rotated-pair", "p4conv", "rotation 90"), ("mirrored-pair", "p4mconv", "flip left-right"),
     ("transposed-pair", "p4mconv", "transpose")],
)  # fmt: skip
def test_the_pair_that_a_data_set_holds_is_the_one_that_is_shown(write_run, data, model, element):
    arguments = {"in_channels": 1, "classes": 2, "channels": 1}
    folder = write_run("run", model=model, size=12, epochs=(0, 2), data={"source": data}, arguments=arguments)
    table = open_runs(folder, device="cpu").feature_maps()
    assert set(table["element"]) == {element}
    assert set(table["layer"]) == {"conv"}
    (run,) = open_runs(folder, device="cpu")
    for epoch in (0, 2):
        weight = run.state_dict(epoch)["conv.weight"]
        rows = table[(table["epoch"] == epoch) & (table["panel"] == "filter")]
        np.testing.assert_allclose(as_map(rows), weight.reshape(3, 3).numpy())


def test_a_copy_among_the_images_is_found_for_every_element():
    D4 = group("D4")
    torch.manual_seed(0)
    images = torch.rand(5, 1, 6, 6)
    assert pairing_element(images, D4) == 1
    for place, element in enumerate(D4.elements):
        with_copy = torch.cat([images, act_on_grid(images[:1], element)])
        assert pairing_element(with_copy, D4) == (place or 1)  # an image is no copy of itself
    with pytest.raises(EqvizError, match="a group that moves the image"):
        pairing_element(images, group("C1"))


@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (10, 130), (225, 224)])
def test_large_maps_are_means_over_blocks(shape):
    values = np.random.default_rng(0).random(shape)
    found = module._shrunk(values)
    step = -(-max(shape) // module.MOST_PIXELS)
    expected = [
        [values[row : row + step, column : column + step].mean() for column in range(0, shape[1], step)]
        for row in range(0, shape[0], step)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # sums in another order
    assert max(found.shape) <= module.MOST_PIXELS


def test_without_subsampling_the_layer_to_blame_is_shown_and_else_the_first_convolution(write_run):
    plain = open_runs(write_run("z2", model="z2cnn"), **QUICK, layers="conv1,conv2").feature_maps()
    assert set(plain["layer"]) <= {"conv1", "conv2"}  # either breaks: filters of a plain network are not symmetric
    exact = open_runs(write_run("p4", model="p4cnn"), **QUICK, layers="conv1,conv2").feature_maps()
    assert set(exact["layer"]) == {"conv1"}
    with pytest.raises(EqvizError, match="a convolution or pool that gives out maps"):
        open_runs(write_run("none", model="p4cnn"), **QUICK, layers="fc").feature_maps()


def test_published_numbers_need_a_file_and_are_read_before_anything_is_measured(folder):
    with pytest.raises(EqvizError, match="give one with --published FILE"):
        open_runs(folder, **QUICK).published_comparison()
    numbers = folder.parent / "numbers.csv"
    numbers.write_text("model\n")
    with pytest.raises(EqvizError, match=r"numbers\.csv: expected the columns"):
        open_runs(folder, **QUICK, published=str(numbers))
    numbers.write_text(f"{','.join(COLUMNS)}\np4cnn,9,unknown,90°,0.5,0.1,10,A paper\n")
    runs = open_runs(folder, **QUICK, published=str(numbers))
    (row,) = runs.published_comparison().to_dict("records")
    accuracy = runs.accuracy().query("input_size == 9 and angle == 90 and not reflected")["accuracy"]
    assert row["mean"] == pytest.approx(accuracy.mean())
    assert row["n_seeds"] == 2
    cached = sorted((folder / ".eqviz").iterdir())
    open_runs(folder, **QUICK).accuracy()
    assert sorted((folder / ".eqviz").iterdir()) == cached  # the file is no part of what measurements depend on
