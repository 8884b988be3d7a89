"""Notebooks in `analyses` run from top to bottom, on runs that the tiny preset of their recipe trains in seconds."""

import os
import runpy
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

import eqviz
from eqviz.studies.recipes import load_recipe
from eqviz.studies.runs import open_runs
from eqviz.studies.training import train_recipe

FOLDER = Path(__file__).parent.parent / "analyses"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.py"))
FEW = {"limit": 20, "orbit_images": 4}
"""Images to measure on, where a notebook does not say."""


def publish_tiny_sizes(folder):
    """The published numbers, as if they were of the sizes that tiny presets have."""
    folder.mkdir(parents=True)
    for path in (FOLDER / "published").glob("*.csv"):
        table = pd.read_csv(path)
        tiny = table["input_size"].map({28: 8, 27: 9})
        table.assign(input_size=tiny)[tiny.notna()].astype({"input_size": int}).to_csv(folder / path.name, index=False)


@pytest.fixture
def beside_its_runs(request, tmp_path, monkeypatch):
    """Makes the runs that a notebook is about, in a folder of its own, and goes there."""

    def make(notebook):
        monkeypatch.chdir(tmp_path)
        publish_tiny_sizes(tmp_path / "analyses" / "published")
        if notebook.stem == "00_tour":
            shutil.copytree(request.getfixturevalue("study"), tmp_path / "eqviz-demo" / "runs")
            return
        if notebook.stem == "05_imagenet":
            monkeypatch.setattr(sys, "argv", ["make_pictures.py", "pictures", "--classes", "2", "--train", "4"])
            runpy.run_path(str(FOLDER / "make_pictures.py"), run_name="__main__")
        recipe = load_recipe(FOLDER / f"{notebook.stem}.toml", "tiny").with_data_root(os.fspath(tmp_path / "pictures"))
        train_recipe(recipe, tmp_path / "eqviz-runs" / f"{notebook.stem}-quick", device="cpu")

    return make


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_line_by_line(notebook, beside_its_runs, monkeypatch):
    beside_its_runs(notebook)
    monkeypatch.setattr(eqviz, "open_runs", lambda folder, **settings: open_runs(folder, **FEW | settings))
    names = runpy.run_path(str(notebook))
    tables = {name: value for name, value in names.items() if isinstance(value, pd.DataFrame)}
    assert len(tables) >= 3
    assert [name for name, table in tables.items() if table.empty] == []


def test_every_recipe_has_a_notebook_of_its_name():
    assert {path.stem for path in FOLDER.glob("*.toml")} | {"00_tour"} == {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_in_percent_format(notebook):
    lines = notebook.read_text().splitlines()
    assert lines[0] == "# %% [markdown]"
    assert "# %%" in lines[1:]
    cells = [line for line in lines if line.startswith("# %%")]
    assert set(cells) == {"# %%", "# %% [markdown]"}
