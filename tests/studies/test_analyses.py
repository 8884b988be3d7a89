"""Analyses of checkpoints: the dictionary of entries, the cache, and reasons where there is no answer."""

import importlib
import inspect
import sys
from types import ModuleType

import pandas as pd
import pytest

from eqviz.errors import EqvizError
from eqviz.studies import analyses
from eqviz.studies.analyses import ANALYSES, Analysis, analyse_run
from eqviz.studies.cache import Cache
from eqviz.studies.derived import CURVES, DERIVED, analyses_behind
from eqviz.studies.finding import find_runs
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.runs import Runs, open_runs
from eqviz.tables import RUN_KEYS, SCHEMAS

ASKED = []


def found(model, images, labels, *, group, layers, batch_size, progress):
    ASKED.append((type(model).__name__, tuple(images.shape), len(labels), group, layers, batch_size))
    progress(0.5)
    return pd.DataFrame({"layer": pd.Categorical(["conv1", "fc"]), "depth": [0, 1], "value": [1.0, 2.0]})


def refused(model, images, **keywords):
    raise EqvizError("fibre", expected="a group axis", found="none", fix="choose another network")


@pytest.fixture
def asked(monkeypatch):
    module = ModuleType("eqviz_test_entries")
    module.found, module.refused = found, refused
    monkeypatch.setitem(sys.modules, "eqviz_test_entries", module)
    entries = {
        "found": Analysis("eqviz_test_entries:found", 7, labels=True),
        "refused": Analysis("eqviz_test_entries:refused", 3),
    }
    monkeypatch.setattr(analyses, "ANALYSES", entries)
    monkeypatch.setattr("eqviz.studies.runs.ANALYSES", entries)
    for name in entries:
        monkeypatch.setitem(SCHEMAS, name, (*RUN_KEYS, "layer", "depth", "value"))
    ASKED.clear()
    return ASKED


def test_an_analysis_is_asked_once_and_then_comes_from_the_cache(asked, write_run, tmp_path):
    write_run("one")
    run, cache = find_runs(tmp_path)[0], Cache.beside(tmp_path)
    told = []
    first = analyse_run(run, 1, ["found"], Settings(), cache, progress=lambda *step: told.append(step))
    again = analyse_run(run, 1, ["found"], Settings(), cache)
    assert asked == [("GroupCNN", (7, 1, 8, 8), 7, "C4", "*", 64)]
    assert told == [("found", 0.0), ("found", 0.5)]
    assert not first.from_cache
    assert again.from_cache
    pd.testing.assert_frame_equal(first.tables["found"], again.tables["found"])
    for changes in ({"group": "C2"}, {"analysis_images": 4}, {"layers": "fc"}, {"mask": True}, {"batch_size": 8}):
        assert not analyse_run(run, 1, ["found"], Settings(**changes), cache).from_cache, changes
    assert asked[2][1] == (4, 1, 8, 8)


def test_what_has_no_answer_leaves_a_reason_and_the_rest_is_there(asked, write_run, tmp_path):
    write_run("one")
    write_run("two", seed=1)
    runs = open_runs(tmp_path)
    runs.analyse(name for name in ["refused", "found"])
    assert runs.analysed("found")[["run", "layer", "value"]].values.tolist() == [
        ["one", "conv1", 1.0], ["one", "fc", 2.0], ["two", "conv1", 1.0], ["two", "fc", 2.0],
    ]  # fmt: skip
    assert set(runs.unanswered()) == {"refused"}
    assert set(runs.unanswered()["refused"]) == {"one", "two"}
    with pytest.raises(EqvizError, match="a group axis"):
        runs.analysed("refused")
    assert len(asked) == 2
    again = open_runs(tmp_path)
    again.analyse(["refused", "found"])
    assert again.unanswered() == runs.unanswered()
    assert (again.reused, runs.reused, len(asked)) == (2, 0, 2)  # reasons are kept too


@pytest.mark.parametrize("name", ANALYSES)
def test_every_entry_takes_what_it_is_given_and_has_a_table_and_a_method(name):
    module, _, attribute = ANALYSES[name].entry.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    positional = 3 if ANALYSES[name].labels else 2
    assert list(parameters)[:positional] == ["model", "images", "labels"][:positional]
    assert {"group", "batch_size", "progress"} <= set(parameters)
    assert ANALYSES[name].layers == ("layers" in parameters)
    assert callable(getattr(Runs, name))
    assert SCHEMAS[name][: len(RUN_KEYS)] == RUN_KEYS
    assert ANALYSES[name].images >= 1


@pytest.mark.parametrize("name", DERIVED)
def test_every_derived_table_has_a_function_sources_a_schema_and_a_method(name):
    module, _, attribute = DERIVED[name].entry.partition(":")
    parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
    required = [p for p in parameters.values() if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    assert len(required) == len(DERIVED[name].sources)
    assert name in SCHEMAS
    assert callable(getattr(Runs, name))
    assert set(DERIVED[name].sources) <= set(SCHEMAS)
    assert set(analyses_behind(name)) <= set(ANALYSES)


def test_curves_follow_from_two_tables():
    module, _, attribute = CURVES.entry.partition(":")
    assert callable(getattr(importlib.import_module(module), attribute))


def test_settings_say_how_many_images():
    with pytest.raises(EqvizError, match="analysis_images: expected a whole number"):
        Settings(analysis_images=0)
