"""Accuracy over the angle by which the test images are turned, in Cartesian and in polar coordinates.

An exactly equivariant network repeats itself every quarter turn; one that has learned to break its symmetry does not.
"""

from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.projections.polar import PolarAxes

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, kept, one_row_each, single
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import above, name_lines
from eqviz.plots.published import draw_published
from eqviz.plots.theme import MUTED, ONE_COLUMN_MM, PALE, SMALL_PT, Number, panel, theme
from eqviz.plots.training_angles import Density, draw_density

Floats = npt.NDArray[np.float64]

_NAME = "accuracy_summary"
_BAND = 0.2
_RADII_AT = 157.5  # degrees: between two spokes, where broken networks have left the rim


@theme()
def accuracy_over_rotation(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    density: Density = None,
    networks: Sequence[Network] | None = None,
    published: pd.DataFrame | None = None,
    chance: Number | None = None,
    legend: bool = True,
) -> Axes:
    """Accuracy in % over the rotation of the input in degrees, one line a network, from `accuracy_summary`.

    Lines are means over seeds; bands run from `low` to `high` where the table has them. Large markers stand at the
    angles where rotation is exact (`grid`), the line between them passes through interpolated rotations. Rows of
    reflected inputs are left out.

    `density=(mean, std)` in degrees draws at the bottom, in arbitrary units, the normal density that the training
    angles came from, wrapped around the circle; "uniform" a flat strip, "upright" a spike at 0, None nothing.
    `published` is the table `published_comparison`: its published means stand behind the lines as pale hollow markers,
    with their 95% intervals. `chance` (0 to 1) is a dotted line.
    For several panels in one figure, draw each with `legend=False` and name the networks once, with `legend.across`.
    Raises EqvizError for a table that lacks columns or rows, or mixes masks, groups or epochs.

    >>> row = dict(model="p4cnn", input_size=28, group="C4", epoch=50, reflected=False, mask="none", fill=0.0)
    >>> row |= dict(data="mnist", regime="upright")
    >>> over_seeds = dict(mean=0.98, std=0.01, low=0.97, high=0.99, n_seeds=10, interval="95% t")
    >>> summary = pd.DataFrame([dict(row, angle=angle, grid=angle == 0, **over_seeds) for angle in (0, 10)])
    >>> accuracy_over_rotation(summary).get_ylabel()
    'accuracy (%)'
    """
    table = _unreflected(summary)
    ax = panel(ax, ONE_COLUMN_MM, 68)
    styled = chosen(table, networks)
    for network in styled:
        _draw(ax, network, *_columns(network.rows(table)))
    ax.set(xlim=(-8, 358), ylim=(0, 104), xlabel="input rotation (degrees)", ylabel="accuracy (%)")
    ax.set_xticks([0, 90, 180, 270])
    ax.set_yticks([0, 25, 50, 75, 100])
    known = draw_published(ax, published, styled)
    extra = [*_reference(ax, chance), *draw_density(ax, density), *explanations(table), *known]
    if legend:
        name_lines(ax, [_end(network, table) for network in styled], extra)
    return ax


@theme()
def accuracy_polar(
    summary: pd.DataFrame,
    ax: Axes | None = None,
    *,
    density: Density = None,
    networks: Sequence[Network] | None = None,
    published: pd.DataFrame | None = None,
    legend: bool = True,
) -> Axes:
    """Accuracy in % (radius) over the rotation of the input (angle), one closed line a network.

    The upright image is at the top and angles run counter-clockwise, as the images turn. Exact equivariance shows as
    a figure that looks the same after a quarter turn. Lines, bands, markers, `density` (which grows from the centre)
    and `published` are those of :func:`accuracy_over_rotation`. `ax` has to be polar (`subplot_kw={"projection":
    "polar"}`), or EqvizError.
    """
    table = _unreflected(summary)
    if ax is not None and not isinstance(ax, PolarAxes):
        raise EqvizError("ax", expected="polar Axes", found=type(ax).__name__, fix='use projection="polar"')
    ax = panel(ax, ONE_COLUMN_MM, 85, subplot_kw={"projection": "polar"})
    styled = chosen(table, networks)
    for network in styled:
        angles, mean, low, high, grid = (_closed(column) for column in _columns(network.rows(table)))
        _draw(ax, network, np.deg2rad(angles), mean, low, high, grid)
    _compass(cast(PolarAxes, ax))
    known = draw_published(ax, published, styled)
    extra = [*draw_density(ax, density), *explanations(table), *known]
    if legend:
        above(ax, [*(n.handle() for n in styled), *extra], lift=0.09)
    return ax


def _unreflected(summary: pd.DataFrame) -> pd.DataFrame:
    table = accepted(summary, _NAME)
    table = kept(table, ~table["reflected"].astype(bool), _NAME, "rows that are not reflected")
    single(table, ["mask"], _NAME)
    one_row_each(table, ["model", "input_size", "angle"], _NAME)
    return table.sort_values("angle", kind="stable")


def _columns(rows: pd.DataFrame) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Angles (degrees), mean, low and high (%), and whether each is exact (1.0 or 0.0), in order of angle."""
    angle = rows["angle"].to_numpy(dtype=float)
    mean, low, high = (100 * rows[column].to_numpy(dtype=float) for column in ("mean", "low", "high"))
    return angle, mean, low, high, np.where(rows["grid"].astype(bool), 1.0, 0.0)


def _draw(ax: Axes, network: Network, x: Floats, mean: Floats, low: Floats, high: Floats, grid: Floats) -> None:
    ax.plot(x, mean, color=network.colour, linestyle=network.dash, label=network.label, zorder=2.5)
    if np.isfinite(low).any():
        ax.fill_between(
            x, low, high, color=network.colour, alpha=_BAND, linewidth=0, zorder=2, label=f"{network.label}: interval"
        )
    exact = grid > 0
    if not exact.any():
        return
    ax.plot(
        x[exact], mean[exact], linestyle="none", color=network.colour, marker=network.marker, markersize=5,
        markeredgecolor=network.colour if network.marker in "x+1" else "white", markeredgewidth=0.6, zorder=3,
        label=f"{network.label}: exact rotations", clip_on=False,
    )  # fmt: skip


def _reference(ax: Axes, chance: Number | None) -> list[Artist]:
    if chance is None:
        return []
    return [
        ax.axhline(
            100 * chance, color=MUTED, linestyle=":", linewidth=0.8, zorder=1, label=f"chance ({100 * chance:.3g}%)"
        )
    ]


def explanations(table: pd.DataFrame) -> list[Artist]:
    """What bands and large markers are, for a legend."""
    return [*_band_handles(table), *_grid_handles(table)]


def _band_handles(table: pd.DataFrame) -> list[Artist]:
    """The legend's word for the bands: the interval's name and the number of seeds, both from the table."""
    drawn = table[table["low"].notna()]
    if len(drawn) == 0:
        return []
    names = " or ".join(str(name) for name in drawn["interval"].unique())
    return [Patch(facecolor=PALE, linewidth=0, label=f"{names}, {seeds_label(drawn['n_seeds'])}")]


def _grid_handles(table: pd.DataFrame) -> list[Artist]:
    if table["grid"].astype(bool).all():
        return []
    return [Line2D([], [], linestyle="none", marker="o", markersize=5, color=MUTED, label="marker: no interpolation")]


def _end(network: Network, table: pd.DataFrame) -> tuple[Network, float, float]:
    last = network.rows(table).iloc[-1]
    return network, float(last["angle"]), 100 * float(last["mean"])


def _closed(values: Floats) -> Floats:
    """The values with the first one again at the end: a closed line."""
    return np.append(values, values[:1])


def _compass(ax: PolarAxes) -> None:
    """0 degrees at the top, counter-clockwise; radius from 0 to 100 %."""
    ax.set_theta_zero_location("N")
    ax.set_theta_direction(1)
    ax.set_rlim(0, 100)
    ax.set_xticks(np.deg2rad([0, 45, 90, 135, 180, 225, 270, 315]))
    ax.set_yticks([25, 50, 75, 100], [])
    for radius in (25, 50, 75):
        ax.text(
            np.deg2rad(_RADII_AT), radius, f"{radius}%", ha="center", va="center", fontsize=SMALL_PT, color=MUTED,
            zorder=4, bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "boxstyle": "square,pad=0.1"},
        )  # fmt: skip
    ax.grid(color=PALE, linewidth=0.5)
    ax.spines["polar"].set_color(MUTED)
