"""What was found of each network, held against the tables it comes from, filled by hand."""

import pandas as pd
import pytest

from eqviz.analysis.findings import findings
from eqviz.report.findings_words import findings_in_words
from eqviz.tables import MODEL_KEYS, columns

NETWORK = {"model": "p4cnn", "input_size": 15, "group": "C4", "epoch": 5, "data": "digits", "regime": "upright"}
DEPTHS = {"conv1": 0, "pool": 1, "conv2": 2, "branch": 3, "last_pool": 4, "(output)": 5}


def networks(exact="no", **changed):
    return pd.DataFrame([{**NETWORK, "n_seeds": 2, "exact": exact, "surviving": "C1", **changed}])


def local(**ranked):
    rows = [
        {**NETWORK, "layer": name, "depth": depth, "local_error": ranked.get(name, (0, 0, 0.0))[2],
         "n_ranked": ranked.get(name, (0, 0))[0], "n_culprit": ranked.get(name, (0, 0))[1]}
        for name, depth in DEPTHS.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def patching(**rotated):
    rows = []
    for name, depth in DEPTHS.items():
        for scale, value in ((0.0, rotated.get(name.strip("()"), 0.7)), (1.0, 0.7)):
            for measure, mean in (("accuracy_rotated", value), ("accuracy_upright", value + 0.05)):
                rows.append({
                    **NETWORK, "layer": name, "depth": depth, "cut": name != "branch", "scale": scale,
                    "measure": measure, "mean": mean,
                })  # fmt: skip
    return pd.DataFrame(rows)


def probes(**accuracy):
    kinds = {"pool": "pooling", "last_pool": "pooling"}
    rows = [
        {**NETWORK, "layer": name, "depth": depth, "kind": kinds.get(name, "convolution"), "target": "element",
         "frame": frame, "component": "full", "accuracy": accuracy.get(name, 1.0) if frame == "aligned" else 0.99,
         "chance": 0.25, "baseline_high": 0.3, "n_above": 2}
        for name, depth in DEPTHS.items()
        for frame in ("aligned", "moved")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def attribution(**cosines):
    rows = [
        {**NETWORK, "method": method, "layer": layer, "cosine": cosine if layer == "(input)" else -1.0,
         "tied_windows_with_gradient": 0.04}
        for method, cosine in cosines.items()
        for layer in ("(input)", "conv1")
    ]  # fmt: skip
    return pd.DataFrame(rows)


BROKEN = (
    networks(), local(pool=(2, 2, 0.6), conv2=(2, 0, 0.9)),
    patching(conv1=0.99, pool=0.8, conv2=0.9, branch=0.1, last_pool=0.95, output=0.9), probes(last_pool=0.4),
    attribution(integrated_gradients=0.5, saliency=0.3),
)  # fmt: skip


def test_every_value_comes_from_its_table():
    found = findings(*BROKEN)
    assert tuple(found.columns) == columns("findings")
    row = found.iloc[0]
    assert row[["culprit", "culprit_seeds", "n_seeds"]].tolist() == ["pool", 2, 2]  # first in most seeds, not largest
    assert row[["accuracy_rotated", "accuracy_upright"]].tolist() == pytest.approx([0.7, 0.75])
    # conv1 comes before the culprit, and the branch is no cut of the graph
    assert row[["patched_layers", "least_layer", "most_layer"]].tolist() == [4, "pool", "last_pool"]
    assert row[["rotated_least", "rotated_most"]].tolist() == pytest.approx([0.8, 0.95])
    assert row[["upright_least", "upright_most"]].tolist() == pytest.approx([0.85, 1.0])
    assert row[["probe_layer", "probe_accuracy", "probe_seeds"]].tolist() == ["last_pool", 0.4, 2]
    assert row[["integrated_gradients", "saliency", "tied_windows"]].tolist() == [0.5, 0.3, 0.04]


def test_an_exact_network_has_no_culprit_and_nothing_to_patch():
    row = findings(networks("yes"), local(), patching(), probes(last_pool=0.25), attribution(saliency=1.0)).iloc[0]
    assert row["culprit"] == ""
    assert row["patched_layers"] == 0
    assert row[["least_layer", "rotated_least", "integrated_gradients"]].isna().all()


def test_rows_of_other_networks_do_not_count():
    others = [table.assign(input_size=16, epoch=9) for table in BROKEN[1:]]
    row = findings(networks(), *others).iloc[0]
    values = row.drop([*MODEL_KEYS, "n_seeds", "exact", "surviving"])
    assert values.drop("culprit_seeds").isna().all()


def test_words_say_what_the_row_says():
    [(name, sentences)] = findings_in_words(findings(*BROKEN))
    assert name == "P4 CNN, 15 px"
    for said in (
        "most by itself is pool, in 2 of 2 seeds", "of the 4 from there on", "is 70.0% on moved and 75.0% on upright",
        "80.0% on moved and 85.0% on upright images, at least (pool)",
        "95.0% on moved and 100.0% on upright images, at most (last_pool)",
        "from last_pool in 40.0% of cases (chance 25.0%",
        "0.50 (integrated gradients) and 0.30 (saliency); 4.0%",
    ):  # fmt: skip
        assert said in " ".join(sentences)
    [(_, few)] = findings_in_words(findings(networks(), *(table.assign(epoch=9) for table in BROKEN[1:])))
    assert few == []
