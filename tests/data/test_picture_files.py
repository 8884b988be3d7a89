import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from eqviz.data.crops import centre_crop
from eqviz.data.folder import load_folder
from eqviz.data.imagenet import imagenet_files, load_imagenet
from eqviz.data.picture_files import PictureFiles
from eqviz.data.registry import load_images, open_pictures
from eqviz.errors import EqvizError

WORDS = ["n01440764", "n01443537", "n02102040"]


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def write_imagenet(root, n=2):
    """`n` pictures of each of three classes, in the layout of ILSVRC 2012; their sizes differ."""
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for word in WORDS:
            for number in range(n):
                pixels = rng.integers(0, 256, (20 + number, 30, 3))
                name = f"{word}_{number}.JPEG" if part == "train" else f"ILSVRC2012_val_{word[-3:]}{number:05d}.JPEG"
                save(root / part / word / name, pixels)
    return root


@pytest.mark.parametrize("below", [".", "imagenet"])
def test_imagenet_is_read_from_its_folders_and_val_is_the_test_split(tmp_path, below):
    write_imagenet(tmp_path / below)
    train, test = imagenet_files("train", tmp_path), imagenet_files("test", tmp_path)
    assert train.classes == test.classes == tuple(WORDS)
    assert train.labels.tolist() == test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert all(path.startswith("val/") for path in test.paths)
    assert (train.size, train.channels) == ((224, 224), 3)
    with PIL.Image.open(tmp_path / below / train.paths[3]) as opened:
        np.testing.assert_allclose(train.decode(3), np.asarray(opened).transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_array_equal(train.read(3), centre_crop(train.decode(3), (224, 224)))


def test_the_cache_is_looked_into_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("EQVIZ_DATA", str(tmp_path))
    with pytest.raises(EqvizError, match=r"found no val/<wnid>/\*\.JPEG; .*image-net\.org.*lay it out") as raised:
        imagenet_files("test")
    assert str(tmp_path / "imagenet") in str(raised.value)
    write_imagenet(tmp_path / "imagenet")
    assert len(imagenet_files("test")) == 6


def test_nothing_is_opened_before_it_is_read(tmp_path):
    write_imagenet(tmp_path)
    for path in (tmp_path / "train").rglob("*.JPEG"):
        path.write_bytes(b"no picture")
    files = load = imagenet_files("train", tmp_path)
    assert len(files.take(3)) == 3
    assert len(files.fingerprint()) == 64
    with pytest.raises(EqvizError, match="a picture that can be read") as raised:
        load.read(4)
    assert str(tmp_path / files.paths[4]) in str(raised.value)


@pytest.mark.parametrize("spoil", ["truncated", "empty"])
def test_a_corrupt_picture_in_the_middle_is_one_line_that_names_it(tmp_path, spoil):
    write_imagenet(tmp_path)
    bad = tmp_path / "val" / WORDS[1] / "ILSVRC2012_val_53700001.JPEG"
    bad.write_bytes(bad.read_bytes()[: 200 if spoil == "truncated" else 0])
    with pytest.raises(EqvizError) as raised:
        load_imagenet("test", tmp_path, size=(8, 8))
    assert str(bad) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_limit_reads_only_what_it_takes(tmp_path):
    write_imagenet(tmp_path, n=4)
    files = imagenet_files("train", tmp_path, size=(16, 16))
    taken = files.take(6, seed=3)
    assert np.bincount(taken.labels).tolist() == [2, 2, 2]
    for path in set(files.paths) - set(taken.paths):
        (tmp_path / path).write_bytes(b"no picture")
    images = load_images("imagenet", "train", size=(16, 16), limit=6, seed=3, root=tmp_path)
    np.testing.assert_array_equal(images.images, [taken.read(index) for index in range(6)])
    assert images.labels.tolist() == taken.labels.tolist()
    assert images.images.shape == (6, 3, 16, 16)
    assert set(files.take(4, seed=3).paths) <= set(taken.paths)
    assert files.take(100) is files
    with pytest.raises(EqvizError, match="at least 1"):
        files.take(0)


def test_the_fingerprint_follows_names_sizes_and_settings_and_not_the_place(tmp_path):
    write_imagenet(tmp_path / "a")
    first = imagenet_files("test", tmp_path / "a").fingerprint()
    moved = (tmp_path / "a").rename(tmp_path / "b")
    again = imagenet_files("test", moved)
    assert again.fingerprint() == first
    prints = {again.fingerprint(), again.take(3).fingerprint(), imagenet_files("train", moved).fingerprint()}
    prints.add(imagenet_files("test", moved, size=(225, 225)).fingerprint())
    with (moved / again.paths[0]).open("ab") as file:
        file.write(b"\0")
    prints.add(again.fingerprint())
    assert len(prints) == 5
    (moved / again.paths[0]).unlink()
    with pytest.raises(EqvizError, match="put it back"):
        again.fingerprint()


def test_pictures_travel_to_other_processes(tmp_path):
    files = imagenet_files("test", write_imagenet(tmp_path))
    again = pickle.loads(pickle.dumps(files))
    assert again.fingerprint() == files.fingerprint()


def test_classes_are_those_of_both_splits(tmp_path):
    write_imagenet(tmp_path)
    for path in (tmp_path / "val" / WORDS[0]).iterdir():
        path.unlink()
    (tmp_path / "val" / WORDS[0]).rmdir()
    test = imagenet_files("test", tmp_path)
    assert test.classes == tuple(WORDS)
    assert test.labels.tolist() == [1, 1, 2, 2]


def test_a_flat_val_folder_and_empty_classes_are_one_line(tmp_path):
    save(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG", np.zeros((4, 4, 3)))
    with pytest.raises(EqvizError, match="sorted by the labels"):
        imagenet_files("test", tmp_path)
    (tmp_path / "val" / WORDS[0]).mkdir()
    with pytest.raises(EqvizError, match="folders without pictures"):
        imagenet_files("test", tmp_path)


def test_a_picture_with_broken_camera_notes_is_read(tmp_path):
    path = save(tmp_path / "a" / "1.jpg", np.full((4, 4, 3), 128))
    content, notes = path.read_bytes(), b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01"
    path.write_bytes(content[:2] + b"\xff\xe1" + (len(notes) + 2).to_bytes(2, "big") + notes + content[2:])
    files = PictureFiles("one", "test", tmp_path, ("a/1.jpg",), np.zeros(1, np.int64), ("a",))
    assert files.decode(0).shape == (3, 4, 4)


def test_an_ordinary_folder_can_be_opened_too(tmp_path):
    for part in ("train", "val"):
        for number in range(3):
            save(tmp_path / "own" / part / "cat" / f"{part}{number}.png", np.full((6, 8), 10 * number))
    files = open_pictures(tmp_path / "own", "test")
    assert (files.channels, files.size, files.stretched) == (1, (6, 8), True)
    np.testing.assert_array_equal(files.load().images, load_folder(tmp_path / "own", "test").images)
    np.testing.assert_array_equal(files.load().images, [files.read(index) for index in range(3)])
    assert open_pictures("own", "test", root=tmp_path).fingerprint() == files.fingerprint()
    assert open_pictures("imagenet", "train", size=(8, 8), root=write_imagenet(tmp_path)).size == (8, 8)
    with pytest.raises(EqvizError, match="pictures in files"):
        open_pictures("cifar10", "train")


@pytest.mark.parametrize(
    "changed",
    [
        {"paths": (), "labels": np.zeros(0, np.int64)}, {"channels": 2}, {"split": "val"}, {"size": (0, 4)},
        {"labels": np.array([0, 2])}, {"labels": np.array([0.0, 1.0])}, {"labels": np.array([0])}, {"classes": ("a",)},
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(changed):
    given = {"split": "test", "root": Path(), "paths": ("a/1.png", "b/2.png"), "labels": np.array([0, 1])}
    with pytest.raises(EqvizError):
        PictureFiles("two", **{**given, "classes": ("a", "b"), **changed})
