"""The error after every stage of a network, trained and untrained, with and without the disc mask on the input."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.panels import lettered
from eqviz.plots.stage_measures import (
    MEASURE_LABELS,
    UNTRAINED_DASH,
    explanations,
    markers,
    rounding_area,
    scale_of,
    stage_rows,
)
from eqviz.plots.theme import SMALL_PT, TWO_COLUMN_MM, figure, theme

_MEASURES = ("l1", "relative_error", "breaking_fraction")
_MASKS = {False: "whole image", True: "inside the disc"}
_DODGE = 0.09  # between lines, in stages, so that their ranges stay apart


@theme()
def error_by_stage(
    summary: pd.DataFrame, *, measures: Sequence[str] = _MEASURES, networks: Sequence[Network] | None = None
) -> Figure:
    """Errors after the stem, after every stage and at the output, from the table `stage_errors_summary`.

    One column of panels a measure: `l1`, the mean absolute difference summed over the elements of the group
    (Edixhoven et al. 2023), on the scale of the activations of each stage; `relative_error`; `breaking_fraction`, on a
    log scale where it spans decades, above a grey area that reaches up to what float32 rounding alone gives.
    `relative_l1` and `cosine` may be asked for too. A row of panels shows whole images, another those of which
    everything outside the inscribed disc is hidden, where the table has both.

    Solid lines with filled markers are networks at their last epoch, dashed ones with hollow markers their untrained
    twins (epoch 0). Means over seeds, with a thin bar from the lowest to the highest seed; stages that subsample stand
    on stripes. Raises EqvizError for a table that lacks columns or rows, and for unknown measures.

    >>> row = dict(model="p4resnet44", input_size=32, group="C4", data="cells", regime="upright", mask=False, call=0)
    >>> row |= dict(kind="block", measure="l1", lowest=0.1, mean=0.2, highest=0.3, floor=float("nan"), n_seeds=2)
    >>> rows = [dict(row, epoch=e, layer=f"layers.{d}", depth=d, subsamples=d > 0) for e in (0, 9) for d in (0, 1, 2)]
    >>> made = error_by_stage(pd.DataFrame(rows), measures=["l1"])
    >>> made.axes[0].get_ylabel(), [label.get_text() for label in made.axes[0].get_xticklabels()]
    ('L1, summed over g', ['layers.0', 'layers.1', 'layers.2'])
    """
    table = _twins(stage_rows(summary, measures))
    shown = [measure for measure in measures if (table["measure"] == measure).any()]
    masks = sorted(set(table["mask"]))
    stages, styled = LayerAxis.of(table), chosen(table, networks)
    made, panels = figure(TWO_COLUMN_MM, 24 + 44 * len(masks), len(masks), len(shown))
    for place, ax in enumerate(panels):
        mask, measure = masks[place // len(shown)], shown[place % len(shown)]
        column = table[table["measure"] == measure]
        bottom = scale_of(ax, column, measure)  # the same in both rows, so that they can be compared
        _panel(ax, column[column["mask"] == mask], stages, styled, bottom)
        lettered(ax, place, _MASKS[mask])
        ax.set_ylabel(MEASURE_LABELS[measure])
        if place < len(panels) - len(shown):
            ax.tick_params(axis="x", labelbottom=False)
    log = any(ax.get_yscale() == "log" for ax in panels)
    handles = [*(network.handle() for network in styled), *explanations(table, log=log, dashed=True)]
    for handle in handles[: len(styled)]:
        handle.set_linestyle("-")  # type: ignore[attr-defined]  # the entries of networks are lines
    columns = columns_that_fit(handles, 0.94 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT)
    return made


def _twins(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every network untrained and at its last epoch."""
    last = table.groupby(["model", "input_size"])["epoch"].transform("max")
    return table[(table["epoch"] == last) | (table["epoch"] == 0)].reset_index(drop=True)


def _panel(ax: Axes, rows: pd.DataFrame, stages: LayerAxis, styled: Sequence[Network], bottom: float) -> None:
    stages.shade(ax, named=False)
    stages.tick_below(ax)
    places = pd.Series(stages.positions(rows), index=rows.index)
    rounding_area(ax, pd.Series(rows["floor"].to_numpy(dtype=float), index=places), *ax.get_xlim(), bottom)
    lines = [(network, untrained) for network in styled for untrained in (True, False)]
    for place, (network, untrained) in enumerate(lines):
        own = network.rows(rows)
        shift = _DODGE * (place - (len(lines) - 1) / 2) if len(lines) < 9 else 0.0
        _draw(ax, network, own[(own["epoch"] == 0) == untrained], stages, shift, bottom)


def _draw(ax: Axes, network: Network, rows: pd.DataFrame, stages: LayerAxis, shift: float, bottom: float) -> None:
    if len(rows) == 0:
        return
    untrained = bool((rows["epoch"] == 0).all())
    order = np.argsort(stages.positions(rows), kind="stable")
    x = stages.positions(rows)[order].astype(np.float64) + shift
    mean, lowest, highest = (
        np.maximum(rows[name].to_numpy(dtype=np.float64)[order], bottom) for name in ("mean", "lowest", "highest")
    )
    ax.plot(
        x, mean, color=network.colour, linestyle=UNTRAINED_DASH if untrained else "-", label=network.label,
        linewidth=0.9 if untrained else 1.2, zorder=2.5,
    )  # fmt: skip
    ax.vlines(x, lowest, highest, color=network.colour, linewidth=0.7, zorder=2.4)
    markers(ax, network, x, mean, untrained=untrained)
