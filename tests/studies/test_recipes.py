import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.errors import EqvizError
from eqviz.studies.recipes import PRESETS, demo_recipe, load_recipe, parse_recipe
from eqviz.studies.settings import CheckpointSettings, DataSettings, Rotation, TrainingSettings
from eqviz.studies.toml_tables import TomlTable

TINY = Path(__file__).parent / "tiny.toml"
ANALYSES = Path(__file__).parents[2] / "analyses"


def parse(values, preset=None):
    return parse_recipe(values, "tiny.toml", preset)


def test_expands_to_every_model_size_and_seed(tiny):
    tiny["seeds"] = [3, 5]
    runs = parse(tiny).expand()
    assert [run.name for run in runs] == ["p4cnn-8-seed3", "plain-8x9-seed3", "p4cnn-8-seed5", "plain-8x9-seed5"]
    assert [run.group for run in runs[:2]] == ["C4", "C2"]
    assert runs[1].input_size == (8, 9)
    assert runs[1].arguments == {"channels": 3, "dropout": 0.1}


def test_presets_change_values_and_nothing_else(tiny):
    tiny["training"]["rotation"] = {"mean": 45, "std": 20}
    tiny["presets"] = {
        "quick": {"seeds": [7], "training": {"epochs": 2, "rotation": "uniform", "schedule": "one_cycle"}}
    }
    recipes = parse(tiny), parse(tiny, "quick")
    assert [recipe.seeds for recipe in recipes] == [(0,), (7,)]
    plain, quick = (recipe.variants[0] for recipe in recipes)
    assert plain.training.rotation == Rotation("normal", 45.0, 20.0)
    assert quick.training.rotation == Rotation("uniform")
    assert quick.training.schedule.kind == "one_cycle"
    assert (plain.training.epochs, quick.training.epochs) == (3, 2)
    assert quick.training.batch_size == plain.training.batch_size
    assert quick.data == plain.data


def test_every_run_is_trained_in_every_variant_or_in_those_it_names(tiny):
    tiny["variants"] = [
        {"name": "turned", "training": {"rotation": "uniform", "precision": "bfloat16"}},
        {"name": "few", "data": {"train_limit": 20}, "training": {"crop": 4, "mirror": True}},
    ]
    tiny["runs"][1]["variants"] = ["few"]
    tiny["presets"] = {"quick": {"data": {"test_limit": 5}, "training": {"epochs": 2}}}
    runs = {run.name: run for run in parse(tiny, "quick").expand()}
    assert list(runs) == ["p4cnn-turned-8-seed0", "p4cnn-few-8-seed0", "plain-few-8x9-seed0"]
    turned, few = runs["p4cnn-turned-8-seed0"], runs["p4cnn-few-8-seed0"]
    assert (turned.training.regime, few.training.regime) == ("uniform", "upright")
    assert (turned.training.precision, few.training.precision) == ("bfloat16", "float32")
    assert (few.training.crop, few.training.mirror) == (4, True)
    assert (turned.data.train_limit, few.data.train_limit) == (61, 20)
    assert {run.training.epochs for run in runs.values()} == {2}
    assert {run.data.test_limit for run in runs.values()} == {5}
    moved = parse(tiny).with_data_root("elsewhere")
    assert {run.data.root for run in moved.expand()} == {"elsewhere"}


def test_a_variant_may_have_data_and_normalisation_of_its_own(tiny):
    tiny["data"]["normalisation"] = {"mean": [0.5], "std": [0.5]}
    own = {"source": "mnist", "normalisation": {"mean": [0.1], "std": [0.3]}}
    tiny["variants"] = [{"name": "a"}, {"name": "b", "data": own}]
    first, second = parse(tiny).variants
    assert (first.data.source, first.normalisation.mean) == ("digits", (0.5,))
    assert (second.data.source, second.normalisation.mean) == ("mnist", (0.1,))


def test_a_whole_value_is_replaced_not_merged(tiny):
    tiny["presets"] = {"quick": {"training": {"schedule": {"milestones": [1, 2], "gamma": 0.1}}}}
    assert parse(tiny, "quick").variants[0].training.schedule.milestones == (1, 2)


def test_the_packaged_recipe_is_sound():
    assert len(demo_recipe().expand()) == 8


def test_the_published_protocol_of_experiment_two_is_there():
    recipe = load_recipe(ANALYSES / "02_mnist_rotation.toml", "paper")
    runs = recipe.expand()
    assert len(runs) == 10 * 4 * 4
    assert {run.training.epochs for run in runs} == {50}
    assert {run.training.regime for run in runs} == {"upright", "N(45, 20)", "N(45, 40)", "uniform"}
    assert {run.input_size[0] for run in runs if run.model == "p4cnn"} == {27, 28, 29}


@pytest.mark.parametrize("path", sorted(ANALYSES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_offers_its_presets_for_the_networks_it_is_about(path):
    sizes = {}
    for preset in PRESETS:
        runs = load_recipe(path, preset).expand()
        sizes[preset] = len({(run.model, run.input_size) for run in runs})
        assert len({run.name for run in runs}) == len(runs)
    assert min(sizes.values()) >= 2
    assert len(load_recipe(path, "tiny").expand()) <= 24


@pytest.mark.parametrize("change", [{}, {"channels": 3}, {"labels": False}, {"channels": 1, "labels": False}])
def test_settings_of_the_data_survive_being_written(change):
    table = {"source": "digits", **change}
    found = DataSettings.read(TomlTable(table, "run.toml"))
    assert (found.channels, found.labels) == (change.get("channels"), change.get("labels", True))
    assert DataSettings.read(TomlTable(found.as_table(), "run.toml")) == found
    assert change.keys() <= found.as_table().keys()
    assert "labels" in change or "labels" not in found.as_table()  # as in files written before there was such a key


@pytest.mark.parametrize("rotation", ["upright", "uniform", {"mean": 45.0, "std": 20.0}])
@pytest.mark.parametrize(
    "schedule", ["none", "one_cycle", {"step": 2, "gamma": 0.5}, {"milestones": [1], "gamma": 0.5}]
)
def test_settings_survive_being_written(tiny, rotation, schedule):
    tiny["training"] |= {"rotation": rotation, "schedule": schedule, "optimiser": "sgd", "momentum": 0.9}
    (variant,) = parse(tiny).variants
    training = variant.training
    written = tomli_w.dumps({"training": training.as_table(), "data": variant.data.as_table()})
    table = TomlTable(tomllib.loads(written), "x")
    assert TrainingSettings.read(table.table("training")) == training
    assert DataSettings.read(table.table("data")) == variant.data


@given(st.sets(st.integers(1, 60)), st.none() | st.integers(1, 60), st.integers(1, 50))
def test_saved_epochs(early, every, last):
    saved = CheckpointSettings(tuple(early), every).epochs(last)
    assert saved[0] == 0
    assert saved[-1] == last
    assert saved == tuple(sorted(set(saved)))
    assert {epoch for epoch in early if epoch <= last} <= set(saved)


def put(path, value):
    """A change to a nested dictionary: `put("training.epochs", 0)`."""

    def change(values):
        *parents, key = path.split(".")
        for parent in parents:
            values = values[int(parent)] if isinstance(values, list) else values[parent]
        if value is ...:
            del values[key]
        else:
            values[key] = value

    return change


RUN = {"model": "p4cnn", "input_size": 8}
BAD = {
    "variants no tables": (put("variants", 3), r"variants: expected one or more tables \[\[variants\]\]"),
    "variant without a name": (put("variants", [{}]), r"variants\[1\].name: expected text; found no such key"),
    "variant no folder": (put("variants", [{"name": "a/b"}]), "that make a folder name"),
    "variant twice": (put("variants", [{"name": "a"}, {"name": "A"}]), r"variants\[2\].name: expected a name of"),
    "variant unknown key": (put("variants", [{"name": "a", "runs": []}]), "only the keys name, data, training"),
    "variant epochs": (put("variants", [{"name": "a", "training": {"epochs": 0}}]), "training.epochs: expected"),
    "variant unknown data key": (put("variants", [{"name": "a", "data": {"sauce": "x"}}]), "only the keys source"),
    "run in no variant": (put("runs.0.variants", ["a"]), r"runs\[1\].variants: expected variants among"),
    "run variants no list": (put("runs.0.variants", "a"), r"variants: expected a list of different names"),
    "crop": (put("training.crop", -1), "training.crop: expected a whole number from 0"),
    "mirror": (put("training.mirror", 1), "training.mirror: expected true or false"),
    "stream": (put("data.stream", 1), "data.stream: expected true or false"),
    "channels": (put("data.channels", 2), r"data.channels: expected 1 \(grey\) or 3 \(colour\); found 2"),
    "labels": (put("data.labels", False), "data.labels: expected labels, to train on"),
    "precision": (put("training.precision", "float16"), "training.precision: expected one of float32, bfloat16"),
    "unknown key": (put("sedes", [1]), "did you mean 'seeds'"),
    "unknown data key": (put("data.sorce", "x"), "data: expected only the keys source"),
    "unknown training key": (put("training.epoch", 3), "did you mean 'epochs'"),
    "unknown run key": (put("runs.0.lable", "x"), "did you mean 'label'"),
    "unknown checkpoint key": (put("checkpoints.evry", 3), "did you mean 'every'"),
    "no name": (put("name", ...), "name: expected text; found no such key"),
    "empty name": (put("name", " "), "name: expected text"),
    "no data": (put("data", ...), "data: expected a table"),
    "data no table": (put("data", 3), "data: expected a table"),
    "no runs": (put("runs", ...), r"runs: expected one or more tables \[\[runs\]\]"),
    "empty runs": (put("runs", []), "runs: expected one or more"),
    "runs no tables": (put("runs", [1]), "runs: expected one or more"),
    "epochs text": (put("training.epochs", "ten"), "training.epochs: expected a whole number from 1"),
    "epochs zero": (put("training.epochs", 0), "training.epochs"),
    "epochs true": (put("training.epochs", True), "training.epochs"),
    "epochs fraction": (put("training.epochs", 2.5), "training.epochs"),
    "epochs absurd": (put("training.epochs", 10**9), "training.epochs"),
    "epochs enormous": (put("training.epochs", 10**5000), "an enormous number"),
    "batch of one": (put("training.batch_size", 1), "training.batch_size"),
    "rate negative": (put("training.learning_rate", -1), "training.learning_rate"),
    "rate nan": (put("training.learning_rate", float("nan")), "training.learning_rate"),
    "rate infinite": (put("training.learning_rate", float("inf")), "training.learning_rate"),
    "rate enormous": (put("training.learning_rate", 10**400), "training.learning_rate"),
    "decay": (put("training.weight_decay", "0"), "training.weight_decay"),
    "optimiser": (put("training.optimiser", "adm"), "did you mean 'adam'"),
    "optimiser list": (put("training.optimiser", []), "training.optimiser"),
    "momentum of adam": (put("training.momentum", 0.9), "momentum only with optimiser sgd"),
    "schedule word": (put("training.schedule", "onecycle"), "did you mean 'one_cycle'"),
    "schedule number": (put("training.schedule", 3), "training.schedule"),
    "schedule both": (put("training.schedule", {"step": 1, "milestones": [1], "gamma": 0.5}), "either step or"),
    "schedule neither": (put("training.schedule", {"gamma": 0.5}), "either step or"),
    "schedule no gamma": (put("training.schedule", {"step": 1}), "schedule.gamma"),
    "schedule unknown": (put("training.schedule", {"step": 1, "gamma": 0.5, "gama": 1}), "training.schedule: expected"),
    "schedule late": (put("training.schedule", {"milestones": [3], "gamma": 0.5}), "before the last epoch"),
    "rotation word": (put("training.rotation", "unifrom"), "did you mean 'uniform'"),
    "rotation list": (put("training.rotation", [45, 20]), "training.rotation"),
    "rotation std": (put("training.rotation", {"mean": 45, "std": -1}), "training.rotation.std"),
    "rotation unknown": (put("training.rotation", {"mean": 4, "std": 1, "angle": 3}), "training.rotation"),
    "quarter turns": (put("training.quarter_turns", 1), "quarter_turns: expected true or false"),
    "quarter turns, not square": (put("training.quarter_turns", True), r"runs\[2\].input_size: expected square"),
    "split": (put("data.train_split", "tset"), "did you mean 'test'"),
    "limit": (put("data.train_limit", 0), "data.train_limit"),
    "source": (put("data.source", 3), "data.source"),
    "source with NUL": (put("data.source", "a\0b"), "data.source"),
    "normalisation": (put("data.normalisation", {"mean": [0.5], "std": [0]}), "data.normalisation.std"),
    "normalisation lengths": (put("data.normalisation", {"mean": [0.5], "std": [1, 1]}), "as many numbers as mean"),
    "normalisation empty": (put("data.normalisation", {"mean": [], "std": []}), "data.normalisation.mean"),
    "normalisation key": (put("data.normalisation", {"mean": [0.5], "sd": [1]}), "did you mean it by 'sd'"),
    "seeds empty": (put("seeds", []), "one or more seeds"),
    "seeds number": (put("seeds", 3), "seeds: expected a list"),
    "seeds negative": (put("seeds", [-1]), "seeds: expected a list"),
    "seeds twice": (put("seeds", [1, 1]), "with a number twice"),
    "early late": (put("checkpoints.early", [4]), "up to the last, 3"),
    "every": (put("checkpoints.every", 0), "checkpoints.every"),
    "model": (put("runs.0.model", "p4cn"), "did you mean 'p4cnn'"),
    "no size": (put("runs.0.input_size", ...), r"runs\[1\].input_size"),
    "size": (put("runs.0.input_size", "8x"), r"runs\[1\].input_size: expected N, HxW"),
    "arguments": (put("runs.0.arguments", [1]), r"runs\[1\].arguments: expected a table"),
    "argument nested": (put("runs.0.arguments.channels", {"a": 1}), r"arguments.channels"),
    "argument absurd": (put("runs.0.arguments.channels", 10**9), r"arguments.channels"),
    "argument of the data": (put("runs.0.arguments.classes", 3), "follows from the data"),
    "label": (put("runs.1.label", "../up"), r"runs\[2\].label"),
    "label hidden": (put("runs.1.label", ".git"), r"runs\[2\].label"),
    "label device": (put("runs.1.label", "NUL"), r"runs\[2\].label"),
    "label newline": (put("runs.1.label", "a\n"), r"runs\[2\].label"),
    "group": (put("runs.0.group", "C0"), r"runs\[1\].group"),
    "duplicate": (put("runs", [RUN, RUN]), r"the same folder p4cnn-8-seed0 as runs\[1\]"),
    "duplicate but for case": (put("runs", [RUN, RUN | {"label": "P4CNN"}]), "same folder"),
    "preset name": (put("presets.quik", {}), "did you mean 'quick'"),
    "preset value": (put("presets.quick.training", {"epochs": 0}), r"preset quick\): training.epochs"),
    "preset key": (put("presets.quick.trainig", {}), r"preset quick\): expected only the keys"),
    "preset in preset": (put("presets.quick.presets", {}), "no presets within presets"),
    "presets no table": (put("presets", 3), "presets: expected a table"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_with_file_and_key(tiny, case):
    change, words = BAD[case]
    change(tiny)
    with pytest.raises(EqvizError, match=words) as caught:
        parse(tiny)
    assert str(caught.value).startswith("tiny.toml")
    assert "\n" not in str(caught.value)


def test_a_preset_that_is_not_there(tiny):
    with pytest.raises(EqvizError, match="expected a preset 'paper'; found quick"):
        parse(tiny, "paper")


FILES = {
    "missing": (None, "No such file"),
    "broken": (b"name = ", "expected TOML"),
    "binary": (b"\xff\xfe\x00", "expected TOML"),
    "deep": (b"a = " + b"[" * 5000, "nested too deeply"),
    "digits": (b"a = " + b"9" * 5000, "expected TOML"),
    "large": (b"#" * (2**20 + 1), "at most 1 MiB"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read(tmp_path, case):
    contents, words = FILES[case]
    path = tmp_path / "recipe.toml"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(EqvizError, match=words) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["name", "seeds", "data", "training", "checkpoints", "runs", "presets"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_recipe_it_is_read_or_refused_in_one_line(data):
    values = tomllib.loads(TINY.read_text())
    key = data.draw(st.sampled_from(KEYS))
    inner = values[key]
    if isinstance(inner, list) and isinstance(inner[0], dict):
        inner = inner[0]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(VALUES)
    else:
        values[key] = data.draw(VALUES)
    try:
        parse(values)
    except EqvizError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
