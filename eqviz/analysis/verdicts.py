"""The verdict on a network, layer by layer: measured in float32 and float64, beside what the audit predicts.

"Exact" is decided by how far the breaking falls from float32 to float64, never by a tolerance. A prediction that the
measurement contradicts is marked: one of the two is then wrong, or something lies outside what either looks at.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import pandas as pd
from torch import nn

from eqviz.analysis.evidence import Fields, by_weights, measure_and_predict
from eqviz.analysis.symmetry import Symmetry
from eqviz.analysis.twins import rebuild
from eqviz.audit.auditing import Audit
from eqviz.audit.layer_predictions import LayerPrediction
from eqviz.errors import EqvizError
from eqviz.fields.exactness import Verdict, exact_by_fall
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.fields.statistics import OrbitStatistics
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group
from eqviz.tables import RUN_KEYS, columns

Survival = Mapping[str, bool | None]
"""Whether each subgroup survives, smallest first; None where that is undecided."""


def verdict(
    model: nn.Module,
    images: Any,
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Fields | None = None,
    batch_size: int = 64,
    *,
    twin: nn.Module | bool = True,
    mask: bool = False,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Is every layer exactly equivariant? Measured, and beside it what was predicted from shapes and weights.

    Arguments as in `eqviz.capture`, with `images` that can be gone through three times (16 or more: with few, a layer
    that misfits can look exact by luck). `twin` is the same architecture with fresh weights, measured too, by the same
    field types: built from the model if True, left out if False. `progress` is called with the images done over all
    passes.

    One row a layer call, of the table `verdict` without its run keys:

    weights              trained for the model as it is, untrained for its twin
    field, field_source  how the group acts: given here, declared by the model, found by weights (audit), or by shape
    breaking_float32/64  breaking fraction, sum_g |D_g|^2 / sum_g |A_g|^2
    exact, surviving     yes, no or undecided, and the largest subgroup that survives ("" where none is certain)
    predicted            the audit: yes, no or unknown; `predicted_surviving` is what it says survives
    agrees               yes, no where the two contradict each other, "" where either leaves it open

    `.attrs`: `group`; `exact` (True, False or None) and `surviving` of the network's output; `disagreements`, one line
    each; `not_predicted`, why there is no prediction, or ""; `no_twin`, why there is no twin, or "".

    Elements that interpolate are left out: the verdict is on `group.exact_subgroup`. Raises EqvizError as
    `eqviz.measure_symmetry` does.

    >>> import torch
    >>> table = verdict(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3)), torch.rand(16, 1, 8, 8), "C4", twin=False)
    >>> table[["layer", "exact", "predicted", "agrees"]].values.tolist()[:2]
    [['0', 'yes', 'yes', 'yes'], ['1', 'no', 'no', 'yes']]
    """
    measured = named_group(group).exact_subgroup
    untrained, no_twin = _twin(model, twin)
    done = 0

    def count(images_done: int) -> None:
        if progress is not None:
            progress(done + images_done)

    parts, known, found = [], dict(fields or {}), dict[str, str]()
    for weights, network in {"trained": model, "untrained": untrained}.items():
        if network is None:
            continue
        symmetry, audit, reason = measure_and_predict(
            network, images, measured, layers, {**found, **known}, batch_size, mask=mask, progress=count
        )
        done += symmetry.single.images + symmetry.double.images
        part = verdict_table(symmetry, audit, weights)
        part.loc[part["layer"].isin(list(found)), "field_source"] = "by weights"
        parts.append((part, reason))
        found = found or by_weights(audit, known)  # the twin acts as the network does, whatever its weights show
    first, not_predicted = parts[0]
    table = pd.concat([part for part, _ in parts], ignore_index=True)
    table["layer"] = pd.Categorical(table["layer"].astype(str), first["layer"].cat.categories, ordered=True)
    table.attrs = {
        **first.attrs, "not_predicted": not_predicted, "no_twin": no_twin,
        "disagreements": [line for part, _ in parts for line in part.attrs["disagreements"]],
    }  # fmt: skip
    return table


def _twin(model: nn.Module, twin: nn.Module | bool) -> tuple[nn.Module | None, str]:
    if isinstance(twin, nn.Module):
        return twin, ""
    if not twin:
        return None, "not asked for"
    try:
        return rebuild(model), ""
    except EqvizError as error:
        return None, str(error)


def verdict_table(symmetry: Symmetry, audit: Audit | None, weights: str = "trained") -> pd.DataFrame:
    """The table `verdict` without its run keys, from a measurement and the audit of the same network, if there is one.

    Attributes as for :func:`verdict`. Where all was measured in float64 alone `breaking_float32` is NaN, and what lies
    at the floor of float64 counts as exact.

    >>> import torch
    >>> from eqviz.analysis.symmetry import measure_symmetry
    >>> found = measure_symmetry(nn.Sequential(nn.ReLU()), torch.rand(16, 1, 8, 8), "C4", "0")
    >>> verdict_table(found, None)[["exact", "surviving", "predicted", "agrees"]].values.tolist()
    [['yes', 'C4', 'unknown', '']]
    """
    G = symmetry.single.group.exact_subgroup
    said = _predictions(audit, G)
    fine = _breaking(symmetry.double)
    kept = _survival(symmetry.subgroups(), G)
    alone = symmetry.single.dtype == "float64"
    rows, disagreements = [], []
    table = symmetry.single.equivariance().query("grid")
    for row in table.to_dict("records"):
        key = LayerCall(str(row["layer"]), int(row["call"]))
        single, double = float(row["breaking_fraction"]), fine[key]
        exact = exact_by_fall(single, double)
        prediction = _comparable(said.get(key), str(row["field"]))
        dead = single == double == 0 and prediction is not None and prediction.exact == "no"
        agrees = "" if dead else agreement(exact, kept[key], prediction)  # a map that never changes says nothing
        rows.append({
            "weights": weights, **{name: row[name] for name in ("layer", "call", "depth", "kind", "field")},
            "field_source": _source(str(row["field_source"]), prediction),
            "breaking_float32": float("nan") if alone else single, "breaking_float64": double, "exact": exact,
            "surviving": largest(kept[key]), "predicted": prediction.exact if prediction else "unknown",
            "predicted_surviving": prediction.surviving if prediction else "", "agrees": agrees,
        })  # fmt: skip
        if agrees == "no":
            disagreements.append(_disagreement(rows[-1]))
    found = pd.DataFrame(rows, columns=[name for name in columns("verdict") if name not in RUN_KEYS])
    found["layer"] = pd.Categorical(found["layer"], table["layer"].cat.categories, ordered=True)
    outputs = found[found["layer"].astype(str).str.startswith(OUTPUT)]
    found.attrs = {
        "group": G.name, "exact": _together(outputs["exact"]), "surviving": _shared(outputs["surviving"], G),
        "disagreements": disagreements,
    }  # fmt: skip
    return found


def agreement(exact: Verdict, survives: Survival, prediction: LayerPrediction | None) -> Literal["yes", "no", ""]:
    """Whether a measurement and a prediction agree; "" where one of them leaves it open.

    "no" is a contradiction: exactness predicted one way and measured the other, or a subgroup that was predicted to
    survive and does not. That more survives than was predicted is no contradiction: the prediction is a lower bound.
    """
    if prediction is None:
        return ""
    known = prediction.exact in ("yes", "no") and exact != "undecided"
    if survives.get(prediction.surviving) is False or (known and prediction.exact != exact):
        return "no"
    return "yes" if known else ""


def largest(survives: Survival) -> str:
    """The largest subgroup that certainly survives; "" if not even the trivial one was measured.

    >>> largest({"C1": True, "C2": True, "C4": None})
    'C2'
    """
    return next((name for name, answer in reversed(list(survives.items())) if answer), "")


def _predictions(audit: Audit | None, G: Group) -> dict[LayerCall, LayerPrediction]:
    if audit is not None and audit.group != G:
        raise EqvizError(
            "audit", expected=f"predictions under the group that was measured, {G}", found=f"some under {audit.group}",
            fix="audit and measure under one group",
        )  # fmt: skip
    return {LayerCall(row.layer, row.call): row for row in audit.layers} if audit else {}


def _comparable(prediction: LayerPrediction | None, field: str) -> LayerPrediction | None:
    """The prediction, if it is about the field type by which the layer was measured."""
    return prediction if prediction is not None and prediction.field in ("", field) else None


def _source(measured_by: str, prediction: LayerPrediction | None) -> str:
    """Where the field type came from: what the audit found was given to the measurement, not by the user."""
    by_weights = prediction is not None and prediction.field_source == "by weights"
    return "by weights" if by_weights and measured_by == "given" else measured_by


def _breaking(statistics: OrbitStatistics) -> dict[LayerCall, float]:
    table = statistics.equivariance().query("grid")
    keys = map(LayerCall, table["layer"].astype(str), table["call"])
    return dict(zip(keys, table["breaking_fraction"], strict=True))


def _survival(subgroups: pd.DataFrame, G: Group) -> dict[LayerCall, dict[str, bool | None]]:
    names = [H.name for H in G.subgroups]
    found: dict[LayerCall, dict[str, bool | None]] = {}
    for layer, call, name, survives in subgroups[["layer", "call", "subgroup", "survives"]].itertuples(index=False):
        if name in names:
            found.setdefault(LayerCall(layer, call), {})[name] = None if pd.isna(survives) else bool(survives)
    return found


def _disagreement(row: Mapping[str, Any]) -> str:
    """One line on a row where measurement and prediction contradict each other."""
    call = f" (call {row['call']})" if row["call"] else ""
    weights = " (untrained twin)" if row["weights"] == "untrained" else ""
    words = {"yes": "exact", "no": "broken"}
    if row["predicted"] in words and words.get(row["exact"], words[row["predicted"]]) != words[row["predicted"]]:
        said = f"predicted {words[row['predicted']]}, measured {words[row['exact']]}"
    else:
        said = f"{row['predicted_surviving']} was predicted to survive, of what does {row['surviving']} is the largest"
    numbers = f"breaking {row['breaking_float32']:.1e} in float32, {row['breaking_float64']:.1e} in float64"
    return f"{row['layer']}{call}{weights}: {said} ({numbers})"


def _together(exact: Iterable[str]) -> bool | None:
    """Exact if all are, not if one is not, else None."""
    answers = set(exact)
    if "no" in answers:
        return False
    return True if answers == {"yes"} else None


def _shared(surviving: Iterable[str], G: Group) -> str:
    """What survives in all: the intersection of subgroups of G, by name; "" where nothing is certain."""
    names = list(surviving)
    if not names or "" in names:
        return ""
    kept = [named_group(name) for name in names]
    return max((H for H in G.subgroups if all(K.contains_group(H) for K in kept)), key=lambda H: H.order).name
