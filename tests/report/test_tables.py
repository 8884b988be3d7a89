"""Tables as files: csv gives the numbers back, Markdown and LaTeX can be read."""

import re

import numpy as np
import pandas as pd
import pytest

from eqviz.analysis.significance import significance
from eqviz.errors import EqvizError
from eqviz.report.tables import TABLES, accuracy_table, render, significance_table, to_csv, to_latex, to_markdown

AWKWARD = pd.DataFrame(
    {"a_b": ["50% & more_or_less #1 $x$ {y} ~ ^ \\", "p|q"], "n": [3, 4], "x": [0.123456789012345, np.nan],
     "survives": pd.array([True, pd.NA], dtype="boolean")}
)  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_csv_gives_the_table_back(report, runs, name):
    table = runs.table(name)
    text = [column for column in table.columns if not pd.api.types.is_float_dtype(table[column])]
    read = pd.read_csv(report / f"tables/{name}.csv", dtype=dict.fromkeys(text, str))
    assert list(read.columns) == list(table.columns)
    assert len(read) == len(table)
    for column in table.columns:
        if pd.api.types.is_float_dtype(table[column]):
            np.testing.assert_allclose(read[column].to_numpy(float), table[column].to_numpy(float), rtol=1e-15)
        else:
            assert (
                read[column].fillna("").astype(str).tolist()
                == table[column].astype(object).fillna("").astype(str).tolist()
            )


def cells(line, between):
    return re.split(between, line)


@pytest.mark.parametrize("table", [AWKWARD, AWKWARD.iloc[:0], AWKWARD.loc[[0] * 60]], ids=["two", "none", "long"])
def test_markdown_and_latex_have_a_cell_a_column(table):
    width = len(table.columns)
    lines = to_markdown(table).splitlines()
    assert len(lines) == len(table) + 2
    for line in lines:
        assert len(cells(line, r"(?<!\\)\|")) == width + 2
    text = to_latex(table)
    begun, ended = re.findall(r"\\begin\{(\w+)\}", text), re.findall(r"\\end\{(\w+)\}", text)
    assert begun == ended == ["longtable" if len(table) > 50 else "tabular"]
    rows = [line for line in text.splitlines() if line.rstrip().endswith(r"\\") and "multicolumn" not in line]
    assert len([row for row in rows if len(cells(row, r"(?<!\\)&")) == width]) >= len(table) + 1
    body = "\n".join(rows)
    assert not re.search(r"(?<!\\)[%_#$]", body)
    assert not re.search(r"\bnan\b|<NA>|True|None", to_markdown(table) + text)


def test_tables_of_the_report_are_balanced_latex(report):
    for path in (report / "tables").glob("*.tex"):
        text = path.read_text()
        assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]  # nested
        assert not re.search(r"(?<!\\)[%_#$]", text)


def test_an_unknown_format_is_refused():
    with pytest.raises(EqvizError, match="xls"):
        render(AWKWARD, ["csv", "xls"])
    assert to_csv(AWKWARD).splitlines()[0] == "a_b,n,x,survives"


def test_the_accuracy_table_has_a_row_a_network_and_a_column_a_metric():
    keys = {"group": "C4", "epoch": 5, "data": "digits", "regime": "upright"}
    overview = pd.DataFrame(
        [
            {"model": "p4cnn", "input_size": size, **keys, "metric": metric, "mean": mean, "low": low, "high": high}
            for size, metric, mean, low, high in [
                (16, "0°", 0.98765, 0.981, 0.993), (16, "90°", 0.5, np.nan, np.nan), (15, "0°", 1.0, 1.0, 1.0),
                (15, "90°", 0.25, 0.0, 0.5),
            ]
        ]
    )  # fmt: skip
    table = accuracy_table(overview)
    assert list(table.columns) == ["network", *keys, "0°", "90°"]
    assert table["network"].tolist() == ["P4 CNN, 16 px", "P4 CNN, 15 px"]
    assert table["0°"].tolist() == ["98.8 [98.1, 99.3]", "100.0 [100.0, 100.0]"]
    assert table["90°"].tolist() == ["50.0", "25.0 [0.0, 50.0]"]


def test_a_caption_stands_with_the_table_for_reading_and_not_in_the_numbers():
    table = AWKWARD.copy()
    table.attrs["caption"] = "Accuracy in %, a & b."
    assert to_markdown(table).endswith("\n\nAccuracy in %, a & b.\n")
    assert r"\caption{Accuracy in \%, a \& b.}" in to_latex(table)
    assert to_csv(table) == to_csv(AWKWARD)


def test_the_table_of_significance_says_what_its_letters_mean(report):
    text = (report / "tables/significance_table.md").read_text()
    assert "P4 CNN, 8 px" in text
    assert "0°" in text.splitlines()[0]
    assert "Accuracy in %" in text.splitlines()[-1]
    assert "2 seeds" in text.splitlines()[-1]  # too few to be compared, and it says so
    assert "are not compared" in text.splitlines()[-1]
    assert "are not compared" in (report / "index.html").read_text()


def test_the_table_of_significance_of_four_regimes_keeps_together_what_is_compared():
    rng = np.random.default_rng(0)
    regimes = ("uniform", "N(45, 40)", "upright", "N(45, 20)")
    rows = [
        {"run": f"{size}-{regime}-{seed}", "model": "p4cnn", "input_size": size, "group": "C4", "seed": seed}
        | {"epoch": 9, "data": "mnist", "regime": regime, "angle": float(angle), "grid": angle % 90 == 0}
        | {"reflected": False, "mask": False, "fill": 0.0, "balanced_accuracy": 0.5, "n": 9}
        | {"accuracy": size / 30 - 0.01 * rng.random()}
        for size in (27, 28) for regime in regimes for seed in range(3) for angle in (0, 45, 90, 180, 270)
    ]  # fmt: skip
    table = significance_table(significance(pd.DataFrame(rows)))
    assert list(table.columns) == [
        "regime",
        "network",
        "0°",
        "90°",
        "180°",
        "270°",
        "mean, exact",
        "mean, interpolated",
    ]
    assert table["regime"].tolist() == [
        "upright", "upright", "N(45, 20)", "N(45, 20)", "N(45, 40)", "N(45, 40)", "uniform", "uniform",
    ]  # fmt: skip
    assert table["network"].tolist() == 4 * ["P4 CNN, 27 px", "P4 CNN, 28 px"]
    assert all(cell.endswith(" b") for cell in table.loc[table["network"] == "P4 CNN, 27 px", "0°"])
    for text in (to_markdown(table), to_latex(table)):
        assert "Within a column and a regime, networks that share a letter" in text
        assert "over all pairs of the column there" in text
        assert "Of all rows: group C4, epoch 9, data mnist." in text
