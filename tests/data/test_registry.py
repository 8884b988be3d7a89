import importlib
import subprocess
import sys

import numpy as np
import pytest

from eqviz.data.digits import load_digits
from eqviz.data.registry import DATASETS, load_images
from eqviz.errors import EqvizError


def test_every_entry_loads_its_function():
    for entry in DATASETS.values():
        module, attribute = entry.split(":")
        assert callable(getattr(importlib.import_module(module), attribute))


def test_importing_the_registry_imports_nothing_heavy():
    heavy = {"torch", "sklearn", "scipy", "pooch", "PIL", "h5py"}
    code = f"import sys, eqviz.data.registry; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_digits_are_the_same_every_time_and_split_without_overlap():
    from sklearn.datasets import load_digits as official

    train, test = load_digits("train", size=(8, 8)), load_digits("test", size=(8, 8))
    assert (len(train), len(test)) == (1200, 597)
    assert train.fingerprint() == load_digits("train", size=(8, 8)).fingerprint()
    ours = np.concatenate([train.images, test.images])[:, 0] * 16
    both = sorted(zip(map(bytes, ours.astype(np.uint8)), [*train.labels, *test.labels], strict=True))
    bunch = official()
    assert both == sorted(zip(map(bytes, bunch.images.astype(np.uint8)), bunch.target, strict=True))


def test_digits_are_enlarged_once_from_their_own_size():
    small = load_digits("test", size=(8, 8))
    np.testing.assert_array_equal(load_images("digits", "test").images, small.resized((16, 16)).images)
    np.testing.assert_array_equal(load_images("digits", "test", size=(28, 28)).images, small.resized((28, 28)).images)


def test_limit_and_seed_choose_a_balanced_subset():
    some = load_images("digits", "train", limit=50, seed=3)
    assert np.bincount(some.labels).tolist() == [5] * 10
    assert some.fingerprint() == load_images("digits", "train", limit=50, seed=3).fingerprint()
    assert some.fingerprint() != load_images("digits", "train", limit=50, seed=4).fingerprint()


@pytest.mark.parametrize(("name", "near"), [("minst", "mnist"), ("CIFAR10", "cifar10"), ("fashion", "fashion-mnist")])
def test_an_unknown_name_is_met_with_a_near_one(name, near):
    with pytest.raises(EqvizError) as raised:
        load_images(name, "test")
    assert f"did you mean {near!r}?" in str(raised.value)
    assert all(known in str(raised.value) for known in DATASETS)


def test_a_path_that_is_not_there_and_a_file_of_another_kind(tmp_path):
    with pytest.raises(EqvizError, match="which is none of them"):
        load_images(str(tmp_path / "gone.npz"), "test")
    (tmp_path / "data.csv").write_text("1,2\n")
    with pytest.raises(EqvizError, match=r"\.npz"):
        load_images(str(tmp_path / "data.csv"), "test")


def test_the_split_is_checked_first():
    with pytest.raises(EqvizError, match="'train' or 'test'"):
        load_images("no such data", "validation")


def test_paths_lead_to_arrays_and_folders(tmp_path):
    np.savez(tmp_path / "made.npz", x=np.zeros((10, 4, 4), np.uint8), y=np.arange(10) % 2, group=np.arange(10))
    images = load_images(str(tmp_path / "made.npz"), "train", size=(6, 6), limit=2)
    assert images.images.shape == (2, 1, 6, 6)
    (tmp_path / "pictures" / "test" / "a").mkdir(parents=True)
    (tmp_path / "pictures" / "test" / "a" / "1.pgm").write_bytes(b"P5 1 1 255 \xff")
    assert load_images(str(tmp_path / "pictures"), "test", size=(2, 2)).images.tolist() == [[[[1, 1], [1, 1]]]]


def test_paths_may_start_from_the_root_and_what_is_here_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place, value in (("below", 0), (".", 255)):
        (tmp_path / place / "some").mkdir(parents=True)
        pixels = np.full((8, 2, 2), value, np.uint8)
        pixels[:, 0, 0] = np.arange(8)
        np.savez(tmp_path / place / "some" / "a.npz", x=pixels, y=np.arange(8) % 2)
    assert load_images("some/a.npz", "train", root=tmp_path / "below").images.max() == 1
    (tmp_path / "some" / "a.npz").unlink()
    assert load_images("some/a.npz", "train", root=tmp_path / "below").images.max() < 0.1
    with pytest.raises(EqvizError, match="which is none of them"):
        load_images("some/b.npz", "train", root=tmp_path / "below")


def test_channels_and_labels_are_those_asked_for():
    plain = load_images("digits", "test", size=(8, 8), limit=20)
    found = load_images("digits", "test", size=(8, 8), limit=20, channels=3, labels=False)
    np.testing.assert_array_equal(found.images, np.repeat(plain.images, 3, 1))
    assert (found.labels.sum(), found.classes) == (0, ("unlabelled",))
