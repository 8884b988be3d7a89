import builtins
import gzip
from dataclasses import replace

import h5py
import numpy as np
import pytest

from eqviz.data import download, hdf5
from eqviz.data.pcam import load_pcam
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from tests.data.serving import everything, md5

STEM = "camelyonpatch_level_2_split"


def write_array(path, key, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(key, data=values, **options)
    return path


def write_pcam(folder, n=12, split="test", **options):
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (n, 96, 96, 3), np.uint8), rng.permutation(np.arange(n) % 2).astype(np.uint8)
    write_array(folder / f"{STEM}_{split}_x.h5", "x", pixels, **options)
    write_array(folder / f"{STEM}_{split}_y.h5", "y", labels.reshape(-1, 1, 1, 1))
    return pixels, labels


@pytest.mark.parametrize("below", [".", "pcam", "patchcamelyon"])
@pytest.mark.parametrize("options", [{}, {"chunks": (4, 96, 96, 3), "compression": "gzip"}])
def test_patches_come_back_as_they_were_written(tmp_path, below, options):
    pixels, labels = write_pcam(tmp_path / below, **options)
    data = load_pcam("test", tmp_path)
    np.testing.assert_array_equal(np.rint(data.images * 255), pixels.transpose(0, 3, 1, 2))
    assert data.labels.tolist() == labels.tolist()
    assert data.classes == ("no tumour", "tumour")


def test_a_limit_reads_the_rows_it_takes_and_no_others(tmp_path, monkeypatch):
    write_pcam(tmp_path, n=40)
    whole = load_pcam("test", tmp_path)
    asked = []

    def watched(path, key, shape, rows=None, **options):
        asked.append((key, None if rows is None else rows.tolist()))
        return hdf5.read_rows(path, key, shape, rows, **options)

    monkeypatch.setattr("eqviz.data.pcam.read_rows", watched)
    monkeypatch.setattr("eqviz.data.pcam._BLOCK", 4)
    some = load_images("pcam", "test", limit=6, seed=5, root=tmp_path)
    assert some.fingerprint() == whole.take(6, seed=5).fingerprint()
    assert np.bincount(some.labels).tolist() == [3, 3]
    rows = [row for key, block in asked if key == "x" for row in block]
    assert (len(rows), [key for key, _ in asked]) == (6, ["y", "x", "x"])
    small = load_images("pcam", "test", size=(32, 32), limit=6, seed=5, root=tmp_path)
    np.testing.assert_array_equal(small.images, some.resized((32, 32)).images)


def test_what_is_only_gzipped_is_to_be_unpacked(tmp_path):
    write_pcam(tmp_path)
    images = tmp_path / f"{STEM}_test_x.h5"
    (tmp_path / f"{images.name}.gz").write_bytes(gzip.compress(images.read_bytes()))
    images.unlink()
    with pytest.raises(EqvizError, match=r"found no .*_test_x\.h5 \(only .*\.gz\); .*gunzip"):
        load_pcam("test", tmp_path)
    with pytest.raises(EqvizError, match=r"found no .*_train_x\.h5, .*_train_y\.h5; "):
        load_pcam("train", tmp_path)


def serve(home, monkeypatch, spoil=lambda content: content):
    folder, url, _ = home
    write_pcam(folder)
    checksums = {}
    for path in list(folder.glob("*.h5")):
        content = spoil(gzip.compress(path.read_bytes()))
        (folder / f"{path.name}.gz").write_bytes(content)
        checksums[f"{path.name}.gz"] = md5(content)
    others = {file: "md5:0" for file in download.HOMES["pcam"].checksums if "train" in file}
    home_here = replace(download.HOMES["pcam"], url=url, checksums={**others, **checksums})
    monkeypatch.setitem(download.HOMES, "pcam", home_here)


def test_only_the_split_is_downloaded_once_and_unpacked(home, monkeypatch, tmp_path):
    serve(home, monkeypatch)
    first = load_pcam("test")
    assert first.fingerprint() == load_pcam("test").fingerprint() == load_pcam("test", home[0]).fingerprint()
    assert len(home[2]) == 2
    assert everything(tmp_path / "cache" / "pcam") == [f"{STEM}_test_x.h5", f"{STEM}_test_y.h5"]


def test_a_download_that_cannot_be_unpacked_leaves_nothing_half_done(home, monkeypatch, tmp_path):
    serve(home, monkeypatch, lambda content: content[:-20])
    with pytest.raises(EqvizError, match=r"put camelyonpatch.*_test_x\.h5, ") as raised:
        load_pcam("test")
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").rglob("*.h5"))


def test_without_h5py_the_error_says_what_to_install(tmp_path, monkeypatch):
    write_pcam(tmp_path)
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EqvizError, match=r"pip install 'eqviz\[hdf5\]'"):
        load_pcam("test", tmp_path)


def spoil(tmp_path, how):
    """Files of the test split, one of them hostile; the one that is to be named."""
    write_pcam(tmp_path)
    images, labels = tmp_path / f"{STEM}_test_x.h5", tmp_path / f"{STEM}_test_y.h5"
    if how == "empty":
        images.write_bytes(b"")
    elif how == "text":
        images.write_text("hello" * 1000)
    elif how == "truncated":
        images.write_bytes(images.read_bytes()[:-5000])
    elif how == "other key":
        write_array(images, "images", np.zeros((12, 96, 96, 3), np.uint8))
    elif how == "a group":
        with h5py.File(images, "w") as file:
            file.create_group("x")
    elif how == "other shape":
        write_array(images, "x", np.zeros((12, 3, 96, 96), np.uint8))
    elif how == "floats":
        write_array(images, "x", np.zeros((12, 96, 96, 3), np.float32))
    elif how == "fewer images":
        write_array(images, "x", np.zeros((11, 96, 96, 3), np.uint8))
    elif how == "external link":
        write_array(tmp_path / "other.h5", "x", np.zeros((12, 96, 96, 3), np.uint8))
        with h5py.File(images, "w") as file:
            file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    elif how == "external bytes":
        (tmp_path / "secret").write_bytes(bytes(12 * 96 * 96 * 3))
        with h5py.File(images, "w") as file:
            everything = [(str(tmp_path / "secret"), 0, 12 * 96 * 96 * 3)]
            file.create_dataset("x", (12, 96, 96, 3), np.uint8, external=everything)
    elif how == "virtual":
        layout = h5py.VirtualLayout((12, 96, 96, 3), np.uint8)
        write_array(tmp_path / "other.h5", "x", np.zeros((12, 96, 96, 3), np.uint8))
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (12, 96, 96, 3))
        with h5py.File(images, "w") as file:
            file.create_virtual_dataset("x", layout)
    else:
        with h5py.File(labels, "w") as file:
            if how == "labels declared and not there":
                file.create_dataset("y", (2**40, 1, 1, 1), np.uint8, chunks=(1024, 1, 1, 1))
            elif how == "no labels":
                file.create_dataset("y", (0, 1, 1, 1), np.uint8)
            elif how == "nothing stored":
                file.create_dataset("y", data=h5py.Empty(np.uint8))
            elif how == "text labels":
                file.create_dataset("y", data=[b"tumour"] * 12)
            elif how == "label 2":
                file.create_dataset("y", data=np.full((12, 1, 1, 1), 2, np.uint8))
        return labels
    return images


@pytest.mark.parametrize(
    "how",
    [
        "empty", "text", "truncated", "other key", "a group", "other shape", "floats", "fewer images", "external link",
        "external bytes", "virtual", "labels declared and not there", "no labels", "nothing stored", "text labels",
        "label 2",
    ],
)  # fmt: skip
def test_hostile_files_are_one_line_that_names_the_file(tmp_path, how):
    path = spoil(tmp_path, how)
    with pytest.raises(EqvizError) as raised:
        load_pcam("test", tmp_path, limit=4)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
