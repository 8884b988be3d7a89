import os
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing
from eqviz.studies.cache import FOLDER, Cache, cache_key

TABLE = pd.DataFrame({"angle": [0.0, 90.0], "reflected": [False, True], "label": ["a", "b"], "n": [3, 4]})


def test_a_key_depends_on_every_ingredient_and_not_on_their_order():
    base = {"group": "C4", "n": 3, "inner": {"a": [1, 2]}}
    assert cache_key(base) == cache_key(dict(reversed(base.items())))
    changed = [base | {"n": 4}, base | {"group": "D4"}, base | {"inner": {"a": [2, 1]}}, base | {"more": None}]
    assert len({cache_key(ingredients) for ingredients in [base, *changed]}) == 5


def test_what_is_kept_comes_back_and_nothing_else_is_left(tmp_path):
    cache = Cache(tmp_path)
    assert cache.read_table("accuracy", "k") is None
    assert cache.read_text("symmetry", "k") is None
    cache.write_table("accuracy", "k", TABLE)
    cache.write_text("symmetry", "k", "ρ")
    pd.testing.assert_frame_equal(cache.read_table("accuracy", "k"), TABLE)
    assert cache.read_text("symmetry", "k") == "ρ"
    assert sorted(os.listdir(tmp_path)) == ["accuracy-k.parquet", "symmetry-k.json"]


def test_a_damaged_table_is_as_good_as_none(tmp_path):
    cache = Cache(tmp_path)
    cache.write_table("accuracy", "k", TABLE)
    path = cache.path("accuracy", "k", "parquet")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert cache.read_table("accuracy", "k") is None
    path.write_bytes(b"PAR1" + whole[4:-4][::-1] + b"PAR1")
    assert cache.read_table("accuracy", "k") is None
    path.unlink()
    path.mkdir()
    assert cache.read_table("accuracy", "k") is None


def test_flipped_bytes_never_raise_and_never_give_other_numbers(tmp_path):
    cache = Cache(tmp_path)
    cache.write_table("accuracy", "k", TABLE)
    path = cache.path("accuracy", "k", "parquet")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(whole), 150):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        found = cache.read_table("accuracy", "k")
        refused += found is None
        if found is not None and found.columns.tolist() == TABLE.columns.tolist() and found.dtypes.equals(TABLE.dtypes):
            pd.testing.assert_frame_equal(found, TABLE)
    assert refused > 10


def test_two_that_write_one_file_at_a_time_do_not_meet(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["a"]


def test_text_that_is_no_utf8_is_as_good_as_none(tmp_path):
    cache = Cache(tmp_path)
    cache.path("symmetry", "k", "json").write_bytes(b"\xff\xfe\xfa")
    assert cache.read_text("symmetry", "k") is None


def test_a_failed_write_leaves_the_old_file_and_is_one_line(tmp_path, monkeypatch):
    cache = Cache(tmp_path)
    cache.write_table("accuracy", "k", TABLE)

    whole = Path.write_bytes

    def full(self, content):
        whole(self, content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EqvizError, match="found No space left on device") as caught:
        cache.write_table("accuracy", "k", TABLE)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["accuracy-k.parquet"]
    pd.testing.assert_frame_equal(cache.read_table("accuracy", "k"), TABLE)


def test_is_inside_the_folder_of_runs_where_it_can_be(tmp_path):
    assert Cache.beside(tmp_path).folder == tmp_path / FOLDER
    assert Cache.beside(tmp_path).folder == tmp_path / FOLDER
    assert os.listdir(tmp_path / FOLDER) == []


def test_is_elsewhere_for_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        (folder / FOLDER).write_text("a file in its place stops root too")
    found = [Cache.beside(folder).folder for folder in folders]
    assert len(set(found)) == 2
    assert all(path.is_relative_to(tmp_path / "cache" / "eqviz" / "measurements") for path in found)
    assert all(path.is_dir() for path in found)
    assert Cache.beside(folders[0]).folder == found[0]


def test_with_no_place_at_all_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "file" / name)
    (tmp_path / "file").write_text("")
    (tmp_path / FOLDER).write_text("")
    with pytest.raises(EqvizError, match=r"neither can be written to .*XDG_CACHE_HOME") as caught:
        Cache.beside(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_link_in_a_folder_of_runs_does_not_make_eqviz_write_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "user")
    for name in ("runs", "victim"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs" / ".eqviz").symlink_to(tmp_path / "victim")
    Cache.beside(tmp_path / "runs").write_text("kind", "key", "{}")
    assert list((tmp_path / "victim").iterdir()) == []
