"""Data whose symmetry is known by construction: whole orbits, isotropic noise, a bright corner."""

import numpy as np
import pandas as pd
import pytest
import torch

from eqviz.analysis.data_symmetry import FEWEST, FOLDS, _folds, _moved, _orbits, data_symmetry, data_symmetry_summary
from eqviz.analysis.symmetry_match import symmetry_match
from eqviz.analysis.two_sample import told_apart
from eqviz.data.digits import load_digits
from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.tables import RUN_KEYS, columns

MEASURED = columns("data_symmetry")[len(RUN_KEYS) :]


def noise(n, size=6, seed=0):
    return np.random.default_rng(seed).random((n, 1, size, size), np.float32)


def corner(n, seed=0):
    images = noise(n, seed=seed)
    images[:, :, 0, 0] += 4
    return images


def measure(images, group="C4", labels=None, classes=("a", "b"), **options):
    labels = np.zeros(len(images), dtype=np.int64) if labels is None else labels
    found = data_symmetry(images, labels, classes, group, **options)
    return found.set_index(["label", "element"])


@pytest.mark.parametrize("name", ["C2", "C4", "D4"])
def test_whole_orbits_are_at_chance(name):
    G = group(name)
    base = torch.from_numpy(corner(20))
    images = torch.cat([base if g.turn == 0 and not g.reflected else turned(base, g) for g in G.elements])
    found = measure(images.numpy(), name)
    smallest = 4 * G.order  # images of a fold: 20 orbits in 5 folds
    whole = found.loc[""].drop("random")
    # copies and originals of a fold are the same images; only the pairs of an image with its own copy are missing
    assert (whole["auc"] - 0.5).abs().max() <= 0.5 / (smallest - 1) + 1e-12
    assert (found["low"] <= 0.5).all()
    assert (found["high"] >= 0.5).all()


def turned(images, g):
    moved = torch.rot90(images, g.quarter_turns, (-2, -1))
    return moved.flip(-2) if g.reflected else moved


def test_of_images_of_one_class_there_is_no_row_of_it():
    images = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert set(data_symmetry(images, np.zeros(40, dtype=int), ["unlabelled"], "C2")["label"]) == {""}


def test_the_interval_of_isotropic_noise_holds_chance_about_as_often_as_it_says():
    held, image = 0, np.arange(50)
    for seed in range(24):
        images = noise(50, seed=seed)[:, 0]
        copies = np.stack([np.rot90(one, turns) for one, turns in zip(images, image % 4, strict=True)])
        told = told_apart(images.reshape(50, -1), copies.reshape(50, -1), image, (image // 4) % 5)
        held += told.low <= 0.5 <= told.high
    # 95% of 24 are 23; fewer than 19 would happen once in 1,000 times
    assert held >= 19


def test_a_bright_corner_reaches_the_highest_value():
    found = measure(corner(240)).loc[""]
    assert found.drop("random")["auc"].tolist() == [1.0, 1.0, 1.0]
    assert found.drop("random")["highest"].tolist() == [1.0, 1.0, 1.0]
    drawn = found.loc["random"]
    assert drawn["highest"] == 1 - 1 / 8
    assert drawn["low"] < drawn["highest"] < drawn["high"]
    # a quarter of the copies are unmoved, and told from other originals by chance: half of 60 in 240, +- 0.02
    assert drawn["auc"] == pytest.approx(0.875, abs=0.06)


def test_a_symmetry_of_the_data_is_found_element_by_element():
    images = np.zeros((100, 1, 5, 5), np.float32)
    images[:, 0, 0, 0] = np.random.default_rng(0).random(100) + 1  # the transpose leaves this corner where it is
    found = measure(images, "D4").loc[""]
    # every copy is its own original, so that each pair of images counts once each way
    assert found.loc["transpose", "auc"] == pytest.approx(0.5, abs=1e-12)
    assert found.drop(["transpose", "random"])["auc"].tolist() == [1.0] * 6
    # with two symmetries of eight no classifier gets beyond 1 - 2 / 16; a quarter of 100 copies is told by chance
    assert found.loc["random", "auc"] == pytest.approx(0.875, abs=0.08)
    assert found.loc["random", "highest"] == 1 - 1 / 16


def test_a_symmetric_class_beside_one_that_is_not():
    images = np.concatenate([noise(80), corner(80, seed=1)])
    labels = np.repeat([0, 1], 80)
    found = measure(images, labels=labels, classes=("round", "corner"))
    round_class, cornered = found.loc["round"], found.loc["corner"]
    assert (round_class["low"] < 0.5).all()
    assert (round_class["high"] > 0.5).all()
    assert cornered.drop("random")["auc"].tolist() == [1.0] * 3
    # all together: half of the pairs as good as the corner allows, the other half by chance or in between
    assert 0.6 < found.loc[("", "rotation 90"), "auc"] < 1
    assert found["n"].groupby("label").first().to_dict() == {"": 160, "corner": 80, "round": 80}


def test_an_element_and_its_inverse_ask_the_same():
    found = measure(noise(60) + 0.3 * corner(60)).loc[""]
    # the classifier does not know the order of the pixels: turning everything back gives the same test
    assert found.loc["rotation 90", "auc"] == pytest.approx(found.loc["rotation 270", "auc"], abs=0.01)


def test_digits_have_no_symmetry():
    data = load_digits("train", size=(8, 8)).take(200)
    found = data_symmetry(data.images, data.labels, data.classes, "p4", seed=1).set_index(["label", "element"])
    assert tuple(found.reset_index().columns) == MEASURED
    assert len(found) == 11 * 4
    assert found.loc["", "auc"].min() > 0.8
    assert found.loc[("3", "rotation 90"), "auc"] > 0.95
    assert (found["lowest_fold"] <= found["auc"] + 1e-12).all()
    assert (found["highest_fold"] >= found["auc"] - 1e-12).all()


def test_the_same_seed_gives_the_same_table_whatever_holds_the_images():
    images, labels = corner(40), np.arange(40) % 2
    first = data_symmetry(images, labels, ["a", "b"], "C4", seed=3)
    again = data_symmetry(torch.from_numpy(images), torch.from_numpy(labels), ["a", "b"], "p4", seed=3)
    pd.testing.assert_frame_equal(first, again)
    other = data_symmetry(images, labels, ["a", "b"], "C4", seed=4)
    assert not first["auc"].equals(other["auc"])


def test_interpolated_elements_are_left_out():
    found = measure(corner(40), "C8").loc[""]
    assert found.index.tolist() == ["random", "rotation 90", "rotation 180", "rotation 270"]
    assert found.loc["random", "highest"] == 0.875


def test_large_images_are_averaged_in_a_way_that_the_group_does_not_see():
    G = group("D4")
    images = torch.from_numpy(noise(3, size=19).repeat(2, axis=1))
    moved = _moved(images, G)
    assert moved.shape == (8, 3, 2 * 16 * 16)
    for place, g in enumerate(G.elements):
        # means of the same pixels in another order, in float32
        np.testing.assert_allclose(moved[place], _moved(turned(images, g), G)[0], rtol=1e-5)


def test_orbits_share_a_fold_and_folds_share_classes():
    G = group("C4")
    base = torch.from_numpy(noise(40))
    orbits = _orbits(torch.cat([base, *(turned(base[:10], g) for g in G.elements)]), G)
    assert len(np.unique(orbits)) == 40
    assert (orbits[40:] == np.tile(orbits[:10], 4)).all()
    labels = np.concatenate([np.arange(40) % 2, np.tile(np.arange(10) % 2, 4)])
    folds = _folds(orbits, labels, np.random.default_rng(0))
    assert all(len(set(folds[orbits == orbit])) == 1 for orbit in np.unique(orbits))
    first = folds[:40]
    assert [[int(((first == f) & (labels[:40] == c)).sum()) for c in (0, 1)] for f in range(FOLDS)] == [[4, 4]] * FOLDS


def test_small_classes_and_single_orbits_have_no_value():
    labels = np.array([0] * 40 + [1] * (FEWEST - 1))
    found = measure(noise(len(labels)), labels=labels)
    assert found.loc["b", "auc"].isna().all()
    assert (found.loc["b", "interval"] == "none").all()
    assert found.loc["a", "auc"].notna().all()
    assert measure(np.ones((30, 1, 4, 4), np.float32)).loc["", "auc"].isna().all()


def test_limit_takes_classes_evenly_and_progress_ends_at_one():
    told = []
    labels = np.array([0] * 70 + [1] * 30)
    found = measure(noise(100), labels=labels, limit=50, progress=told.append)
    assert found["n"].groupby("label").first().to_dict() == {"": 50, "a": 25, "b": 25}
    assert told == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize(
    ("images", "labels", "name", "message"),
    [
        (noise(30), np.zeros(30, int), "C1", "group: expected a group that moves the pixel grid .* found C1"),
        (noise(30), np.zeros(30, int), "C3", "found C3"),
        (noise(30)[..., :5], np.zeros(30, int), "p4", "expected square images for C4; found 6x5"),
        (noise(30), np.zeros(29, int), "p4", "one for each of 30 images"),
        (noise(30), np.full(30, 2), "p4", "from 0 to 1; found 30 from 0 to 2"),
        (noise(19), np.zeros(19, int), "p4", "at least 20 to tell from their copies; found 19"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(images, labels, name, message):
    with pytest.raises(EqvizError, match=message) as caught:
        data_symmetry(images, labels, ["a", "b"], name)
    assert "\n" not in str(caught.value)


def test_images_that_are_not_square_under_elements_that_keep_their_shape():
    images = noise(40)[..., :4]
    images[:, :, 0, 0] += 4
    assert measure(images, "C2").loc[("", "rotation 180"), "auc"] == 1.0
    assert len(measure(images, "D2").loc[""]) == 4


def keys(run, **changes):
    base = dict(zip(RUN_KEYS, (run, "p4cnn", 16, "C4", 0, 5, "digits", "upright"), strict=True))
    return base | changes


def data_rows(run, auc=0.8, **changes):
    values = {"low": auc - 0.1, "high": auc + 0.1, "interval": "95%", "lowest_fold": 0.5, "highest_fold": 0.9}
    values |= {"highest": 0.875, "chance": 0.5, "n": 100}
    rows = [("", "random", auc), ("", "rotation 90", 0.99), ("a", "random", 0.6)]
    return [keys(run, **changes) | values | {"label": a, "element": g, "auc": value} for a, g, value in rows]


def layer_rows(run, output, **changes):
    layers = [("conv1", 0, "convolution", 1e-14), ("conv2", 1, "convolution", 0.3), ("pool", 2, "pooling", 0.2)]
    layers.append(("(output)", 3, "output", output))
    return [
        keys(run, **changes)
        | {"layer": name, "call": 0, "depth": depth, "kind": kind, "grid": grid, "breaking_fraction": value}
        | {"floor": 1e-14}
        for name, depth, kind, value in layers
        for grid in (True, False)
        if grid or name == "(output)"
    ]


def accuracy_rows(run, **changes):
    cases = [(0, False, 0.9), (90, False, 0.3), (180, False, 0.5), (45, False, 0.1), (0, True, 0.2)]
    return [
        keys(run, **changes) | {"angle": float(angle), "reflected": flip, "grid": angle % 90 == 0, "accuracy": value}
        for angle, flip, value in cases
    ]


def test_symmetry_match_sets_the_data_beside_the_network():
    data = pd.DataFrame(data_rows("one") + data_rows("two", 0.55, seed=1))
    layers = pd.DataFrame(layer_rows("one", 0.1) + layer_rows("two", 0.01, seed=1) + layer_rows("none", 0.5, seed=2))
    scores = pd.DataFrame(accuracy_rows("one") + accuracy_rows("none", seed=2))
    found = symmetry_match(data, layers, scores).set_index("run")
    assert found.index.tolist() == ["one", "two"]
    assert found.loc["one", ["auc", "breaking_fraction", "map_layer", "map_breaking_fraction"]].tolist() == [
        0.8, 0.1, "conv2", 0.3,
    ]  # fmt: skip
    # quarter turns other than 0, without interpolated and reflected ones
    assert found.loc["one", ["accuracy_upright", "accuracy_rotated"]].tolist() == pytest.approx([0.9, 0.4])
    assert found.loc["two", ["auc", "breaking_fraction"]].tolist() == [0.55, 0.01]
    assert np.isnan(found.loc["two", "accuracy_upright"])


def test_symmetry_match_of_several_epochs_repeats_the_data():
    data = pd.DataFrame(data_rows("one") + data_rows("one", epoch=0))
    layers = pd.DataFrame(layer_rows("one", 0.1) + layer_rows("one", 0.001, epoch=0))
    found = symmetry_match(data, layers, pd.DataFrame(accuracy_rows("one")))
    assert found[["epoch", "breaking_fraction", "auc"]].to_numpy().tolist() == [[5, 0.1, 0.8], [0, 0.001, 0.8]]


def test_symmetry_match_of_networks_without_maps_or_of_nothing():
    layers = pd.DataFrame(layer_rows("one", 0.1))
    found = symmetry_match(
        pd.DataFrame(data_rows("one")), layers[layers["kind"] == "output"], pd.DataFrame(accuracy_rows("one"))
    )
    assert found["map_layer"].tolist() == [""]
    assert found["map_breaking_fraction"].isna().all()
    nothing = symmetry_match(pd.DataFrame(data_rows("two")), layers, pd.DataFrame(accuracy_rows("one")))
    assert tuple(nothing.columns) == columns("symmetry_match")
    assert len(nothing) == 0


def test_data_symmetry_over_seeds_reaches_from_the_lowest_to_the_highest_bound():
    table = pd.DataFrame(data_rows("one", 0.6) + data_rows("two", 0.8, seed=1))
    found = data_symmetry_summary(table).set_index(["label", "element"])
    row = found.loc[("", "random")]
    assert (row["auc"], row["low"], row["high"], row["n_seeds"]) == pytest.approx((0.7, 0.5, 0.9, 2))
    assert found.loc[("a", "random"), "auc"] == 0.6
