"""Predicted against measured: what the audit says of every layer beside how far the layer was seen to break."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullLocator

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import (
    INK,
    MUTED,
    SMALL_PT,
    STRIPE,
    TEXT_PT,
    TWO_COLUMN_MM,
    decades,
    figure,
    points_across,
    text_width,
    theme,
)

_NAME = "verdict"
_ALARM = "#C00000"
_UNTRAINED = "#8C8C8C"
_KINDS = ("trained", "untrained")
_FILLS = {"yes": "#DCEAF4", "no": "#0B5A8F", "unknown": "#B9B9B9"}
_SAID = {"yes": "predicted exact", "no": "predicted to break", "unknown": "no prediction"}
_HATCH = "xxxxx"
_DODGE = 0.17  # of a layer, trained to the left and untrained to the right
_BAND = (1.03, 0.07)  # where predictions stand above an Axes, and how tall, in fractions of it
_FEW_LAYERS = 16
_HEIGHT, _TALL = 64, 80  # millimetres of a row; names of layers of deep networks are long


@theme()
def predicted_and_measured(
    verdict: pd.DataFrame, *, networks: Sequence[Network] | None = None, subsampling: Collection[str] = ()
) -> Figure:
    """Prediction (a band above) and measured breaking fraction (log scale) of each layer, one panel a network.

    Takes the table `verdict`. Hollow markers are float32, filled ones float64, one pair a seed: rounding falls by many
    orders of magnitude between the two, a real break stays where it is. Trained networks stand to the left in their
    colour, the untrained twins (same architecture, fresh weights) to the right in grey. A fraction of exactly 0 is a
    triangle at the lower edge. Where prediction and measurement disagree the layer is crossed out in red and counted in
    the title. Stripes mark the layers in `subsampling`.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(run="a", model="p4cnn", input_size=28, group="C4", seed=0, epoch=5, data="mnist", regime="upright")
    >>> row |= dict(weights="trained", layer="pool", call=0, depth=0, kind="pooling", field="regular(C4)")
    >>> row |= dict(field_source="declared", breaking_float32=1e-14, breaking_float64=1e-31, exact="yes")
    >>> row |= dict(surviving="C4", predicted="yes", predicted_surviving="C4", agrees="yes")
    >>> [ax.get_title(loc="left") for ax in predicted_and_measured(pd.DataFrame([row])).axes]
    ['P4 CNN, 28 px: 1 of 1 layers as predicted']
    """
    table = accepted(verdict, _NAME)
    values = table[["breaking_float32", "breaking_float64"]].astype(float)
    table = kept(table, values.notna().any(axis=1), _NAME, "a layer with a breaking fraction")
    one_row_each(table, ["run", "model", "input_size", "weights", "layer", "call"], _NAME)
    styled = chosen(table, networks)
    held = [network.rows(table) for network in styled]
    axes_of_layers = [_axis(own, subsampling) for own in held]
    deep = max(len(one.places) for one in axes_of_layers) > _FEW_LAYERS
    columns = 1 if deep or len(styled) == 1 else 2
    rows = -(-len(styled) // columns)
    made, panels = figure(TWO_COLUMN_MM, 14 + (_TALL if deep else _HEIGHT) * rows, rows, columns)
    bottom = _lower_limit(table)
    for ax, network, own, layers in zip(panels, styled, held, axes_of_layers, strict=False):
        _scale(ax, bottom)
        layers.shade(ax, named=False)
        _predictions(ax, own, layers)
        for weights in _KINDS:
            part = own[own["weights"] == weights].reset_index(drop=True)
            _measurements(ax, part, layers, weights, network, bottom)
        _alarm(ax, own, layers)
        layers.tick_below(ax, 0.9 * points_across(ax)[0])
        wrong = bool((own["agrees"] == "no").any())
        ax.set_title(
            _title(ax, network, own), loc="left", color=_ALARM if wrong else network.colour, pad=15,
            fontweight="bold" if wrong else "normal",
        )  # fmt: skip
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    for ax in panels[::columns][:rows]:
        ax.set_ylabel("breaking fraction")
    _legend(made, table, subsamples=bool(subsampling))
    return made


def _axis(rows: pd.DataFrame, subsampling: Collection[str]) -> LayerAxis:
    return LayerAxis.of(rows.assign(subsamples=rows["layer"].astype(str).isin(list(subsampling))))


def _lower_limit(table: pd.DataFrame) -> float:
    """A power of ten below every positive value."""
    values = table[["breaking_float32", "breaking_float64"]].to_numpy(dtype=float)
    positive = values[values > 0]
    return float(10.0 ** (np.floor(np.log10(positive.min())) - 2)) if len(positive) else 1e-32


def _scale(ax: Axes, bottom: float) -> None:
    ax.set_yscale("log")
    ax.set_ylim(bottom, bottom**-0.04)
    ax.set_yticks(decades(bottom))
    ax.yaxis.set_minor_locator(NullLocator())


def _predictions(ax: Axes, rows: pd.DataFrame, layers: LayerAxis) -> None:
    """The band of predictions: the upper half for trained weights, the lower one for fresh ones."""
    low, tall = _BAND
    shown = [weights for weights in _KINDS if (rows["weights"] == weights).any()]
    ax.text(
        -0.015, low + tall / 2, "predicted", transform=ax.transAxes, ha="right", va="center", fontsize=SMALL_PT,
        color=MUTED,
    )  # fmt: skip
    for place, weights in enumerate(shown):
        part = rows[rows["weights"] == weights].drop_duplicates(["layer", "call"])
        height = tall / len(shown)
        base = low + tall - height * (place + 1)
        for x, answer in zip(layers.positions(part), part["predicted"].astype(str), strict=True):
            known = answer in _FILLS and answer != "unknown"
            ax.add_patch(
                Rectangle(
                    (x - 0.47, base), 0.94, 0.9 * height, transform=ax.get_xaxis_transform(), clip_on=False,
                    facecolor=_FILLS.get(answer, _FILLS["unknown"]), edgecolor="white" if not known else "none",
                    hatch=None if known else _HATCH, linewidth=0, gid=f"predicted {weights}",
                )
            )  # fmt: skip


def _measurements(
    ax: Axes, rows: pd.DataFrame, layers: LayerAxis, weights: str, network: Network, bottom: float
) -> None:
    if len(rows) == 0:
        return
    colour, marker = (network.colour, "o") if weights == "trained" else (_UNTRAINED, "s")
    x = layers.positions(rows) + (-_DODGE if weights == "trained" else _DODGE)
    single, double = (rows[column].to_numpy(dtype=float) for column in ("breaking_float32", "breaking_float64"))
    size = float(np.clip(0.3 * points_across(ax)[0] / len(layers.places), 1.8, 4.0))
    ax.vlines(
        x, np.maximum(np.fmin(single, double), bottom), np.maximum(np.fmax(single, double), bottom), color=colour,
        linewidth=0.6, zorder=2, label=f"{weights}: fall",
    )  # fmt: skip
    for values, fill, said in ((single, "white", "float32"), (double, colour, "float64")):
        some, none = values > 0, values == 0
        ax.plot(
            x[some], values[some], linestyle="none", marker=marker, markersize=size, markerfacecolor=fill,
            markeredgecolor=colour, markeredgewidth=0.7, zorder=3, label=f"{weights}: {said}",
        )  # fmt: skip
        if none.any():  # an empty line that is not clipped would be laid out at the figure's corner
            ax.plot(
                x[none], np.full(int(none.sum()), bottom), linestyle="none", marker="v", markersize=size + 0.8,
                markerfacecolor=fill, markeredgecolor=colour, markeredgewidth=0.7, clip_on=False, zorder=3.2,
                label=f"{weights}: {said} exactly 0",
            )  # fmt: skip


def _alarm(ax: Axes, rows: pd.DataFrame, layers: LayerAxis) -> None:
    wrong = rows[rows["agrees"] == "no"].reset_index(drop=True)
    if len(wrong) == 0:
        return
    wrong = wrong.assign(place=layers.positions(wrong), height=wrong["breaking_float64"].astype(float).fillna(0))
    highest = wrong.groupby("place")["height"].max().clip(lower=ax.get_ylim()[0])
    for place in highest.index:
        ax.axvspan(place - 0.5, place + 0.5, color=_ALARM, alpha=0.12, linewidth=0, zorder=0.3, gid="disagrees")
    ax.plot(
        highest.index.to_numpy(), highest.to_numpy(), linestyle="none", marker="X", markersize=9, color=_ALARM,
        markeredgecolor="white", markeredgewidth=0.8, clip_on=False, zorder=5, label="disagrees",
    )  # fmt: skip


def _title(ax: Axes, network: Network, rows: pd.DataFrame) -> str:
    """What the predictions of a network came to, counted by layers: confirmed for all weights, or wrong for some."""
    ordered = rows.sort_values("depth", kind="stable").astype({"layer": str, "agrees": str})
    answers = {place: set(part["agrees"]) for place, part in ordered.groupby(["layer", "call"], sort=False)}
    wrong = [place for place, said in answers.items() if "no" in said]
    right = [place for place, said in answers.items() if said == {"yes"}]
    if wrong:
        text = f"{network.label}: DISAGREES in {len(wrong)} of {len(answers)} layers, first {wrong[0][0]}"
        return text if text_width(text, TEXT_PT + 1) < points_across(ax)[0] else text.replace(": ", ":\n", 1)
    text = f"{network.label}: {f'{len(right)} of {len(answers)} layers as predicted' if right else 'no prediction'}"
    return text if text_width(text, TEXT_PT) < 1.05 * points_across(ax)[0] else text.replace(": ", ":\n", 1)


def _legend(made: Figure, table: pd.DataFrame, *, subsamples: bool) -> None:
    handles: list[Artist] = []
    for answer, fill in _FILLS.items():
        if (table["predicted"].astype(str) == answer).any():
            unknown = answer == "unknown"
            handles.append(
                Patch(
                    facecolor=fill, hatch=_HATCH if unknown else None, edgecolor="white" if unknown else MUTED,
                    linewidth=0.4, label=_SAID[answer],
                )
            )  # fmt: skip
    for weights, marker in zip(_KINDS, ("o", "s"), strict=True):
        if (table["weights"] == weights).any():
            colour = INK if weights == "trained" else _UNTRAINED
            for fill, said in (("white", "float32"), (colour, "float64")):
                handles.append(
                    Line2D(
                        [], [], linestyle="none", marker=marker, markerfacecolor=fill, markeredgecolor=colour,
                        label=f"{weights}, {said}",
                    )
                )  # fmt: skip
    if (table[["breaking_float32", "breaking_float64"]] == 0).any(axis=None):
        handles.append(Line2D([], [], linestyle="none", marker="v", color=INK, label="exactly 0"))
    if (table["agrees"] == "no").any():
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="X",
                markersize=8,
                color=_ALARM,
                label="prediction and measurement disagree",
            )
        )
    if subsamples:
        handles.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    columns = columns_that_fit(handles, 0.95 * 72 * made.get_figwidth())
    made.legend(
        handles=handles, loc="outside lower left", ncols=columns, fontsize=SMALL_PT, handletextpad=0.5,
        columnspacing=1.2,
    )  # fmt: skip
