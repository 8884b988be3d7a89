"""What a person can get wrong: one line, exit status 2, and nothing written."""

import errno
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import tomli_w
from PIL import Image

from eqviz.studies.cache import Cache

RUN = "p4cnn-9-seed0"
WEIGHTS = f"{RUN}/epoch-0001.safetensors"


def snapshot(folder):
    """Every file and folder but those of the cache."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if ".eqviz" not in path.parts
    }


@pytest.fixture
def refused(eqviz, few, spoilt, tmp_path, monkeypatch):
    """Calls eqviz, which must refuse in one line and leave everything as it was; gives that line."""

    def call(*arguments, command="figures", runs=spoilt, output=tmp_path / "report"):
        monkeypatch.chdir(tmp_path)
        before = snapshot(tmp_path)
        outputs = () if output is None else ("-o", output)
        measuring = () if command in ("runs", "train") else few
        done = eqviz(command, runs, *outputs, *measuring, *arguments)
        assert (done.status, done.out) == (2, "")
        *progress, line = done.err.splitlines()
        assert all(step.startswith(("[1/1] ", "drawing ", "writing")) for step in progress)
        assert line.startswith("eqviz: ")
        assert snapshot(tmp_path) == before
        return line

    return call


def test_folders_that_hold_no_runs(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert "no such folder" in refused(runs=tmp_path / "none")
    assert "an empty folder" in refused(runs=tmp_path / "empty")
    assert "found a file" in refused(runs=tmp_path / "file")
    assert "no such folder" in refused(runs=tmp_path / "none", command="runs", output=None)
    assert "no such folder" in refused(runs=tmp_path / "none", command="tables")
    assert "no such folder" in refused(runs=tmp_path / "none", command="analyse", output=None)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def swap(path):
    safetensors.torch.save_file({"other.weight": safetensors.torch.load(path.read_bytes())["fc.weight"]}, path)


def reshape(path):
    state = safetensors.torch.load(path.read_bytes())
    safetensors.torch.save_file(state | {"fc.weight": state["fc.weight"][:-1].clone()}, path)


def spoil(path):
    state = safetensors.torch.load(path.read_bytes())
    state["conv3.weight"][0] = float("nan")
    safetensors.torch.save_file(state, path)


def missing(path):
    path.unlink()
    path.with_name("epoch-0000.safetensors").unlink()


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (truncate, "weights as safetensors"), (empty, "weights as safetensors"), (swap, "missing: conv1.weight"),
        (reshape, "of another shape: fc.weight"), (spoil, "NaN or infinity in conv3.weight"),
        (missing, "none beside run.toml"),
    ],
)  # fmt: skip
def test_weights_that_cannot_be_used(refused, spoilt, fault, found):
    fault(spoilt / WEIGHTS)
    line = refused()
    assert found in line
    assert RUN in line


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('model = "p4cnn"', "model = ", "expected TOML"), ('model = "p4cnn"', "", "no such key"),
        ("seed = 0", 'seed = "zero"', "seed"), ('model = "p4cnn"', 'model = "resnet9000"', "a registered model"),
        ("channels = 2", "channels = 3", "of another shape"), ("channels = 2", "chanels = 2", "chanels"),
        ("format = 1", "format = 99", "update eqviz"), ('source = "digits"', 'source = "digit"', "did you mean"),
        ('group = "C4"', 'group = "monster"', "monster"),
    ],
)  # fmt: skip
def test_records_that_are_broken(refused, spoilt, old, new, found):
    record = spoilt / RUN / "run.toml"
    assert record.read_text().count(old) >= 1
    record.write_text(record.read_text().replace(old, new))
    assert found in refused()


def test_a_regime_of_the_users_own_words_is_only_words(eqviz, few, spoilt, tmp_path):
    record = spoilt / RUN / "run.toml"
    record.write_text(record.read_text().replace('regime = "upright"', 'regime = "N(x"'))
    done = eqviz("figures", spoilt, *few, "-o", tmp_path / "r", "--only", "accuracy_over_rotation", "--format", "png")
    assert done.status == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--layers", "cnov*"], "'cnov*'"), (["--layers", ""], "layers"), (["--group", "Q8"], "'Q8'"),
        (["--group", "D4"], "regular(C4)"), (["--only", "piechart"], "piechart"), (["--pie"], "--pie"),
        (["--limit", "0"], "--limit"), (["--limit", "many"], "--limit"), (["--fill", "2"], "--fill"),
        (["--fill", "grey"], "--fill"),
        (["--jobs", "0"], "--jobs"), (["--jobs", "-2"], "--jobs"), (["--device", "tpu"], "'tpu'"),
        (["--data", "mnits"], "did you mean 'mnist'"), (["--data", "mnist", "--data-root", "none"], "none"),
        (["--format", "gif"], "gif"), (["--import", "no_such_module"], "no_such_module"),
        (["--group", "C1", "--only", "aligned_features"], "moves the image"),
        (["--layers", "bn*", "--only", "aligned_features"], "--layers"), (["another"], "another"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_used(refused, arguments, found):
    assert found in refused(*arguments)


def test_commands_and_lists_that_are_not_there(eqviz):
    for arguments in (["figure"], ["list", "modles"], ["list"], ["train", "recipe.toml"], ["--verison"]):
        done = eqviz(*arguments)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith("eqviz: ")
        assert done.err.count("\n") == 1
        assert "--help" in done.err


RECIPE = {
    "name": "r", "data": {"source": "digits", "train_limit": 40}, "training": {"epochs": 1},
    "runs": [{"model": "p4cnn", "input_size": 8}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"runs": [{"model": "p5cnn", "input_size": 8}]}, "p5cnn"), ({"data": {"source": "digit"}}, "did you mean"),
        ({"training": {"epochs": 0}}, "epochs"), ({"runs": [{"model": "p4cnn", "input_size": 4}]}, "larger input"),
        ({"trainign": {}}, "trainign"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be_trained(refused, tmp_path, change, found):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tomli_w.dumps(RECIPE | change))
    assert found in refused("--device", "cpu", command="train", runs=recipe, output=tmp_path / "new")


def test_recipes_that_are_no_recipes(refused, tmp_path):
    (tmp_path / "broken.toml").write_text("name = ")
    assert "broken.toml" in refused(command="train", runs=tmp_path / "broken.toml")
    assert "No such file" in refused(command="train", runs=tmp_path / "none.toml")
    assert refused(command="train", runs=tmp_path)
    (tmp_path / "r.toml").write_text(tomli_w.dumps(RECIPE))
    assert "preset" in refused("--preset", "quick", command="train", runs=tmp_path / "r.toml")


def test_a_folder_of_pictures_with_a_broken_one(refused, tmp_path):
    rng = np.random.default_rng(0)
    for label in map(str, range(10)):
        (tmp_path / "pictures/test" / label).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (9, 9), np.uint8)).save(tmp_path / f"pictures/test/{label}/a.png")
    broken = tmp_path / "pictures/test/3/a.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert str(Path("3", "a.png")) in refused("--data", tmp_path / "pictures")


class Planted:
    """Unpickling this makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_an_npz_file_with_objects_is_never_unpickled(refused, tmp_path):
    objects = np.array([Planted(tmp_path / "owned")] * 4, dtype=object)
    np.savez(tmp_path / "evil.npz", images=np.zeros((4, 9, 9), np.uint8), labels=objects)
    assert "evil.npz" in refused("--data", tmp_path / "evil.npz")
    assert not (tmp_path / "owned").exists()


def other_images(path, shape, classes):
    """Writes random images of that shape and number of classes."""
    images = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    np.savez(path, images=images, labels=np.arange(shape[0]) % classes)
    return path


def test_data_of_other_channels_than_the_network_takes(refused, tmp_path):
    line = refused("--data", other_images(tmp_path / "other.npz", (80, 9, 9, 3), 10))
    assert "found 3; add channels = 1 to the settings of its data" in line


@pytest.mark.parametrize("classes", [3, 20])
def test_data_of_other_classes_leave_the_accuracy_out(eqviz, few, spoilt, tmp_path, classes):
    data = other_images(tmp_path / "other.npz", (80, 9, 9), classes)
    done = eqviz("tables", spoilt, "-o", tmp_path / "report", *few, "--data", data, "--only", "accuracy")
    assert done.status == 2
    assert f"found no accuracy: it gives out (batch, 10), no scores (batch, {classes})" in done.err
    done = eqviz("tables", spoilt, "-o", tmp_path / "report", *few, "--data", data, "--only", "networks")
    assert done.status == 0
    assert f"no scores (batch, {classes}) of the {classes} classes of the data" in done.err
    assert pd.read_csv(tmp_path / "report/tables/networks.csv")["accuracy_0"].isna().all()


def test_output_folders_that_are_in_the_way(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "a file of that name" in refused(output=tmp_path / "file")
    assert "a file of that name" in refused(output=tmp_path / "file/below")
    (tmp_path / "old").mkdir()
    (tmp_path / "old/tables").write_text("mine")
    for command in ("figures", "tables", "analyse"):
        assert "a file of that name" in refused(output=tmp_path / "old", command=command)


def test_a_folder_where_a_file_belongs(refused, tmp_path):
    (tmp_path / "old/index.html").mkdir(parents=True)
    assert "index.html" in refused("--only", "accuracy_polar", output=tmp_path / "old")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_an_output_folder_that_is_read_only(refused, tmp_path):
    (tmp_path / "old").mkdir(mode=0o555)
    assert "Permission denied" in refused(output=tmp_path / "old")


def test_a_full_disk_leaves_the_old_report(refused, eqviz, few, spoilt, tmp_path, monkeypatch):
    only = ("--only", "accuracy_polar", "--format", "png", "--table-format", "csv")
    assert eqviz("figures", spoilt, *few, *only, "-o", tmp_path / "report").status == 0
    write, written = Path.write_bytes, []

    def full(path, content):
        written.append(path)
        if len(written) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in refused(*only)


def test_a_full_disk_while_measuring(refused, spoilt, monkeypatch):
    def full(self, *arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Cache, "write_table", full)
    monkeypatch.setattr(Cache, "write_text", full)
    assert "No space left" in refused("--only", "accuracy_polar")


def test_a_spoilt_cache_is_measured_again(eqviz, few, spoilt):
    few = (*few, *(part for name in ("accuracy", "verdict", "patching") for part in ("--only", name)))
    eqviz("analyse", spoilt, *few)
    whole = {path: path.read_bytes() for path in (spoilt / ".eqviz").iterdir()}
    assert "1 of them from the cache" in eqviz("analyse", spoilt, *few).err
    for path, content in whole.items():
        path.write_bytes(content[:20])
    again = eqviz("analyse", spoilt, *few)
    assert (again.status, "0 of them from the cache" in again.err) == (0, True)
    assert {path for path in whole if path.stat().st_size == 20} == set()
