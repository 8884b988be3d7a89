"""The sampling grid of a strided layer on an image and on its moved copy: which pixels are visited, which cut off."""

from collections.abc import Sequence
from textwrap import fill

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from eqviz.errors import EqvizError
from eqviz.plots.legend import columns_that_fit
from eqviz.plots.sampled_grid import Floats, Lists, SampledGrid, cut_off, middles, step
from eqviz.plots.theme import INK, MUTED, PALE, PALETTE, SMALL_PT, TEXT_PT, TWO_COLUMN_MM, Number, blank, theme

_UPRIGHT, _MOVED = PALETTE[0], PALETTE[1]
_BACKWARD, _FORWARD = "\\\\\\\\", "////"
_MOST = 40  # pixels along an axis that are drawn one by one
_KEPT = 10  # pixels at each end of a longer axis
_GAP = 2.5  # pixels wide: what is left out between them
_LETTERS = 26
_PANEL_PT = 125  # about the width of a panel
_TITLES = ("on the image", "on the moved image ({})", "moved back, on top of the first")


@theme()
def sampling_grid(grids: Sequence[SampledGrid]) -> Figure:
    """One row a grid: where an operation samples the image, where its moved copy, and both on top of each other.

    Rings and dots are the middles of the windows; the first window is outlined. Pixels cut off at the ends are
    hatched. Where the operation keeps the symmetry the dots of the moved copy, moved back, lie in the rings and the
    hatched pixels coincide. Of an axis longer than 40 pixels both ends are drawn.

    Raises EqvizError without grids.

    >>> from eqviz.groups.subsampling import windows
    >>> lists = windows(5, 2, 2), windows(5, 2, 2)
    >>> made = sampling_grid([SampledGrid("5 px", ["pool"], (5, 5), lists, lists)])
    >>> [ax.get_title() for ax in made.axes][1:]
    ['on the image', 'on the moved image (rotation 90)', 'moved back, on top of the first']
    """
    if not grids:
        raise EqvizError("grids", expected="at least one SampledGrid", found="none", fix="pass one for each input size")
    made = blank(TWO_COLUMN_MM, 16 + sum(_height(one) for one in grids))
    cells = made.add_gridspec(len(grids), 4, width_ratios=(0.8, 1, 1, 1), height_ratios=[_height(g) for g in grids])
    for row, one in enumerate(grids):
        said, *axes = (made.add_subplot(cells[row, column]) for column in range(4))
        _say(said, one)
        _draw(axes, one)
        if row == 0 or one.element != grids[row - 1].element:
            for ax, text in zip(axes, _TITLES, strict=True):
                ax.set_title(text.format(one.element), fontsize=SMALL_PT)
    _legend(made, grids)
    return made


def _height(one: SampledGrid) -> float:
    """Millimetres of a row: as tall as its tallest panel is at the width of a column."""
    return 46 * max(1.0, max(_span(one.size[0]), _span(one.size[1])) / _span(one.size[1]))


def _say(ax: Axes, one: SampledGrid) -> None:
    ax.set_axis_off()
    ax.text(0, 0.97, fill(one.title, _LETTERS - 4), transform=ax.transAxes, va="top", fontsize=TEXT_PT, weight="bold")
    below = 0.97 - 0.1 * (1 + fill(one.title, _LETTERS - 4).count("\n")) - 0.02
    text = "\n".join(fill(line, _LETTERS) for line in one.lines)
    ax.text(0, below, text, transform=ax.transAxes, va="top", fontsize=SMALL_PT, linespacing=1.4)


def _draw(axes: Sequence[Axes], one: SampledGrid) -> None:
    image = None if one.image is None else np.asarray(one.image, dtype=float)
    moved = None if image is None else np.rot90(image, one.turns)
    if moved is not None and one.reflected:
        moved = moved[::-1]
    upright_points, moved_points = middles(one.upright), middles(one.moved)
    for ax, size, under in ((axes[0], one.size, image), (axes[1], one.moved_size, moved), (axes[2], one.size, image)):
        _pixels(ax, size, under)
    _outline(axes[0], one.size, one.upright, _UPRIGHT)
    _outline(axes[1], one.moved_size, one.moved, _MOVED)
    missed, missed_moved = cut_off(one.size, one.upright), cut_off(one.moved_size, one.moved)
    _hatch(axes[0], one.size, missed, _UPRIGHT, _BACKWARD)
    _hatch(axes[1], one.moved_size, missed_moved, _MOVED, _FORWARD)
    _hatch(axes[2], one.size, missed, _UPRIGHT, _BACKWARD)
    _hatch(axes[2], one.size, one.back(missed_moved), _MOVED, _FORWARD)
    _rings(axes[0], one, upright_points)
    _dots(axes[1], one, moved_points, one.moved_size)
    _rings(axes[2], one, upright_points)
    _dots(axes[2], one, one.back(moved_points), one.size)


def _pixels(ax: Axes, size: tuple[int, int], image: Floats | None) -> None:
    """The pixel grid with the image palely underneath; the ends of long axes only."""
    ax.set_aspect("equal")
    ax.set(xlim=(-0.8, _span(size[1]) - 0.2), ylim=(_span(size[0]) - 0.2, -0.8))
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    blocks = [_blocks(length) for length in size]
    for first_row, last_row in blocks[0]:
        for first, last in blocks[1]:
            top, left = float(_place(first_row, size[0])), float(_place(first, size[1]))
            height, width = last_row - first_row, last - first
            box = (left - 0.5, left + width - 0.5, top + height - 0.5, top - 0.5)
            if image is not None:
                low, high = float(image.min()), float(image.max())
                shown = (image[first_row:last_row, first:last] - low) / ((high - low) or 1.0)
                ax.imshow(1 - 0.3 * shown, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest", zorder=0.5)
            lines = [[(x, box[3]), (x, box[2])] for x in np.arange(width + 1) + left - 0.5]
            lines += [[(box[0], y), (box[1], y)] for y in np.arange(height + 1) + top - 0.5]
            ax.add_collection(LineCollection(lines, colors=PALE, linewidths=0.5, zorder=1), autolim=False)
            ax.add_patch(
                Rectangle((box[0], box[3]), width, height, fill=False, edgecolor=MUTED, linewidth=0.6, zorder=1.5)
            )
    _name_ends(ax, size)


def _name_ends(ax: Axes, size: tuple[int, int]) -> None:
    """Numbers of the first and the last pixel of each axis; dots where pixels are left out."""
    for axis, length in ((ax.xaxis, size[1]), (ax.yaxis, size[0])):
        ends = [0, length - 1] if length > 1 else [0]
        axis.set_ticks([float(_place(end, length)) for end in ends], [str(end) for end in ends])
        axis.set_tick_params(length=0, pad=1, labelsize=SMALL_PT, labelcolor=MUTED)
    if size[1] > _MOST:
        ax.text(_KEPT - 0.5 + _GAP / 2, -0.5, "…", ha="center", va="center", color=MUTED)
    if size[0] > _MOST:
        ax.text(-0.5, _KEPT - 0.5 + _GAP / 2, "…", ha="center", va="center", rotation=90, color=MUTED)


def _outline(ax: Axes, size: tuple[int, int], lists: Lists, colour: str) -> None:
    """The pixels of the first window; of every window where they tile the image."""
    tiles = all(step(one) == one.shape[1] > 1 for one in lists)
    for row in lists[0] if tiles else lists[0][:1]:
        for column in lists[1] if tiles else lists[1][:1]:
            ys, xs = row[row >= 0], column[column >= 0]
            corners = _shown(np.array([[ys.min(), xs.min()], [ys.max(), xs.max()]], dtype=float), size)
            if len(corners) < 2:
                continue
            (top, left), (bottom, right) = corners
            first = row[0] == lists[0][0][0] and column[0] == lists[1][0][0]
            ax.add_patch(
                Rectangle(
                    (left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, fill=False, edgecolor=colour,
                    linewidth=1.3 if first else 0.5, zorder=2.6 if first else 2.2,
                )
            )  # fmt: skip


def _hatch(ax: Axes, size: tuple[int, int], pixels: Floats, colour: str, hatch: str) -> None:
    for y, x in _shown(pixels, size):
        ax.add_patch(
            Rectangle(
                (x - 0.5, y - 0.5), 1, 1, facecolor=to_rgba(colour, 0.12), edgecolor=colour, hatch=hatch, linewidth=0,
                zorder=2, gid="cut off",
            )
        )  # fmt: skip


def _rings(ax: Axes, one: SampledGrid, points: Floats) -> None:
    shown, size = _shown(points, one.size), _marker(one)
    ax.plot(
        shown[:, 1], shown[:, 0], linestyle="none", marker="o", markersize=size, zorder=3, markerfacecolor="none",
        markeredgecolor=_UPRIGHT, markeredgewidth=0.18 * size, label="upright",
    )  # fmt: skip


def _dots(ax: Axes, one: SampledGrid, points: Floats, size: tuple[int, int]) -> None:
    shown = _shown(points, size)
    ax.plot(
        shown[:, 1], shown[:, 0], linestyle="none", marker="o", markersize=0.45 * _marker(one), zorder=3.1,
        color=_MOVED, markeredgewidth=0, label="moved",
    )  # fmt: skip


def _marker(one: SampledGrid) -> float:
    """Size of a ring in points: under half the way to the next one."""
    pixel = _PANEL_PT / max(_span(length) for length in one.size)
    return min(6.0, max(1.5, 0.45 * pixel * min(step(axis) for axis in one.upright)))


def _legend(made: Figure, grids: Sequence[SampledGrid]) -> None:
    handles: list[Artist] = [
        Line2D(
            [], [], linestyle="none", marker="o", markerfacecolor="none", markeredgecolor=_UPRIGHT, markersize=4.5,
            label="window on the image (its middle)",
        ),
        Line2D([], [], linestyle="none", marker=".", color=_MOVED, markersize=5, label="on the moved image"),
    ]  # fmt: skip
    if any(len(cut_off(one.size, one.upright)) for one in grids):
        handles.append(Patch(facecolor="none", edgecolor=_UPRIGHT, hatch=_BACKWARD, linewidth=0.4, label="cut off"))
        handles.append(
            Patch(facecolor="none", edgecolor=_MOVED, hatch=_FORWARD, linewidth=0.4, label="cut off (moved)")
        )
    handles.append(Patch(facecolor="none", edgecolor=INK, linewidth=1.3, label="first window"))
    columns = columns_that_fit(handles, 72 * made.get_figwidth())
    made.legend(
        handles=handles,
        loc="outside lower left",
        ncols=columns,
        fontsize=SMALL_PT,
        handletextpad=0.5,
        columnspacing=1.2,
    )


def _blocks(length: int) -> list[tuple[int, int]]:
    """First and one past the last of the pixels that are drawn together."""
    return [(0, length)] if length <= _MOST else [(0, _KEPT), (length - _KEPT, length)]


def _span(length: int) -> float:
    """Length of an axis as drawn, in pixels."""
    return float(length) if length <= _MOST else 2 * _KEPT + _GAP


def _place(position: Floats | Number, length: int) -> Floats:
    """Where a position is drawn; NaN for one that is left out."""
    at = np.asarray(position, dtype=float)
    if length <= _MOST:
        return at
    far = at - (length - 2 * _KEPT) + _GAP
    return np.where(at <= _KEPT - 0.5, at, np.where(at >= length - _KEPT - 0.5, far, np.nan))


def _shown(points: Floats, size: tuple[int, int]) -> Floats:
    """The points (n, 2) where they are drawn, without those left out or outside by more than a pixel."""
    placed = np.stack([_place(points[:, axis], size[axis]) for axis in (0, 1)], axis=1).reshape(-1, 2)
    near = [(placed[:, axis] > -0.8) & (placed[:, axis] < _span(size[axis]) - 0.2) for axis in (0, 1)]
    return np.asarray(placed[near[0] & near[1]], dtype=float)
