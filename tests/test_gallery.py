"""The gallery: drawn from committed tables alone, the same every time, and its claims hold in these tables."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "figures"
sys.path.insert(0, str(FOLDER))

import checks  # noqa: E402
import gallery  # noqa: E402
from claims import CLAIMS  # noqa: E402
from page import page  # noqa: E402
from reading import NoTableError, Results, typed  # noqa: E402

PENDING: set[str] = set()
"""Experiments whose results are not committed yet. Take one out when its tables are there."""

WITHOUT_RECORD: set[str] = set()
"""Experiments whose tables were made before `eqviz tables` said how."""

MOST_BYTES = 1_500_000
"""Of the tables of one experiment: the gallery is read in a browser and cloned with the code."""

EXPERIMENTS = [one for one in gallery.EXPERIMENTS if one.slug not in PENDING]
RECORDED = [one for one in EXPERIMENTS if one.slug not in WITHOUT_RECORD]


def by_slug(experiment):
    return experiment.slug


@pytest.fixture(scope="module")
def found():
    return gallery.results()


def test_pending_experiments_have_no_results_and_others_have(found):
    assert set(found) == {one.slug for one in EXPERIMENTS}
    assert not PENDING & set(found), "take it out of PENDING"


CHECKS = [(claim.name, slug, check) for claim in CLAIMS for slug, check in claim.checks]


@pytest.mark.parametrize(
    ("name", "slug", "check"), CHECKS, ids=[f"{name}-{check.__name__}" for name, _, check in CHECKS]
)
def test_a_claim_holds_in_the_committed_tables(found, name, slug, check):
    if slug in PENDING:
        assert slug not in found
        return
    finding = check(found[slug])
    assert finding.holds, finding.sentence


def test_every_claim_has_a_check_and_every_check_is_of_an_experiment():
    assert [claim.name for claim in CLAIMS] == ["C1", "C2", "C3", "C4", "C5"]
    assert all(claim.checks for claim in CLAIMS)
    assert {slug for _, slug, _ in CHECKS} <= {one.slug for one in gallery.EXPERIMENTS}


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=by_slug)
def test_every_figure_of_an_experiment_is_there_and_no_other(experiment, found):
    drawn = set()
    for entry in experiment.figures:
        try:
            entry.caption(found[experiment.slug])
        except NoTableError:
            assert experiment.slug in WITHOUT_RECORD, f"{entry.name}: no table {entry.tables}"
            continue
        drawn |= {f"{entry.name}.png", f"{entry.name}.pdf"}
    there = {path.name for path in (FOLDER / experiment.slug).glob("*.p*")}
    assert drawn <= there, "make figures"
    if experiment.slug not in WITHOUT_RECORD:
        assert there == drawn


@pytest.mark.parametrize("experiment", RECORDED, ids=by_slug)
def test_the_tables_of_an_experiment_are_those_of_its_record(experiment, found):
    result = found[experiment.slug]
    assert set(result.names) == set(result.record["tables"])
    assert {name for entry in experiment.figures for name in entry.tables} <= set(result.names)
    tables = [path for path in result.folder.rglob("tables/*") if path.suffix in (".csv", ".gz")]
    assert sum(path.stat().st_size for path in tables) < MOST_BYTES
    record = json.dumps(result.record)
    assert re.findall(r"[\"' ](/[a-z]+/[^\"' ]*|[A-Z]:\\[^\"' ]*)", record) == []


def test_the_tables_that_figures_need_are_those_that_make_results_writes():
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    made = {number: set(names.split()) for number, names in re.findall(r"^TABLES_(\d\d) := (.*)$", text, re.MULTILINE)}
    for experiment in gallery.EXPERIMENTS:
        needed = {name for entry in experiment.figures for name in entry.tables} | {"networks", "runs"}
        assert needed - made[experiment.slug[:2]] == set()


def test_the_page_is_that_of_the_committed_tables(found):
    text = page(gallery.EXPERIMENTS, found)
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == text, "make figures"
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert [link for link in links if "://" not in link and not (FOLDER / link).exists()] == []


DRAWN = [(one.slug, entry) for one in EXPERIMENTS for entry in one.figures]


@pytest.mark.parametrize(("slug", "entry"), DRAWN, ids=[f"{slug}-{entry.name}" for slug, entry in DRAWN])
def test_text_can_be_read_at_the_printed_size(slug, entry, found):
    try:
        made = entry.figure(found[slug], gallery.styles(found))
    except NoTableError:
        assert slug in WITHOUT_RECORD
        return
    made.draw_without_rendering()
    assert round(25.4 * made.get_figwidth()) in (85, 178)  # one column of a page, or two
    sizes = {text.get_fontsize(): text.get_text() for text in made.findobj(Text) if text.get_text().strip()}
    assert min(sizes) >= 6.5, sizes[min(sizes)]


def test_the_gallery_is_drawn_without_torch_and_the_same_every_time(tmp_path):
    script = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv[1]); "
        "import gallery; sys.exit(gallery.main(sys.argv[2:]))"
    )
    made = []
    for seed in ("1", "2"):
        target = tmp_path / seed
        command = [sys.executable, "-W", "error", "-c", script, str(FOLDER), "--only", "02", "-o", str(target)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "MPLBACKEND": "agg"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        made.append({path.relative_to(target): path.read_bytes() for path in target.rglob("*") if path.is_file()})
    assert made[0] == made[1]
    assert {path.suffix for path in made[0]} == {".png", ".pdf", ".md"}
    assert len(made[0]) > 10
    assert not any(b"CreationDate" in content for content in made[0].values())


def write(folder, name, rows):
    """A table of an experiment, as csv."""
    (folder / "tables").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "tables" / f"{name}.csv", index=False)
    return Results(folder)


KEYS = {"group": "C4", "data": "mnist", "epoch": 16, "n_seeds": 3}


@pytest.mark.parametrize(
    ("ending", "learned", "kept"), [(0.05, True, False), (0.69, False, False), (0.6932, False, True)]
)
def test_whether_a_copy_was_learned_is_read_from_the_loss(tmp_path, ending, learned, kept):
    rows = [
        KEYS | {"model": "p4conv", "input_size": size, "data": "rotated-pair", "regime": "upright", "epoch": epoch}
        | {"measure": "train_loss", "mean": loss, "lowest": loss, "highest": loss}
        for size in (32, 33)
        for epoch, loss in ((1, 0.71), (800, ending))
    ]  # fmt: skip
    result = write(tmp_path, "learning_curves", rows)
    assert checks.rotated_copy_is_learned(result).holds is learned
    assert checks.rotated_copy_is_not_learned_by_the_exact_twin(result).holds is kept


def turned(regime, exact, others):
    """Accuracies by angle of the exact network and of both approximate ones, trained in a regime."""
    rows = []
    for angle in range(0, 360, 10):
        for size, value in ((28, exact(angle)), (27, others(angle)), (29, others(angle))):
            row = KEYS | {"model": "p4cnn", "input_size": size, "regime": regime, "angle": float(angle)}
            rows.append(row | {"reflected": False, "mean": value, "std": 0.001})
    return rows


@pytest.mark.parametrize("worse", [0, 1])
def test_thresholds_on_mnist_hold_and_fail(tmp_path, worse):
    upright = turned(
        "upright", lambda angle: 0.97 + 0.001 * worse * (angle == 90),
        lambda angle: {0: 0.98 - 0.03 * worse, 90: 0.85 + 0.06 * worse, 180: 0.6}.get(angle, 0.5),
    )  # fmt: skip
    uniform = turned("uniform", lambda angle: 0.96, lambda angle: 0.95 - 0.02 * worse * (angle == 130))
    biased = turned("N(45, 20)", lambda angle: 0.95, lambda angle: 0.96 if angle < 90 else 0.6 + 0.35 * worse)
    result = write(tmp_path, "accuracy_summary", upright + uniform + biased)
    regimes = ("upright", "uniform", "N(45, 20)")
    run = {"model": "p4cnn", "data": "mnist", "train_images": 3000}
    write(tmp_path, "runs", [run | {"input_size": size, "regime": name} for size in (27, 28, 29) for name in regimes])
    for check in (
        checks.exact_networks_do_not_lose, checks.approximate_networks_lose_what_they_did_not_see,
        checks.approximate_networks_match_upright, checks.uniform_rotations_make_them_alike,
        checks.narrow_rotations_are_matched,
    ):  # fmt: skip
        assert check(result).holds is (not worse), check.__name__
    assert checks.enough_digits_and_seeds(result).holds


@pytest.mark.parametrize("lost", [{"angle": 130.0}, {"input_size": 27}])
def test_every_angle_of_every_size_has_to_be_measured(tmp_path, lost):
    ((key, value),) = lost.items()
    rows = [row for row in turned("uniform", lambda angle: 0.9, lambda angle: 0.9) if row[key] != value]
    with pytest.raises(NoTableError, match="at 36 angles"):
        checks.uniform_rotations_make_them_alike(write(tmp_path, "accuracy_summary", rows))


@pytest.mark.parametrize("beaten", [True, False])
def test_benchmarks_are_compared_size_by_size_with_the_usual_head(tmp_path, beaten):
    rows = [
        KEYS | {"model": f"p4resnet8(head={head}, separable=)", "input_size": size, "data": data, "regime": "upright"}
        | {"exact": "yes" if size == 33 and head == "coset_max" else "no"}
        | {"accuracy_upright": upright if head == "coset_max" else 0.0, "accuracy_rotated": rotated}
        for data in ("cifar10", "fashion-mnist")
        for head in ("coset_max", "flatten")
        for size, upright, rotated in ((32, 0.6 if beaten else 0.5, 0.4), (33, 0.55, 0.55 if beaten else 0.3))
    ]  # fmt: skip
    result = write(tmp_path, "benchmarks", rows)
    assert checks.approximate_p4_matches_on_benchmarks(result).holds is beaten
    assert checks.approximate_p4_loses_on_benchmarks(result).holds is beaten


@pytest.mark.parametrize(
    ("p_value", "lower", "significant"), [(0.001, 0.6, True), (0.2, 0.6, False), (0.001, 0.99, False)]
)
def test_both_misfitting_sizes_have_to_lose_significantly(tmp_path, p_value, lower, significant):
    means = {27: 0.5, 28: 0.9, 29: lower}
    rows = [
        {"group": "C4", "epoch": 16, "data": "mnist", "regime": "upright", "metric": "accuracy at 180 degrees"}
        | {"model_a": "p4cnn", "input_size_a": a, "model_b": "p4cnn", "input_size_b": b, "p_welch_holm": p}
        | {"family_size": 6, "mean_a": means[a], "mean_b": means[b]}
        for a, b, p in ((27, 28, 1e-6), (28, 29, p_value), (27, 29, 0.9))
    ]  # fmt: skip
    assert checks.the_difference_is_significant(write(tmp_path, "comparisons", rows)).holds is significant


@pytest.mark.parametrize("broken", [False, True])
def test_one_pixel_decides_only_where_exact_sizes_are_exact(tmp_path, broken):
    networks = [
        KEYS | {"model": "p4cnn", "input_size": size, "regime": regime}
        | {"exact": "yes" if size == 28 and not (broken and regime == "uniform") else "no"}
        | {"breaking_fraction": 1e-14 if size == 28 else 0.1}
        for size in (27, 28, 29) for regime in ("upright", "uniform")
    ]  # fmt: skip
    assert checks.one_pixel_decides_on_mnist(write(tmp_path, "networks", networks)).holds is not broken
    without_a_size = write(tmp_path, "networks", [row for row in networks if row["input_size"] != 29])
    assert not checks.one_pixel_decides_on_mnist(without_a_size).holds
    stages = [
        KEYS | {"model": "p4resnet44", "input_size": size, "regime": "upright", "mask": False, "layer": layer}
        | {"measure": "breaking_fraction", "mean": value, "lowest": value, "highest": value}
        for layer in ("conv1", "layers.1", "(output)")
        for size, value in ((32, 0.1), (33, 0.01 if broken and layer == "layers.1" else 1e-13))
    ]  # fmt: skip
    result = write(tmp_path, "stage_errors_summary", stages)
    assert checks.one_pixel_decides_in_a_deep_network(result).holds is not broken


def test_tables_are_read_with_the_types_they_were_written_with(tmp_path):
    written = pd.DataFrame(
        {"n": [1, 2], "x": [0.5, float("nan")], "survives": [True, pd.NA], "kernel": ["2", ""], "layer": ["a", "b"]}
    )
    (tmp_path / "t.csv").write_text(written.to_csv(index=False))
    read = typed(pd.read_csv(tmp_path / "t.csv", dtype=str, na_filter=False))
    assert read["n"].tolist() == [1, 2]
    assert read["x"].isna().tolist() == [False, True]
    assert read["survives"].tolist() == [True, pd.NA]
    assert read["kernel"].tolist() == ["2", ""]


def test_packed_tables_are_read_as_well(tmp_path):
    result = write(tmp_path, "networks", [KEYS | {"model": "p4cnn", "input_size": 28, "regime": "upright"}])
    plain = result.table("networks")
    path = tmp_path / "tables/networks.csv"
    plain.to_csv(path.with_suffix(".csv.gz"), index=False)
    path.unlink()
    again = Results(tmp_path)
    assert again.names == ("networks",)
    assert again.table("networks").equals(plain)
    with pytest.raises(NoTableError, match="no rows"):
        again.table("networks", "model == 'z2cnn'")
