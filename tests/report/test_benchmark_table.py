"""The table of benchmarks: numbers as text, the best in bold, and what its caption says."""

import numpy as np
import pandas as pd

from eqviz.report.benchmark_table import benchmark_table
from eqviz.report.tables import to_csv, to_latex, to_markdown

NETWORKS = (
    ("p4resnet44(head=coset_max)", 33, "C4", "yes"), ("p4resnet44(head=coset_max)", 32, "C4", "no"),
    ("p4resnet44(head=flatten)", 33, "C4", "no"), ("p4mresnet44", 33, "D4", "yes"), ("z2resnet44", 32, "C4", "no"),
)  # fmt: skip
CASES = (("cifar10", "upright", 100), ("cifar10", "upright, quarter turns", 100), ("data/cells.npz", "upright", 90))


def benchmarks(seeds=3, networks=NETWORKS, cases=CASES):
    rng = np.random.default_rng(1)
    rows = []
    for model, size, group, exact in networks:
        for data, regime, parameters in cases:
            row = {"model": model, "input_size": size, "group": group, "data": data, "regime": regime, "exact": exact}
            row |= {"epoch": 9, "parameters": 1000 * parameters + size, "n_seeds": seeds}
            row |= {"interval": "95% t interval over seeds" if seeds > 1 else "none"}
            for metric in ("upright", "rotated", "reflected"):
                mean, half = rng.uniform(0.5, 0.9), rng.uniform(0.001, 0.05)
                known = metric != "reflected" or group == "D4"
                half = half if seeds > 1 else np.nan
                row |= {f"accuracy_{metric}": mean if known else np.nan}
                row |= {f"{metric}_low": mean - half if known else np.nan}
                row |= {f"{metric}_high": mean + half if known else np.nan}
            rows.append(row)
    return pd.DataFrame(rows)


def test_a_row_a_network_and_columns_for_every_data_set_and_regime():
    table = benchmark_table(benchmarks())
    general = ["architecture", "input", "group", "symmetry", "parameters"]
    sets = ["cifar10 (upright)", "cifar10 (upright, quarter turns)", "cells.npz (upright)"]
    assert list(table.columns) == [("", name) for name in general] + [
        (head, metric) for head in sets for metric in ("upright", "rotated", "reflected")
    ]
    assert table[("", "symmetry")].tolist() == ["approximate", "exact", "approximate", "exact", "plain"]
    assert table[("", "group")].tolist() == ["C4", "C4", "C4", "D4", ""]
    assert table[("", "input")].tolist() == ["32 px", "33 px", "33 px", "33 px", "32 px"]
    assert table[("", "architecture")].nunique() == 4
    assert table[("", "parameters")].tolist()[1] == "90,033 to 100,033"  # classes differ between the data sets
    assert (table["cifar10 (upright)"]["reflected"] != "").tolist() == [False, False, False, True, False]


def test_cells_are_means_and_half_intervals_and_the_largest_mean_is_bold():
    rows = benchmarks()
    table = benchmark_table(rows)
    for column, (head, metric) in enumerate(table.columns):
        if not head:
            continue
        found = [float(text.split(" ± ")[0]) if text else -1.0 for text in table[(head, metric)]]
        best = {(row, column) for row, value in enumerate(found) if value == max(found)}
        expected = best if sum(value >= 0 for value in found) > 1 else set()
        assert {place for place in table.attrs["bold"] if place[1] == column} == expected
    row = rows[(rows["model"] == "z2resnet44") & (rows["regime"] == "upright") & (rows["data"] == "cifar10")].iloc[0]
    half = (row["rotated_high"] - row["rotated_low"]) / 2
    assert table["cifar10 (upright)"]["rotated"].iloc[4] == f"{100 * row['accuracy_rotated']:.1f} ± {100 * half:.1f}"


def test_an_interval_that_was_cut_at_one_is_told_by_its_whole_side():
    rows = benchmarks().assign(accuracy_upright=0.99, upright_low=0.95, upright_high=1.0)
    assert set(benchmark_table(rows)["cells.npz (upright)"]["upright"]) == {"99.0 ± 4.0"}


def test_equal_means_are_all_bold_and_a_lone_value_is_not():
    equal = benchmark_table(benchmarks().assign(accuracy_upright=0.9))
    places = [place for place in equal.attrs["bold"] if place[1] == 5]
    assert [row for row, _ in places] == [0, 1, 2, 3, 4]
    assert benchmark_table(benchmarks(networks=NETWORKS[:1])).attrs["bold"] == ()


def test_one_seed_has_no_interval_and_the_last_epoch_counts():
    rows = benchmarks(seeds=1)
    earlier = rows.assign(epoch=0, accuracy_upright=0.1)
    table = benchmark_table(pd.concat([earlier, rows]))
    assert not table.astype(str).apply(lambda column: column.str.contains("±|10.0")).any(axis=None)
    assert "interval" not in table.attrs["caption"]


def test_the_caption_names_metric_intervals_seeds_and_what_is_bold():
    caption = benchmark_table(benchmarks()).attrs["caption"]
    for said in ("Accuracy in %", "3 seeds", "95% t interval", "four quarter turns", "Bold: the highest", "D4"):
        assert said in caption
    assert "reflected" not in benchmark_table(benchmarks(networks=NETWORKS[:2])).attrs["caption"]


def test_bold_and_heads_in_every_format():
    table = benchmark_table(benchmarks())
    markdown, latex, text = to_markdown(table), to_latex(table), to_csv(table)
    assert markdown.count("**") == 2 * len(table.attrs["bold"])
    assert latex.count(r"\textbf{") == len(table.attrs["bold"])
    assert "cells.npz (upright): rotated" in markdown.splitlines()[0]
    assert r"\multicolumn{3}{c}{cells.npz (upright)}" in latex
    assert "**" not in text
    assert text.splitlines()[0].startswith("architecture,input,group,symmetry,parameters,cifar10 (upright): upright")
