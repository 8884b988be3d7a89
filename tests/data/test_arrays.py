import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.data.arrays import load_arrays
from eqviz.data.npz import array_names, read_array
from eqviz.errors import EqvizError

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 5, 6, 3), np.uint8)
LABELS = np.arange(40) % 3


def save(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "made.npz", **arrays)
    return tmp_path / "made.npz"


def both(path):
    train, test = load_arrays(path, "train"), load_arrays(path, "test")
    return np.concatenate([train.images, test.images]), np.concatenate([train.labels, test.labels])


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("x", "y"), ("x", "labels")])
@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
def test_images_without_a_split_are_divided_and_none_is_lost(tmp_path, images, labels, compress):
    path = tmp_path / "made.npz"
    compress(path, **{images: BYTES, labels: LABELS})
    pixels, numbers = both(path)
    sent = {image.tobytes(): label for image, label in zip(BYTES, LABELS, strict=True)}
    back = np.rint(pixels * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    assert {image.tobytes(): label for image, label in zip(back, numbers, strict=True)} == sent
    assert load_arrays(path, "test").fingerprint() == load_arrays(path, "test").fingerprint()
    assert load_arrays(path, "test").name == "made"


@pytest.mark.parametrize(("train", "test"), [("x_train", "x_test"), ("train_images", "test_images")])
def test_a_split_in_the_file_is_kept(tmp_path, train, test):
    y_train, y_test = (key.replace("x_", "y_").replace("images", "labels") for key in (train, test))
    path = save(
        tmp_path, **{train: BYTES[:30], y_train: LABELS[:30, None], test: BYTES[30:], y_test: LABELS[30:, None]}
    )
    pixels, numbers = both(path)
    np.testing.assert_array_equal(np.rint(pixels.transpose(0, 2, 3, 1) * 255), BYTES)
    np.testing.assert_array_equal(numbers, LABELS)
    assert len(load_arrays(path, "test")) == 10


@pytest.mark.parametrize("key", ["image", "source", "group"])
@pytest.mark.parametrize("kind", [str, bytes, int])
def test_one_source_is_never_on_both_sides(tmp_path, key, kind):
    sources = np.arange(40) // 4
    named = sources if kind is int else np.array([f"slide {number}" for number in sources], "U" if kind is str else "S")
    path = save(tmp_path, x=BYTES, y=sources, **{key: named})
    train, test = (set(load_arrays(path, split).labels.tolist()) for split in ("train", "test"))
    assert train
    assert test
    assert not train & test


def test_copies_of_a_picture_stay_together(tmp_path):
    numbers = np.arange(80) % 40
    path = save(tmp_path, x=BYTES[numbers], y=numbers)
    assert not set(load_arrays(path, "train").labels.tolist()) & set(load_arrays(path, "test").labels.tolist())


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((9, 5, 6), None),
        ((9, 5, 6, 1), (0, 3, 1, 2)),
        ((9, 5, 6, 3), (0, 3, 1, 2)),
        ((9, 3, 5, 6), (0, 1, 2, 3)),
        ((9, 1, 5, 6), (0, 1, 2, 3)),
        ((9, 4, 5, 6), (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.bool_])
def test_layouts_and_types(tmp_path, shape, axes, dtype):
    scale, top = (255, 256) if dtype is np.uint8 else (1, 2)
    pixels = (
        RNG.random(shape).astype(dtype) if dtype in (np.float32, np.float64) else RNG.integers(0, top, shape, dtype)
    )
    path = save(tmp_path, x_train=pixels, y_train=np.arange(9), x_test=pixels, y_test=np.arange(9))
    data = load_arrays(path, "test")
    expected = (pixels[:, None] if axes is None else pixels.transpose(axes)) / scale
    assert data.images.flags.c_contiguous
    np.testing.assert_allclose(data.images, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"x": BYTES}, "found x;"),
        ({"y": LABELS}, "found y;"),
        ({"pixels": BYTES}, "found pixels;"),
        ({}, "no arrays"),
        ({"x": BYTES[0, 0], "y": LABELS}, "shape (6, 3)"),
        ({"x": BYTES[:0], "y": LABELS}, "shape (0, 5, 6, 3)"),
        ({"x": BYTES, "y": LABELS[:-1]}, "found 39;"),
        ({"x": BYTES, "y": LABELS / 2}, "float64"),
        ({"x": BYTES, "y": np.eye(40)}, "shape (40, 40)"),
        ({"x": BYTES, "y": LABELS - 1}, "found -1..1;"),
        ({"x": BYTES, "y": LABELS * 10**9}, "found 0..2000000000;"),
        ({"x": BYTES.astype(np.int32), "y": LABELS}, "int32"),
        ({"x": BYTES.astype(np.float32), "y": LABELS}, "values 0..255"),
        ({"x": BYTES * np.nan, "y": LABELS}, "values nan..nan"),
        ({"x": BYTES.transpose(0, 1, 3, 2), "y": LABELS}, "shape (40, 5, 3, 6)"),
        ({"x": BYTES.reshape(40, 3, 10, 3), "y": LABELS}, "shape (40, 3, 10, 3)"),
        ({"x": BYTES, "y": LABELS, "image": LABELS[:3]}, "shape (3,)"),
        ({"x": BYTES, "y": LABELS, "image": LABELS / 2}, "float64"),
        ({"x": BYTES, "y": LABELS, "classes": ["a", "b"]}, "shape (2,)"),
        ({"x": BYTES, "y": np.array([b"\xff"] * 40)}, "codec"),
        ({"x": BYTES[:1], "y": LABELS[:1], "source": ["a"]}, "none of 1"),
    ],
)
def test_arrays_that_are_not_labelled_images_are_one_line(tmp_path, arrays, found):
    path = save(tmp_path, **arrays)
    with pytest.raises(EqvizError) as raised:
        [load_arrays(path, split) for split in ("train", "test")]
    assert str(path) in str(raised.value)
    assert found in str(raised.value)
    assert "\n" not in str(raised.value)


def test_classes_may_be_named(tmp_path):
    path = save(tmp_path, x=BYTES, y=LABELS, classes=["red", "white", "platelet", "unused"])
    assert load_arrays(path, "train").classes == ("red", "white", "platelet", "unused")
    path = save(tmp_path, x=BYTES, y=np.array(["b", "c", "a"])[LABELS])
    data = load_arrays(path, "train")
    assert data.classes == ("a", "b", "c")
    assert load_arrays(save(tmp_path, x=BYTES, y=LABELS * 2), "train").classes == ("0", "1", "2", "3", "4")


def npy(header=None, values=b"", version=b"\x01\x00"):
    head = (header or "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }").encode()
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + values


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_objects():
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{"a": 1}], dtype=object), y=LABELS)
    return buffer.getvalue()


SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}".format
MALFORMED = {
    "empty": b"",
    "no zip": b"hello",
    "a pickle": b"\x80\x04K\x01.",
    "a lone array": npy(values=bytes(24)),
    "objects": with_objects(),
    "truncated archive": zipped(**{"x.npy": npy(values=bytes(24))})[:-30],
    "truncated array": zipped(**{"x.npy": npy(values=bytes(20))}),
    "array too long": zipped(**{"x.npy": npy(values=bytes(25))}),
    "no array": zipped(**{"x.npy": b"hello"}),
    "absurd shape": zipped(**{"x.npy": npy(SHAPE("<f8", (2**40, 2**40)), bytes(24))}),
    "negative shape": zipped(**{"x.npy": npy(SHAPE("<f8", (-1, 3)), bytes(24))}),
    "no type": zipped(**{"x.npy": npy(SHAPE("<q9", (3,)), bytes(24))}),
    "code for a header": zipped(**{"x.npy": npy("__import__('os').getcwd()", bytes(24))}),
    "npy format 9": zipped(**{"x.npy": npy(values=bytes(24), version=b"\x09\x00")}),
    "slip": zipped(**{"x.npy": npy(values=bytes(24)), "../../evil.npy": npy(values=bytes(24))}),
    "absolute": zipped(**{"x.npy": npy(values=bytes(24)), "/evil.npy": npy(values=bytes(24))}),
    "wrong checksum": zipped(**{"x.npy": npy(values=bytes(24))}).replace(b"\x93NUMPY", b"\x93NUMPZ"),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_one_line_and_run_nothing(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(EqvizError) as raised:
        load_arrays(path, "train")
    assert str(path) in str(raised.value)


def test_an_entry_that_declares_more_than_it_can_hold_is_refused(tmp_path):
    content = zipped(**{"x.npy": npy(SHAPE("<u1", (2**31,)), bytes(2000))})
    size = struct.pack("<I", len(npy(SHAPE("<u1", (2**31,)), bytes(2000))))
    path = tmp_path / "bomb.npz"
    path.write_bytes(content.replace(size, struct.pack("<I", 2**31 + 128)))
    with pytest.raises(EqvizError, match="declaring"):
        read_array(path, "x")


@settings(deadline=None, max_examples=80)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255))
def test_one_wrong_byte_is_an_error_or_the_same_array(tmp_path_factory, place, byte):
    values = np.arange(5, dtype=np.int16)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=values)
    content = bytearray(buffer.getvalue())
    content[place % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(content)
    try:
        if "x" in array_names(path):
            np.testing.assert_array_equal(read_array(path, "x"), values)
    except EqvizError:
        pass


@pytest.mark.parametrize("name", ["images", "x", "anything"])
def test_images_without_labels_are_in_both_splits(tmp_path, name):
    path = save(tmp_path, **{name: BYTES})
    train, test = (load_arrays(path, split, labels=False) for split in ("train", "test"))
    assert len(train) == len(test) == 40
    assert (test.labels.sum(), test.classes) == (0, ("unlabelled",))
    with pytest.raises(EqvizError, match="expected an array "):
        load_arrays(path, "test")


def test_images_without_labels_keep_the_split_of_their_file(tmp_path):
    path = save(tmp_path, x_train=BYTES[:30], x_test=BYTES[30:], notes=np.zeros(3))
    assert len(load_arrays(path, "train", labels=False)) == 30
    assert len(load_arrays(path, "test", labels=False)) == 10
    with pytest.raises(EqvizError, match="expected an array images or x; found a, b"):
        load_arrays(save(tmp_path, a=BYTES, b=BYTES), "test", labels=False)


def test_missing_labels_are_told_with_the_way_out(tmp_path):
    with pytest.raises(EqvizError, match=r"expected an array labels or y; .* or set labels = false"):
        load_arrays(save(tmp_path, images=BYTES), "test")
