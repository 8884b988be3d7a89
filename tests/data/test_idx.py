import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.data.idx import FASHION_CLASSES, load_fashion_mnist, load_mnist, read_idx
from eqviz.errors import EqvizError

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}


def idx_bytes(values):
    head = bytes([0, 0, CODES[values.dtype.name], values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_set(folder, zipped=True, n_train=7, n_test=5):
    """An MNIST of a few images in the official layout; its arrays."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    made = {}
    for stem, n in (("train", n_train), ("t10k", n_test)):
        made[stem] = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        for kind, values in zip(("images-idx3", "labels-idx1"), made[stem], strict=True):
            content = idx_bytes(values)
            name = f"{stem}-{kind}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(content) if zipped else content)
    return made


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("dtype", CODES)
def test_every_type_comes_back_as_it_was_written(tmp_path, dtype, zipped):
    values = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(idx_bytes(values)) if zipped else idx_bytes(values))
    again = read_idx(path)
    assert again.dtype == values.dtype
    np.testing.assert_array_equal(again, values)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("loader", "below"), [(load_mnist, "mnist"), (load_fashion_mnist, "fashion-mnist"), (load_mnist, ".")]
)
def test_a_data_set_is_found_in_its_folder_or_the_parent(tmp_path, loader, below, zipped):
    made = write_set(tmp_path / below, zipped)
    for split, stem in (("train", "train"), ("test", "t10k")):
        data = loader(split, tmp_path)
        np.testing.assert_array_equal(np.rint(data.images[:, 0] * 255), made[stem][0])
        np.testing.assert_array_equal(data.labels, made[stem][1])
        assert loader(split, tmp_path / below).fingerprint() == data.fingerprint()
    assert data.classes == (FASHION_CLASSES if loader is load_fashion_mnist else tuple("0123456789"))


def test_the_named_subfolder_comes_before_the_folder_itself(tmp_path):
    write_set(tmp_path, n_test=3)
    write_set(tmp_path / "fashion-mnist", n_test=4)
    assert len(load_fashion_mnist("test", tmp_path)) == 4
    assert len(load_mnist("test", tmp_path)) == 3


def test_the_dotted_names_of_some_mirrors_are_known(tmp_path):
    write_set(tmp_path, zipped=False)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(load_mnist("train", tmp_path)) == 7


def test_missing_files_are_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(load_mnist("train", tmp_path)) == 7
    with pytest.raises(EqvizError, match=r"no t10k-labels-idx1-ubyte\.gz;"):
        load_mnist("test", tmp_path)


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
HUGE = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
MALFORMED = {
    "empty": b"",
    "short magic": GOOD[:3],
    "wrong magic": b"\x01" + GOOD[1:],
    "unknown type": GOOD[:2] + b"\x07" + GOOD[3:],
    "no dimensions": bytes([0, 0, 8, 0]),
    "short dimensions": GOOD[:9],
    "an empty dimension": bytes([0, 0, 8, 2]) + struct.pack(">2I", 0, 2**32 - 1),
    "255 dimensions": bytes([0, 0, 8, 255]) + struct.pack(">255I", *[1] * 255) + b"\0",
    "truncated": GOOD[:-1],
    "too long": GOOD + b"\0",
    "absurd": HUGE,
    "absurd and long": HUGE + bytes(5000),
    "gzip, truncated": gzip.compress(GOOD)[:-9],
    "gzip, wrong checksum": gzip.compress(GOOD)[:-8] + bytes(8),
    "gzip of something else": gzip.compress(b"hello there"),
    "gzip, absurd": gzip.compress(HUGE),
    "gzip, too long": gzip.compress(GOOD + bytes(100)),
    "gzip, a bomb": gzip.compress(HUGE + bytes(10**6)),
    "not gzip after all": b"\x1f\x8bnonsense",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_malformed_files_are_one_line_that_names_the_file(tmp_path, content):
    path = tmp_path / "broken-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(EqvizError) as raised:
        read_idx(path)
    assert str(path) in str(raised.value)


@settings(deadline=None, max_examples=150)
@given(content=st.binary(max_size=60), magic=st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x1f\x8b\x08"]))
def test_no_bytes_at_all_do_worse_than_an_error(tmp_path_factory, content, magic):
    path = tmp_path_factory.getbasetemp() / "any-idx"
    path.write_bytes(magic + content)
    try:
        values = read_idx(path)
    except EqvizError:
        return
    assert values.nbytes < 100


@pytest.mark.parametrize(
    ("file", "values", "found"),
    [
        ("t10k-labels-idx1-ubyte", np.zeros(4, np.uint8), "found 4;"),
        ("t10k-labels-idx1-ubyte", np.full(5, 10, np.uint8), "label 10"),
        ("t10k-labels-idx1-ubyte", np.zeros((5, 1), np.uint8), "shape (5, 1)"),
        ("t10k-images-idx3-ubyte", np.zeros((5, 28, 28), np.float32), "float32"),
        ("t10k-images-idx3-ubyte", np.zeros((5, 784), np.uint8), "shape (5, 784)"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, file, values, found):
    write_set(tmp_path, zipped=False)
    (tmp_path / file).write_bytes(idx_bytes(values))
    with pytest.raises(EqvizError) as raised:
        load_mnist("test", tmp_path)
    assert found in str(raised.value)
