"""LaTeX that compiles: what traps there are, and, where pdflatex is there, whether it takes every table of a report."""

import re
import shutil
import subprocess

import pandas as pd
import pytest

from eqviz.report.benchmark_table import benchmark_table
from eqviz.report.latex import LONG, escaped, latex_table, marked
from eqviz.report.tables import to_latex

TRAPS = "50% & a_b #1 $x$ {y} ~ ^ \\ <z> | ± ° × − → ² ¹ ⁻ · … – ≤ ≥ ρ"
AWKWARD = pd.DataFrame({TRAPS: [TRAPS, "[1, 2]", "*x"], "n": ["", "[p]", "1"]})


def test_nothing_that_means_something_to_latex_is_left():
    text = escaped(TRAPS)
    assert not re.search(r"(?<!\\)[%#$&_]", text)
    assert not set(text) & set("±°×−→²¹⁻·…–≤≥ρ<>|~^")
    assert text.count("{") == text.count("}")
    assert escaped("plain text, 97.5 (ok)") == "plain text, 97.5 (ok)"


def test_a_row_never_begins_with_a_bracket_that_ends_a_line_break():
    body = latex_table(AWKWARD, "[caption]").split(r"\midrule")[1]
    assert not [line for line in body.splitlines() if line.startswith(("[", "*["))]
    assert "{[}1, 2{]}" in body


def test_places_are_marked_and_heads_are_ruled():
    columns = pd.MultiIndex.from_tuples([("", "a_b"), ("one & two", "x"), ("one & two", "y"), ("three", "x")])
    table = pd.DataFrame([["p", "1 ± 2", "3", "4"], ["q", "5", "6", "7%"]], columns=columns)
    text = latex_table(table, bold=[(0, 1), (1, 3)])
    assert r"\textbf{1 \textpm{} 2}" in text
    assert r"\textbf{7\%}" in text
    assert text.count(r"\textbf") == 2
    lines = text.splitlines()
    assert lines[2] == r" & \multicolumn{2}{c}{one \& two} & three \\"
    assert lines[3] == r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}"
    assert lines[4] == r"a\_b & x & y & x \\"
    before = table.copy(deep=True)
    assert marked(table, [(0, 0)], str.upper).iloc[0, 0] == "P"
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("rows", [1, LONG + 1])
def test_long_tables_may_break_across_pages(rows):
    text = latex_table(pd.DataFrame({"x": ["1"] * rows}), "said")
    assert (r"\begin{longtable}" in text) == (rows > LONG)
    assert r"\caption{said}" in text


def of_benchmarks():
    keys = {"model": "p4resnet44(head=flatten)", "group": "C4", "epoch": 3, "exact": "no", "parameters": 1000}
    bounds = {
        f"{metric}_{end}": value for metric in ("upright", "rotated") for end, value in (("low", 0.8), ("high", 1))
    }
    missing = dict.fromkeys(("accuracy_reflected", "reflected_low", "reflected_high"), float("nan"))
    return benchmark_table(pd.DataFrame([
        {**keys, "input_size": size, "data": data, "regime": "upright", "accuracy_upright": 0.9, "interval": "95% t"}
        | {"accuracy_rotated": 0.9, "n_seeds": 3} | bounds | missing
        for size in (32, 33) for data in ("cifar10", "a_b & c/50%.npz")
    ]))  # fmt: skip


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not there")
def test_pdflatex_takes_every_table_of_a_report(report, tmp_path):
    tables = [path.read_text(encoding="utf-8") for path in sorted((report / "tables").glob("*.tex"))]
    tables += [to_latex(of_benchmarks()), latex_table(AWKWARD, TRAPS), latex_table(pd.concat([AWKWARD] * LONG), TRAPS)]
    page = r"\usepackage[paperwidth=90cm,paperheight=60cm,margin=1cm]{geometry}"
    head = rf"\documentclass{{article}}{page}\usepackage{{booktabs,longtable}}\begin{{document}}"
    (tmp_path / "all.tex").write_text("\n".join([head, *tables, r"\end{document}"]), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    told = done.stdout.decode(errors="replace")
    assert done.returncode == 0, "\n".join(line for line in told.splitlines() if line.startswith(("!", "l.")))
    assert (tmp_path / "all.pdf").stat().st_size > 10_000
