"""Notebooks in `analyses` run from top to bottom, on a tiny study in place of the demo's runs."""

import runpy
import shutil
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parent.parent / "analyses"


@pytest.fixture
def beside_a_study(study, tmp_path, monkeypatch):
    shutil.copytree(study, tmp_path / "eqviz-demo" / "runs")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("beside_a_study")
@pytest.mark.parametrize("notebook", sorted(FOLDER.glob("[0-9]*.py")), ids=lambda path: path.name)
def test_a_notebook_runs_line_by_line(notebook):
    names = runpy.run_path(str(notebook))
    tables = [value for value in names.values() if isinstance(value, pd.DataFrame)]
    assert len(tables) >= 3
    assert all(len(table) for table in tables)


@pytest.mark.parametrize("notebook", sorted(FOLDER.glob("[0-9]*.py")), ids=lambda path: path.name)
def test_a_notebook_is_in_percent_format(notebook):
    lines = notebook.read_text().splitlines()
    assert lines[0] == "# %% [markdown]"
    assert "# %%" in lines[1:]
    cells = [line for line in lines if line.startswith("# %%")]
    assert set(cells) == {"# %%", "# %% [markdown]"}
