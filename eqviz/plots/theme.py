"""One look for every figure: print sizes, embedded fonts, a palette that colour-blind readers and grey print keep.

>>> millimetres(25.4, 50.8)
(1.0, 2.0)
"""

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

Number = float | int

ONE_COLUMN_MM = 85.0
"""Width of a figure that fills one column of a two-column page."""

TWO_COLUMN_MM = 178.0
"""Width of a figure that fills both columns."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito's colours (Color Universal Design, 2008) without the yellow, which is too pale for lines."""

INK = "#222222"
MUTED = "#767676"
PALE = "#E3E3E3"
STRIPE = "#FBEFCF"

TEXT_PT = 8.0
SMALL_PT = 7.0

_RC: Any = {  # Any: the names of settings are a type of their own, which differs between releases of matplotlib
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "white",
    "axes.grid": False,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": TEXT_PT,
    "figure.dpi": 200,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": TEXT_PT,
    "hatch.linewidth": 0.5,
    "legend.fontsize": SMALL_PT,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.bbox": None,
    "savefig.dpi": 200,
    "svg.fonttype": "path",
    "svg.hashsalt": "eqviz",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": SMALL_PT,
    "xtick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.labelsize": SMALL_PT,
    "ytick.major.size": 2.5,
    "ytick.major.width": 0.6,
}


@contextmanager
def theme() -> Iterator[None]:
    """Settings of matplotlib for as long as the block runs; also a decorator.

    Draw *and* save inside it: how fonts are embedded (TrueType in PDF, outlines in SVG) and the ids in an SVG, which
    are the same on every run, are decided on saving. PNG comes at 200 dots per inch.

    >>> with theme():
    ...     mpl.rcParams["pdf.fonttype"]
    42
    """
    with mpl.rc_context(_RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a box is drawn in its place
        yield


def drawn(text: str) -> str:
    r"""A name as matplotlib is to draw it: two dollar signs in it are no formula.

    >>> print(drawn("from $5 to $9"))
    from \$5 to \$9
    """
    return re.sub(r"(?<!\\)\$", r"\\$", text)


def millimetres(width: Number, height: Number) -> tuple[float, float]:
    """Width and height in inches, as matplotlib wants them, of a size in millimetres."""
    return width / 25.4, height / 25.4


@theme()
def figure(
    width_mm: Number = ONE_COLUMN_MM,
    height_mm: Number = 60.0,
    rows: int = 1,
    columns: int = 1,
    **subplots: Any,
) -> tuple[Figure, list[Axes]]:
    """A figure in the theme that pyplot does not know of, and its Axes in reading order.

    `subplots` goes to :meth:`matplotlib.figure.Figure.subplots` (`sharey`, `width_ratios`, `subplot_kw`, ...).
    Layout is constrained: nothing is clipped and the size stays as asked.

    >>> made, axes = figure(85, 40, columns=2)
    >>> len(axes), [round(25.4 * inches) for inches in made.get_size_inches()]
    (2, [85, 40])
    """
    made = blank(width_mm, height_mm)
    axes = list(made.subplots(rows, columns, squeeze=False, **subplots).flat)
    for ax in axes:
        dress(ax)
    return made, axes


@theme()
def blank(width_mm: Number, height_mm: Number) -> Figure:
    """A figure in the theme without Axes, unknown to pyplot."""
    made = Figure(figsize=millimetres(width_mm, height_mm), dpi=_RC["figure.dpi"], layout="constrained")
    # the engine is the constrained one, asked for a line above
    made.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.03)  # type: ignore[union-attr,call-arg]
    return made


def panel(ax: Axes | None, width_mm: Number, height_mm: Number, **subplots: Any) -> Axes:
    """`ax` itself, or the one Axes of a new figure; in both cases with the theme's ticks."""
    if ax is None:
        return figure(width_mm, height_mm, **subplots)[1][0]
    dress(ax)
    return ax


def dress(ax: Axes) -> None:
    """Give the ticks their size now: matplotlib makes them when it draws, long after `theme()` has ended."""
    ax.tick_params(labelsize=SMALL_PT, width=_RC["xtick.major.width"], length=_RC["xtick.major.size"])


def points_across(ax: Axes) -> tuple[float, float]:
    """Width and height of an Axes in points, before the layout has made room for labels: an upper estimate."""
    box, root = ax.get_position(), ax.get_figure(root=True)
    width, height = root.get_size_inches() if isinstance(root, Figure) else millimetres(ONE_COLUMN_MM, 60)
    return 72 * width * box.width, 72 * height * box.height


def decades(lowest: Number, most: int = 7) -> list[float]:
    """At most `most` evenly spaced powers of ten from 1 down to `lowest`, for the ticks of a fraction on a log scale.

    >>> decades(1e-6, most=4)
    [1.0, 0.01, 0.0001, 1e-06]
    """
    span = max(1, round(-math.log10(lowest)))
    step = math.ceil(span / (most - 1))
    return [float(f"1e-{power}") for power in range(0, span + 1, step)]


@lru_cache(maxsize=1024)
def wrapped(text: str, room: Number, size: Number = SMALL_PT) -> str:
    """A text in as many lines as it takes to be no wider than `room` points, broken at spaces.

    >>> wrapped("P4 CNN, 16 px, pool", 50).splitlines()
    ['P4 CNN, 16', 'px, pool']
    """
    lines: list[str] = []
    for word in text.split(" "):
        if lines and text_width(f"{lines[-1]} {word}", size) <= room:
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


@lru_cache(maxsize=4096)
def text_width(text: str, size: Number = SMALL_PT) -> float:
    """How wide a text is in points, in the theme's font.

    >>> 40 < text_width("subsamples") < 44
    True
    """
    font = FontProperties(family=_RC["font.family"], size=size)
    return float(TextPath((0, 0), text, prop=font).get_extents().width) if text.strip() else 0.0
