"""Which input sizes are safe: predicted exact or approximate, for every layer at every size, and what survives."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from eqviz.plots.inputs import accepted, one_row_each
from eqviz.plots.labels import Network, model_label
from eqviz.plots.layeraxis import LayerAxis
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.styles import natural
from eqviz.plots.subgroups import short_name
from eqviz.plots.theme import INK, MUTED, ONE_COLUMN_MM, SMALL_PT, STRIPE, TWO_COLUMN_MM, drawn, figure, theme

Cells = npt.NDArray[np.int64]
Glyph = str | list[tuple[int, int]]

_NAME = "exactness"
_STATES = ("yes", "no", "unknown", "")
_FILLS = ("#DCEAF4", "#0B5A8F", "#B9B9B9", "white")
_SAID = ("exact", "approximate", "unknown", "")
_NOTHING_LEFT = "C1"
_HATCH = "xxxxx"
_GLYPHS: dict[str, Glyph] = {
    "C2": "$2$",
    "C4": "$4$",
    "D1(left-right)": "|",
    "D1(up-down)": "_",
    "D1(transpose)": [(-1, 1), (1, -1)],
    "D1(anti-transpose)": [(-1, -1), (1, 1)],
    "D2(axes)": "+",
    "D2(diagonals)": "x",
}
_OTHER_GLYPHS = ("*", "s", "^", "D", "v", "p", "h")
_MILLIMETRES = 3.6  # of a layer's row, where there are not too many


@theme()
def exactness_by_size(
    exactness: pd.DataFrame, *, networks: Sequence[Network] | None = None, subsampling: Collection[str] = ()
) -> Figure:
    """Input size against layer, one panel a model: pale where the layer is predicted exact, dark where it breaks.

    Takes the table `exactness`, in which `exact` counts everything before the layer as well. Where part of the symmetry
    survives a break a sign says which, once for each run of equal layers. Unknown cells are hatched; a layer without
    a prediction at a size is blank. `networks` are those that were trained: a triangle in their colour marks their
    sizes. The names of layers in `subsampling` are shaded.

    Raises EqvizError for a table that lacks columns or rows, or mixes groups, epochs or runs of a model.

    >>> row = dict(run="a", model="p4cnn", group="C4", seed=0, epoch=5, data="mnist", regime="upright", call=0)
    >>> row |= dict(layer="pool", depth=0, grid_exact="yes")
    >>> sizes = [dict(input_size=28, exact="yes", surviving="C4"), dict(input_size=29, exact="no", surviving="C1")]
    >>> ax = exactness_by_size(pd.DataFrame([row | size for size in sizes])).axes[0]
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['28', '29']
    """
    table = accepted(exactness, _NAME)
    one_row_each(table, ["model", "input_size", "layer", "call"], _NAME)
    models = sorted(table["model"].astype(str).unique(), key=lambda model: (model.startswith("z2"), natural(model)))
    held = [table[table["model"].astype(str) == model].reset_index(drop=True) for model in models]
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    tall = float(np.clip(_MILLIMETRES * max(len(_axis(own, subsampling).places) for own in held), 18, 130))
    width = TWO_COLUMN_MM if columns > 1 else 1.2 * ONE_COLUMN_MM
    made, panels = figure(width, rows * (tall + 18) + 10, rows, columns)
    glyphs = _glyphs(table)
    for ax, model, own in zip(panels, models, held, strict=False):
        trained = [one for one in networks or () if one.model == model]
        _draw(ax, own, _axis(own, subsampling), glyphs, tall)
        _mark_sizes(ax, _sizes(own), trained)
        ax.set_title(drawn(model_label(model)), loc="left", pad=9 if trained else None)
    for ax in panels[len(models) :]:
        ax.set_axis_off()
    _legend(made, table, glyphs, trained=bool(networks), subsamples=bool(subsampling))
    return made


def _axis(rows: pd.DataFrame, subsampling: Collection[str]) -> LayerAxis:
    return LayerAxis.of(rows.assign(subsamples=rows["layer"].astype(str).isin(list(subsampling))))


def _sizes(rows: pd.DataFrame) -> list[str]:
    return sorted(rows["input_size"].astype(str).unique(), key=natural)


def _draw(ax: Axes, rows: pd.DataFrame, layers: LayerAxis, glyphs: dict[str, Glyph], tall: float) -> None:
    sizes = _sizes(rows)
    column = {size: place for place, size in enumerate(sizes)}
    x = np.array([column[size] for size in rows["input_size"].astype(str)], dtype=int)
    y = layers.positions(rows)
    states = np.full((len(layers.places), len(sizes)), _STATES.index(""), dtype=np.int64)
    states[y, x] = [_STATES.index(str(answer)) for answer in rows["exact"]]
    surviving = np.full(states.shape, "", dtype=object)
    surviving[y, x] = rows["surviving"].fillna("").astype(str)
    ax.imshow(states, cmap=ListedColormap(_FILLS), vmin=0, vmax=3, aspect="auto", interpolation="nearest")
    for row, place in np.argwhere(states == _STATES.index("unknown")):
        ax.add_patch(
            Rectangle(
                (place - 0.5, row - 0.5), 1, 1, facecolor="none", edgecolor="white", hatch=_HATCH, linewidth=0,
                gid="unknown",
            )
        )  # fmt: skip
    for edge in range(1, len(sizes)):
        ax.axvline(edge - 0.5, color="white", linewidth=1.0)
    _sign(ax, states, surviving, glyphs)
    ax.set_xticks(range(len(sizes)), sizes, rotation=90 if max(map(len, sizes)) > 3 else 0)
    layers.tick_beside(ax, tall * 72 / 25.4)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("input size (pixels)")


def _sign(ax: Axes, states: Cells, surviving: npt.NDArray[np.object_], glyphs: dict[str, Glyph]) -> None:
    """The sign of what survives, in the middle of each run of layers that break and keep the same."""
    for place in range(states.shape[1]):
        start = 0
        for row in range(1, len(states) + 1):
            if row < len(states) and (states[row, place], surviving[row, place]) == (
                states[start, place], surviving[start, place],
            ):  # fmt: skip
                continue
            name = surviving[start, place]
            if states[start, place] == _STATES.index("no") and name in glyphs:
                ax.plot(
                    [place], [(start + row - 1) / 2], linestyle="none", marker=glyphs[name], color="white",
                    markersize=5, markeredgewidth=1.0 if not _is_text(glyphs[name]) else 0.3, label=name,
                )  # fmt: skip
            start = row


def _glyphs(table: pd.DataFrame) -> dict[str, Glyph]:
    """A sign for every subgroup that survives a break somewhere."""
    broken = table.loc[table["exact"] == "no", "surviving"].dropna().astype(str)
    others = iter(_OTHER_GLYPHS * 5)
    return {
        name: _GLYPHS.get(name) or next(others) for name in dict.fromkeys(broken) if name not in ("", _NOTHING_LEFT)
    }


def _is_text(glyph: Glyph) -> bool:
    return isinstance(glyph, str) and glyph.startswith("$")


def _mark_sizes(ax: Axes, sizes: Sequence[str], trained: Sequence[Network]) -> None:
    for network in trained:
        if str(network.input_size) in sizes:
            place = sizes.index(str(network.input_size))
            ax.plot(
                [place], [1.0], transform=ax.get_xaxis_transform(), marker=7, color=network.colour, markersize=5,
                clip_on=False, label=network.label, linestyle="none",
            )  # fmt: skip
            ax.get_xticklabels()[place].set_fontweight("bold")


def _legend(made: Figure, table: pd.DataFrame, glyphs: dict[str, Glyph], *, trained: bool, subsamples: bool) -> None:
    handles: list[Artist] = []
    for state, fill, said in zip(_STATES, _FILLS, _SAID, strict=True):
        if said and (table["exact"] == state).any():
            unknown = state == "unknown"
            handles.append(
                Patch(
                    facecolor=fill, hatch=_HATCH if unknown else None, edgecolor="white" if unknown else MUTED,
                    linewidth=0.4, label=said,
                )
            )  # fmt: skip
    for name, glyph in glyphs.items():
        handles.append(
            Line2D(
                [], [], linestyle="none", marker=glyph, color=INK, markersize=5, label=f"{short_name(name)} survives"
            )
        )
    if trained:
        handles.append(
            Line2D([], [], linestyle="none", marker=7, color=INK, markersize=5, label="trained at this size")
        )
    if subsamples:
        handles.append(Patch(facecolor=STRIPE, linewidth=0, label="subsamples"))
    columns = columns_that_fit(handles, 0.95 * 72 * made.get_figwidth())
    made.legend(
        handles=handles, loc="outside lower left", ncols=columns, fontsize=SMALL_PT, handletextpad=0.5,
        columnspacing=1.2,
    )  # fmt: skip
