"""What one layer makes of an image and of its moved copy while the network learns: maps over the saved epochs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, one_row_each, single
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import short_name
from eqviz.plots.theme import SMALL_PT, TWO_COLUMN_MM, blank, dress, theme

Map = npt.NDArray[np.float64]
Maps = Mapping[str, Map]
Scale = tuple[float, float]

MOST_BLOCKS = 3
"""Networks that fit beside each other."""

_NAME = "feature_maps"
_INPUTS = {"image": "$x$", "moved image": "$T x$"}
_TITLES = {"filter": "filter", "features": "$f(x)$", "aligned": "$T^{-1} f(T x)$", "difference": "difference"}
_COLOURS = {"filter": "gray", "features": "viridis", "aligned": "viridis", "difference": "RdBu_r"}
_ONE_SCALE = {"filter": ("filter",), "features": ("features", "aligned"), "aligned": ("features", "aligned")}
_ROUNDING = 1e-5  # of the largest feature: float32 alone gives differences of about a tenth of it
_BETWEEN = 0.35  # of the width of a map: the room between the maps of two networks
_LEFT_MM, _RIGHT_MM, _TALLEST_MM = 16.0, 16.0, 24.0


@theme()
def features_over_training(table: pd.DataFrame, *, networks: Sequence[Network] | None = None, most: int = 6) -> Figure:
    """One row a saved epoch, one block of columns a network: the filter, f(x), T⁻¹ f(T x) and their difference.

    Takes the table `feature_maps` of at most three networks on one data set. Above each block stand x and T x. At most
    `most` epochs are shown: the first, the last, and others spread between by their order. Maps of features are on one
    scale in a row, across networks, dark to bright (bar at the right), filters on another, from black to white;
    differences on one scale in the whole figure (bar below): white where the layer is equivariant.

    Raises EqvizError for a table that lacks columns or rows, mixes groups, data or regimes, or holds two runs of a
    network or more than three networks.

    >>> row = dict(run="a", model="p4conv", input_size=4, group="C4", seed=0, epoch=0, data="pair", regime="upright")
    >>> row |= dict(layer="conv", call=0, depth=0, channel=0, element="rotation 90", column=0, value=1.0)
    >>> panels = ("image", "moved image", "features", "aligned", "difference")
    >>> made = features_over_training(pd.DataFrame([dict(row, panel=panel, row=r) for panel in panels for r in (0, 1)]))
    >>> [ax.get_title() for ax in made.axes if ax.get_title()]
    ['$x$', '$T x$', '$f(x)$', '$T^{-1} f(T x)$', 'difference']
    """
    rows = accepted(table, _NAME).astype({"epoch": int, "panel": str, "layer": str})
    single(rows, ["group", "data", "regime"], _NAME)
    one_row_each(rows, ["model", "input_size", "epoch", "panel", "row", "column"], _NAME)
    styled = chosen(rows, networks)
    if len(styled) > MOST_BLOCKS:
        raise EqvizError(
            f"table {_NAME}", expected=f"at most {MOST_BLOCKS} networks", found=str(len(styled)),
            fix="select the rows of some of them",
        )  # fmt: skip
    blocks = [_Block.of(network, network.rows(rows)) for network in styled]
    epochs = spread(sorted(set(rows["epoch"])), most)
    panels = [panel for panel in _TITLES if any(panel in maps for one in blocks for maps in one.epochs.values())]
    limit = _largest_difference(blocks, epochs)
    made, grid = _sheet(len(blocks), len(panels), len(epochs))
    for place, one in enumerate(blocks):
        start = place * (len(panels) + 1)
        _show_inputs(made, grid, start, one)
        for row, epoch in enumerate(epochs):
            maps = one.epochs.get(epoch, {})
            scales = {panel: _scale(blocks, epoch, panel, limit) for panel in maps}
            axes = {
                panel: _show(made.add_subplot(grid[row + 1, start + column]), panel, maps[panel], scales[panel])
                for column, panel in enumerate(panels)
                if panel in maps
            }
            _annotate(axes, epoch, first_row=row == 0, first_block=place == 0)
            if place == len(blocks) - 1 and axes:
                _feature_bar(made, axes, named=row == 0)
                if row == len(epochs) - 1:
                    _difference_bar(made, axes["difference"])
    return made


@dataclass(frozen=True)
class _Block:
    """The maps of one network: by epoch and panel, and those of the images, which belong to no epoch."""

    title: str
    colour: str
    element: str
    inputs: Maps
    epochs: Mapping[int, Maps]

    @classmethod
    def of(cls, network: Network, rows: pd.DataFrame) -> "_Block":
        """From the rows of one network in the table `feature_maps`."""
        maps: dict[int, dict[str, Map]] = {}
        inputs: dict[str, Map] = {}
        for epoch in dict.fromkeys(rows["epoch"].tolist()):
            for panel, part in rows[rows["epoch"] == epoch].groupby("panel", sort=False):
                found = np.full((part["row"].max() + 1, part["column"].max() + 1), np.nan)
                found[part["row"].to_numpy(dtype=int), part["column"].to_numpy(dtype=int)] = part["value"]
                (inputs if panel in _INPUTS else maps.setdefault(epoch, {}))[str(panel)] = found
        title = f"{network.label}\nlayer {short_name(str(rows['layer'].iloc[0]))}\n$T$: {rows['element'].iloc[0]}"
        return cls(title, network.colour, str(rows["element"].iloc[0]), inputs, maps)


def spread(epochs: Sequence[int], most: int) -> list[int]:
    """At most `most` of some epochs, by their place in the order: the first, the last and others evenly between.

    >>> spread([0, 1, 2, 5, 10, 20, 50], 4)
    [0, 2, 10, 50]
    """
    places = np.linspace(0, len(epochs) - 1, min(max(most, 2), len(epochs))).round().astype(int)
    return [epochs[place] for place in places]


def _largest_difference(blocks: Sequence[_Block], epochs: Sequence[int]) -> float:
    """The end of the scale of differences; no smaller than rounding, so that a figure of exact layers is white."""
    shown = [one.epochs[epoch] for one in blocks for epoch in epochs if epoch in one.epochs]
    largest = max((float(np.abs(maps["difference"]).max()) for maps in shown), default=0.0)
    features = max((float(np.abs(maps["features"]).max()) for maps in shown), default=0.0)
    return max(largest, _ROUNDING * features) or 1.0


def _scale(blocks: Sequence[_Block], epoch: int, panel: str, limit: float) -> Scale:
    """The ends of the colour scale of a panel, which all networks share in the row of an epoch."""
    if panel == "difference":
        return -limit, limit
    shown = [one.epochs[epoch] for one in blocks if epoch in one.epochs]
    values = [maps[name] for maps in shown for name in _ONE_SCALE[panel] if name in maps]
    return min(float(one.min()) for one in values), max(float(one.max()) for one in values)


def _sheet(blocks: int, panels: int, epochs: int) -> tuple[Figure, GridSpec]:
    """A figure with a row for the images and one for each epoch, and an empty column between networks."""
    columns = blocks * panels + (blocks - 1) * _BETWEEN
    cell = min((TWO_COLUMN_MM - _LEFT_MM - _RIGHT_MM) / columns, _TALLEST_MM)
    width = _LEFT_MM + _RIGHT_MM + columns * cell
    made = blank(width, (cell + 1.0) * (epochs + 1) + 20)
    widths = ([1.0] * panels + [_BETWEEN]) * blocks
    return made, made.add_gridspec(epochs + 1, len(widths) - 1, width_ratios=widths[:-1])


def _show(ax: Axes, panel: str, values: Map, scale: Scale) -> Axes:
    ax.imshow(values, cmap=_COLOURS.get(panel, "gray"), vmin=scale[0], vmax=scale[1], interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)
    return ax


def _show_inputs(made: Figure, grid: GridSpec, start: int, one: _Block) -> None:
    """The images x and T x above a block, and beside them what the block is of."""
    ax = None
    for column, (panel, title) in enumerate(_INPUTS.items()):
        if panel in one.inputs:
            values = one.inputs[panel]
            scale = float(values.min()), float(values.max())
            ax = _show(made.add_subplot(grid[0, start + column]), panel, values, scale)
            ax.set_title(title, fontsize=SMALL_PT)
    if ax is not None:
        ax.annotate(
            one.title, (1, 1), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points", va="top",
            fontsize=SMALL_PT, color=one.colour, annotation_clip=False,
        ).set_in_layout(False)  # fmt: skip


def _annotate(axes: Mapping[str, Axes], epoch: int, *, first_row: bool, first_block: bool) -> None:
    for panel, ax in axes.items() if first_row else ():
        ax.set_title(_TITLES[panel], fontsize=SMALL_PT)
    for ax in list(axes.values())[:1] if first_block else ():
        ax.set_ylabel("untrained" if epoch == 0 else f"epoch {epoch}", fontsize=SMALL_PT)


def _feature_bar(made: Figure, axes: Mapping[str, Axes], *, named: bool) -> None:
    """The scale of the features of a row, at its right end."""
    cax = axes["difference"].inset_axes((1.1, 0.0, 0.08, 1.0))
    _bar(made, axes["features"].images[0], cax, "vertical")
    if named:
        cax.set_title("$f$", fontsize=SMALL_PT)


def _difference_bar(made: Figure, ax: Axes) -> None:
    """The scale of all differences, below the last of them."""
    _bar(made, ax.images[0], ax.inset_axes((0.0, -0.2, 1.0, 0.08)), "horizontal")


def _bar(made: Figure, image: AxesImage, cax: Axes, orientation: str) -> None:
    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    bar = made.colorbar(image, cax=cax, orientation=orientation, format=numbers)
    bar.locator = MaxNLocator(3 if orientation == "vertical" else 2, symmetric=orientation == "horizontal")
    bar.update_ticks()
    dress(bar.ax)
    bar.long_axis.get_offset_text().set_fontsize(SMALL_PT)
