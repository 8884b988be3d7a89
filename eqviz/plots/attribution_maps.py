"""Looking at explanations: the attribution of x and of g x, and which pixels break the symmetry."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from eqviz.errors import EqvizError
from eqviz.plots.theme import SMALL_PT, TWO_COLUMN_MM, Number, blank, dress, theme, wrapped

Map = npt.NDArray[np.floating[Any]]

_COLOURS = "RdBu_r"
_TALL = 84  # points, the height of a map that the name beside it may take
_MOST = 4
"""Images of a network that are shown side by side."""


@dataclass(frozen=True, eq=False)
class AttributionPanel:
    """One image through one network: the attribution of x, and that of g x moved back.

    image       (height, width), or (channel, height, width) with 1 or 3 channels, on any scale
    upright     (height, width), the attribution of x, summed over colours, in units of the class score
    moved_back  (height, width), g^-1 applied to the attribution of g x
    cosine      of the two, as the caller measured it
    element     g, in words

    Raises EqvizError for maps that are not of the image's shape.
    """

    title: str
    image: Map
    upright: Map
    moved_back: Map
    cosine: Number
    element: str = "g"

    def __post_init__(self) -> None:
        _require_maps(self.title, self.image, (self.upright, self.moved_back))


@dataclass(frozen=True, eq=False)
class BreakingPanel:
    """Some images through one network: which of their pixels raise (above 0) or lower the breaking of one layer.

    images    (image, height, width), or (image, channel, height, width), on any scale
    maps      (image, height, width), the attribution of the breaking fraction, in units of that fraction
    breaking  the breaking fraction of each image, 0 to 1
    rounding  whether all of it is rounding: the maps are then drawn on the scale of the other panels, not on their own

    Raises EqvizError for maps that are not of the images' shape, or as many.
    """

    title: str
    images: Map
    maps: Map
    breaking: Sequence[Number]
    rounding: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.images) == len(self.maps) == len(self.breaking):
            raise EqvizError(
                self.title, expected="as many images as maps and breaking fractions, at least one",
                found=f"{len(self.images)}, {len(self.maps)} and {len(self.breaking)}", fix="pass them image by image",
            )  # fmt: skip
        _require_maps(self.title, self.images[0], tuple(self.maps))


def _require_maps(title: str, image: Map, maps: Sequence[Map]) -> None:
    shape = np.shape(image)
    wrong = [np.shape(one) for one in maps if len(np.shape(one)) != 2 or np.shape(one) != shape[-2:]]
    if wrong or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise EqvizError(
            title, expected="an image (height, width) or (1 or 3, height, width), and maps of its height and width",
            found=f"an image {shape} and maps {', '.join(map(str, wrong)) or 'that fit'}", fix="sum maps over colours",
        )  # fmt: skip


@theme()
def attribution_examples(panels: Sequence[AttributionPanel]) -> Figure:
    """One row a network: the image, the attribution of x, that of g x moved back, and their difference.

    The three maps of a row share one colour scale, in units of the class score: red speaks for the class that the
    network predicts for x, blue against it. Where the network's explanations turn with the image the difference is
    blank. Raises EqvizError without panels.

    >>> panel = AttributionPanel("exact", np.eye(4), np.eye(4), np.eye(4), cosine=1.0)
    >>> [ax.get_title() for ax in attribution_examples([panel]).axes][:2]
    ['image x', 'attribution of x']
    """
    _require(panels, "AttributionPanel")
    made = blank(TWO_COLUMN_MM, 10 + 40 * len(panels))
    grid = made.add_gridspec(len(panels), 4)
    for row, one in enumerate(panels):
        axes = [made.add_subplot(grid[row, column]) for column in range(4)]
        maps = (one.upright, one.moved_back, np.subtract(one.moved_back, one.upright))
        limit = max(float(np.abs(values).max()) for values in maps) or 1.0
        _show_image(axes[0], one.image)
        for ax, values in zip(axes[1:], maps, strict=True):
            _show_map(ax, values, limit)
        _bar(made, axes[3], "class score")
        axes[0].set_ylabel(wrapped(one.title, _TALL), fontsize=SMALL_PT)
        axes[2].set_xlabel(_cosine(one.cosine), fontsize=SMALL_PT)
        if row == 0:
            titles = ("image x", "attribution of x", f"of g x, moved back\n(g: {one.element})", "difference")
            for ax, text in zip(axes, titles, strict=True):
                ax.set_title(text, fontsize=SMALL_PT)
    return made


@theme()
def breaking_attribution(panels: Sequence[BreakingPanel]) -> Figure:
    """One row a network: images, and beside each which of its pixels break the symmetry (at most four are shown).

    The maps of a row share one colour scale, in units of the breaking fraction b of a layer: red pixels raise it, blue
    ones lower it. b stands below each map. A network whose breaking is rounding is drawn on the largest scale of the
    other rows, so that its maps are blank rather than a picture of rounding. Raises EqvizError without panels.

    >>> panel = BreakingPanel("15 px, pool", np.ones((1, 4, 4)), np.eye(4)[None], breaking=[0.1])
    >>> [ax.get_xlabel() for ax in breaking_attribution([panel]).axes][:2]
    ['', 'b = 0.1']
    """
    _require(panels, "BreakingPanel")
    count = max(min(_MOST, len(one.images)) for one in panels)
    own = [float(np.abs(one.maps[:count]).max()) for one in panels]
    shared = max((limit for limit, one in zip(own, panels, strict=True) if not one.rounding), default=1.0)
    made = blank(TWO_COLUMN_MM, 6 + (150 / (2 * max(count, 2)) + 10) * len(panels))
    grid = made.add_gridspec(len(panels), 2 * max(count, 2))
    for row, (one, limit) in enumerate(zip(panels, own, strict=True)):
        scale = (shared if one.rounding else limit) or 1.0
        for place in range(min(count, len(one.images))):
            left, right = (made.add_subplot(grid[row, 2 * place + side]) for side in (0, 1))
            _show_image(left, one.images[place])
            _show_map(right, one.maps[place], scale)
            right.set_xlabel(_said(float(one.breaking[place]), rounding=one.rounding), fontsize=SMALL_PT)
            if place == 0:
                left.set_ylabel(wrapped(one.title, _TALL * 2 / max(count, 2)), fontsize=SMALL_PT)
        _bar(made, right, "breaking fraction")
    return made


def _require(panels: Sequence[object], kind: str) -> None:
    if not panels:
        raise EqvizError("panels", expected=f"at least one {kind}", found="none", fix="pass one for each network")


def _said(breaking: float, *, rounding: bool) -> str:
    return f"b = {breaking:.0e}\n(rounding)" if rounding else f"b = {breaking:.2g}"


def _cosine(cosine: Number) -> str:
    if not np.isfinite(cosine):
        return "no cosine: an attribution is 0"
    return f"cosine {cosine:.2f}".replace("-", "−") if cosine < 0.995 else f"1 − cosine: {max(0.0, 1 - cosine):.0e}"


def _show_image(ax: Axes, image: Map) -> None:
    values = np.asarray(image, dtype=float)
    if values.ndim == 3:
        values = values[0] if len(values) == 1 else np.moveaxis(values, 0, -1)
    low, high = float(values.min()), float(values.max())
    ax.imshow((values - low) / ((high - low) or 1.0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _frame(ax)


def _show_map(ax: Axes, values: Map, limit: float) -> None:
    ax.imshow(values, cmap=_COLOURS, vmin=-limit, vmax=limit, interpolation="nearest")
    _frame(ax)


def _frame(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)


def _bar(made: Figure, ax: Axes, units: str) -> None:
    """A colour bar at the right of the last map of a row."""
    numbers = ScalarFormatter()
    numbers.set_powerlimits((-2, 3))
    bar = made.colorbar(ax.images[0], cax=ax.inset_axes((1.06, 0.0, 0.07, 1.0)), format=numbers)
    bar.locator = MaxNLocator(4, symmetric=True)
    bar.update_ticks()
    dress(bar.ax)
    bar.ax.yaxis.get_offset_text().set_fontsize(SMALL_PT)
    bar.set_label(units, fontsize=SMALL_PT)
