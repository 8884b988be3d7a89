"""Files of every kind with bytes changed, cut out or put in: a checkpoint or one line, nothing else, and soon."""

import argparse
import io
import pathlib
import pickletools
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from eqviz.checkpoints.fitting import fit_state
from eqviz.checkpoints.reading import Checkpoint, read_checkpoint
from eqviz.errors import EqvizError
from tests.checkpoints.files import FORMATS, write

STATE = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).state_dict()
SETTINGS = argparse.Namespace(lr=np.float64(0.1), names=["a"], path=pathlib.PurePosixPath("a/b"))
CONTENT = {"state_dict": STATE, "epoch": 3, "args": SETTINGS, "sparse": torch.eye(2).to_sparse()}
STARTS = (b"", b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"\x02\0\0\0\0\0\0\0{}")
OPERATIONS = [ord(operation.code) for operation in pickletools.opcodes]

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "copy"]),
        st.integers(0, 10**6),
        st.one_of(st.integers(0, 255), st.sampled_from(OPERATIONS)),
    ),
    min_size=1,
    max_size=6,
)
QUICK = settings(
    max_examples=60, deadline=5000, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """The bytes of a good file in each format."""
    path = tmp_path_factory.mktemp("valid") / "a"
    return {kind: write(path, STATE if kind == "safetensors" else CONTENT, kind).read_bytes() for kind in FORMATS}


def changed(data, changes):
    data = bytearray(data)
    for what, place, value in changes:
        start = place % len(data)
        if what == "flip":
            data[start] ^= 1 << value % 8
        elif what == "set":
            data[start] = value
        elif what == "cut":
            del data[start : start + 1 + value % 8]
        elif what == "insert":
            data.insert(start, value)
        else:
            data[value:value] = data[start : start + 40]
        data = data or bytearray(1)
    return bytes(data)


def read(path, data):
    path.write_bytes(data)
    try:
        checkpoint = read_checkpoint(path)
    except EqvizError as error:
        assert "\n" not in str(error)  # noqa: PT017  # any error is fine but must be a line
        return
    assert isinstance(checkpoint, Checkpoint)
    try:
        found = fit_state(checkpoint, STATE, "net")
    except EqvizError as error:
        assert "\n" not in str(error)  # noqa: PT017  # any error is fine but must be a line
        return
    assert all(found[name].shape == value.shape and found[name].isfinite().all() for name, value in STATE.items())


@pytest.mark.parametrize("kind", FORMATS)
@QUICK
@given(changes=CHANGES)
def test_files_with_bytes_changed(tmp_path, valid, kind, changes):
    read(tmp_path / "a", changed(valid[kind], changes))


@QUICK
@given(changes=CHANGES)
def test_pickles_with_bytes_changed_in_a_good_archive(tmp_path, valid, changes):
    with zipfile.ZipFile(io.BytesIO(valid["torch"])) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    rewritten = io.BytesIO()
    with zipfile.ZipFile(rewritten, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, changed(content, changes) if name.endswith("data.pkl") else content)
    read(tmp_path / "a", rewritten.getvalue())


@pytest.mark.parametrize("kind", FORMATS)
@QUICK
@given(length=st.integers(0, 10**4))
def test_files_cut_off_anywhere(tmp_path, valid, kind, length):
    read(tmp_path / "a", valid[kind][: length % len(valid[kind])])


@QUICK
@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=200))
def test_any_bytes(tmp_path, start, rest):
    read(tmp_path / "a", start + rest)
