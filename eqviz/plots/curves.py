"""Loss and accuracy after every epoch of training: one panel a measure, or a column of panels a data set."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator

from eqviz.errors import EqvizError
from eqviz.plots.inputs import accepted, one_row_each
from eqviz.plots.labels import Network, chosen, seeds_label
from eqviz.plots.legend import across
from eqviz.plots.panels import lettered
from eqviz.plots.theme import MUTED, ONE_COLUMN_MM, SMALL_PT, TWO_COLUMN_MM, Number, figure, theme

_NAME = "learning_curves"
_MEASURES = {
    "train_loss": "training loss (nats)",
    "train_accuracy": "training accuracy (%)",
    "test_accuracy": "test accuracy, upright (%)",
}
_LOSS = "train_loss"
_BAND = 0.2
_MARKERS = 5  # on a line, so that it is known from others in grey
_WHOLE = 1e-9  # an exponential that is a whole number but for rounding is a number of classes


@theme()
def learning_curves(
    table: pd.DataFrame,
    *,
    networks: Sequence[Network] | None = None,
    measures: Sequence[str] = (),
    chance_loss: Number | None = None,
) -> Figure:
    """Loss and accuracy over the epochs of training, one line a network: mean over seeds, band from lowest to highest.

    Takes the table `learning_curves`. Each of its measures (or of `measures`) has a panel; rows on several data sets or
    of several regimes have a column of panels each, lettered. Losses that span more than a decade are on a log scale.
    `chance_loss` in nats is what guessing costs, the
    logarithm of the number of classes: a thin line across the panels of the loss, with its value beside it. It is what
    a network ends with that cannot tell the classes apart.

    Raises EqvizError for a table that lacks columns or rows, mixes groups, or lacks one of `measures`.

    >>> row = dict(model="p4conv", input_size=32, group="C4", data="rotated-pair", regime="upright", n_seeds=1)
    >>> row |= dict(measure="train_loss")
    >>> rows = [dict(row, epoch=epoch, mean=a, lowest=a, highest=a) for epoch, a in ((1, 0.7), (2, 0.1))]
    >>> made = learning_curves(pd.DataFrame(rows), chance_loss=math.log(2))
    >>> [text.get_text() for text in made.axes[0].texts]
    ['chance, ln 2 = 0.693']
    """
    rows = accepted(table, _NAME).astype({"measure": str, "epoch": int})
    one_row_each(rows, ["model", "input_size", "epoch", "data", "regime", "measure"], _NAME)
    shown = _shown(rows, measures)
    places = list(dict.fromkeys(zip(rows["data"], rows["regime"], strict=True)))
    names = _place_names(places)
    styled = chosen(rows, networks)
    across_page = len(shown) if len(places) == 1 else len(places)
    down = 1 if len(places) == 1 else len(shown)
    width = ONE_COLUMN_MM if across_page == 1 else TWO_COLUMN_MM
    made, panels = figure(width, 12 + 50 * down, down, across_page, sharey="row" if len(places) > 1 else False)
    cells = [(measure, place) for measure in shown for place in places]
    for number, (ax, (measure, place)) in enumerate(zip(panels, cells, strict=True)):
        alike = rows[rows["measure"] == measure]
        _panel(ax, alike[(alike["data"] == place[0]) & (alike["regime"] == place[1])], measure, styled)
        if measure == _LOSS:
            _loss_axis(ax, alike, chance_loss)
        if len(cells) > 1:
            lettered(ax, number, names[places.index(place)])
        if number % across_page == 0 or len(places) == 1:
            ax.set_ylabel(_MEASURES.get(measure, measure))
        if number >= len(cells) - across_page:
            ax.set_xlabel("epoch")
    across(made, styled, _band(rows))
    return made


def _shown(rows: pd.DataFrame, measures: Sequence[str]) -> list[str]:
    held = list(dict.fromkeys(rows["measure"]))
    lost = [measure for measure in measures if measure not in held]
    if lost:
        raise EqvizError(
            f"table {_NAME}", expected=f"the measure {lost[0]}", found=", ".join(held), fix="choose others"
        )
    return sorted(measures or held, key=lambda measure: [*_MEASURES, measure].index(measure))


def _place_names(places: Sequence[tuple[str, str]]) -> list[str]:
    """The data sets, regimes or both, whichever tell the columns apart."""
    telling = [part for part in (0, 1) if len({place[part] for place in places}) > 1]
    return [", ".join(place[part] for part in telling) for place in places]


def _panel(ax: Axes, rows: pd.DataFrame, measure: str, styled: Sequence[Network]) -> None:
    loss = measure == _LOSS
    scale = 1.0 if loss else 100.0
    for place, network in enumerate(styled):
        own = network.rows(rows).sort_values("epoch")
        if len(own) == 0:
            continue
        x = own["epoch"].to_numpy(dtype=float)
        mean, lowest, highest = (scale * own[name].to_numpy(dtype=float) for name in ("mean", "lowest", "highest"))
        step = max(1, len(x) // _MARKERS)
        ax.plot(
            x, mean, color=network.colour, linestyle=network.dash, marker=network.marker, label=network.label,
            markevery=(step * place // len(styled), step), zorder=2.5,
        )  # fmt: skip
        ax.fill_between(x, lowest, highest, color=network.colour, alpha=_BAND, linewidth=0, zorder=2)
    ax.margins(x=0.02)
    if not loss:
        ax.set_ylim(0, 103)
        ax.set_yticks([0, 25, 50, 75, 100])


def _loss_axis(ax: Axes, rows: pd.DataFrame, chance_loss: Number | None) -> None:
    """From 0 on a linear scale, or a log scale where losses span more than a decade; the loss of guessing in view."""
    values = [
        *rows[["lowest", "highest"]].to_numpy(dtype=float).ravel(),
        *([] if chance_loss is None else [chance_loss]),
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if 0 < low < high / 10:
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, 1.3 * high)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    else:
        ax.set_ylim(0, 1.12 * high)
    if chance_loss is not None:
        _chance(ax, chance_loss)


def _chance(ax: Axes, loss: Number) -> None:
    """A thin line at the loss of guessing, with its value above its right end."""
    ax.axhline(loss, color=MUTED, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1.5, label="chance")
    classes = math.exp(loss)
    logarithm = f", ln {classes:.0f} =" if abs(classes - round(classes)) < _WHOLE * classes else ""
    ax.annotate(
        f"chance{logarithm} {loss:.3f}", (1, loss), xycoords=("axes fraction", "data"), xytext=(0, 2),
        textcoords="offset points", ha="right", va="bottom", color=MUTED, fontsize=SMALL_PT,
    )  # fmt: skip


def _band(rows: pd.DataFrame) -> list[Artist]:
    if not (rows["n_seeds"].astype(int) > 1).any():
        return []
    return [Patch(facecolor=MUTED, alpha=0.35, linewidth=0, label=f"range over {seeds_label(rows['n_seeds'])}")]
