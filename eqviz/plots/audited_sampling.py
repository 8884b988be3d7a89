"""The sampling grids of networks: the first operation of each that subsamples, read from the table `audit`."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from eqviz.errors import EqvizError
from eqviz.groups.group import Element, group
from eqviz.groups.subsampling import windows
from eqviz.plots.labels import Network, model_label
from eqviz.plots.sampled_grid import Integers, SampledGrid
from eqviz.plots.subgroups import short_name
from eqviz.plots.theme import drawn

Pair = tuple[int, int]
Row = Mapping[Hashable, Any]
Picture = npt.NDArray[np.float64]

WINDOWED = ("conv2d", "max_pool2d", "avg_pool2d", "lp_pool2d", "unfold", "pixel_unshuffle")
"""Operations on windows: those whose sampling can be drawn as a grid of windows."""

MOST = 5
"""How many grids a figure shows; more would not fit a page."""


@dataclass(frozen=True)
class Sampling:
    """An operation on windows, as its row of the audit says: pairs are (rows, columns), `padding` (before, after) each.

    >>> row = dict(op="conv2d", size="33", kernel="3", stride="2", padding="0,1", dilation="1")
    >>> Sampling.read(row).padding
    ((0, 1), (0, 1))
    """

    op: str
    size: Pair
    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    ceil: bool = False

    @classmethod
    def read(cls, row: Row) -> "Sampling":
        """The operation of a row of the table `audit`."""
        kernel, stride, dilation = (_pair(row[name]) for name in ("kernel", "stride", "dilation"))
        above, beside = (str(row["padding"]) or "0").split("x") if "x" in str(row["padding"]) else [row["padding"]] * 2
        return cls(str(row["op"]), _pair(row["size"]), kernel, stride, (_ends(above), _ends(beside)), dilation)

    def lists(self, size: Pair) -> tuple[Integers, Integers]:
        """The reading lists of rows and columns on an input of that size."""
        rows, columns = (
            windows(
                size[axis], self.kernel[axis], self.stride[axis], *self.padding[axis], self.dilation[axis],
                ceil=self.ceil,
            )
            for axis in (0, 1)
        )  # fmt: skip
        return rows, columns


def audited_grids(
    audit: pd.DataFrame,
    networks: Sequence[Network],
    measured: str,
    picture: Callable[[str], Picture | None] = lambda run: None,
) -> list[SampledGrid]:
    """One grid for each different operation and input size among networks, the first 5 of them, from `audit`.

    `measured` is the group they are measured under, `picture` gives the image (height, width) to draw under the grid
    of a run. Raises EqvizError for a group that moves nothing, and where no network has an operation on windows with a
    stride.
    """
    elements = group(measured).exact_subgroup.elements
    if len(elements) == 1:
        raise EqvizError(
            "sampling_grid", expected="a group with an element that moves pixels onto pixels", found=measured,
            fix="choose another --group, or other figures with --only",
        )  # fmt: skip
    seen: dict[tuple[str, Sampling], tuple[list[str], Row]] = {}
    for network in networks:
        rows = network.rows(audit)
        found = first_subsampling(rows[rows["run"] == rows["run"].iloc[0]]) if len(rows) else None
        if found is not None:
            sampling, row = found
            names, _ = seen.setdefault((str(network.input_size), sampling), ([], row))
            names.append(drawn(model_label(network.model)))
    if not seen:
        raise EqvizError(
            "sampling_grid", expected="a network with a strided convolution or a pool", found="none that was traced",
            fix="choose other figures with --only",
        )  # fmt: skip
    return [
        _grid(elements[1], size, sampling, names, row, picture(str(row["run"])))
        for (size, sampling), (names, row) in list(seen.items())[:MOST]
    ]


def first_subsampling(rows: pd.DataFrame) -> tuple[Sampling, Row] | None:
    """The first operation on windows with a stride above 1 in the audit of one run, and its row; None without one."""
    listed = [row for row in rows.to_dict("records") if not pd.isna(row["size"]) and row["size"] != ""]
    for place, row in enumerate(listed):
        if row["op"] in WINDOWED and max(_pair(row["stride"])) > 1:
            after = listed[place + 1] if place + 1 < len(listed) else None
            return _rounded(Sampling.read(row), after), row
    return None


def _rounded(sampling: Sampling, after: Row | None) -> Sampling:
    """The operation, with `ceil` if what follows it reads as many positions as a pool that rounds up gives."""
    if "pool" not in sampling.op or after is None:
        return sampling
    up = replace(sampling, ceil=True)
    plain, rounded = (tuple(len(one) for one in kind.lists(sampling.size)) for kind in (sampling, up))
    return up if _pair(after["size"]) == rounded != plain else sampling


def _grid(
    element: Element, size: str, sampling: Sampling, names: Sequence[str], row: Row, image: Picture | None
) -> SampledGrid:
    moved = sampling.size[::-1] if element.transposes else sampling.size
    return SampledGrid(
        f"{size.replace('x', '×')} px", _lines(sampling, names, row), sampling.size, sampling.lists(sampling.size),
        sampling.lists((moved[0], moved[-1])), str(element), element.quarter_turns, element.reflected,
        image if image is not None and image.shape == sampling.size else None,
    )  # fmt: skip


def _lines(sampling: Sampling, names: Sequence[str], row: Row) -> list[str]:
    padding = f", padding {row['padding']}" if str(row["padding"]) not in ("", "0") else ""
    dilation = f", dilation {row['dilation']}" if str(row["dilation"]) not in ("", "1") else ""
    height, width = sampling.size
    exact = {"yes": f"fits: keeps {row['surviving']}", "no": f"breaks: {_left(str(row['surviving']))}"}
    return [
        ", ".join(dict.fromkeys(names)),
        f"{row['layer']}: {row['op']} on {height}×{width}",
        f"kernel {row['kernel']}, stride {row['stride']}{padding}{dilation}{', rounded up' if sampling.ceil else ''}",
        f"left over: {_leftover(str(row['leftover']))}",
        exact.get(str(row["grid_exact"]), "not known whether it fits"),
    ]


def _leftover(text: str) -> str:
    """How many rows and columns of the padded input no window reaches, in words."""
    rest = zip(_pair(text or "0"), ("row", "column"), strict=True)
    return " and ".join(f"{count} {word}{'s' if count != 1 else ''}" for count, word in rest if count) or "nothing"


def _left(surviving: str) -> str:
    return "nothing survives" if surviving == "C1" else f"only {short_name(surviving)} survives"


def _pair(given: object) -> Pair:
    """'3' or '3x1' as (3, 3) or (3, 1); '' as (1, 1)."""
    parts = [int(part) for part in str(given).split("x") if part] or [1]
    return parts[0], parts[-1]


def _ends(text: object) -> Pair:
    """'1' or '0,1' as padding before and after; '' as none."""
    parts = [int(part) for part in str(text).split(",") if part] or [0]
    return parts[0], parts[-1]
