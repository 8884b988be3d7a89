"""What the analyses in depth found of each network, side by side in one row."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eqviz.analysis.local_defect_summary import top_culprit
from eqviz.tables import MODEL_KEYS, concatenate

_INPUT = "(input)"

Rows = pd.DataFrame


def findings(networks: Rows, local_defect: Rows, patching: Rows, probes: Rows, attribution: Rows) -> pd.DataFrame:
    """The table `findings` from `networks` and the summaries over seeds of four analyses, one row a network.

    exact, surviving     the verdict at the output
    culprit              the layer that breaks most by itself in most seeds, "" if none breaks; in `culprit_seeds` of
                         `n_seeds` seeds it ranks first
    patched_layers       how many cuts of the graph, from the first culprit to the output, were patched with their
                         symmetric component alone; of these `least_layer` and `most_layer` restore least and most
    accuracy_upright, accuracy_rotated  of the network as it is: on upright images, and the mean over the other elements
                         of the group (not over all angles)
    rotated_least, rotated_most  accuracy_rotated with those layers patched; `upright_least`, `upright_most` upright
    probe_layer          the last pool, where the features should be invariant; `probe_accuracy` is what a linear probe
                         reads of the group element there, by `probe_chance` and the largest `probe_permuted` (95th
                         percentile with permuted labels), above it in `probe_seeds` seeds
    integrated_gradients, saliency  cosine between the explanation of g x and the moved one of x, by pixels
    tied_windows         fraction of the maximum windows carrying gradient that are tied

    Accuracies are fractions, means over seeds. What an analysis has no answer for is missing.
    """
    rows = []
    for network in networks.to_dict("records"):
        keys = {name: network[name] for name in MODEL_KEYS}
        mine = [_of(table, keys) for table in (local_defect, patching, probes, attribution)]
        culprit, first = _culprit(mine[0])
        rows.append({
            **keys, **{name: network[name] for name in ("n_seeds", "exact", "surviving")}, **culprit,
            **_patched(mine[1], first), **_probed(mine[2]), **_explained(mine[3]),
        })  # fmt: skip
    return concatenate([pd.DataFrame(rows)], "findings")


def _of(table: Rows, keys: Mapping[Any, object]) -> Rows:
    """The rows of one network; `group` may be the exact part of that of the verdict, so it is not asked for."""
    asked = {str(name): value for name, value in keys.items() if name != "group"}
    return table[(table[list(asked)] == pd.Series(asked)).all(axis=1)]


def _culprit(layers: Rows) -> tuple[dict[str, object], int | None]:
    """The layer to blame, and the depth of the first layer that breaks by itself."""
    broken, top = layers[layers["n_ranked"] > 0], top_culprit(layers)
    if top is None:
        return {"culprit": "" if len(layers) else None, "culprit_seeds": 0}, None
    return {"culprit": str(top["layer"]), "culprit_seeds": int(top["n_culprit"])}, int(broken["depth"].min())


def _patched(patching: Rows, first: int | None) -> dict[str, object]:
    cuts = patching[patching["cut"].astype(bool)]
    wide = cuts.pivot_table(index=["depth", "layer", "scale"], columns="measure", values="mean", observed=True)
    found: dict[str, object] = dict.fromkeys(
        ("patched_layers", "least_layer", "most_layer", "accuracy_upright", "accuracy_rotated", "rotated_least",
         "rotated_most", "upright_least", "upright_most")
    )  # fmt: skip
    if wide.empty:
        return found
    table = wide.reset_index()
    as_is = table[table["scale"] == 1].iloc[0]
    found |= {name: float(as_is[name]) for name in ("accuracy_upright", "accuracy_rotated") if name in table}
    found["patched_layers"] = 0
    if first is None or "accuracy_rotated" not in table:  # a group of one element rotates nothing
        return found
    symmetric = table[(table["scale"] == 0) & (table["depth"] >= first)].sort_values("accuracy_rotated", kind="stable")
    found["patched_layers"] = len(symmetric)
    for name, row in {"least": symmetric.iloc[0], "most": symmetric.iloc[-1]}.items() if len(symmetric) else ():
        found |= {
            f"{name}_layer": str(row["layer"]), f"rotated_{name}": float(row["accuracy_rotated"]),
            f"upright_{name}": float(row["accuracy_upright"]),
        }  # fmt: skip
    return found


def _probed(probes: Rows) -> dict[str, object]:
    asked = probes[
        (probes["target"] == "element") & (probes["frame"] == "aligned") & (probes["component"] == "full")
        & (probes["kind"] == "pooling")
    ]  # fmt: skip
    if asked.empty:
        return dict.fromkeys(("probe_layer", "probe_accuracy", "probe_chance", "probe_permuted", "probe_seeds"))
    last = asked.sort_values("depth").iloc[-1]
    return {
        "probe_layer": str(last["layer"]), "probe_accuracy": float(last["accuracy"]),
        "probe_chance": float(last["chance"]), "probe_permuted": float(last["baseline_high"]),
        "probe_seeds": int(last["n_above"]),
    }  # fmt: skip


def _explained(attribution: Rows) -> dict[str, object]:
    pixels = attribution[attribution["layer"].astype(str) == _INPUT].set_index("method")
    found: dict[str, object] = {
        name: float(pixels["cosine"][name]) if name in pixels.index else None
        for name in ("integrated_gradients", "saliency")
    }
    ties = pixels["tied_windows_with_gradient"].dropna() if len(pixels) else pd.Series(dtype=float)
    return {**found, "tied_windows": float(ties.iloc[0]) if len(ties) else None}
