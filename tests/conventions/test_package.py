"""What holds all over the package: docstrings, sizes and names of files, registries, and what the README mentions."""

import ast
import importlib
import re
import subprocess
from pathlib import Path

import pytest

import eqviz
from eqviz import api, plots
from eqviz.cli.main import cli
from eqviz.data.registry import DATASETS
from eqviz.models.registry import MODELS
from eqviz.report.figures import FIGURES
from eqviz.report.tables import TABLES
from eqviz.studies.runs import Runs
from eqviz.tables import SCHEMAS

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "eqviz").rglob("*.py"))
MOST_LINES = 350


def name(path):
    return path.relative_to(ROOT).as_posix()


def documented(tree):
    """Public functions and classes of a module, and the public methods of its public classes."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from documented(node)


DECLARED = {
    node.name for node in documented(ast.parse((ROOT / "eqviz/fields/base.py").read_text())) if ast.get_docstring(node)
}
"""What the abstract field type says of its methods."""


def overloaded(node):
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_modules_are_documented_short_and_silent(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{name(path)} has no docstring"
    public = [node for node in documented(tree) if not overloaded(node)]
    told = {node.name for node in public if ast.get_docstring(node)}  # a method may be told where it is declared
    if "fields" in path.parts:
        told |= DECLARED
    silent = [node.name for node in public if node.name not in told]
    assert not silent, f"{name(path)}: no docstring in {', '.join(silent)}"
    assert len(text.splitlines()) <= MOST_LINES, f"{name(path)} is too long: one idea each"
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "print" not in called, f"{name(path)} prints"
    assert path.stem not in ("utils", "helpers", "common", "misc", "util", "helper")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_module_can_be_imported(path):
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    importlib.import_module(dotted.removesuffix(".__init__"))


def load(target):
    module, attribute = target.split(":")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize(
    "target", [*MODELS.values(), *DATASETS.values(), *plots.REGISTRY.values(), *api.NAMES.values()]
)
def test_every_entry_of_a_registry_loads(target):
    assert callable(load(target))


def test_public_names_are_there_and_others_are_not():
    for known in dir(eqviz):
        assert getattr(eqviz, known) is not None
    for known in dir(plots):
        assert getattr(plots, known) is not None
    with pytest.raises(AttributeError, match="eqviz has no 'capturr'"):
        _ = eqviz.capturr
    with pytest.raises(AttributeError, match=r"eqviz\.plots has no 'pie'"):
        _ = plots.pie


def test_every_table_of_a_report_has_a_schema_and_a_method():
    assert set(TABLES) == set(SCHEMAS)
    for table in TABLES:
        assert getattr(Runs, table).__doc__


def test_every_figure_of_a_report_is_a_public_plot():
    assert set(FIGURES) <= set(plots.REGISTRY)


def test_the_readme_mentions_every_command_and_figure():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [command for command in cli.commands if f"eqviz {command}" not in readme] == []
    assert [figure for figure in FIGURES if f"`{figure}`" not in readme] == []


def test_links_of_the_documents_lead_to_files():
    for document in ROOT.glob("*.md"):
        links = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
        local = [link for link in links if "://" not in link]
        assert [link for link in local if not (ROOT / link).exists()] == []


def test_no_file_mentions_a_machine_it_was_written_on():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    private = ["/wo" + "rk/", "shar" + "ed/de", "shar" + "ed/th", "shar" + "ed/st", "shar" + "ed/pa", "theory" + ".md"]
    found = []
    for listed_name in listed:
        path = ROOT / listed_name
        if path.suffix in (".png", ".pdf", ".parquet") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [(listed_name, word) for word in private if word in text]
    assert found == []
