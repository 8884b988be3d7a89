import sys

import pytest

from eqviz.errors import EqvizError
from eqviz.models.registry import MODELS
from eqviz.studies.extensions import import_modules
from eqviz.studies.runs import open_runs

SOURCE = """
from torch import nn
from eqviz.fields.field_types import declare
from eqviz.models.registry import MODELS

MODELS["one-layer"] = f"{__name__}:one_layer"


def one_layer(in_channels: int = 1, classes: int = 10, channels: int = 4):
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)
    )
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a module of the user's in it; everything is as before afterwards."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "my_models_for_test.py").write_text(SOURCE)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before, models = set(sys.modules), dict(MODELS)
    yield folder
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(folder) in str(sys.modules[name].__file__):
            del sys.modules[name]
    MODELS.clear()
    MODELS.update(models)


def test_a_model_of_the_users_own_is_measured(here, write_run, tmp_path):
    import_modules(["my_models_for_test"])
    folder = write_run("runs/mine", model="one-layer", size="9x8")
    del MODELS["one-layer"], sys.modules["my_models_for_test"]
    with pytest.raises(EqvizError, match="--import MODULE"):
        open_runs(folder)
    options = {"imports": ("my_models_for_test",), "limit": 10, "orbit_images": 2, "angles": (0.0, 90.0)}
    runs = open_runs(folder, **options)
    assert runs.equivariance()["field_source"].unique().tolist() == ["by shape"]
    assert runs.networks()["model"].tolist() == ["one-layer"]
    assert runs.measured()[0].reused == ()
    assert len(open_runs(folder, **options).measured()[0].reused) == 2
    with (here / "my_models_for_test.py").open("a") as file:
        file.write("\n# another network now\n")
    assert open_runs(folder, **options).measured()[0].reused == ()


BROKEN = {
    "no_such_module_anywhere": (None, "ModuleNotFoundError"),
    "breaks_in_syntax": ("def (", "SyntaxError"),
    "breaks_when_run": ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
    "ends_itself": ("import sys; sys.exit(0)", "SystemExit"),
    "": (None, "ValueError"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_cannot_be_imported_is_one_line(here, name, tmp_path):
    source, words = BROKEN[name]
    if source is not None:
        (here / f"{name}.py").write_text(source)
    with pytest.raises(EqvizError, match=f"--import {name}: expected a module .*{words}") as caught:
        open_runs(tmp_path, imports=(name,))
    assert "\n" not in str(caught.value)


def test_without_names_nothing_happens(here):
    before = list(sys.path)
    import_modules([])
    assert sys.path == before


def test_the_current_folder_comes_after_the_libraries(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_own_models.py").write_text("")
    import_modules(["my_own_models"])
    assert sys.path[-1] == str(tmp_path)


def test_the_current_folder_is_not_looked_into_for_a_module_that_is_found_elsewhere(tmp_path, monkeypatch):
    """It may be a folder of checkpoints with files in it that are called like libraries that are not installed."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "checkpoints"
    for place in (elsewhere, folder):
        place.mkdir()
    (elsewhere / "models_elsewhere.py").write_text(
        "try:\n    import not_installed_here\nexcept ImportError:\n    pass\n"
    )
    (folder / "not_installed_here.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path, str(elsewhere)])
    import_modules(["models_elsewhere"])
    assert str(folder) not in sys.path


def test_a_run_has_no_network_of_the_users_fetch_anything(here, write_run):
    import_modules(["my_models_for_test"])
    folder = write_run("runs/mine", model="one-layer", size="9x8")
    record = folder / "run.toml"
    record.write_text(record.read_text().replace("channels = 2", 'channels = 2\nweights = "https://evil/w.pt"'))
    with pytest.raises(EqvizError, match=r"arguments\.weights: expected arguments by which a network fetches no file"):
        open_runs(folder)[0].build()
