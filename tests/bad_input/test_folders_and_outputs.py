"""Folders that hold no runs or lead in circles, outputs that are in the way or full, caches that cannot be, Ctrl-C."""

import errno
import os
import shutil
import threading
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
import torch

import eqviz as library
from eqviz.errors import EqvizError
from eqviz.models.registry import build_model
from eqviz.studies import runs as studies_runs
from tests.bad_input import networks
from tests.bad_input.conftest import ARGUMENTS, DESCRIBED, FEW, check_line, describe, snapshot
from tests.bad_input.crafting import device, loop, packed, pipe

QUICK = ("--only", "accuracy_polar", "--format", "png", "--table-format", "csv", "--every", "90")
TABLE = ("--only", "accuracy", "--every", "90")
COMMANDS = ("runs", "audit", "analyse", "tables", "init")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda path: None, "none"), (os.mkdir, "empty"), (loop, "loop"),
        (lambda path: path.symlink_to("/dev"), "devices"), (Path.touch, "file"), (pipe, "pipe"), (device, "zero"),
        (lambda path: None, "x" * 300), (lambda path: None, "a/../b"), (lambda path: None, "a\x1b[2Jb\nc"),
        (lambda path: path.joinpath(*["deep"] * 9).mkdir(parents=True), "deep"),
    ],
    ids=["none", "empty", "loop", "devices", "file", "pipe", "zero", "long", "up", "escapes", "deep"],
)  # fmt: skip
def test_folders_that_hold_no_runs(refused, tmp_path, command, make, name):
    make(tmp_path / name)
    found = {"none": "no such folder", "empty": "an empty folder", "file": "a file"}.get(name, "found ")
    refused(tmp_path / name, command=command, names=(found if command != "audit" else "found ",))


@pytest.mark.parametrize("command", ["runs", "audit", "analyse"])
@pytest.mark.parametrize(
    "make",
    [
        lambda folder: (folder / "again").symlink_to(folder), lambda folder: (folder / "up").symlink_to(".."),
        lambda folder: [(folder / f"{a}{b}").symlink_to(".") for a in "abcdefgh" for b in "abcdefgh"],
        lambda folder: pipe(folder / "pipe.pt"), lambda folder: device(folder / "zero.pt"),
        lambda folder: loop(folder / "loop.pt"), lambda folder: [(folder / f"{n}.txt").touch() for n in range(500)],
        lambda folder: (folder / "x.pt").mkdir(), lambda folder: (folder / ".hidden.pt").write_bytes(b"x"),
        lambda folder: pipe(folder / "pipe"), lambda folder: folder.joinpath(*["deep"] * 40).mkdir(parents=True),
        lambda folder: pipe(folder / ".eqviz-pipe"),
    ],
    ids=range(12),
)  # fmt: skip
def test_what_lies_beside_checkpoints_and_does_no_harm(folder, works, command, make):
    make(folder)
    works(folder, *(TABLE if command == "analyse" else ()), command=command)


NAMES = {
    "spaces": "a net  of mine", "combining": "re\u0301seau", "right to left": "\u202egnp.net", "quotes": "a'b\"c`d",
    "dollar": "$HOME $(touch owned) ${x}", "backslash": "a\\b\\n", "percent": "%s%n%d 100%", "dash": "--help",
    "markup": "<b>&amp;",
    "mathematics": "$\\frac{$ and $", "emoji": "🧭", "long": "n" * 240, "lines": "a\nb",
    "escapes": "\x1b[31mred\x1b[0m",
    "bytes": "\udcff\udcfe",
    "table": "a|b,c;d\te", "formula": "=1+1", "dots": "...", "brackets": "[red]x",
    "latex": "\\input{x} ~^_#&{}", "braces": "{seed}",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("command", ["runs", "audit", "analyse", "init"])
def test_names_of_files_and_runs(eqviz, tmp_path, state, name, command):
    """They work, or are refused in a clean line; what is printed is text without escape sequences."""
    place = tmp_path / f"folder {NAMES[name][:20].strip()}"
    (place / NAMES[name]).mkdir(parents=True)
    torch.save(state, place / NAMES[name] / f"{NAMES[name]}.pt")
    plain = "{" not in NAMES[name] and NAMES[name].isprintable()
    label = {"label": NAMES[name].strip()[:90]} if name not in ("bytes", "escapes") else {}
    describe(place, files=f"{NAMES[name]}/{NAMES[name]}.pt" if plain else "*/*.pt", **label)
    done = eqviz(command, place, *OPTIONS.get(command, ()))
    assert "Traceback" not in done.err
    for line in (done.out + done.err).splitlines():
        assert line.isprintable()
    if done.status == 2:
        assert command == "init" or name in ("long", "dots")  # longer than patterns may be; hidden
        check_line(done.err.strip()) if command != "runs" else None


OPTIONS = {"init": ("--dry-run",), "analyse": (*FEW, *TABLE)}


def test_a_report_of_names_that_no_page_expects(eqviz, tmp_path, state):
    place = tmp_path / "runs"
    odd = f"{NAMES['markup']} {NAMES['mathematics']}{NAMES['right to left']}"
    for name, regime in ((odd, odd), (NAMES["bytes"], NAMES["latex"])):
        (place / name).mkdir(parents=True)
        known = {key: value for key, value in DESCRIBED.items() if key != "files"} | {"format": 1}
        known["arguments"] = {"in_channels": 1, "classes": 10}
        (place / name / "run.toml").write_text(tomli_w.dumps(known | {"regime": regime}))
        (place / name / "epoch-0001.safetensors").write_bytes(packed(state, "safetensors"))
    names = ("accuracy_by_regime", "breaking_by_layer", "accuracy_over_rotation")
    only = [part for name in names for part in ("--only", name)]
    done = eqviz("figures", place, *FEW, *only, "--every", "90", "--format", "png", "-o", tmp_path / "report")
    assert done.status == 0, done.err
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert "<b>&amp;" not in page
    assert "\x1b" not in page
    table = pd.read_csv(tmp_path / "report/tables/runs.csv")
    assert len(table) == 2
    latex = (tmp_path / "report/tables/runs.tex").read_text(encoding="utf-8")
    assert "\\input{x}" not in latex
    assert "\x1b" not in done.out + done.err


def test_a_report_of_layers_that_no_page_expects(eqviz, folder, tmp_path):
    torch.save(networks.OddNames().state_dict(), folder / "net.pt")
    describe(folder, model="OddNames", arguments={}, label="$\\frac{$")
    only = ("--only", "breaking_by_layer", "--only", "exactness_by_size", "--format", "png", "--format", "svg")
    done = eqviz("figures", folder, *FEW, *only, "--import", "tests.bad_input.networks", "-o", tmp_path / "report")
    assert done.status == 0, done.err
    assert "\x1b" not in done.out + done.err
    table = pd.read_csv(tmp_path / "report/tables/equivariance.csv")
    assert {"<b>x</b>&amp;", "=1+1", "a\nb"} <= set(table["layer"])


def file_there(folder, output):
    output.write_text("mine")
    return output


def file_above(folder, output):
    output.write_text("mine")
    return output / "below"


def tables_there(folder, output):
    output.mkdir()
    (output / "tables").write_text("mine")
    return output


@pytest.mark.parametrize("command", ["figures", "tables"])
@pytest.mark.parametrize("make", [
        file_there, file_above, tables_there, lambda f, o: "/dev/null", lambda f, o: "/proc/none",
        lambda f, o: o / ("x" * 300), lambda f, o: pipe(o) or o, lambda f, o: loop(o) or o,
    ],
                         ids=range(8))  # fmt: skip
def test_outputs_that_are_in_the_way(eqviz, folder, tmp_path, command, make):
    output = make(folder, tmp_path / "out")
    before = snapshot(tmp_path)
    done = eqviz(command, folder, *FEW, "-o", output)
    assert (done.status, done.out) == (2, "")
    check_line(done.err.strip(), ("output folder",))
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("command", "name"), [("analyse", "tables/accuracy.csv"), ("tables", "provenance.json")])
def test_a_folder_where_a_file_belongs(folder, refused, tmp_path, command, name):
    (tmp_path / "report" / name).mkdir(parents=True)
    output = ("-o", tmp_path / "report") if command == "analyse" else ()
    refused(folder, *TABLE, *output, command=command, names=(name,))


def test_figures_on_a_full_disk_leave_the_old_report(works, refused, folder, tmp_path, monkeypatch):
    quick = (*QUICK, "-o", tmp_path / "report")
    works(folder, *quick, command="figures")
    (tmp_path / "report/extra.txt").write_text("mine")
    write, written = Path.write_bytes, []

    def fails_late(path, content):
        written.append(path)
        return full() if len(written) == 4 else write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fails_late)
    refused(folder, *quick, command="figures", names=("No space left",))


@pytest.mark.parametrize("where", [".", "report", "nested/report", ".eqviz"])
def test_an_output_among_the_checkpoints_loses_none(works, folder, where):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        works(folder, "-o", folder / where, *TABLE, command="analyse")
    assert {path: path.read_bytes() for path in before} == before
    assert (folder / where / "tables/accuracy.csv").exists()
    assert works(folder, command="runs").out.count("p4conv") == 1


@pytest.fixture
def report(works, folder, tmp_path):
    """An old report, which is not to be lost."""
    works(folder, *TABLE, "-o", tmp_path / "report", command="analyse")
    return tmp_path / "report"


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*_, **__):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize("fails", [full, read_only, interrupted])
@pytest.mark.parametrize(
    ("where", "name", "after"),
    [
        (Path, "write_bytes", 0), (Path, "write_bytes", 1), (os, "replace", 0), (os, "replace", 2),
        (Path, "write_text", 0), (pd.DataFrame, "to_parquet", 0), (pd.DataFrame, "to_parquet", 1),
    ],
    ids=range(7),
)  # fmt: skip
def test_full_disks_and_interruptions_lose_nothing(
    eqviz, folder, report, monkeypatch, tmp_path, fails, where, name, after
):
    """Whatever is being written: the old report is whole, the cache has whole files, and the next time all is well."""
    shutil.rmtree(folder / ".eqviz")
    before = snapshot(report)
    whole, calls = getattr(where, name), []

    def failing(*arguments, **keywords):
        calls.append(arguments)
        return fails() if len(calls) > after else whole(*arguments, **keywords)

    monkeypatch.setattr(where, name, failing)
    done = eqviz("analyse", folder, *FEW, *TABLE, "-o", report)
    monkeypatch.setattr(where, name, whole)
    assert calls
    assert done.status == (130 if fails is interrupted else 2)
    line = done.err.splitlines()[-1]
    assert "interrupted" in line if fails is interrupted else check_line(line)
    assert snapshot(report) == before
    assert not [path for path in tmp_path.rglob(".*") if path.name not in (".eqviz",)]
    assert eqviz("analyse", folder, *FEW, *TABLE, "-o", report).status == 0


@pytest.mark.parametrize("place", [1, 3, 6])
def test_ctrl_c_while_a_network_is_measured(eqviz, folder, report, monkeypatch, place):
    before, calls = snapshot(report), []
    whole = networks.Sound.forward

    def forward(self, images):
        calls.append(1)
        return whole(self, images) if len(calls) != place else interrupted()

    torch.save(networks.Sound().state_dict(), folder / "net.pt")
    describe(folder, model="Sound", arguments={})
    monkeypatch.setattr(networks.Sound, "forward", forward)
    done = eqviz("analyse", folder, *FEW, *TABLE, "--import", "tests.bad_input.networks", "-o", report)
    assert done.status == 130
    assert done.err.splitlines()[-1].startswith("eqviz: interrupted")
    assert snapshot(report) == before
    assert not list(folder.glob(".eqviz/*.part"))


@pytest.mark.parametrize(
    "make", [Path.touch, loop, lambda path: path.symlink_to("/"), lambda path: path.symlink_to("/dev/null"), pipe]
)
def test_caches_that_cannot_be_beside_the_runs(works, folder, tmp_path, monkeypatch, make):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    make(folder / ".eqviz")
    before = snapshot(folder)
    done = works(folder, *TABLE, command="analyse")
    assert str(tmp_path / "home") in done.err
    assert snapshot(folder) == before


def test_no_place_for_measurements_at_all(folder, refused, tmp_path, monkeypatch):
    (tmp_path / "home").touch()
    (folder / ".eqviz").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    refused(folder, *TABLE, command="analyse", names=("measurements", "XDG_CACHE_HOME"))


@pytest.mark.parametrize(
    "make", [os.mkdir, pipe, device, loop, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"{")]
)
def test_files_of_the_cache_that_are_no_measurements(works, folder, make):
    more = ("--only", "verdict", "--only", "patching") if make not in (pipe, device, loop, os.mkdir) else ()
    tables = (*TABLE, *more)
    works(folder, *tables, command="analyse")
    cached = sorted((folder / ".eqviz").iterdir())
    for path in cached:
        path.unlink()
        make(path)
    if make is os.mkdir:  # nothing can take the place of a folder
        return
    assert "0 of them from the cache" in works(folder, *tables, command="analyse").err
    assert "1 of them from the cache" in works(folder, *tables, command="analyse").err


def test_many_on_one_cache_at_once(folder, state):
    """Eight that measure the same and one that clears the cache all the while: each has the right table in the end."""
    options = {"limit": 20, "orbit_images": 2, "angles": (0.0, 90.0), "device": "cpu"}
    right = library.open_runs(folder, **options).accuracy()
    shutil.rmtree(folder / ".eqviz")
    found, failed = [], []

    def measure():
        try:
            found.append(library.open_runs(folder, **options).accuracy())
        except BaseException as error:  # told below: an exception in a thread is nobody's
            failed.append(error)

    threads = [threading.Thread(target=measure) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for table in found:
        pd.testing.assert_frame_equal(table, right)
    assert not list(folder.glob(".eqviz/*.part"))


def test_a_process_that_is_killed_is_told_in_a_line(folder, monkeypatch):
    from concurrent.futures.process import BrokenProcessPool

    from eqviz.studies import stepping

    class Killed:
        def __init__(self, **_):
            pass

        def __call__(self, tasks):
            raise BrokenProcessPool("killed")

    monkeypatch.setattr(stepping.joblib, "Parallel", Killed)
    with pytest.raises(EqvizError) as caught:
        library.open_runs(folder, jobs=2).accuracy()
    check_line(f"eqviz: {caught.value}", ("--jobs 2", "killed"))


def test_checkpoints_that_vanish_while_they_are_measured(folder, eqviz, monkeypatch):
    whole = studies_runs.find_runs

    def found(*arguments):
        runs = whole(*arguments)
        (folder / "net.pt").unlink()
        return runs

    monkeypatch.setattr(studies_runs, "find_runs", found)
    done = eqviz("analyse", folder, *FEW, *TABLE)
    assert done.status == 2
    assert "net.pt" in done.err.splitlines()[-1]


def test_two_checkpoints_of_which_one_is_bad_name_it(folder, refused, works, state):
    describe(folder, files="net{seed}.pt")
    torch.save(state, folder / "net0.pt")
    torch.save(build_model("p4conv", **ARGUMENTS, channels=2).state_dict(), folder / "net1.pt")
    refused(folder, *TABLE, command="analyse", names=("net1.pt", "another shape"))
