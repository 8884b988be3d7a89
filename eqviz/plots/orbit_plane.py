"""Orbits of single images in the plane of the first two principal components: points where equivariance is exact."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon

from eqviz.plots.inputs import accepted, kept, one_row_each
from eqviz.plots.labels import Network, chosen
from eqviz.plots.layeraxis import short_name
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.styles import natural
from eqviz.plots.theme import INK, MUTED, PALETTE, SMALL_PT, TWO_COLUMN_MM, figure, theme

Look = tuple[str, str]

_NAME = "orbit_plane"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_MARGIN = 1.1
_MOST_COLUMNS = 3
_LABELS_MM, _AROUND_MM, _LEGEND_MM = 13, 21, 16
_LEGEND_SHARE = 0.85  # markers alone take more room than the legend's own count of columns knows
_UNITS = "axes in units of the r.m.s. distance of points from their mean"


@theme()
def orbits_in_plane(
    table: pd.DataFrame, *, layer: str | None = None, networks: Sequence[Network] | None = None
) -> Figure:
    """Aligned features of some images and of their moved copies, from the table `orbit_plane`, a panel a network.

    Of every network the run with the lowest seed is drawn, and of it `layer`, or the deepest layer in the table. Axes
    are the first two principal components, in units of the root mean square distance from the mean in the full space,
    on one scale in all panels. A filled marker is an upright image, coloured and shaped by its class; an outline joins
    it to its moved copies (small dots) in the order of the group. On an exactly equivariant layer an outline is one
    point. The share of the variance that lies within orbits, in the full space, stands above the panel; the shares of
    the components are in the names of the axes. Networks whose features do not differ at all are left out.

    Raises EqvizError for a table that lacks columns or rows, mixes groups or epochs, or has no such layer.

    >>> row = dict(run="a", model="p4cnn", input_size=28, group="C2", seed=0, epoch=5, data="mnist", regime="upright")
    >>> row |= dict(layer="pool", call=0, depth=0, kind="pooling", subsamples=True, label="7", n=2, orbit_spread=0.2)
    >>> row |= dict(explained_first=0.8, explained_second=0.2)
    >>> points = [("identity", 1.0, 0.5), ("rotation 180", 1.0, -0.5)]
    >>> rows = [dict(row, image=0, element=g, first=x, second=y) for g, x, y in points]
    >>> [ax.get_title(loc="left") for ax in orbits_in_plane(pd.DataFrame(rows)).axes]
    ['P4 CNN, 28 px: pool']
    """
    points = accepted(table, _NAME)
    points = kept(points, points[["first", "second"]].notna().all(axis=1), _NAME, "a layer whose features differ")
    if layer is not None:
        points = kept(points, points["layer"].astype(str) == layer, _NAME, f"rows of the layer {layer}")
    styled = chosen(points, networks)
    held = [_shown(network.rows(points)) for network in styled]
    for own in held:
        one_row_each(own, ["image", "element"], _NAME)
    columns = _columns(len(styled))
    rows = -(-len(styled) // columns)
    width = TWO_COLUMN_MM if columns > 1 else TWO_COLUMN_MM / 2
    side = width / columns - _LABELS_MM
    made, panels = figure(width, rows * (side + _AROUND_MM) + _LEGEND_MM, rows, columns, sharex=True, sharey=True)
    looks = _looks(points)
    for ax, network, own in zip(panels, styled, held, strict=False):
        _draw(ax, own, looks)
        _name(ax, network, own)
    limit = _MARGIN * max(float(own[["first", "second"]].abs().to_numpy().max()) for own in held)
    panels[0].set(xlim=(-limit, limit), ylim=(-limit, limit))
    for ax in panels[len(styled) :]:
        ax.set_axis_off()
    _legend(made, looks)
    return made


def _shown(rows: pd.DataFrame) -> pd.DataFrame:
    """The deepest layer call of the run with the lowest seed."""
    run = kept(rows, rows["seed"] == rows["seed"].min(), _NAME, "a run")
    return kept(run, run["depth"] == run["depth"].max(), _NAME, "a layer")


def _columns(networks: int) -> int:
    return 2 if networks == 4 else min(_MOST_COLUMNS, networks)


def _looks(points: pd.DataFrame) -> dict[str, Look]:
    """Colour and marker of each class, in the order of their names."""
    labels = sorted({str(label) for label in points["label"]}, key=natural)
    return {label: (PALETTE[i % len(PALETTE)], _MARKERS[i % len(_MARKERS)]) for i, label in enumerate(labels)}


def _draw(ax: Axes, rows: pd.DataFrame, looks: dict[str, Look]) -> None:
    for _, orbit in rows.groupby("image", sort=False):
        colour, marker = looks[str(orbit["label"].iloc[0])]
        places = orbit[["first", "second"]].to_numpy(dtype=float)
        ax.add_patch(Polygon(places, closed=True, facecolor=colour, edgecolor="none", alpha=0.15, zorder=2))
        ax.add_patch(Polygon(places, closed=True, fill=False, edgecolor=colour, linewidth=0.7, alpha=0.8, zorder=2.2))
        ax.plot(*places[1:].T, linestyle="none", marker=".", markersize=2.5, color=colour, zorder=2.5, label="moved")
        upright = orbit[orbit["element"].astype(str) == "identity"]
        ax.plot(
            upright["first"].to_numpy(dtype=float), upright["second"].to_numpy(dtype=float), linestyle="none",
            marker=marker, markersize=4, color=colour, markeredgecolor="white", markeredgewidth=0.4, zorder=3,
            label="upright",
        )  # fmt: skip
    ax.set_aspect("equal")


def _name(ax: Axes, network: Network, rows: pd.DataFrame) -> None:
    spread, first, second = rows.iloc[0][["orbit_spread", "explained_first", "explained_second"]].astype(float)
    within = f"{spread:.1e}" if 0 < spread < 1e-4 else f"{spread:.1%}"
    ax.set_title(
        f"{network.label}: {short_name(str(rows['layer'].iloc[0]))}", loc="left", color=network.colour, pad=SMALL_PT + 8
    )
    ax.annotate(
        f"{within} of variance within orbits", (0, 1), xycoords="axes fraction", xytext=(0, 4),
        textcoords="offset points", fontsize=SMALL_PT, color=MUTED,
    )  # fmt: skip
    ax.set(xlabel=f"first component ({first:.0%})", ylabel=f"second component ({second:.0%})")
    ax.tick_params(labelbottom=True)


def _legend(made: Figure, looks: dict[str, Look]) -> None:
    handles: list[Artist] = [
        Line2D([], [], linestyle="none", marker=marker, color=colour, markersize=4.5, label=f"class {label}")
        for label, (colour, marker) in looks.items()
        if len(looks) > 1  # images without labels are all of one class
    ]
    handles.append(Line2D([], [], linestyle="none", marker="o", color=INK, markersize=4.5, label="upright"))
    handles.append(Line2D([], [], linewidth=0.7, marker=".", markersize=3, color=INK, label="its moved copies"))
    most = columns_that_fit(handles, _LEGEND_SHARE * 72 * made.get_figwidth())
    columns = -(-len(handles) // -(-len(handles) // most))  # as few as that many rows need
    made.legend(
        handles=handles, loc="outside lower left", ncols=columns, fontsize=SMALL_PT, title_fontsize=SMALL_PT,
        title=_UNITS, alignment="left",
    )  # fmt: skip
