"""How the error after every stage develops while a network learns: one panel a stage, epochs along x."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.plots.epochaxis import epoch_axis
from eqviz.plots.inputs import kept
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.panels import lettered
from eqviz.plots.stage_measures import (
    MEASURE_LABELS,
    NAME,
    explanations,
    markers,
    rounding_area,
    scale_of,
    stage_rows,
)
from eqviz.plots.theme import SMALL_PT, STRIPE, TWO_COLUMN_MM, figure, theme

_IN_A_ROW, _AT_MOST = 5, 4
_OWN_SCALE = ("l1",)
"""Measures on the scale of each stage's activations, which no two stages share."""

_NOTHING = 1e-4
"""Below this part of the largest a stage has no scale of its own: it would show rounding as if it were an error."""


@theme()
def stage_error_over_training(
    summary: pd.DataFrame,
    *,
    measure: str = "relative_error",
    mask: bool = False,
    networks: Sequence[Network] | None = None,
) -> Figure:
    """One measure of the table `stage_errors_summary` over the epochs of training, one panel a stage.

    `measure` is `relative_error`, `breaking_fraction`, `relative_l1`, `cosine` or `l1`, whose panels each have a scale
    of their own; `mask` chooses the rows measured inside the inscribed disc. Epochs stand at their square roots; the
    hollow marker at epoch 0 is the untrained network. Means over seeds, with a thin bar from the lowest to the highest
    seed. The titles of stages that subsample stand on a stripe.

    Raises EqvizError for a table that lacks columns or rows, and for unknown measures.

    >>> row = dict(model="p4resnet44", input_size=32, group="C4", data="cells", regime="upright", mask=False, call=0)
    >>> row |= dict(kind="block", measure="l1", lowest=0.1, mean=0.2, highest=0.3, floor=float("nan"), n_seeds=2)
    >>> rows = [dict(row, epoch=e, layer=f"layers.{d}", depth=d, subsamples=d > 0) for e in (0, 9) for d in (0, 1)]
    >>> made = stage_error_over_training(pd.DataFrame(rows), measure="l1")
    >>> [ax.get_xlabel() for ax in made.axes]
    ['epoch', 'epoch']
    """
    table = stage_rows(summary, [measure])
    table = kept(table, table["mask"] == mask, NAME, f"rows measured {'under' if mask else 'without'} the mask")
    stages, styled = LayerAxis.of(table), chosen(table, networks)
    count = len(stages.places)
    columns = count if count <= _IN_A_ROW else _AT_MOST
    rows = -(-count // columns)
    made, panels = figure(TWO_COLUMN_MM, 17 + 38 * rows, rows, columns)
    at = stages.positions(table)
    for place, ax in enumerate(panels[:count]):
        own = table[at == place]
        alone = measure in _OWN_SCALE and own["highest"].max() > _NOTHING * table["highest"].max()
        bottom = scale_of(ax, own if alone else table, measure)
        _panel(ax, own, styled, bottom)
        lettered(ax, place, stages.labels()[place])
        if stages.places[place] in stages.subsampling:
            _mark(ax)
        if place % columns == 0:
            ax.set_ylabel(MEASURE_LABELS[measure])
        elif measure not in _OWN_SCALE:
            ax.tick_params(labelleft=False)
        if place >= count - columns:
            ax.set_xlabel("epoch")
    for ax in panels[count:]:
        ax.set_axis_off()
    log = any(ax.get_yscale() == "log" for ax in panels[:count])
    handles = [*(network.handle() for network in styled), *explanations(table, log=log, dashed=False)]
    across = columns_that_fit(handles, 0.94 * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=across, fontsize=SMALL_PT)
    return made


def _mark(ax: Axes) -> None:
    """The title on the colour of the stripes that mark subsampling layers."""
    box = {"facecolor": STRIPE, "linewidth": 0, "boxstyle": "square,pad=0.2"}
    ax.set_title(ax.get_title(loc="left"), loc="left", bbox=box)


def _panel(ax: Axes, rows: pd.DataFrame, styled: Sequence[Network], bottom: float) -> None:
    epoch_axis(ax, rows["epoch"])
    low, high = ax.get_xlim()
    rounding_area(ax, rows.set_index("epoch")["floor"].astype(float), low, high, bottom)
    for network in styled:
        own = network.rows(rows).sort_values("epoch")
        x = own["epoch"].to_numpy(dtype=float)
        mean, lowest, highest = (
            np.maximum(own[name].to_numpy(dtype=float), bottom) for name in ("mean", "lowest", "highest")
        )
        ax.plot(x, mean, color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5)
        ax.vlines(x, lowest, highest, color=network.colour, linewidth=0.7, zorder=2.6)
        for untrained in (False, True):
            some = (x == 0) == untrained
            if some.any():
                markers(ax, network, x[some], mean[some], untrained=untrained)
