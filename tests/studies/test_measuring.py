import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from eqviz.data.digits import load_digits
from eqviz.errors import EqvizError
from eqviz.studies import measuring
from eqviz.studies.cache import Cache
from eqviz.studies.devices import choose_device
from eqviz.studies.examples import feature_example
from eqviz.studies.measuring import corner_fill, measure_run
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run, read_run

QUICK = Settings(limit=20, orbit_images=4, angles=(0.0, 90.0, 45.0), layers="pool,(output)", device="cpu")
BOTH = ("accuracy", "symmetry")


@pytest.fixture
def run(write_run):
    return read_run(write_run("p4-9", size=9, epochs=(1, 2)))


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return Cache(tmp_path / "cache")


def forbid_models(monkeypatch):
    def build(self, epoch=None):
        raise AssertionError("a network was built")

    monkeypatch.setattr(Run, "build", build)


def test_the_second_time_no_network_is_built(run, cache, monkeypatch):
    first = measure_run(run, 1, QUICK, cache)
    assert first.reused == ()
    assert (first.images, first.device) == (20, "cpu")
    forbid_models(monkeypatch)
    again = measure_run(run, 1, QUICK, cache)
    assert again.reused == BOTH
    assert again.accuracy.equals(first.accuracy)
    assert again.accuracy_classes.equals(first.accuracy_classes)
    for table in ("equivariance", "equivariance_elements", "spectrum", "subgroups"):
        assert getattr(again.symmetry, table)().equals(getattr(first.symmetry, table)())


def reused_after(run, cache, changed_run=None, epoch=1, **changes):
    """What is taken from the cache after a first measurement when this is changed."""
    measure_run(run, 1, QUICK, cache)
    return measure_run(changed_run or run, epoch, replace(QUICK, **changes), cache).reused


@pytest.mark.parametrize(
    ("changes", "reused"),
    [
        ({"group": "p4"}, BOTH),
        ({"device": "auto"}, BOTH if choose_device("auto") == "cpu" else ()),
        ({"angles": (0.0, 90.0)}, ("symmetry",)),
        ({"fill": 0.5}, ("symmetry",)),
        ({"group": "C2"}, ("accuracy",)),
        ({"layers": "pool"}, ("accuracy",)),
        ({"orbit_images": 5}, ("accuracy",)),
        ({"mask": True}, ()),
        ({"limit": 21}, ()),
    ],
)
def test_what_is_measured_again_when_a_setting_changes(run, cache, changes, reused):
    assert reused_after(run, cache, **changes) == reused


def test_other_weights_normalisation_or_choice_of_images_are_measured_again(run, cache):
    assert reused_after(run, cache, epoch=2) == ()
    other = replace(run.normalisation, mean=(0.4,))
    assert reused_after(run, cache, replace(run, normalisation=other)) == ()
    assert reused_after(run, cache, replace(run, data=replace(run.data, seed=7))) == ()
    assert reused_after(run, cache, replace(run, data=replace(run.data, seed=7)), limit=10_000) == ()
    # what the run is called, and the seed it was trained from, change nothing
    assert reused_after(run, cache, replace(run, name="other", seed=5)) == BOTH


def test_another_choice_of_orbit_images_is_measured_again_although_all_test_images_are_the_same(run, cache):
    whole = replace(QUICK, limit=597)
    measure_run(run, 1, whole, cache)
    assert measure_run(replace(run, data=replace(run.data, seed=7)), 1, whole, cache).reused == ("accuracy",)


def test_other_code_is_measured_again(run, cache, monkeypatch):
    measure_run(run, 1, QUICK, cache)
    monkeypatch.setattr(measuring, "code_fingerprint", lambda: "changed")
    assert measure_run(run, 1, QUICK, cache).reused == ()


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b"", lambda b: b"[]", lambda b: b"[" * 100_000])
def test_damaged_measurements_are_made_again_and_replaced(run, cache, damage):
    first = measure_run(run, 1, QUICK, cache)
    files = sorted(cache.folder.iterdir())
    whole = [path.read_bytes() for path in files]
    assert len(files) == 3
    for path in files:
        path.write_bytes(damage(path.read_bytes()))
    again = measure_run(run, 1, QUICK, cache)
    assert again.reused == ()
    assert again.accuracy.equals(first.accuracy)
    assert [path.read_bytes() for path in files] == whole
    assert measure_run(run, 1, QUICK, cache).reused == BOTH


def test_one_lost_file_is_enough_to_measure_again(run, cache):
    measure_run(run, 1, QUICK, cache)
    next(cache.folder.glob("accuracy_classes-*")).unlink()
    assert measure_run(run, 1, QUICK, cache).reused == ("symmetry",)
    next(cache.folder.glob("symmetry-*")).unlink()
    assert measure_run(run, 1, QUICK, cache).reused == ("accuracy",)


def test_says_how_far_it_is(run, cache):
    told = []
    measure_run(run, 1, QUICK, cache, progress=lambda kind, fraction: told.append((kind, fraction)))
    assert [kind for kind, _ in told] == ["symmetry"] * 2 + ["accuracy"] * 7
    assert [fraction for _, fraction in told] == [0.5, 1.0, *(n / 7 for n in range(1, 8))]


def test_accuracy_and_breaking_are_those_of_a_plain_loop(run, cache):
    """The images, the network and every number by hand."""
    found = measure_run(run, 1, QUICK, cache)
    digits = load_digits("test").take(20, 0)
    images, labels = torch.from_numpy(load_digits("test", size=(9, 9)).take(20, 0).images), digits.labels
    model = run.build(1)
    hits = {}
    for turns in (0, 1):
        with torch.no_grad():
            scores = model((torch.rot90(images, turns, (2, 3)) - 0.3) / 0.32)
        hits[90.0 * turns] = float((scores.argmax(1).numpy() == labels).mean())
    rows = found.accuracy[~found.accuracy["reflected"]].set_index("angle")["accuracy"]
    assert rows[[0.0, 90.0]].to_dict() == pytest.approx(hits)

    fine = model.double()
    chosen = torch.from_numpy(load_digits("test", size=(9, 9)).take(20, 0).take(4, 0).images).double()
    pooled = []
    fine.pool.register_forward_hook(lambda module, inputs, output: pooled.append(output))
    with torch.no_grad():
        orbit = [fine(torch.rot90((chosen - 0.3) / 0.32, turns, (2, 3))) for turns in range(4)]
    # a quarter turn moves the map and rolls the group axis by one
    aligned = [torch.rot90(f.roll(-turns, 2), -turns, (3, 4)) for turns, f in enumerate(pooled)]
    table = found.symmetry.equivariance().set_index("layer")["breaking_fraction"]
    for layer, parts in (("pool", aligned), ("(output)", orbit)):
        A = torch.stack(parts)
        expected = float((A - A.mean(0)).square().sum() / A.square().sum())
        # measured in float32; the smaller of the two fractions is far above its rounding
        assert expected > 1e-8
        assert table[layer] == pytest.approx(expected, rel=1e-3)


@pytest.fixture
def other_data(tmp_path):
    """Writes random images of so many channels and classes; returns the settings that measure on them."""

    def write(channels, classes):
        rng, labels = np.random.default_rng(0), np.arange(30) % classes
        shape = (30, 9, 9) if channels == 1 else (30, channels, 9, 9)
        path = tmp_path / "other.npz"
        np.savez(path, x_train=rng.random(shape, np.float32), y_train=labels, x_test=rng.random(shape, np.float32)[:6],
                 y_test=labels[:6])  # fmt: skip
        return replace(QUICK, data=str(path))

    return write


@pytest.mark.parametrize(
    ("channels", "fix"), [(3, "add channels = 1 to the settings of its data"), (4, "show it other images")]
)
def test_data_with_other_channels_are_one_line(run, cache, other_data, channels, fix):
    words = f"expected 1 channel, as its normalisation has; found {channels}; {fix}"
    with pytest.raises(EqvizError, match=words) as caught:
        measure_run(run, 1, other_data(channels, 10), cache)
    assert "\n" not in str(caught.value)


def test_on_data_with_other_classes_there_is_no_accuracy_but_all_the_rest(run, cache, other_data):
    settings = other_data(1, 3)
    found = measure_run(run, 1, settings, cache)
    assert found.no_accuracy == "it gives out (batch, 10), no scores (batch, 3) of the 3 classes of the data"
    assert found.accuracy.empty
    assert found.accuracy_classes.empty
    assert len(found.symmetry.equivariance())
    again = measure_run(run, 1, settings, cache)
    assert (again.reused, again.no_accuracy) == (BOTH, found.no_accuracy)


def test_an_unknown_layer_is_one_line_with_near_names(run, cache):
    with pytest.raises(EqvizError, match=r"layers: .*'pol\*'; near names are .*pool") as caught:
        measure_run(run, 1, replace(QUICK, layers="pol*"), cache)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limit": 0}, "limit: expected a whole number of at least 1; found 0"),
        ({"limit": -1}, "limit: expected a whole number of at least 1; found -1"),
        ({"orbit_images": 0}, "orbit_images: expected a whole number"),
        ({"batch_size": 0}, "batch_size: expected a whole number"),
        ({"fill": 1.5}, "fill: expected a number from 0 to 1, or 'trained'; found 1.5"),
        ({"fill": "grey"}, "fill: expected a number from 0 to 1, or 'trained'; found 'grey'"),
        ({"fill": float("nan")}, "fill: expected"),
        ({"angles": ()}, "angles: expected one or more numbers"),
        ({"angles": (0.0, float("inf"))}, "angles: expected one or more numbers"),
        ({"group": "p5"}, "group: expected p4, p4m"),
    ],
)
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(EqvizError, match=words) as caught:
        Settings(**changes)
    assert "\n" not in str(caught.value)


def test_settings_of_the_wrong_kind_are_one_line_too():
    code = """
from pathlib import Path
from eqviz.errors import EqvizError
from eqviz.studies.measuring_settings import Settings
for wrong in (dict(limit="5"), dict(limit=2.5), dict(limit=True), dict(mask="yes"), dict(layers=3), dict(angles="90"),
              dict(angles=["a"]), dict(device=0)):
    try:
        Settings(**wrong)
    except EqvizError as error:
        print(str(error).split(":")[0])
right = Settings(angles=range(0, 360, 90), imports="mine", data=Path("a.npz"), fill=1)
print(right.angles, right.imports, right.data)
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split("\n")
    assert shown[:8] == ["limit", "limit", "limit", "mask", "layers", "angles", "angles", "device"]
    assert shown[8] == "(0.0, 90.0, 180.0, 270.0) ('mine',) a.npz"


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:1", "cuda:x", "cpu:", "", "mps:1"])
def test_a_device_that_is_not_there(name, run, cache):
    with pytest.raises(EqvizError, match=r"device: expected auto or .*cpu; found '") as caught:
        measure_run(run, 1, replace(QUICK, device=name), cache)
    assert "\n" not in str(caught.value)


def test_devices_that_are():
    assert choose_device("cpu") == "cpu"
    assert choose_device("cpu:0") == "cpu:0"
    assert torch.zeros(1, device=choose_device("auto")).numel() == 1


def test_an_example_is_what_the_layer_makes_of_one_image(run):
    found = feature_example(run, 1, QUICK, "conv1", image=3)
    image = load_digits("test", size=(9, 9)).take(20, 0).images[3]
    np.testing.assert_array_equal(found.image, image)
    model = run.build(1)
    x = (torch.from_numpy(image)[None] - 0.3) / 0.32
    with torch.no_grad():
        upright, moved = model.conv1(x)[0], model.conv1(torch.rot90(x, 1, (2, 3)))[0]
    channel = int(upright[:, 0].square().sum((1, 2)).argmax())
    assert (found.run, found.layer, found.element, found.channel) == ("p4-9", "conv1", "rotation 90", channel)
    np.testing.assert_array_equal(found.feature, upright[channel, 0])
    # g^-1 takes position 1 of the group axis back to the identity; batch sizes of 1 and 4 may round otherwise
    np.testing.assert_allclose(found.aligned, torch.rot90(moved[channel, 1], -1), atol=1e-6)
    assert found.relative_error < 1e-6
    assert feature_example(run, 1, QUICK, "pool").relative_error > 1e-3


@pytest.mark.parametrize(
    ("layer", "image", "changes", "words"),
    [
        ("fc", 0, {}, r"layer fc: expected feature maps; found activations of shape \(10,\)"),
        ("global_pool", 0, {}, r"expected feature maps; found activations of shape \(2, 4\)"),
        ("conv9", 0, {}, "near names"),
        ("pool", 20, {}, "expected at least one image"),
        ("pool", 0, {"group": "C1"}, "a group that moves the image; found C1"),
    ],
)
def test_examples_that_cannot_be(run, layer, image, changes, words):
    with pytest.raises(EqvizError, match=words) as caught:
        feature_example(run, 1, replace(QUICK, **changes), layer, image=image)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rotation", "expected"), [("upright", 0.25), ({"mean": 45.0, "std": 20.0}, 0.25), ("uniform", 0.0), (None, 0.25)]
)
def test_corners_may_be_those_of_training(write_run, rotation, expected):
    record = {"normalisation": {"mean": [0.2, 0.3], "std": [1.0, 1.0]}}
    if rotation is not None:
        record["training"] = {"epochs": 1, "rotation": rotation}
    run = read_run(write_run("run", **record))
    assert corner_fill(run, Settings(fill="trained")) == expected
    assert corner_fill(run, Settings(fill=0.75)) == 0.75
