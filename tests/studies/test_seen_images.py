"""The images a network saw in training."""

from dataclasses import replace

import pytest
import torch

from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.studies.finding import find_runs
from eqviz.studies.runs import open_runs
from eqviz.studies.seen_images import seen_images
from eqviz.studies.settings import Rotation, TrainingSettings


@pytest.fixture
def run(write_run, tmp_path):
    write_run("one")
    found = find_runs(tmp_path)[0]
    return lambda **training: replace(found, training=trained(**training))


def trained(**changes):
    return TrainingSettings(1, **changes) if changes else None


def test_upright_images_are_the_normalised_training_images(run):
    seen = seen_images(run(rotation=Rotation()), 40)
    assert seen.images.shape == (40, 1, 8, 8)
    assert sorted(set(seen.labels)) == list(range(10))
    assert len(seen.classes) == 10
    assert torch.equal(seen.images, seen_images(run(), 40).images)  # nothing known of the training


def test_quarter_turns_only_move_pixels(run):
    upright, turned = (seen_images(run(quarter_turns=on), 30).images for on in (False, True))
    moves = [
        [torch.equal(act_on_grid(x, g), y) for g in group("C4").elements] for x, y in zip(upright, turned, strict=True)
    ]
    assert all(any(found) for found in moves)
    assert not torch.equal(upright, turned)


@pytest.mark.parametrize("rotation", [Rotation("uniform"), Rotation("normal", 45.0, 20.0)], ids=str)
def test_turned_images_differ_from_upright_ones_and_are_the_same_every_time(run, rotation):
    first, again = (seen_images(run(rotation=rotation), 20).images for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, seen_images(run(), 20).images)


def test_a_normal_regime_without_spread_is_one_rotation(run):
    upright, turned = (
        seen_images(run(rotation=rotation), 5).images for rotation in (Rotation(), Rotation("normal", 90.0))
    )
    expected = act_on_grid(upright, group("C4").elements[1])
    # bilinear weights at a quarter turn are 0 and 1 up to float32 rounding of the positions
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-4)


def test_never_more_than_the_run_was_trained_on(run):
    few = run(rotation=Rotation())
    few = replace(few, data=replace(few.data, train_limit=10))
    assert len(seen_images(few, 40).images) == 10


def test_the_symmetry_of_the_data_is_that_of_each_run(write_run, tmp_path):
    write_run("few", data={"source": "digits", "train_limit": 60})
    write_run("more", data={"source": "digits", "train_limit": 90}, seed=1)
    write_run("more-too", data={"source": "digits", "train_limit": 90}, seed=2)
    table = open_runs(tmp_path, limit=100).data_symmetry().query("label == '' and element == 'random'").set_index("run")
    assert table["n"].to_dict() == {"few": 60, "more": 90, "more-too": 90}
    assert table["auc"]["more"] == table["auc"]["more-too"]
