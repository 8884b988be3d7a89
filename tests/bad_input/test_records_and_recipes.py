"""Run folders whose record, weights or metrics were spoilt, recipes that cannot be trained, published numbers."""

import os
import pickle

import pytest
import tomli_w
import torch

from eqviz.studies.run_folders import METRIC_COLUMNS, METRICS
from tests.bad_input.conftest import DESCRIBED
from tests.bad_input.crafting import NO_FILES, entry, flipped, packed, tensors_file

WEIGHTS = "epoch-0001.safetensors"
RECORD = {key: value for key, value in DESCRIBED.items() if key != "files"} | {"format": 1, "seed": 0}
RECORD["arguments"] = {"in_channels": 1, "classes": 10}


@pytest.fixture
def run(tmp_path, state):
    """A run folder as eqviz writes it, in a folder of runs."""
    folder = tmp_path / "runs/net"
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(tomli_w.dumps(RECORD))
    (folder / WEIGHTS).write_bytes(packed(state, "safetensors"))
    rows = "".join(f"{epoch},1.0,0.5,0.5,0.01,1.0\n" for epoch in range(2))
    (folder / METRICS).write_text(",".join(METRIC_COLUMNS) + "\n" + rows)
    return folder


def test_the_folder_itself_is_sound(works, run):
    works(run.parent, "--only", "learning_curves", command="analyse")


TRAINING = {"epochs": 2}
WRONG = {
    "format": (0, -1, 2, 99, 1.0, "1", [], True),
    "model": (3, [], "", "resnet9000", "os:system", "eqviz.models.single:p4conv", "p4conv\x1b[2J"),
    "arguments": ("x", {"clases": 10}, {"classes": -1}, {"classes": 4097}, {"classes": "ten"}, {"in_channels": 1.5},
                  {"classes": []}, {"a.b": 1}, {"field_type": 1}),
    "input_size": (0, "8,8", [8, 8, 8], 4097, -8, float("inf"), {}),
    "group": ("monster", "", 4, "C" + "1" * 500, "D0"),
    "seed": ("zero", -1, 2**31, 0.5),
    "epochs": (0, -1, "1", 10**6),
    "parameters": (-1, "14", 0.5), "train_images": (-5, "many"), "regime": (3, ""), "recipe": (3, []),
    "data": ("digits", {}, {"source": ""}, {"source": "digits", "fingerprint": 3}, {"source": "digits", "sorce": 1}),
    "normalisation": ({}, {"mean": [0.3]}, {"mean": [0.3], "std": [0]}, {"mean": [float("nan")], "std": [0.3]}, 3),
    "training": (3, {}, {"epochs": 0}, TRAINING | {"learning_rate": float("nan")}, TRAINING | {"batch_size": 10**9},
                 TRAINING | {"rotation": {"mean": 45}}, TRAINING | {"rotation": "twisted"},
                 TRAINING | {"optimiser": "x"},
                 TRAINING | {"schedule": {"step": 1, "milestones": [1], "gamma": 0.1}}, TRAINING | {"momentum": 0.9},
                 TRAINING | {"crop": -1}, TRAINING | {"mirror": "yes"}, TRAINING | {"epoch": 3}),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values],
                         ids=[f"{key}{place}" for key,
                         values in WRONG.items() for place in range(len(values))])  # fmt: skip
def test_records_that_cannot_be(run, refused, key, value):
    (run / "run.toml").write_text(tomli_w.dumps(RECORD | {key: value}))
    own = key == "arguments" and isinstance(value, dict)  # what the network itself refuses is named by its argument
    refused(run.parent, names=(str(run / "run.toml"), "" if own else key))


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('model = "p4conv"', "model = ", "TOML"), ('model = "p4conv"', "", "no such key"),
        ("seed = 0", "sead = 0", "sead"), ("format = 1", "", "format"), ("seed = 0", "seed = 0\nseed = 1", "TOML"),
        ("group", "grop", "did you mean"), ("seed = 0", "seed = 99999999999999999999999", "seed"),
        ("seed = 0", '"\\u001b[2J" = 0', "only the keys"), ('model = "p4conv"', 'model = "p4cnn"', "missing"),
        ("classes = 10", "classes = 9", "another shape"),
    ],
)  # fmt: skip
def test_records_that_were_edited(run, refused, old, new, found):
    record = run / "run.toml"
    assert old in record.read_text()
    record.write_text(record.read_text().replace(old, new, 1))
    refused(run.parent, names=(str(run), found))


def with_nan(state):
    return state | {"fc.bias": state["fc.bias"] * float("inf")}


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda state: b"", ""), (lambda state: packed(state, "safetensors")[:-1], ""),
        (lambda state: packed(state), ""), (lambda state: flipped(packed(state, "safetensors"), 0.0), ""),
        (lambda state: b"\xff" * 64, ""),
        (lambda state: packed(with_nan(state), "safetensors"), "NaN or infinity in fc.bias"),
        (lambda state: packed({"fc.bias": state["fc.bias"]}, "safetensors"), "missing: conv.weight"),
        (lambda state: packed(state | {"a\x1b[2J\nb": torch.ones(1)}, "safetensors"), "unexpected"),
        (lambda state: packed(state | {"x" * 10**5: torch.ones(1)}, "safetensors"), "unexpected"),
        (lambda state: packed(state | {"fc.bias": torch.ones(10).long()}, "safetensors"), "fc.bias"),
        (lambda state: packed(state | {"fc.bias": torch.ones(10) + 1j}, "safetensors"), "fc.bias"),
        (lambda state: packed(state | {"fc.bias": torch.ones(10, 1)}, "safetensors"), "another shape"),
        (lambda state: tensors_file({"fc.bias": entry([2**40], 0, 2**42)}), ""), (lambda state: pickle.dumps(3), ""),
    ],
    ids=range(14),
)  # fmt: skip
def test_weights_that_were_spoilt(run, refused, state, make, found):
    (run / WEIGHTS).write_bytes(make(state))
    refused(run.parent, names=(str(run / WEIGHTS), found))


@pytest.mark.parametrize("make", NO_FILES)
def test_weights_that_are_no_files(run, refused, make):
    (run / WEIGHTS).unlink()
    make(run / WEIGHTS)
    refused(run.parent, names=(WEIGHTS,))


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00\xff\xfe", b"epoch,loss\n1,2\n", b"PK\x03\x04" + bytes(50),
        ",".join(METRIC_COLUMNS).encode() + b"\nx,1\n",
        (",".join(METRIC_COLUMNS) + "\n1,NaN,what,0.5,0.01,1\n").encode(), b'"' + b"a" * 300_000,
        (",".join(METRIC_COLUMNS) + "\n1" + ",1" * 90 + "\n").encode(),
        (",".join(METRIC_COLUMNS) + "\n").encode() + b"1.5,1,1,1,1,1\n",
        (",".join(METRIC_COLUMNS) + "\n" + "9" * 400 + ",1,1,1,1,1\n").encode(),
    ],
    ids=range(10),
)  # fmt: skip
def test_metrics_that_were_spoilt(run, refused, content):
    (run / METRICS).write_bytes(content)
    refused(run.parent, "--only", "learning_curves", command="analyse", names=(METRICS,))


@pytest.mark.parametrize("make", [None, *NO_FILES])
def test_metrics_that_are_no_file(run, refused, make):
    (run / METRICS).unlink()
    if make is not None:
        make(run / METRICS)
    refused(run.parent, "--only", "learning_curves", command="analyse", names=(METRICS,))


RECIPE = {
    "name": "r", "data": {"source": "digits", "train_limit": 40, "test_limit": 20}, "training": {"epochs": 1},
    "runs": [{"model": "p4conv", "input_size": 8}],
}  # fmt: skip


@pytest.fixture
def untrained(refused, tmp_path):
    """Writes a recipe, which must be refused by its name before anything is trained."""

    def call(content, *names, arguments=()):
        path = tmp_path / "recipe.toml"
        text = content if isinstance(content, str | bytes) else tomli_w.dumps(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        output = ("-o", tmp_path / "new", "--device", "cpu")
        return refused(path, *output, *arguments, command="train", names=("recipe.toml", *names))

    return call


RUNS = RECIPE["runs"][0]
WRONG_RECIPES = {
    "name": (3, "", "x" * 200), "description": (3, []), "seeds": ([], [0, 0], [-1], 0, ["0"], [2**40], [0.5]),
    "data": ({}, {"source": 3}, "digits", {"source": "digits", "train_limit": 0}, {"source": "digits", "labels": False},
             {"source": "digits", "test_split": "validation"}, {"source": "digits", "limit": 3}),
    "training": ({}, {"epochs": 0}, {"epochs": "many"}, {"epochs": 10**7}, TRAINING | {"learning_rate": 0},
                 TRAINING | {"batch_size": 1}, TRAINING | {"schedule": {"milestones": [9], "gamma": 0.1}},
                 TRAINING | {"schedule": {"milestones": [], "gamma": 2}}, TRAINING | {"weight_decay": float("inf")}),
    "checkpoints": ({"early": [5]}, {"early": [1, 1]}, {"every": 0}, {"eary": [1]}, 3),
    "runs": ([], 3, [3], [{}], [RUNS | {"model": "p5cnn"}], [RUNS | {"input_size": "big"}],
    [RUNS | {"label": "../../x"}],
             [RUNS | {"label": "con"}], [RUNS | {"label": "a b"}], [RUNS | {"label": "-rf"}], [RUNS, RUNS],
             [RUNS | {"group": "Q8"}], [RUNS | {"arguments": {"classes": 3}}], [RUNS | {"variants": ["none"]}],
             [RUNS | {"model": "os:system"}], [RUNS | {"lable": "a"}]),
    "variants": ([], [{}], [{"name": "a"}, {"name": "A"}], [{"name": "../x"}], [{"name": "a", "data": 3}],
    [{"name": "a", "date": {}}]),
    "presets": ({"fast": {}}, {"quick": 3}, {"quick": {"presets": {}}}, {"quick": {"training": {"epochs": 0}}}, []),
    "trainign": ({},),
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG_RECIPES.items() for value in values],
                         ids=[f"{key}{place}" for key,
                         values in WRONG_RECIPES.items() for place in range(len(values))])  # fmt: skip
def test_recipes_that_cannot_be(untrained, key, value):
    untrained(RECIPE | {key: value}, "preset" if key == "presets" else key)


@pytest.mark.parametrize(
    ("content", "arguments", "found"),
    [
        ("name = ", (), "TOML"), (b"\xff\xfe", (), "TOML"), ("x = " + "[" * 50_000, (), "deeply"), ("", (), "name"),
        ("a" + ".a" * 10_000 + " = 1", (), "dots"), (RECIPE, ("--preset", "quick"), "preset"),
    ],
    ids=range(6),
)  # fmt: skip
def test_recipes_that_are_no_recipes(untrained, content, arguments, found):
    untrained(content, found, arguments=arguments)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"data": {"source": "digit"}}, ("digit", "did you mean")),
        ({"data": {"source": "nowhere.npz"}}, ("nowhere.npz",)),
        ({"data": {"source": "mnist", "root": "nowhere"}}, ("nowhere",)),
        ({"runs": [RUNS | {"model": "p4cnn", "input_size": 4}]}, ("larger input",)),
        ({"runs": [RUNS | {"arguments": {"chanels": 2}}]}, ("chanels", "did you mean")),
    ],
)  # fmt: skip
def test_recipes_that_do_not_fit_their_data(refused, tmp_path, change, names):
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(RECIPE | change))
    refused(tmp_path / "recipe.toml", "-o", tmp_path / "new", "--device", "cpu", command="train", names=names)


@pytest.mark.parametrize("make", [None, *NO_FILES])
def test_recipes_that_are_no_files(refused, tmp_path, make):
    if make is not None:
        make(tmp_path / "recipe.toml")
    refused(tmp_path / "recipe.toml", "-o", tmp_path / "new", command="train", names=("recipe.toml",))


@pytest.mark.parametrize(
    "spoil", [
        lambda whole: b"", lambda whole: whole[:200], lambda whole: packed([1]), lambda whole: b"junk",
        lambda whole: packed({"epoch": 1, "network": {}, "optimiser": {}, "schedule": {}, "rows": []}),
        lambda whole: packed({"epoch": "x", "network": 3, "optimiser": 0, "schedule": 0, "rows": 0}),
    ],
    ids=range(6),
)  # fmt: skip
def test_states_of_interrupted_runs_that_were_spoilt(refused, eqviz, tmp_path, spoil):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tomli_w.dumps(RECIPE | {"training": {"epochs": 2}}))
    output = ("-o", tmp_path / "new", "--device", "cpu")
    assert eqviz("train", recipe, *output).status == 0
    run = tmp_path / "new/p4conv-8-seed0"
    (run / "epoch-0002.safetensors").unlink()
    (run / "resume.pt").write_bytes(spoil(packed({"epoch": 1})))
    refused(recipe, *output, "--resume", command="train", names=(str(run / "resume.pt"),))
    refused(recipe, *output, command="train", names=(str(run), "--resume"))


COLUMNS = "model,input_size,regime,metric,mean,std,n_seeds,source\n"
GOOD = ["p4conv", "8", "unknown", "90°", "0.9", "0.01", "10", "a paper"]


def row(**changes):
    names = COLUMNS.strip().split(",")
    return ",".join(str(changes.get(name, value)) for name, value in zip(names, GOOD, strict=True)) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\xff\xfe\x00", b"a,b\n1,2\n", COLUMNS, COLUMNS + "p4conv,8\n", COLUMNS + row() * 2,
        COLUMNS + row(mean="nan"), COLUMNS + row(mean=2), COLUMNS + row(std=-1), COLUMNS + row(std="inf"),
        COLUMNS + row(n_seeds=1), COLUMNS + row(n_seeds="9" * 5000), COLUMNS + row(n_seeds="²"),
        COLUMNS + row(metric="91.50°"), COLUMNS + row(metric=""), COLUMNS + row(input_size="8x"), COLUMNS + '"',
        COLUMNS + row(metric="\x1b[2J°"), COLUMNS + row(model="z" * 3), COLUMNS + row(mean="9" * 5000),
        COLUMNS + row(metric="999°"),
    ],
    ids=range(21),
)  # fmt: skip
def test_published_numbers_that_cannot_be(folder, refused, tmp_path, content):
    path = tmp_path / "published.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    options = ("--published", path, "--only", "published_comparison", "--every", "90")
    refused(folder, *options, command="analyse", names=("published",))


def test_a_file_of_published_numbers_that_is_not_there(folder, refused, tmp_path):
    refused(folder, "--published", tmp_path / "none.csv", command="analyse", names=("none.csv",))
    assert not os.path.exists(folder / ".eqviz/none.csv")
