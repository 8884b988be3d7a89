import json
import os
import shutil
import struct
import tomllib

import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file

from eqviz.errors import EqvizError
from eqviz.studies.finding import find_runs
from eqviz.studies.recipes import parse_recipe
from eqviz.studies.run_folders import read_run

RUN = "p4cnn-8-seed0"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of one run folder, to break."""
    return shutil.copytree(trained / RUN, tmp_path / RUN)


def change(folder, **values):
    record = tomllib.loads((folder / "run.toml").read_text())
    for key, value in values.items():
        inner, keys = record, key.split("__")
        for parent in keys[:-1]:
            inner = inner[parent]
        if value is ...:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
    (folder / "run.toml").write_text(tomli_w.dumps(record))


def refused(words, call):
    with pytest.raises(EqvizError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_says_what_it_is(trained, tiny):
    run = read_run(trained / RUN)
    assert (run.name, run.model, run.group, run.input_size, run.seed) == (RUN, "p4cnn", "C4", (8, 8), 0)
    assert run.arguments == {"in_channels": 1, "classes": 10, "channels": 2}
    assert (run.data.source, run.data.train_limit, run.regime, run.recipe) == ("digits", 61, "upright", "tiny")
    assert run.training == parse_recipe(tiny, "tiny.toml").variants[0].training
    assert run.epochs == (0, 1, 3)
    assert (run.planned_epochs, run.finished, run.train_images) == (3, True, 61)
    assert run.parameters == sum(parameter.numel() for parameter in run.build().parameters())
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "epoch-0000.safetensors", "epoch-0001.safetensors", "epoch-0003.safetensors", "metrics.csv", "run.toml",
    ]  # fmt: skip


def test_metrics_have_a_row_an_epoch(trained):
    table = read_run(trained / RUN).metrics()
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert table["test_accuracy"].between(0, 1).all()
    assert table["learning_rate"].tolist()[1:] == pytest.approx([0.01, 0.005, 0.0025])
    assert table["train_loss"].iloc[1:].gt(0).all()


def test_builds_the_network_of_an_epoch_and_leaves_randomness_alone(trained):
    run = read_run(trained / RUN)
    before = torch.get_rng_state()
    last, first = run.build(), run.build(0)
    assert torch.equal(before, torch.get_rng_state())
    assert not last.training
    assert all(torch.equal(value, last.state_dict()[name]) for name, value in run.state_dict(3).items())
    assert not torch.equal(first.fc.weight, last.fc.weight)


def test_an_epoch_that_is_not_saved(trained):
    refused("a saved epoch: 0, 1, 3; found epoch 2", lambda: read_run(trained / RUN).build(2))


def test_finds_runs_in_folders_and_orders_them(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "b")
    shutil.copytree(trained / RUN, tmp_path / "a" / "deep" / RUN)
    shutil.copytree(trained / RUN, tmp_path / ".hidden" / RUN)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    runs = find_runs(tmp_path)
    assert [run.name for run in runs] == [f"a/deep/{RUN}", f"b/{RUN}", "plain-8x9-seed0"]
    assert [run.name for run in find_runs(trained)] == [RUN, "plain-8x9-seed0"]
    assert [run.name for run in find_runs(trained / RUN)] == [RUN]


def test_a_run_reached_by_a_link_is_found_once(trained, tmp_path):
    (tmp_path / "one").symlink_to(trained / RUN)
    (tmp_path / "two").symlink_to(trained / RUN)
    assert len(find_runs(tmp_path)) == 1


def test_folders_without_runs(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for reader in (read_run, find_runs):
        refused("no such folder", lambda reader=reader: reader(tmp_path / "missing"))
        refused("found a file", lambda reader=reader: reader(tmp_path / "file"))
        refused("epoch-0025.safetensors.*eqviz train", lambda reader=reader: reader(tmp_path / "empty"))


RECORDS = {
    "no model": ({"model": ...}, "run.toml: model: expected text; found no such key"),
    "model type": ({"model": 3}, "run.toml: model"),
    "unknown model": ({"model": "os:system"}, "expected a registered model: p4cnn, .*--import MODULE"),
    "no size": ({"input_size": ...}, "run.toml: input_size"),
    "absurd size": ({"input_size": [10**9, 3]}, "run.toml: input_size"),
    "later format": ({"format": 2}, "expected format 1 or earlier; found 2; update eqviz"),
    "no format": ({"format": ...}, "run.toml: format"),
    "group": ({"group": "Z9"}, "run.toml: group"),
    "seed": ({"seed": -1}, "run.toml: seed"),
    "epochs": ({"epochs": "many"}, "run.toml: epochs"),
    "data": ({"data": 3}, "run.toml: data: expected a table"),
    "data source": ({"data__source": ...}, "run.toml: data.source"),
    "normalisation": ({"normalisation": ...}, "run.toml: normalisation: expected a table"),
    "normalisation std": ({"normalisation__std": [0.0]}, "run.toml: normalisation.std"),
    "normalisation key": ({"normalisation__median": [0.0]}, "run.toml: normalisation: expected only"),
    "training": ({"training__epochs": 0}, "run.toml: training.epochs"),
    "training key": ({"training__speed": 0}, "run.toml: training: expected only"),
    "unknown key": ({"modle": "x"}, "did you mean 'model'"),
    "absurd channels": ({"arguments__channels": 10**9}, "run.toml: arguments.channels"),
    "code": ({"arguments__os.system": "true"}, "run.toml: arguments.os.system"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_broken_record_is_one_line(folder, case):
    values, words = RECORDS[case]
    change(folder, **values)
    refused(words, lambda: read_run(folder))


@pytest.mark.parametrize("contents", [b"", b"model = ", b"\xff\xfe", b"a = " + b"[" * 5000])
def test_a_record_that_is_no_toml(folder, contents):
    (folder / "run.toml").write_bytes(contents)
    refused("run.toml", lambda: read_run(folder))


def test_arguments_the_model_does_not_take(folder):
    change(folder, arguments__chanels=3)
    assert "run.toml" in refused("did you mean channels", read_run(folder).build)


def test_only_what_must_be_there_is_needed(folder):
    change(
        folder, recipe=..., regime=..., eqviz=..., epochs=..., seed=..., parameters=..., train_images=..., training=...
    )
    run = read_run(folder)
    assert (run.seed, run.regime, run.training, run.finished) == (0, "unknown", None, True)


def last(folder):
    return folder / "epoch-0003.safetensors"


def test_weights_of_another_width_name_three_shapes(folder):
    change(folder, arguments__channels=3)
    message = refused("the weights of p4cnn; found of another shape", read_run(folder).build)
    assert "conv1.weight (2, 1, 1, 3, 3) for (3, 1, 1, 3, 3)" in message
    assert "more" in message


def test_missing_and_unexpected_weights_are_named(folder):
    state = load_file(last(folder))
    state["head.weight"] = state.pop("fc.weight")
    save_file(state, last(folder))
    refused("missing: fc.weight; unexpected: head.weight", read_run(folder).build)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(folder, bad):
    state = load_file(last(folder))
    state["fc.weight"][0, 0] = bad
    save_file(state, last(folder))
    refused("NaN or infinity in fc.weight", read_run(folder).build)


def test_weights_of_another_kind_of_number(folder):
    state = load_file(last(folder))
    state["fc.weight"] = state["fc.weight"].long()
    save_file(state, last(folder))
    refused("other kinds of number in fc.weight", read_run(folder).build)


def absurd_header(path):
    header = json.dumps({"fc.weight": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4 * 10**18]}})
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "a pickle": lambda path: torch.save({"a": torch.ones(1)}, path),
    "absurd shape": absurd_header,
    "absurd header": lambda path: path.write_bytes(struct.pack("<Q", 2**60) + b"{}"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_weights(folder, case):
    DAMAGE[case](last(folder))
    refused("expected weights as safetensors", read_run(folder).build)


def test_weights_outside_the_folder_are_refused(folder, trained):
    last(folder).unlink()
    last(folder).symlink_to(trained / RUN / "epoch-0003.safetensors")
    refused("weights inside the run folder", read_run(folder).build)


def test_no_weights_at_all(folder):
    for path in folder.glob("*.safetensors"):
        path.rename(path.with_suffix(".bak"))
    refused("found none beside run.toml", lambda: read_run(folder))


@pytest.mark.parametrize("contents", [None, "", "epoch,loss\n1,2\n", "epoch\nx\n", "\0\0"])
def test_broken_metrics(folder, contents):
    (folder / "metrics.csv").unlink()
    if contents is not None:
        (folder / "metrics.csv").write_text(contents)
    refused("metrics.csv: expected columns epoch", read_run(folder).metrics)


def test_nothing_in_a_folder_is_run(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    import pickle

    for name in ("model.pkl", "epoch-0003.safetensors", "resume.pt"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    (folder / "conftest.py").write_text(f"import os; os.mkdir({str(tmp_path / 'exploded')!r})")
    refused("safetensors", read_run(folder).build)
    assert not (tmp_path / "exploded").exists()
