from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import scipy.io

from eqviz.data import download
from eqviz.data.crops import centre_crop
from eqviz.data.flowers import flowers102_files, load_flowers102
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from tests.data.serving import archive, everything, md5

N = 30


def write_flowers(folder):
    """Thirty flowers of differing sizes in the official layout; the labels."""
    (folder / "jpg").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(1, N + 1):
        pixels = rng.integers(0, 256, (30 + number, 50, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(folder / "jpg" / f"image_{number:05d}.jpg")
    labels, order = rng.integers(1, 103, N).astype(np.uint8), rng.permutation(N) + 1
    labels[0] = 102
    parts = {"trnid": order[:8], "valid": order[8:16], "tstid": order[16:]}
    scipy.io.savemat(folder / "imagelabels.mat", {"labels": labels[None]})
    sets = {key: ids[None].astype(np.uint16) for key, ids in parts.items()}
    scipy.io.savemat(folder / "setid.mat", sets, do_compression=True)
    return labels, parts


@pytest.mark.parametrize("below", [".", "flowers102", "flowers-102"])
def test_flowers_are_read_by_the_official_split(tmp_path, below):
    labels, parts = write_flowers(tmp_path / below)
    for split, key in (("train", "trnid"), ("test", "tstid")):
        files = flowers102_files(split, tmp_path)
        assert files.paths == tuple(f"jpg/image_{number:05d}.jpg" for number in parts[key])
        assert [files.classes[label] for label in files.labels] == [str(labels[number - 1]) for number in parts[key]]
        assert (len(files.classes), files.size, files.channels) == (102, (224, 224), 3)
        np.testing.assert_array_equal(files.read(2), centre_crop(files.decode(2), (224, 224)))


def test_a_limit_decodes_only_what_it_takes(tmp_path):
    write_flowers(tmp_path)
    files = flowers102_files("test", tmp_path, size=(20, 20))
    taken = files.take(5, seed=2)
    for path in set(files.paths) - set(taken.paths):
        (tmp_path / path).write_bytes(b"no picture")
    data = load_images("flowers102", "test", size=(20, 20), limit=5, seed=2, root=tmp_path)
    np.testing.assert_array_equal(data.images, taken.load().images)
    assert data.images.shape == (5, 3, 20, 20)
    with pytest.raises(EqvizError, match="a picture that can be read"):
        load_flowers102("test", tmp_path, size=(20, 20))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(EqvizError, match=r"found no jpg, imagelabels\.mat, setid\.mat;"):
        flowers102_files("train", tmp_path)
    _, parts = write_flowers(tmp_path)
    absent = f"jpg/image_{parts['trnid'][3]:05d}.jpg"
    (tmp_path / absent).unlink()
    assert len(flowers102_files("test", tmp_path)) == 14
    with pytest.raises(EqvizError, match=f"1 missing, such as {absent}"):
        flowers102_files("train", tmp_path)


def serve(home, monkeypatch, extra):
    folder, url, _ = home
    write_flowers(folder)
    members = {f"jpg/{path.name}": path.read_bytes() for path in sorted((folder / "jpg").iterdir())}
    (folder / "102flowers.tgz").write_bytes(archive({**extra, **members}))
    checksums = {file: md5((folder / file).read_bytes()) for file in download.HOMES["flowers102"].checksums}
    changed = replace(download.HOMES["flowers102"], url=url, checksums=checksums, members=tuple(members))
    monkeypatch.setitem(download.HOMES, "flowers102", changed)


def test_the_archive_is_unpacked_and_nothing_leaves_its_folder(home, monkeypatch, tmp_path):
    strange = {"../evil.jpg": b"x", "/evil.jpg": b"x", "jpg/../../evil.jpg": b"x", "jpg/evil.jpg": "/etc/passwd"}
    serve(home, monkeypatch, strange)
    data = load_flowers102("train", size=(8, 8))
    assert data.fingerprint() == load_flowers102("train", home[0], size=(8, 8)).fingerprint()
    assert len(home[2]) == 3
    jpegs = [f"image_{number:05d}.jpg" for number in range(1, N + 1)]
    assert everything(tmp_path / "cache") == sorted([*jpegs, "imagelabels.mat", "setid.mat"])
    (tmp_path / "cache" / "flowers102" / "setid.mat").unlink()
    flowers102_files("test")
    assert len(home[2]) == 4  # the pictures are there and are not asked for again


def test_a_download_that_fails_is_a_short_line(home, monkeypatch):
    closed = replace(download.HOMES["flowers102"], url="http://127.0.0.1:9/")
    monkeypatch.setitem(download.HOMES, "flowers102", closed)
    with pytest.raises(EqvizError, match=r"jpg/image_00008\.jpg and 8183 more into") as raised:
        flowers102_files("train")
    assert len(str(raised.value)) < 1000


def test_the_home_names_all_pictures():
    members = download.HOMES["flowers102"].members
    assert (len(members), members[0], members[-1]) == (8189, "jpg/image_00001.jpg", "jpg/image_08189.jpg")


def objects():
    made = np.empty((1, 2), object)
    made[0] = [np.arange(3), "text"]
    return made


HOSTILE = {
    "empty": b"",
    "text": b"labels = [1 2 3]" * 20,
    "HDF5": b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400),
    "too large": bytes(2**18 + 1),
    "other key": {"label": np.ones((1, N))},
    "two rows": {"labels": np.ones((2, N))},
    "objects": {"labels": objects()},
    "a struct": {"labels": {"a": np.ones(3)}},
    "words": {"labels": np.array(["rose", "lily"])},
    "none": {"labels": np.zeros((1, 0))},
    "zero": {"labels": np.zeros((1, N))},
    "label 103": {"labels": np.full((1, N), 103)},
    "halves": {"labels": np.full((1, N), 1.5)},
    "not a number": {"labels": np.full((1, N), np.nan)},
    "complex": {"labels": np.ones((1, N)) * 1j},
}


@pytest.mark.parametrize("how", [*HOSTILE, "truncated", "scrambled", "sparse"])
def test_hostile_label_files_are_one_line_that_names_the_file(tmp_path, how):
    write_flowers(tmp_path)
    path = tmp_path / "imagelabels.mat"
    content = HOSTILE.get(how, path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[:-10])
    elif how == "scrambled":
        path.write_bytes(content[:128] + bytes(byte ^ 0x5A for byte in content[128:]))
    elif how == "sparse":
        scipy.io.savemat(path, {"labels": scipy.sparse.csc_array(np.ones((1, N)))})
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        scipy.io.savemat(path, content)
    with pytest.raises(EqvizError) as raised:
        flowers102_files("train", tmp_path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_split_beyond_the_labels_is_refused(tmp_path):
    write_flowers(tmp_path)
    scipy.io.savemat(tmp_path / "setid.mat", {"trnid": np.array([[1, N + 1]])})
    with pytest.raises(EqvizError, match=rf"trnid as whole numbers 1\.\.{N}; found 2 numbers, 1\.\.{N + 1}"):
        flowers102_files("train", tmp_path)
    with pytest.raises(EqvizError, match="no tstid"):
        flowers102_files("test", tmp_path)
