import logging
import os
import pickle
import signal
import sys

import joblib
import pandas as pd
import pytest
import torch
from PIL import Image

from eqviz.errors import EqvizError
from eqviz.studies.finding import find_runs
from eqviz.studies.recipes import parse_recipe
from eqviz.studies.run_folders import read_run
from eqviz.studies.training import train_recipe

RUN = "p4cnn-8-seed0"


def recipe(values, **training):
    """The tiny recipe with only its first network and these training settings."""
    values = values | {"runs": values["runs"][:1], "presets": {}}
    values["training"] = values["training"] | training
    return parse_recipe(values, "tiny.toml")


def files(folder):
    """The contents of every file of the runs, metrics without their seconds."""
    found = {}
    for path in sorted(folder.rglob("*.*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".csv":
            found[name] = pd.read_csv(path).drop(columns="seconds").to_csv()
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


class StopAfter:
    """Interrupts training after so many epochs, as Ctrl+C would."""

    def __init__(self, epochs):
        self.left = epochs

    def __call__(self, event):
        self.left -= event.kind == "epoch"
        if event.kind == "epoch" and self.left == 0:
            raise KeyboardInterrupt


ADAM = {"learning_rate": 0.01, "schedule": {"step": 1, "gamma": 0.5}}
SGD = {"optimiser": "sgd", "momentum": 0.9, "schedule": "one_cycle", "rotation": {"mean": 45, "std": 20}}
NESTED = {"schedule": {"milestones": [1, 2], "gamma": 0.5}, "rotation": "uniform", "quarter_turns": True}


MIXED = {"precision": "bfloat16", "crop": 1, "mirror": True}


@pytest.mark.parametrize("training", [ADAM, SGD, NESTED, MIXED], ids=["adam", "sgd", "turned", "mixed"])
def test_an_interrupted_run_ends_bit_for_bit_as_the_uninterrupted_one(tiny, tmp_path, training):
    wanted = recipe(tiny, **training)
    train_recipe(wanted, tmp_path / "whole", device="cpu")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_recipe(wanted, tmp_path / "parts", resume=True, device="cpu", progress=StopAfter(1))
        torch.rand(3)
        assert not read_run(tmp_path / "parts" / RUN).finished
    train_recipe(wanted, tmp_path / "parts", resume=True, device="cpu")
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert not (tmp_path / "parts" / RUN / "resume.pt").exists()


def test_mixed_precision_trains_other_weights_that_stay_float32(tiny, tmp_path):
    for name, precision in (("plain", "float32"), ("mixed", "bfloat16")):
        train_recipe(recipe(tiny, epochs=1, precision=precision), tmp_path / name, device="cpu")
    plain, mixed = (read_run(tmp_path / name / RUN).state_dict() for name in ("plain", "mixed"))
    assert {value.dtype for value in mixed.values() if value.is_floating_point()} == {torch.float32}
    assert not torch.equal(plain["conv1.weight"], mixed["conv1.weight"])


def test_a_run_whose_record_names_fewer_settings_is_still_that_of_the_recipe(tiny, tmp_path):
    wanted = recipe(tiny, epochs=1)
    train_recipe(wanted, tmp_path, device="cpu")
    record = tmp_path / RUN / "run.toml"
    lines = [line for line in record.read_text().splitlines() if line.split(" ")[0] not in ("crop", "mirror")]
    record.write_text("\n".join(lines))
    before = files(tmp_path)
    train_recipe(wanted, tmp_path, device="cpu")
    assert files(tmp_path) == before
    with pytest.raises(EqvizError, match=r"a run with another training\.mirror"):
        train_recipe(recipe(tiny, epochs=1, mirror=True), tmp_path, device="cpu")


def test_two_devices_take_the_steps_of_one(tiny, tmp_path):
    tiny["data"] |= {"train_limit": 60}
    tiny["runs"] = [{"model": "p4conv", "input_size": 8}]  # neither batch norm nor dropout
    wanted = parse_recipe(tiny, "tiny.toml")
    for name, devices in (("one", 1), ("two", 2)):
        train_recipe(wanted, tmp_path / name, device="cpu", devices=devices)
    one, two = (read_run(tmp_path / name / "p4conv-8-seed0") for name in ("one", "two"))
    assert one.finished
    assert two.finished
    assert (one.epochs, two.epochs) == ((0, 1, 3), (0, 1, 3))
    for name, value in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], value, atol=1e-5, rtol=1e-4)  # float32, 9 steps of Adam
    told = [run.metrics()[["train_loss", "train_accuracy", "test_accuracy"]] for run in (one, two)]
    pd.testing.assert_frame_equal(*told, atol=1e-4)


def test_one_device_alone_reduces_nothing_in_float64_which_mps_has_not(tiny, tmp_path, monkeypatch):
    from lightning.pytorch.strategies import SingleDeviceStrategy

    def reduce(strategy, value, *_, **__):
        assert not (isinstance(value, torch.Tensor) and value.dtype == torch.float64)
        return value

    monkeypatch.setattr(SingleDeviceStrategy, "reduce", reduce)
    train_recipe(recipe(tiny, epochs=1), tmp_path, device="cpu")


def test_what_goes_wrong_on_one_of_two_devices_is_one_line(tiny, tmp_path):
    with pytest.raises(EqvizError, match=r"epoch \d: expected a finite loss") as caught:
        train_recipe(recipe(tiny, learning_rate=100.0, optimiser="sgd"), tmp_path, device="cpu", devices=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(EqvizError, match="jobs: expected 1 where several devices share a run"):
        train_recipe(recipe(tiny), tmp_path / "b", device="cpu", devices=2, jobs=2)


@pytest.mark.parametrize(("table", "key"), [("training", "batch_size"), ("data", "train_limit")])
def test_several_devices_need_two_images_each_of_a_batch(tiny, tmp_path, table, key):
    tiny[table][key] = 3
    with pytest.raises(EqvizError, match=r"devices: expected batches of 4 images or more.*found 3 in run"):
        train_recipe(parse_recipe(tiny, "tiny.toml"), tmp_path / "runs", device="cpu", devices=2)
    assert not (tmp_path / "runs").exists()


def test_pictures_that_stay_in_files_are_trained_on(tiny, tmp_path):
    tiny["data"] = {"source": "imagenet", "root": str(tmp_path), "train_limit": 8}
    tiny["training"] |= {"batch_size": 4, "epochs": 1}
    tiny["runs"] = [{"model": "p4resnet8", "input_size": 9, "arguments": {"widths": [1, 1, 1]}}]
    for part in ("train", "val"):
        for label in range(2):
            folder = tmp_path / part / f"n{label}"
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (12, 10), (60 * label, 50 * number, 9)).save(folder / f"{number}.JPEG")
    (run,) = train_recipe(parse_recipe(tiny | {"presets": {}}, "t"), tmp_path / "runs", device="cpu", workers=1)
    assert run.finished
    assert run.train_images == 8
    assert run.arguments["in_channels"] == 3


def test_a_run_depends_on_its_seed_and_not_on_the_others(tiny, tmp_path):
    tiny["training"]["epochs"] = 1
    tiny["runs"] = tiny["runs"][:1]
    train_recipe(parse_recipe(tiny | {"seeds": [0, 1]}, "t"), tmp_path / "a", device="cpu")
    torch.manual_seed(99)
    train_recipe(parse_recipe(tiny | {"seeds": [1, 0]}, "t"), tmp_path / "b", device="cpu")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    weights = [run.state_dict(0)["fc.weight"] for run in find_runs(tmp_path / "a")]
    assert not torch.equal(*weights)


def test_leaves_nothing_behind(tiny, tmp_path, capfd, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    before, level = torch.get_rng_state(), logging.getLogger("lightning.pytorch").level
    handler = signal.getsignal(signal.SIGINT)
    train_recipe(recipe(tiny, epochs=1), tmp_path / "here", device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe(tiny, epochs=2), tmp_path / "there", device="cpu", progress=StopAfter(1))
    assert torch.equal(before, torch.get_rng_state())
    assert logging.getLogger("lightning.pytorch").level == level
    assert signal.getsignal(signal.SIGINT) is handler
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]
    assert [path.name for path in (tmp_path / "here").iterdir()] == [RUN]


def test_says_what_happens(tiny, tmp_path):
    events = []
    train_recipe(recipe(tiny, epochs=2), tmp_path, device="cpu", progress=events.append)
    assert [event.kind for event in events] == ["started", "epoch", "epoch", "finished"]
    assert events[2].accuracy == read_run(tmp_path / RUN).metrics()["test_accuracy"].iloc[-1]
    assert str(events[1]).startswith(f"[1/1] {RUN}  epoch 1/2  accuracy")
    events.clear()
    before = files(tmp_path)
    train_recipe(recipe(tiny, epochs=2), tmp_path, device="cpu", progress=events.append)
    assert [str(event) for event in events] == [f"[1/1] {RUN}  already finished, skipped"]
    assert files(tmp_path) == before


def test_the_untrained_network_and_the_record_are_there_from_the_start(tiny, tmp_path):
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe(tiny), tmp_path, device="cpu", progress=stop)
    run = read_run(tmp_path / RUN)
    assert run.epochs == (0,)
    assert not run.finished
    run.build()
    train_recipe(recipe(tiny, epochs=3), tmp_path, device="cpu", resume=True)
    assert read_run(tmp_path / RUN).finished


def refused(words, wanted, folder, **options):
    before = files(folder) if folder.is_dir() else None
    with pytest.raises(EqvizError, match=words) as caught:
        train_recipe(wanted, folder, **{"device": "cpu", **options})
    assert "\n" not in str(caught.value)
    assert before is None or files(folder) == before


def test_an_unfinished_run_needs_resume(tiny, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe(tiny), tmp_path, device="cpu", progress=StopAfter(1))
    refused("stopped before epoch 3; go on with --resume", recipe(tiny), tmp_path)
    refused("another training.learning_rate", recipe(tiny, learning_rate=0.5), tmp_path, resume=True)


def test_a_run_of_other_settings_is_not_overwritten(tiny, trained):
    for resume in (False, True):
        refused("a run with another epochs", recipe(tiny, epochs=4), trained, resume=resume)
        refused("a run with another training.batch_size", recipe(tiny, batch_size=7), trained, resume=resume)
    changed = tiny | {"data": tiny["data"] | {"train_limit": 50}}
    refused("a run with another data.train_limit", recipe(changed), trained)
    wider = tiny | {"runs": [tiny["runs"][0] | {"arguments": {"channels": 3}}]}
    refused("a run with another arguments.channels", recipe(wider), trained)


def test_folders_that_hold_something_else(tiny, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused("found a file", recipe(tiny), tmp_path / "file")
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "thesis.tex").write_text("mine")
    refused("found thesis.tex and no run.toml", recipe(tiny), tmp_path)


def test_a_broken_or_foreign_state_is_refused_and_never_run(tiny, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe(tiny), tmp_path, device="cpu", progress=StopAfter(1))
    state = tmp_path / RUN / "resume.pt"
    good = torch.load(state, weights_only=True)
    for broken in (pickle.dumps(Bomb()), b"", b"PK\3\4", state.read_bytes()[:-50]):
        state.write_bytes(broken)
        refused("resume.pt: expected the state of an interrupted run", recipe(tiny), tmp_path, resume=True)
    for key, value in {"epoch": 9, "network": {}, "rows": [], "optimiser": {}, "schedule": 3}.items():
        torch.save(good | {key: value}, state)
        refused("resume.pt: expected the state", recipe(tiny), tmp_path, resume=True)
    assert not (tmp_path / "exploded").exists()


def test_data_that_changed_meanwhile(tiny, tmp_path):
    import numpy as np

    def save(seed):
        rng = np.random.default_rng(seed)
        labels = np.arange(24) % 3
        np.savez(
            tmp_path / "data.npz", x_train=rng.random((24, 8, 8), np.float32), y_train=labels,
            x_test=rng.random((24, 8, 8), np.float32), y_test=labels,
        )  # fmt: skip

    save(0)
    tiny["data"] = {"source": str(tmp_path / "data.npz")}
    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe(tiny), tmp_path / "runs", device="cpu", progress=StopAfter(1))
    save(1)
    refused("another data.fingerprint", recipe(tiny), tmp_path / "runs", resume=True)


def test_everything_is_checked_before_anything_is_trained(tiny, tmp_path):
    tiny["runs"].append({"model": "p4cnn", "input_size": 4})
    refused("p4cnn on 4 pixels: expected an input", parse_recipe(tiny, "t"), tmp_path / "new")
    tiny["runs"][-1] = {"model": "p4cnn", "input_size": 8, "label": "b", "arguments": {"chanels": 3}}
    refused("did you mean channels", parse_recipe(tiny, "t"), tmp_path / "new")
    tiny["runs"].pop()
    tiny["data"]["source"] = "digts"
    refused("did you mean 'digits'", parse_recipe(tiny, "t"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_channels_of_data_and_normalisation_must_agree(tiny, tmp_path):
    tiny["data"]["normalisation"] = {"mean": [0.5] * 3, "std": [0.5] * 3}
    refused("images of 3 channels", parse_recipe(tiny, "t"), tmp_path / "new")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x", "", "mps:1"])
def test_a_device_that_is_not_there(tiny, tmp_path, device):
    refused("device: expected auto or .*cpu", recipe(tiny), tmp_path / "new", device=device)


def test_jobs_below_one(tiny, tmp_path):
    refused("jobs: expected", recipe(tiny), tmp_path / "new", jobs=0)


def test_a_loss_that_is_no_longer_finite(tiny, tmp_path):
    wanted = recipe(tiny, learning_rate=100, optimiser="sgd", momentum=0.99, epochs=60, schedule="none")
    with pytest.raises(EqvizError, match=f"run {RUN}: training, epoch .*lower the learning rate"):
        train_recipe(wanted, tmp_path, device="cpu")


def test_without_lightning_it_says_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "eqviz.studies.lightning_loop", raising=False)
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    refused("install eqviz with its extra `train`", recipe(tiny), tmp_path / "new")


def test_only_the_loop_imports_lightning():
    import subprocess

    code = "import sys, eqviz.studies.training, eqviz.studies.run_folders; sys.exit('lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("backend", ["sequential", pytest.param("loky", marks=pytest.mark.slow)])
def test_jobs_train_the_same_runs(tiny, tmp_path, backend):
    events = []
    tiny["training"]["epochs"] = 1
    wanted = parse_recipe(tiny, "tiny.toml")
    train_recipe(wanted, tmp_path / "one", device="cpu")
    with joblib.parallel_config(backend=backend):
        runs = train_recipe(wanted, tmp_path / "two", device="cpu", jobs=2, progress=events.append)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert [run.name for run in runs] == [RUN, "plain-8x9-seed0"]
    assert sorted((event.kind, event.place, event.runs) for event in events) == [("finished", 1, 2), ("finished", 2, 2)]
