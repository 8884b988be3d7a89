"""Networks that were not written for eqviz, from checkpoints to tables: what is measured, left out and said of each."""

import json

import numpy as np
import pytest

from eqviz.errors import EqvizError, NoAnswerError
from eqviz.models.registry import MODELS
from eqviz.report.build import make_tables, write_report
from eqviz.report.figures import FIGURES
from eqviz.report.tables import MEASURED
from eqviz.studies.analyses import analyse_run
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.runs import open_runs
from eqviz.tables import SCHEMAS
from tests.studies.plain_networks import REASONS

NETWORKS = {name.lower(): name for name in ("Vgg", "ResNet", "UNet", "Vit", "ConvNext", "Awkward")}
RUNS = {
    "vgg": ("vgg", 8, {}),
    "resnet": ("resnet", 9, {}),
    "pair": ("resnet", 9, {"output": "pair"}),
    "dict": ("resnet", 9, {"output": "dict"}),
    "embedding": ("resnet", 9, {"output": "embedding"}),
    "unet": ("unet", 8, {}),
    "unet-smaller": ("unet", 10, {"padding": 0}),
    "vit": ("vit", 8, {"channels": 4}),
    "convnext": ("convnext", 8, {}),
    "awkward": ("awkward", 8, {}),
    "pixels": ("vit", 8, {"channels": 4, "patch": 1, "placed": False}),
}
QUICK = {"limit": 20, "orbit_images": 20, "angles": (0.0, 90.0), "device": "cpu"}


@pytest.fixture(scope="module")
def registered():
    """The networks by name, for as long as the tests of this file run."""
    with pytest.MonkeyPatch.context() as changed:
        for name, attribute in NETWORKS.items():
            changed.setitem(MODELS, name, f"tests.studies.plain_networks:{attribute}")
        yield


@pytest.fixture(scope="module")
def runs(registered, write_run_in, tmp_path_factory):
    """A run of each, measured once."""
    root = tmp_path_factory.mktemp("plain")
    for name, (model, size, arguments) in RUNS.items():
        write_run_in(root, name, model=model, size=size, arguments=arguments)
    return open_runs(root, **QUICK)


@pytest.fixture(scope="module")
def made(runs):
    """Its tables, and what was said while they were made."""
    told = []
    names = ("networks", "equivariance", "verdict", "skipped_layers", "accuracy", "accuracy_overview")
    return make_tables(runs, only=names, on_work=told.append), told


def of(table, run):
    return table[table["run"] == run]


def test_all_but_one_of_pixels_alone_are_approximate(made):
    verdict = made[0]["verdict"].query("kind == 'output' and weights == 'trained'")
    assert set(verdict["run"]) == set(RUNS)
    assert set(of(verdict, "pixels")["exact"]) == {"yes"}
    assert set(verdict.loc[verdict["run"] != "pixels", "exact"]) == {"no"}


def test_prediction_and_measurement_never_disagree(runs, made):
    assert runs.disagreements() == []
    assert not (made[0]["verdict"]["agrees"] == "no").any()


@pytest.mark.parametrize(
    ("run", "outputs"),
    [
        ("pair", {"(output)[0]": "invariant", "(output)[1]": "image"}),
        ("dict", {"(output)[logits]": "invariant", "(output)[features]": "invariant"}),
        ("unet", {"(output)": "image"}),
        ("unet-smaller", {"(output)": "image"}),
        ("embedding", {"(output)": "invariant"}),
    ],
)
def test_every_output_is_a_row_of_the_type_of_its_shape(made, run, outputs):
    for name in ("equivariance", "verdict"):
        rows = of(made[0][name], run).query("kind == 'output'")
        assert dict(zip(rows["layer"], rows["field"], strict=False)) == outputs


def test_a_layer_that_runs_twice_at_other_sizes_has_two_rows(made):
    rows = of(made[0]["equivariance"], "awkward").query("layer == 'pyramid'")
    assert rows["call"].tolist() == [0, 1]


def test_what_is_skipped_is_listed_with_its_reason(made):
    found = of(made[0]["skipped_layers"], "awkward").set_index("layer")["reason"]
    assert set(found.index) == set(REASONS)
    for layer, reason in REASONS.items():
        assert reason in found[layer]
    assert "\n" not in "".join(found)
    tokens = of(made[0]["skipped_layers"], "vit").set_index("layer")["reason"]
    assert "tokens(4, 4, class token)" in tokens["blocks.0"]
    last = of(made[0]["skipped_layers"], "convnext").set_index("layer")["reason"]
    assert set(last.index) == {f"stages.0.{name}" for name in ("norm", "pwconv1", "act", "pwconv2")}
    assert last.str.contains("channels seem to come last").all()


def test_every_layer_that_was_asked_for_is_in_one_table_or_the_other(runs, made):
    """No layer is dropped without a word: all modules but plain containers, and every item of an output."""
    for run in runs:
        measured = {layer.partition("[")[0] for layer in of(made[0]["equivariance"], run.name)["layer"].astype(str)}
        skipped = {layer.partition("[")[0] for layer in of(made[0]["skipped_layers"], run.name)["layer"]}
        modules = dict(run.build().named_modules())
        plain = {name for name, module in modules.items() if type(module).__name__ in ("Sequential", "ModuleList")}
        assert measured | skipped == {name for name in modules if name and name not in plain} | {"(output)"}


def test_the_accuracy_is_that_of_classifiers_and_the_others_say_why_not(runs, made):
    without = {"unet", "unet-smaller", "embedding"}
    assert set(made[0]["accuracy"]["run"]) == set(RUNS) - without
    assert runs.no_accuracy() == {
        "unet": "it gives out (batch, 10, 8, 8), no scores (batch, 10) of the 10 classes of the data",
        "unet-smaller": "it gives out (batch, 10, 6, 6), no scores (batch, 10) of the 10 classes of the data",
        "embedding": "it gives out (batch, 2), no scores (batch, 10) of the 10 classes of the data",
    }
    networks = made[0]["networks"]
    assert set(networks.loc[networks["accuracy_0"].isna(), "model"]) == {
        "unet", "unet(padding=0)", "resnet(output=embedding)"
    }  # fmt: skip
    said = "\n".join(made[1])
    assert all(said.count(f"Without an accuracy: {run} (it gives out") == 1 for run in without)
    assert f"{len(made[0]['skipped_layers'])} layers could not be measured" in said


def test_all_of_it_comes_back_from_the_cache(runs, made):
    again = open_runs(runs.folder, **QUICK)
    assert again.skipped_layers().equals(made[0]["skipped_layers"])
    assert again.no_accuracy() == runs.no_accuracy()
    assert again.reused == len(RUNS)


@pytest.fixture(scope="module")
def dense(registered, write_run_in, tmp_path_factory):
    """A network with dense outputs, and one of images without labels: neither has an accuracy."""
    root = tmp_path_factory.mktemp("dense")
    write_run_in(root, "unet", model="unet")
    write_run_in(root, "blind", model="vgg", data={"source": "digits", "labels": False, "channels": 1})
    return open_runs(root, **QUICK)


def test_without_any_accuracy_its_tables_are_refused_with_the_reason(dense):
    for name in ("accuracy", "accuracy_classes", "accuracy_summary", "benchmarks", "comparisons"):
        with pytest.raises(
            NoAnswerError, match=r"no accuracy: .*labels.*; it gives out|it gives out.*; .*labels"
        ) as caught:
            dense.table(name)
        assert "\n" not in str(caught.value)


def test_without_any_accuracy_all_other_measured_tables_are_there(dense):
    networks = dense.networks()
    assert networks["exact"].tolist() == ["no", "no"]
    assert networks[[name for name in networks if name.startswith("accuracy")]].isna().all(axis=None)
    assert np.isfinite(networks["breaking_fraction"]).all()
    assert list(dense.skipped_layers()) == list(SCHEMAS["skipped_layers"])
    assert set(dense.training_summary()["measure"]) == {
        "breaking fraction at the output", "breaking fraction at the last convolution"
    }  # fmt: skip


def test_analyses_that_ask_for_it_have_no_answer(dense):
    found = analyse_run(dense[0], 1, ["patching", "function_split", "learned_action"], Settings(**QUICK), dense.cache)
    assert dense[0].name == "blind"
    assert set(found.problems) == {"patching", "function_split"}
    assert all(reason.startswith("no accuracy: its images have no labels") for reason in found.problems.values())
    assert len(found.tables["learned_action"])


def test_images_of_other_channels_are_one_line_that_says_what_to_do(registered, write_run_in, tmp_path):
    three = {"mean": [0.3] * 3, "std": [0.3] * 3}
    write_run_in(tmp_path, "colour", model="vgg", arguments={"in_channels": 3}, normalisation=three)
    with pytest.raises(
        EqvizError, match=r"expected 3 channels, as its normalisation has; found 1; add channels = 3"
    ) as caught:
        open_runs(tmp_path, **QUICK).equivariance()
    assert "\n" not in str(caught.value)


def test_a_network_of_other_channels_than_its_images_says_which(registered, write_run_in, tmp_path):
    write_run_in(tmp_path, "colour", model="vgg", arguments={"in_channels": 3})
    with pytest.raises(EqvizError, match=r"found RuntimeError: .*set channels = 3 for its data, and a norm") as caught:
        open_runs(tmp_path, **QUICK).equivariance()
    assert "\n" not in str(caught.value)


def test_grey_images_go_through_a_network_of_three_channels(registered, write_run_in, tmp_path):
    three = {"mean": [0.3] * 3, "std": [0.3] * 3}
    data = {"source": "digits", "channels": 3}
    write_run_in(tmp_path, "colour", model="vgg", arguments={"in_channels": 3}, normalisation=three, data=data)
    table = open_runs(tmp_path, **QUICK, layers="features.0").equivariance()
    assert table["layer"].tolist() == ["features.0", "(output)"]


FEW_FIGURES = ("accuracy_overview", "benchmarks", "breaking_by_layer", "predicted_and_measured", "patching")
FEW_TABLES = (*MEASURED, "patching", "patching_summary", "comparisons", "significance", "symmetry_match")


@pytest.fixture
def few(monkeypatch):
    """Reports of a few figures and tables."""
    monkeypatch.setattr("eqviz.report.figures.FIGURES", {name: FIGURES[name] for name in FEW_FIGURES})
    monkeypatch.setattr("eqviz.report.tables.TABLES", FEW_TABLES)


def written(runs, folder):
    """The names of the files of a report, what was said, its page and its record."""
    told = []
    files = write_report(runs, folder, formats=("png",), table_formats=("csv",), on_work=told.append)
    names = {path.relative_to(folder).as_posix() for path in files}
    return names, told, (folder / "index.html").read_text(), json.loads((folder / "provenance.json").read_text())


def test_a_report_without_any_accuracy_has_all_the_rest(dense, few, tmp_path):
    names, told, page, record = written(dense, tmp_path / "report")
    drawn = {name for name in names if name.endswith(".png")}
    assert drawn == {"breaking_by_layer.png", "predicted_and_measured.png"}
    assert {"tables/networks.csv", "tables/symmetry_match.csv", "tables/skipped_layers.csv"} <= names
    assert not {"tables/accuracy.csv", "tables/benchmarks.csv", "tables/patching.csv"} & names
    (line,) = [remark for remark in told if remark.startswith("Left out") and "accuracy_overview" in remark]
    assert "patching, patching_summary" in line
    assert "figures accuracy_overview, benchmarks, patching (no network has an accuracy)" in line
    assert line in page
    assert set(record["no_accuracy"]) == {"unet", "blind"}


def test_beside_classifiers_the_others_are_named_once(registered, write_run_in, few, tmp_path):
    write_run_in(tmp_path / "runs", "unet", model="unet")
    write_run_in(tmp_path / "runs", "vit", model="vit", arguments={"channels": 4})
    names, told, page, record = written(open_runs(tmp_path / "runs", **QUICK), tmp_path / "report")
    assert {f"{name}.png" for name in FEW_FIGURES} <= names
    assert sum("unet (it gives out" in line for line in told) == 1
    assert not any(line.startswith("Not in the table") for line in told)
    captions = {figure["file"]: figure["caption"] for figure in record["figures"]}
    assert "Networks: vit, 8 px." in captions["accuracy_overview"]
    assert "Networks: vit, 8 px." in captions["patching"]
    assert "Networks: unet, 8 px; vit, 8 px." in captions["breaking_by_layer"]
    assert "Layers that could not be measured" in page
    assert "vit: blocks.0.self_attn[0], blocks.0.dropout1, blocks.0.norm1 and " in page
