"""The table of benchmarks as a paper prints it: architectures down, data sets across, best values in bold."""

from collections.abc import Sequence

import pandas as pd

from eqviz.plots.labels import Network, model_label, networks, seeds_label
from eqviz.plots.panels import short_name
from eqviz.plots.styles import family
from eqviz.report.sections import last_epochs

_METRICS = ("upright", "rotated", "reflected")
_VERDICTS = {"yes": "exact", "no": "approximate", "undecided": "undecided"}
_IN_GENERAL = (("", "architecture"), ("", "input"), ("", "group"), ("", "symmetry"), ("", "parameters"))


def benchmark_table(benchmarks: pd.DataFrame) -> pd.DataFrame:
    """The table `benchmarks` as text: a row a network, two or three columns a data set and regime.

    Accuracies are in %, `93.4 ± 0.5` with half the interval over seeds, of networks at their last epoch. Columns have
    two levels of names. `.attrs["bold"]` are the places (row, column) of the highest mean of each column, as printed,
    `.attrs["caption"]` says what stands in the table.
    """
    rows = last_epochs(benchmarks)
    sets = list(dict.fromkeys(zip(rows["data"], rows["regime"], strict=True)))
    listed = [(network, group) for network in networks(rows) for group in dict.fromkeys(network.rows(rows)["group"])]
    columns = {name: [_general(rows, *place)[name[1]] for place in listed] for name in _IN_GENERAL}
    bold: list[tuple[int, int]] = []
    for data, regime in sets:
        own = rows[(rows["data"] == data) & (rows["regime"] == regime)]
        for metric in (metric for metric in _METRICS if own[f"accuracy_{metric}"].notna().any()):
            found = [_of(own, *place) for place in listed]
            bold += [(row, len(columns)) for row in _best(found, metric)]
            columns[f"{short_name(data)} ({regime})", metric] = [_shown(row, metric) for row in found]
    table = pd.DataFrame(columns, dtype=object)
    table.attrs |= {"bold": tuple(bold), "caption": _caption(rows)}
    return table


def _of(rows: pd.DataFrame, network: Network, group: str) -> pd.DataFrame:
    own = network.rows(rows)
    return own[own["group"] == group]


def _general(rows: pd.DataFrame, network: Network, group: str) -> dict[str, str]:
    own = _of(rows, network, group)
    plain = family(network.model) == "plain"
    counts = own["parameters"].dropna().astype(int)
    verdicts = dict.fromkeys(_VERDICTS.get(str(answer), "undecided") for answer in own["exact"])
    spread = "" if counts.empty else f"{counts.min():,}"
    if len(counts) and counts.min() < counts.max():
        spread += f" to {counts.max():,}"
    return {
        "architecture": model_label(network.model),
        "input": f"{str(network.input_size).replace('x', '×')} px",
        "group": "" if plain else group,
        "symmetry": "plain" if plain else " or ".join(verdicts),
        "parameters": spread,
    }


def _best(found: Sequence[pd.DataFrame], metric: str) -> list[int]:
    """The rows with the highest mean as it is printed; none where only one has a value."""
    means = [_mean(row, metric) for row in found]
    known = [mean for mean in means if mean]
    best = max(known, key=float, default="")
    return [place for place, mean in enumerate(means) if mean and mean == best] if len(known) > 1 else []


def _mean(row: pd.DataFrame, metric: str) -> str:
    values = row[f"accuracy_{metric}"].dropna()
    return f"{100 * float(values.iloc[0]):.1f}" if len(values) else ""


def _shown(row: pd.DataFrame, metric: str) -> str:
    mean = _mean(row, metric)
    if not mean or row[f"{metric}_low"].isna().iloc[0]:
        return mean
    value, low, high = (float(row[name].iloc[0]) for name in (f"accuracy_{metric}", f"{metric}_low", f"{metric}_high"))
    return f"{mean} ± {100 * max(value - low, high - value):.1f}"  # bounds are cut to 0..1: the longer side is whole


def _caption(rows: pd.DataFrame) -> str:
    words = "Accuracy in % on test images, after the last epoch"
    drawn = rows[rows["upright_low"].notna()]
    if len(drawn):
        names = " or ".join(dict.fromkeys(str(name) for name in drawn["interval"]))
        words += f"; mean ± half of the interval over {seeds_label(drawn['n_seeds'])} ({names})"
    words += ". In brackets: how training images were turned. upright: test images as they are; rotated: mean over the"
    words += " four quarter turns, 0° among them"
    if rows["accuracy_reflected"].notna().any():
        words += "; reflected: the same of mirrored images, for networks measured under D4"
    words += (
        ". symmetry: whether the output is measured to be exactly invariant under the group; plain: without a group"
        " axis. Bold: the highest mean of its column."
    )
    return words
