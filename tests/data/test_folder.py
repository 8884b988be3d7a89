import zlib

import numpy as np
import PIL.Image
import pytest

from eqviz.data.folder import load_folder
from eqviz.data.pictures import read_picture
from eqviz.errors import EqvizError


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def grey(value, size=(6, 6)):
    return np.full(size, value, np.uint8)


def fill(root, n=30, size=(6, 6)):
    for number in range(n):
        save(root / ("dog" if number % 2 else "cat") / f"{number:03d}.png", grey(number, size))
    return root


def values(data):
    return np.rint(data.images[:, 0, 0, 0] * 255).astype(int).tolist()


def test_pictures_by_class_are_divided_once_and_for_all(tmp_path):
    fill(tmp_path / "a")
    train, test = load_folder(tmp_path / "a", "train"), load_folder(tmp_path / "a", "test")
    assert sorted(values(train) + values(test)) == list(range(30))
    assert len(test) in range(1, 13)
    assert train.classes == test.classes == ("cat", "dog")
    for data in (train, test):
        assert [value % 2 for value in values(data)] == data.labels.tolist()
        assert data.images.shape[1:] == (1, 6, 6)
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a").rename(tmp_path / "elsewhere" / "a")
    assert load_folder(moved, "test").fingerprint() == test.fingerprint()
    fill(moved, n=40)
    assert set(values(test)) <= set(values(load_folder(moved, "test")))


def test_train_and_test_folders_are_taken_as_they_are(tmp_path):
    save(tmp_path / "train" / "cat" / "1.png", grey(1))
    save(tmp_path / "train" / "eel" / "2.png", grey(2))
    save(tmp_path / "test" / "dog" / "deeper" / "3.PNG", grey(3))
    train, test = load_folder(tmp_path, "train"), load_folder(tmp_path, "test")
    assert train.classes == test.classes == ("cat", "dog", "eel")
    assert (values(train), train.labels.tolist()) == ([1, 2], [0, 2])
    assert (values(test), test.labels.tolist()) == ([3], [1])


def test_a_class_may_be_called_train(tmp_path):
    save(tmp_path / "train" / "1.png", grey(1))
    save(tmp_path / "plane" / "2.png", grey(2))
    assert load_folder(tmp_path, "train").classes == ("plane", "train")


def test_half_a_split_is_one_line(tmp_path):
    save(tmp_path / "train" / "cat" / "1.png", grey(1))
    with pytest.raises(EqvizError, match="test split"):
        load_folder(tmp_path, "test")


def test_one_colour_picture_makes_all_of_them_colour(tmp_path):
    fill(tmp_path, n=4)
    assert load_folder(tmp_path, "train").images.shape[1] == 1
    red = np.zeros((6, 6, 3), np.uint8)
    red[..., 0] = 255
    save(tmp_path / "cat" / "red.png", red)
    pictures = [image for split in ("train", "test") for image in load_folder(tmp_path, split).images]
    assert all(image.shape == (3, 6, 6) for image in pictures)
    assert [1.0, 0.0, 0.0] in [image[:, 0, 0].tolist() for image in pictures]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F", "RGB", "RGBA", "P", "CMYK", "P with alpha"])
def test_every_kind_of_picture_has_values_from_black_to_white(tmp_path, mode):
    ramp = PIL.Image.fromarray(np.tile(np.array([0, 255], np.uint8), (2, 1)))
    options = {}
    if mode in ("I;16", "I"):
        deep = np.array(ramp).astype(np.uint16 if mode == "I;16" else np.int32) * 257
        ramp = PIL.Image.fromarray(deep)
    elif mode == "F":
        ramp = PIL.Image.fromarray(np.array(ramp).astype(np.float32) / 255)
    elif mode == "P with alpha":
        ramp, options = ramp.convert("P"), {"transparency": bytes([0, 255])}
    else:
        ramp = ramp.convert(mode)
    path = tmp_path / ("ramp.tif" if mode in ("F", "CMYK", "I") else "ramp.png")
    ramp.save(path, **options)
    channels = 3 if mode[0] in "RPC" else 1
    pixels = read_picture(path, channels)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.broadcast_to([0.0, 1.0], (channels, 2, 2)))


@pytest.mark.parametrize("pixels", [np.full((2, 2), 70000, np.int32), np.full((2, 2), 1.5, np.float32)])
def test_grey_values_on_no_known_scale_are_refused(tmp_path, pixels):
    with pytest.raises(EqvizError, match="rescale"):
        read_picture(save(tmp_path / "deep.tif", pixels), 1)


def test_different_sizes_need_a_size(tmp_path):
    save(tmp_path / "train" / "a" / "1.png", grey(9, (6, 8)))
    save(tmp_path / "train" / "a" / "2.png", grey(9, (4, 4)))
    with pytest.raises(EqvizError, match="give a size") as raised:
        load_folder(tmp_path, "train")
    assert "4x4 to 6x8" in str(raised.value)
    data = load_folder(tmp_path, "train", size=(5, 5))
    assert data.images.shape == (2, 1, 5, 5)
    np.testing.assert_allclose(data.images, 9 / 255, atol=1e-7)


def test_a_limit_takes_the_same_pictures_as_take(tmp_path):
    fill(tmp_path)
    whole = load_folder(tmp_path, "train")
    assert load_folder(tmp_path, "train", limit=6, seed=2).fingerprint() == whole.take(6, seed=2).fingerprint()
    assert load_folder(tmp_path, "train", limit=600).fingerprint() == whole.fingerprint()


def test_what_is_no_picture_is_passed_over(tmp_path):
    fill(tmp_path, n=4)
    for name in (".hidden.png", "notes.txt", "Thumbs.db", ".cache/deep.png"):
        (tmp_path / "cat" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cat" / name).write_text("not a picture")
    for name in ("no pictures", ".git", "__MACOSX"):
        (tmp_path / name).mkdir()
    (tmp_path / "__MACOSX" / "1.png").write_text("not a picture")
    (tmp_path / "loose.png").write_text("not a picture")
    data = load_folder(tmp_path, "train")
    assert data.classes == ("cat", "dog")


def test_links_may_be_classes_but_never_loops(tmp_path):
    root = fill(tmp_path / "root", n=4)
    save(tmp_path / "elsewhere" / "1.png", grey(200))
    (root / "eel").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "cat" / "loop").symlink_to(root / "cat")
    (root / "self").symlink_to(root / "self")
    (root / "cat" / "gone.png").symlink_to(root / "nowhere.png")
    data = [load_folder(root, split) for split in ("train", "test")]
    assert data[0].classes == ("cat", "dog", "eel")
    assert sum(map(len, data)) == 5


@pytest.mark.parametrize("names", [(), ("cat/",), ("loose.png",), ("train/cat/", "test/cat/")])
def test_a_folder_without_pictures_by_class_is_one_line(tmp_path, names):
    for name in names:
        place = tmp_path / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            save(place, grey(1))
    with pytest.raises(EqvizError, match="lay it out as"):
        load_folder(tmp_path, "train")


def test_the_files_of_a_published_data_set_are_recognised(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"")
    with pytest.raises(EqvizError, match="name of the data set"):
        load_folder(tmp_path, "train")


def broken(tmp_path, kind):
    path = tmp_path / "train" / "cat" / "bad.png"
    whole = save(tmp_path / "train" / "cat" / "ok.png", np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    content = whole.read_bytes()
    if kind == "Ghostscript":
        content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    elif kind == "bomb":
        save(path, np.zeros((1, 1), np.uint8))
        head = path.read_bytes()
        ihdr = b"IHDR" + (60000).to_bytes(4, "big") * 2 + head[24:29]
        content = head[:12] + ihdr + zlib.crc32(ihdr).to_bytes(4, "big") + head[33:]
    else:
        content = {"empty": b"", "text": b"hello", "truncated": content[:900], "flipped": content[:60] + bytes(400)}[
            kind
        ]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "flipped", "bomb", "Ghostscript"])
def test_a_broken_picture_is_one_line_that_names_it(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(EqvizError) as raised:
        load_folder(tmp_path, "train", size=(8, 8))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_pictures_without_labels_lie_as_they_like(tmp_path):
    for place, name in enumerate(["1.png", "deep/2.png", "deep/er/3.PNG", ".hidden/4.png"], start=1):
        save(tmp_path / name, grey(place))
    train, test = (load_folder(tmp_path, split, labels=False) for split in ("train", "test"))
    assert values(train) == values(test) == [1, 2, 3]
    assert (test.labels.tolist(), test.classes) == ([0, 0, 0], ("unlabelled",))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(EqvizError, match=r"expected pictures .*; found none; put some there"):
        load_folder(empty, "test", labels=False)


def test_pictures_without_labels_may_come_with_a_split(tmp_path):
    for place, name in enumerate(["train/1.png", "train/a/2.png", "val/3.png", "other/4.png"], start=1):
        save(tmp_path / name, grey(place))
    assert values(load_folder(tmp_path, "train", labels=False)) == [1, 2]
    assert values(load_folder(tmp_path, "test", labels=False)) == [3]


def test_loose_pictures_are_refused_where_labels_are_asked_for(tmp_path):
    save(tmp_path / "1.png", grey(1))
    with pytest.raises(EqvizError, match=r"found pictures in no such folder; .*or set labels = false") as caught:
        load_folder(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_colour_read_in_grey_is_the_mean_of_its_channels(tmp_path):
    pixels = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    path = save(tmp_path / "1.png", pixels)
    np.testing.assert_allclose(read_picture(path, 1)[0], pixels.mean(-1) / 255, atol=1e-7)
