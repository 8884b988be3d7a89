"""Help, lists and what is imported for them."""

import subprocess
import sys
from pathlib import Path

import pytest

from eqviz.cli.main import cli
from eqviz.data.registry import DATASETS
from eqviz.models.registry import MODELS
from eqviz.report.figures import FIGURES
from eqviz.report.tables import TABLES

COMMANDS = ("demo", "train", "init", "runs", "audit", "analyse", "figures", "tables", "convert", "list")
MEASURING = (
    "--group", "--data", "--data-root", "--limit", "--orbit-images", "--analysis-images", "--layers", "--fill",
    "--every", "--mask", "--balanced", "--published", "--epochs", "--device", "--jobs", "--import",
)  # fmt: skip
OPTIONS = {
    "demo": {"--output"},
    "train": {
        "--output", "--preset", "--data-root", "--resume", "--device", "--devices", "--workers", "--jobs", "--import",
    },
    "init": {
        "--model", "--set", "--input-size", "--group", "--data", "--data-root", "--infer-fields", "--force",
        "--dry-run", "--import",
    },
    "runs": {"--import"},
    "audit": {
        "--input-size", "--group", "--sizes", "--verify", "--fix", "--infer-fields", "--channels", "--epoch", "--set",
        "--all", "--json", "--device", "--import",
    },
    "analyse": {"--output", "--only", *MEASURING},
    "figures": {"--output", "--only", "--format", "--table-format", *MEASURING},
    "tables": {"--output", "--only", "--format", "--digits", *MEASURING},
    "convert": {"--trust", "--output", "--weights"},
    "list": {"--import"},
}  # fmt: skip


def test_the_commands_are_those_of_the_contract():
    assert set(cli.commands) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_one_list_of_options(eqviz, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    shown = eqviz(command, "--help")
    assert (shown.status, shown.err) == (0, "")
    assert f"Usage: eqviz {command}" in shown.out
    assert f"eqviz {command} " in shown.out.split("Usage:")[1].split("\n", 1)[1]
    assert shown.out.count("─ Options") == 1
    own = [option for option in cli.commands[command].params if option.param_type_name == "option"]
    assert {max(option.opts, key=len) for option in own} == OPTIONS[command]
    for option in own:
        assert max(option.opts, key=len) in shown.out
        assert option.help


def test_help_names_every_command_and_version_gives_a_number(eqviz):
    shown = eqviz("--help")
    assert shown.status == 0
    assert all(f" {command} " in shown.out for command in COMMANDS)
    assert eqviz("--version").out.startswith("eqviz")
    alone = eqviz()
    assert (alone.status, alone.out) == (0, shown.out)


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from eqviz.cli.main import run\n"
        f"for command in {COMMANDS}: run([command, '--help'])\n"
        "run(['--help'])\n"
        "heavy = {'torch', 'matplotlib', 'pandas', 'numpy', 'lightning', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("what", "names"), [("models", MODELS), ("data", DATASETS), ("analyses", TABLES), ("figures", FIGURES)]
)
def test_list_has_a_line_with_words_for_every_name(eqviz, what, names):
    shown = eqviz("list", what)
    assert shown.status == 0
    rows = [line.split(maxsplit=1) for line in shown.out.splitlines()[2:]]
    assert [name for name, _ in rows] == list(names)


def test_the_installed_command(tmp_path):
    command = Path(sys.executable).with_name("eqviz")
    failed = subprocess.run(
        [command, "figures", tmp_path / "none"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith("eqviz: ")
    assert failed.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
