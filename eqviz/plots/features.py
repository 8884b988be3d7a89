"""Looking at a feature map: f(x), the map of the turned image turned back, and what is left between the two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.errors import EqvizError
from eqviz.plots.theme import SMALL_PT, TEXT_PT, TWO_COLUMN_MM, Number, blank, dress, theme, wrapped

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.floating[Any]] | npt.NDArray[np.integer[Any]]

_COLOURS = "RdBu_r"
_TALL = 78  # points, the height of a map that the name beside it may take
_TITLES = ("$f(x)$", "$T^{-1} f(T x)$", "difference")


@dataclass(frozen=True, eq=False)
class FeaturePanel:
    """One layer to look at: `feature` f(x) and `aligned` T^-1 f(T x), both (height, width), on any scale.

    `relative_error` is |T^-1 f(T x) - f(x)| / |f(x)| over the whole layer, not this map alone, as the caller measured
    it; NaN where there is none. Raises EqvizError when the two maps are not images of the same shape.

    >>> FeaturePanel("conv1", np.ones((4, 4)), np.ones((4, 4)), relative_error=0.0).difference.max()
    np.float64(0.0)
    """

    layer: str
    feature: Map
    aligned: Map
    relative_error: Number

    def __post_init__(self) -> None:
        shapes = np.shape(self.feature), np.shape(self.aligned)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1]:
            raise EqvizError(
                f"layer {self.layer}", expected="two maps of one shape (height, width)",
                found=f"{shapes[0]} and {shapes[1]}", fix="pick one channel and one group element",
            )  # fmt: skip

    @property
    def difference(self) -> Array:
        """T^-1 f(T x) - f(x), (height, width)."""
        return np.subtract(self.aligned, self.feature, dtype=np.float64)

    @property
    def limit(self) -> float:
        """The largest absolute value of the three maps: their colour scale runs from -limit to limit."""
        maps = (self.feature, self.aligned, self.difference)
        return max(float(np.abs(one).max()) for one in maps) or 1.0


@theme()
def aligned_features(image: npt.ArrayLike, panels: Sequence[FeaturePanel], *, title: str | None = None) -> Figure:
    """The input beside one row a layer: f(x), T^-1 f(T x) and their difference, on one colour scale in each row.

    `image` is (height, width), or (channels, height, width) with 1 or 3 channels; its values are stretched to the full
    range for display. Where the layer is equivariant the two maps agree and the difference is blank. The relative
    error stands beside each row. Raises EqvizError without panels or for an image of another shape.

    >>> panel = FeaturePanel("conv1", np.eye(4), np.eye(4), relative_error=0.0)
    >>> made = aligned_features(np.eye(4), [panel])
    >>> [ax.get_title() for ax in made.axes][:2]
    ['input $x$', '$f(x)$']
    """
    if not panels:
        raise EqvizError("panels", expected="at least one FeaturePanel", found="none", fix="pass one for each layer")
    shown = _displayed(image)
    made = blank(TWO_COLUMN_MM, 14 + 37 * len(panels))
    grid = made.add_gridspec(len(panels), 4)
    _show_input(made.add_subplot(grid[:, 0]), shown)
    for row, one in enumerate(panels):
        axes = [made.add_subplot(grid[row, column]) for column in (1, 2, 3)]
        _draw(made, axes, one)
        if row == 0:
            for ax, text in zip(axes, _TITLES, strict=True):
                ax.set_title(text)
    if title is not None:
        made.suptitle(title, fontsize=SMALL_PT + 1)
    return made


def _show_input(ax: Axes, shown: Array) -> None:
    ax.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title("input $x$")
    _frame(ax)


def _draw(made: Figure, axes: Sequence[Axes], one: FeaturePanel) -> None:
    for ax, values in zip(axes, (one.feature, one.aligned, one.difference), strict=True):
        drawn = ax.imshow(values, cmap=_COLOURS, vmin=-one.limit, vmax=one.limit, interpolation="nearest")
        _frame(ax)
    axes[0].set_ylabel(wrapped(one.layer, _TALL, TEXT_PT))
    bar = made.colorbar(drawn, cax=axes[2].inset_axes((1.06, 0.0, 0.07, 1.0)))
    dress(bar.ax)
    if np.isfinite(one.relative_error):
        axes[2].set_xlabel(f"relative error {one.relative_error:.2g}", fontsize=SMALL_PT)


def _frame(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(True)


def _displayed(image: npt.ArrayLike) -> Array:
    """The image as (height, width) or (height, width, 3), stretched to 0..1."""
    values = np.asarray(image, dtype=float)
    if values.ndim == 3 and values.shape[0] in (1, 3):
        values = values[0] if values.shape[0] == 1 else np.moveaxis(values, 0, -1)
    elif values.ndim != 2:
        raise EqvizError(
            "image", expected="shape (height, width) or (1 or 3 channels, height, width)", found=str(values.shape),
            fix="pass one image, channels first",
        )  # fmt: skip
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / ((high - low) or 1.0))
