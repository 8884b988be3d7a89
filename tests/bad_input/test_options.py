"""Options, commands and names on the command line that cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bad_input.conftest import check_line


def check_usage(line, names):
    """A line about the command itself, which ends with where to read more."""
    assert line.startswith("eqviz: ")
    assert line.endswith("--help")
    assert line.isprintable()
    assert all(name in line for name in names)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--layers", "cnov*"], "'cnov*'"), (["--layers", ""], "layers"), (["--group", "Q8"], "'Q8'"),
        (["--group", "D4"], "regular(C4)"), (["--group", ""], "group"), (["--group", "C" + "9" * 500], "group"),
        (["--only", "piechart"], "piechart"), (["--only", ""], "figure"), (["--device", "tpu"], "'tpu'"),
        (["--device", "cuda:99999"], "cuda"), (["--data", "mnits"], "did you mean 'mnist'"),
        (["--data", ""], "pictures"), (["--data", "mnist", "--data-root", "none"], "none"),
        (["--data", "x\x1b[2J"], "data"), (["--import", "no_such_module"], "no_such_module"),
        (["--import", ""], "--import"), (["--import", ".."], "--import"), (["--import", "os; x"], "--import"),
        (["--group", "C1", "--only", "aligned_features"], "moves the image"),
        (["--published", "none.csv"], "none.csv"), (["--fill", "nan"], "fill"),
        (["--published", "/dev/null"], "/dev/null"),
    ],
    ids=range(22),
)  # fmt: skip
def test_options_that_cannot_be(folder, refused, arguments, found):
    refused(folder, *arguments, command="figures", names=(found,))


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--pie"], "--pie"), (["--limit", "0"], "--limit"), (["--limit", "many"], "--limit"),
        (["--limit", "1e3"], "--limit"), (["--limit", "9" * 5000], "--limit"), (["--fill", "2"], "--fill"),
        (["--fill", "grey"], "--fill"), (["--jobs", "0"], "--jobs"), (["--jobs", "-2"], "--jobs"),
        (["another"], "another"), (["--every", "45"], "--every"), (["--epochs", "first"], "--epochs"),
        (["--format", "gif"], "gif"), (["--orbit-images", "-1"], "--orbit-images"),
        (["--table-format", "xlsx"], "xlsx"), (["--analysis-images", ""], "images"),
    ],
    ids=range(16),
)  # fmt: skip
def test_values_that_no_option_takes(folder, refused, arguments, found):
    refused(folder, *arguments, command="figures", names=(found,), check=check_usage)


@pytest.mark.parametrize("arguments", [
        ["figure"], ["list", "modles"], ["list"], ["train", "recipe.toml"], ["--verison"], ["\x1b[2J"], ["audit"],
        ["convert"], ["init"], ["runs", "a", "b"], ["demo", "x"],
    ],
                         ids=range(11))  # fmt: skip
def test_commands_that_are_not_there(eqviz, arguments):
    done = eqviz(*arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    check_usage(done.err.strip(), ())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["nonet", "--input-size", "8"], "nonet"), (["p4conv"], "--input-size"),
        (["p4conv", "--input-size", "0"], "size"), (["p4conv", "--input-size", "8x"], "size"),
        (["p4conv", "--input-size", "9" * 50], "size"), (["p4conv", "--input-size", "8", "--group", "S3"], "'S3'"),
        (["p4conv", "--input-size", "8", "--sizes", "9:1"], "sizes"),
        (["p4conv", "--input-size", "8", "--sizes", "1:9999999"], "sizes"),
        (["p4conv", "--input-size", "8", "--set", "x"], "--set"),
        (["p4conv", "--input-size", "8", "--set", "chanels=2"], "chanels"),
        (["p4conv", "--input-size", "8", "--set", "a b=2"], "--set"),
        (["p4conv", "--input-size", "8", "--set", "channels=" + "9" * 5000], "channels"),
        (["p4conv", "--input-size", "8", "--set", "channels=nan"], "channels"),
        (["p4conv", "--input-size", "8", "--epoch", "3"], "--epoch"),
        (["os:system", "--input-size", "8"], "os:system"), (["a/../b", "--input-size", "8"], "TARGET"),
        (["", "--input-size", "8"], "run"), (["p4conv\x1b[2J", "--input-size", "8"], "TARGET"),
        (["p4conv", "--input-size", "8", "--channels", "2", "--set", "in_channels=3"], "channels"),
        (["pathlib.Path", "--import", "pathlib", "--input-size", "8"], "pathlib.Path"),
    ],
    ids=range(20),
)  # fmt: skip
def test_audits_that_cannot_be(refused, arguments, found):
    refused(*arguments, names=(found,))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_an_output_folder_that_is_read_only(folder, refused, tmp_path):
    (tmp_path / "old").mkdir(mode=0o555)
    refused(folder, "-o", tmp_path / "old", command="analyse", names=("Permission denied",))


def test_the_real_command_keeps_the_promise(folder):
    """In a process of its own, where nothing of pytest stands between a traceback and the terminal."""
    (folder / "net.pt").write_bytes(b"PK\x03\x04 and no more")
    program = str(Path(sys.executable).parent / "eqviz")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([program, "audit", folder], capture_output=True, env=environment, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
    check_line(done.stderr.decode().strip())
