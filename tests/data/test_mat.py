import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from eqviz.data.mat import read_matrix
from eqviz.errors import EqvizError

OTHERS = {"other": np.arange(5), "text": "words", "tree": {"a": 1}, "complex": np.array([[1j]])}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8", "i8"])
def test_reads_what_scipy_writes(tmp_path, kind, packed):
    for matrix in (np.arange(300).reshape(1, 300).astype(kind), np.arange(6).reshape(2, 3).astype(kind)):
        savemat(tmp_path / "a.mat", OTHERS | {"labels": matrix}, do_compression=packed)
        found = read_matrix(tmp_path / "a.mat", "labels")
        assert found.shape == matrix.shape
        assert (found == matrix).all()


@pytest.mark.parametrize("name", ["text", "tree", "complex", "absent"])
def test_what_is_no_matrix_of_numbers_is_refused(tmp_path, name):
    savemat(tmp_path / "a.mat", OTHERS)
    with pytest.raises(EqvizError, match=rf"a\.mat: expected a small MATLAB file with {name}, a matrix of numbers"):
        read_matrix(tmp_path / "a.mat", name)


def test_a_bomb_is_not_unpacked(tmp_path):
    packed = zlib.compress(struct.pack("<II", 14, 2**30) + bytes(2**26), 9)
    (tmp_path / "a.mat").write_bytes(bytes(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(EqvizError, match="cut off"):
        read_matrix(tmp_path / "a.mat", "labels")


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6), st.integers(0, 400), st.booleans())
def test_a_broken_file_is_read_or_refused_and_nothing_else(tmp_path_factory, changes, end, packed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, {"labels": np.arange(1, 40)[None]}, do_compression=packed)
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(bytes(content[: len(content) - (end if end < 40 else 0)]))
    with suppress(EqvizError):
        assert isinstance(read_matrix(path, "labels"), np.ndarray)
