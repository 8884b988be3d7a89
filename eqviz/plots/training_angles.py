"""The angles by which training images were turned, as a pale area behind the accuracy over the angle."""

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.projections.polar import PolarAxes

from eqviz.plots.theme import MUTED, SMALL_PT, Number

Density = tuple[Number, Number] | Literal["upright", "uniform"] | None
Floats = npt.NDArray[np.float64]

_HILL, _FLAT = 0.16, 0.05  # heights of the density, as fractions of the Axes
_LOBE, _RING = 0.5, 0.16  # the same along the radius of polar Axes
_SHADE = "#BDBDBD"
_NORMAL = re.compile(r"N\((-?\d+\.?\d*), (\d+\.?\d*)\)")


def density(regime: str) -> Density:
    """How training images were turned in a regime such as `N(45, 20)`: (mean, std) in degrees, upright or uniform.

    None for a regime that says something else.

    >>> density("N(45, 20)"), density("upright, 500 images"), density("unknown")
    ((45.0, 20.0), 'upright', None)
    """
    found = _NORMAL.match(regime)
    if found is not None:
        return (float(found[1]), float(found[2])) if float(found[2]) > 0 else None
    if regime.startswith("uniform"):
        return "uniform"
    return "upright" if regime.startswith("upright") and "quarter turns" not in regime else None


def wrapped_normal(angles: Floats, mean: Number, std: Number) -> Floats:
    """The density per degree of a normal distribution wrapped around 360 degrees, at `angles` (degrees).

    >>> round(float(wrapped_normal(np.arange(0.0, 360.0), 45, 40).sum()), 6)
    1.0
    """
    turns = 360.0 * np.arange(-3, 4)[:, None]
    steps = (angles[None, :] + turns - mean) / std
    return np.asarray(np.exp(-0.5 * steps**2).sum(axis=0) / (std * np.sqrt(2 * np.pi)))


def draw_density(ax: Axes, shape: Density) -> list[Artist]:
    """Draw the density of training angles at the foot of an Axes of angles, in arbitrary units; its legend entry.

    A hill for a normal density, wrapped around the circle; a flat strip for a uniform one; a spike at 0 for upright
    images. On polar Axes they grow from the centre. None draws nothing.
    """
    if shape is None:
        return []
    polar = isinstance(ax, PolarAxes)
    low, high = ax.get_xlim() if not polar else (0.0, 2 * np.pi)
    if shape == "upright":
        return [_spike(ax, polar=polar)]
    x = np.linspace(low, high, 367)
    angles = np.rad2deg(x) if polar else x
    if shape == "uniform":
        name, height = "training angles, uniform", np.full(len(x), _RING if polar else _FLAT)
    else:
        hill = wrapped_normal(angles, *shape)
        name = f"training angles, N({shape[0]:g}°, {shape[1]:g}°)"
        height = (_LOBE if polar else _HILL) * hill / hill.max()
    if polar:
        ax.fill_between(x, 0, height * ax.get_ylim()[1], color=_SHADE, linewidth=0, zorder=0.5, label=name)
    else:
        ax.fill_between(
            x, height, color=_SHADE, linewidth=0, zorder=0.5, transform=ax.get_xaxis_transform(), label=name
        )
    return [Patch(facecolor=_SHADE, linewidth=0, label=name)]


def _spike(ax: Axes, *, polar: bool) -> Artist:
    """An arrowhead and its stem at 0 degrees."""
    name = "training angles, upright"
    top = _LOBE * ax.get_ylim()[1] if polar else _HILL
    place = ax.transData if polar else ax.get_xaxis_transform()
    ax.plot(
        [0, 0], [0, top], color=_SHADE, linewidth=2.5, solid_capstyle="butt", zorder=0.5, label=name, transform=place
    )
    ax.plot([0], [top], color=_SHADE, marker="^", markersize=5, linestyle="none", zorder=0.5, transform=place)
    return Line2D([], [], color=_SHADE, linewidth=2.5, label=name)


def name_density(ax: Axes, shape: Density) -> None:
    """Write what the pale area at the foot of an Axes is beside it, where a legend would be further away."""
    if shape is None:
        return
    x, y = (6.0, _HILL / 2) if shape == "upright" else (180.0, _FLAT) if shape == "uniform" else _right_of(shape)
    ax.text(
        x, y, " training angles", transform=ax.get_xaxis_transform(), fontsize=SMALL_PT, color=MUTED,
        ha="center" if shape == "uniform" else "left", va="center" if shape != "uniform" else "bottom", zorder=0.6,
    )  # fmt: skip


def _right_of(shape: tuple[Number, Number]) -> tuple[float, float]:
    """A place at the right flank of a hill: where it has fallen to half of its height."""
    return float(shape[0] + 1.18 * shape[1]) % 360, 0.5 * _HILL


def density_handles() -> list[Artist]:
    """The legend entry of the areas, where panels have a density each."""
    return [Patch(facecolor=_SHADE, linewidth=0, label="training angles")]
