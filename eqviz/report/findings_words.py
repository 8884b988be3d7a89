"""What was found of each network, in sentences, from the table `findings`."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from eqviz.plots.labels import network_label
from eqviz.report.sections import last_epochs


def findings_in_words(findings: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Every network at its last epoch, with the sentences that the table allows for it.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=1, data="digits", regime="upright", n_seeds=2)
    >>> row |= dict(exact="yes", culprit="", culprit_seeds=0)
    >>> findings_in_words(pd.DataFrame([row]))
    [('P4 CNN, 16 px', ['No layer breaks the symmetry by itself.'])]
    """
    found = []
    for row in last_epochs(findings).to_dict("records"):
        known = {str(name): value for name, value in row.items() if value is not None and not pd.isna(value)}
        sentences = [_culprit(known), _patched(known), _probed(known), _explained(known)]
        label = network_label(str(known["model"]), known["input_size"])
        label += "".join(f", {known[key]}" for key in ("data", "regime") if len(set(findings[key])) > 1)
        found.append((label, [sentence for sentence in sentences if sentence]))
    return found


def _culprit(row: Mapping[str, Any]) -> str:
    if "culprit" not in row:
        return ""
    if not row["culprit"]:
        return "No layer breaks the symmetry by itself."
    seeds = f"in {row['culprit_seeds']} of {row['n_seeds']} seed{'s' if row['n_seeds'] != 1 else ''}"
    return f"The layer that breaks most by itself is {row['culprit']}, {seeds}."


def _patched(row: Mapping[str, Any]) -> str:
    if "rotated_least" not in row:
        return ""
    layers = int(row["patched_layers"])
    where = f"one layer (of the {layers} from there on) gives" if layers > 1 else "that layer gives"
    ends = " and ".join(
        f"{_percent(row[f'rotated_{end}'])} on moved and {_percent(row[f'upright_{end}'])} on upright images, at {end} "
        f"({row[f'{end}_layer']})"
        for end in ("least", "most")
    )
    return (
        f"Accuracy is {_percent(row['accuracy_rotated'])} on moved and {_percent(row['accuracy_upright'])} on upright "
        f"images. When {where} out its symmetric component alone, it is {ends}."
    )


def _probed(row: Mapping[str, Any]) -> str:
    if "probe_accuracy" not in row:
        return ""
    return (
        f"A linear probe tells which element moved the image from {row['probe_layer']} in "
        f"{_percent(row['probe_accuracy'])} of cases (chance {_percent(row['probe_chance'])}, permuted labels up to "
        f"{_percent(row['probe_permuted'])}; significantly in {row['probe_seeds']} of {row['n_seeds']})."
    )


def _explained(row: Mapping[str, Any]) -> str:
    known = {"integrated gradients": "integrated_gradients", "saliency": "saliency"}
    parts = [f"{_cosine(row[name])} ({method})" for method, name in known.items() if name in row]
    if not parts:
        return ""
    tied = (
        f"; {_percent(row['tied_windows'])} of the maximum windows that pass a gradient on are tied"
        if "tied_windows" in row
        else ""
    )
    return f"Explanations turn with the image with a cosine of {' and '.join(parts)}{tied}."


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"


def _cosine(value: float) -> str:
    return f"{value:.4f}" if value > 0.99 else f"{value:.2f}"
