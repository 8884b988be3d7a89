"""What a linear probe reads from each layer: which element moved the image, and which class it is of."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.theme import INK, MUTED, PALE, SMALL_PT, STRIPE, TWO_COLUMN_MM, figure, points_across, theme

_NAME = "probes_summary"
_PANELS = (("element", "full"), ("element", "breaking"), ("class", "full"), ("class", "symmetric"))
_FROM = {"full": "all features", "breaking": "the breaking component", "symmetric": "the symmetric component"}
_FEW_LAYERS = 16
_LEGEND_SHARE = 0.92  # of the figure's width: its columns are estimated
_DODGE = 0.1  # between networks, in layers


@theme()
def probe_accuracy(
    summary: pd.DataFrame, *, frame: str = "aligned", networks: Sequence[Network] | None = None
) -> Figure:
    """Accuracy (0 to 1) of linear probes on unseen images, by layer, from `probes_summary`.

    The element above, the class below; to the left from all features, to the right from one component: the breaking one
    for the element (the symmetric one knows nothing of it in the aligned frame) and the symmetric one for the class
    (the breaking one sums to 0 over the orbit, so a linear probe cannot tell classes by it). One line a network, the
    mean over seeds, with a thin bar from the lowest to the highest. The dashed line is chance; the grey area reaches up
    to the accuracy that 95% of permuted labellings stay below, the highest of networks and seeds. Hollow marks: the
    layer breaks by no more than rounding, so there is nothing to read. `frame` is `aligned` or `moved`. Stripes mark
    the layers that subsample. Without a class to read, of images without labels, there are no panels of it.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups or epochs.

    >>> row = dict(model="p4cnn", input_size=29, group="C4", epoch=50, data="mnist", regime="upright", layer="conv1")
    >>> row |= dict(call=0, depth=0, kind="convolution", subsamples=False, frame="aligned", n_above=1, n_seeds=1)
    >>> row |= dict(accuracy=0.9, lowest=0.9, highest=0.9, chance=0.25, baseline=0.25, baseline_high=0.3)
    >>> asked = [("element", "full"), ("element", "breaking"), ("class", "full"), ("class", "symmetric")]
    >>> table = pd.DataFrame([dict(row, target=t, component=c, at_floor=False) for t, c in asked])
    >>> [ax.get_title(loc="left") for ax in probe_accuracy(table).axes][2:]
    ['reading the class from all features', 'reading the class from the symmetric component']
    """
    table = accepted(summary, _NAME)
    table = kept(table, table["frame"] == frame, _NAME, f"rows of the {frame} frame")
    one_row_each(table, ["model", "input_size", "layer", "call", "target", "component"], _NAME)
    layers = LayerAxis.of(table)
    styled = chosen(table, networks)
    asked = [one for one in _PANELS if one[0] in set(table["target"])]
    tall = (118 if len(layers.places) <= _FEW_LAYERS else 148) * (0.3 + 0.7 * len(asked) / len(_PANELS))
    made, panels = figure(TWO_COLUMN_MM, tall, len(asked) // 2, 2, sharey=True, sharex=True)
    for ax, (target, component) in zip(panels, asked, strict=True):
        rows = table[(table["target"] == target) & (table["component"] == component)].reset_index(drop=True)
        layers.shade(ax, named=False)
        _chance(ax, rows, layers)
        for place, network in enumerate(styled):
            shift = _DODGE * (place - (len(styled) - 1) / 2) if len(styled) < 7 else 0.0
            _draw(ax, network, network.rows(rows), layers, shift)
        layers.tick_below(ax, 0.9 * points_across(ax)[0])
        ax.set_title(f"reading the {target} from {_FROM[component]}", loc="left")
    panels[0].set_ylim(0, 1.04)
    for ax in panels[::2]:
        ax.set_ylabel("accuracy")
    for ax in panels[-2:]:
        ax.set_xlabel("layer, in order of execution")
    handles = [*(network.handle() for network in styled), *_explanations(table, layers)]
    columns = columns_that_fit(handles, _LEGEND_SHARE * 72 * made.get_figwidth())
    made.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=SMALL_PT)
    return made


def _chance(ax: Axes, rows: pd.DataFrame, layers: LayerAxis) -> None:
    """The dashed line of chance, and the area that permuted labels reach, the highest over networks."""
    if len(rows) == 0:
        return
    placed = rows.assign(place=layers.positions(rows))
    high = placed.groupby("place")["baseline_high"].max().astype(float)
    x, y = high.index.to_numpy(dtype=float), high.to_numpy(dtype=float)
    edges = np.concatenate([[x[0] - 0.6], x, [x[-1] + 0.6]])
    ax.fill_between(edges, 0, np.concatenate([y[:1], y, y[-1:]]), color=PALE, linewidth=0, zorder=1, label="permuted")
    ax.axhline(float(rows["chance"].astype(float).mean()), color=INK, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.5)


def _draw(ax: Axes, network: Network, rows: pd.DataFrame, layers: LayerAxis, shift: float) -> None:
    if len(rows) == 0:
        return
    where = np.argsort(layers.positions(rows), kind="stable")
    x = layers.positions(rows)[where] + shift
    mean, lowest, highest = (rows[column].to_numpy(dtype=float)[where] for column in ("accuracy", "lowest", "highest"))
    empty = rows["at_floor"].to_numpy(dtype=bool)[where]
    size = float(np.clip(0.5 * points_across(ax)[0] / len(layers.places), 1.5, 3.5))
    ax.plot(x, mean, color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5)
    for some, fill, said in ((~empty, network.colour, "layers"), (empty, "white", "nothing to read")):
        if some.any():
            ax.plot(
                x[some], mean[some], linestyle="none", marker=network.marker, markersize=size, color=network.colour,
                markerfacecolor=fill, label=f"{network.label}: {said}", zorder=3,
            )  # fmt: skip
    ax.vlines(x, lowest, highest, color=network.colour, linewidth=0.7, zorder=2.4)


def _explanations(table: pd.DataFrame, layers: LayerAxis) -> list[Artist]:
    """Legend entries for what is in this picture beside the networks."""
    found: list[Artist] = [
        Line2D([], [], color=INK, linewidth=0.7, linestyle=(0, (4, 2)), label="chance"),
        Patch(facecolor=PALE, linewidth=0, label="reached by permuted labels (95%)"),
    ]
    if table["at_floor"].astype(bool).any():
        found.append(
            Line2D([], [], linestyle="none", marker="o", markerfacecolor="white", color=MUTED, label="nothing to read")
        )
    if (table["n_seeds"].astype(int) > 1).any():
        bar = Line2D([], [], linestyle="none", marker="|", markersize=8, color=MUTED)
        bar.set_label(f"range over {seeds_label(table['n_seeds'])}")
        found.append(bar)
    if layers.subsampling:
        found.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    return found
