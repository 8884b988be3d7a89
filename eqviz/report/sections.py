"""What belongs in one figure: networks on the same data, trained in the same way, measured under the same group."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from eqviz.analysis.local_defect_summary import top_culprit
from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import OUTPUT
from eqviz.groups.group import group
from eqviz.plots.labels import Network, network_label
from eqviz.plots.labels import networks as style_networks
from eqviz.studies.examples import Example, feature_example
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.runs import Runs
from eqviz.studies.tables_recorded import PUBLISHED

DRAWN_KINDS = ("convolution", "pooling", "block", "output")
"""Kinds of layers that figures show; normalisation and activations in between are in the tables."""

PREDICTED = ("exactness_by_size",)
"""Figures of what is predicted from shapes and weights alone."""

OF_ACCURACY = ("accuracy", "benchmarks")
"""How the names of figures of measured accuracies begin."""

BALANCED = "Accuracy is balanced over the classes: the mean of the accuracies of the classes."

_SUMMED_UP = ("training_summary", "symmetry_match")
"""Tables in depth with accuracies of the table `accuracy`, which may be balanced; others measure their own."""

OVER_ANGLES = ("accuracy_over_rotation", "accuracy_polar", "accuracy_by_regime", "accuracy_by_regime_polar")
"""Figures that show published accuracies too, where there are some."""

Key = tuple[str, str, str]

_LONGEST = 60
"""Letters that a part of a file name may have; of a long path the end tells most."""


class Tables:
    """The tables of some runs, each made once."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._known: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._known:
            self._known[name] = self.runs.table(name)
        return self._known[name]


@dataclass(frozen=True)
class Section:
    """The last epoch of the networks that share data, training regime and group, or of several such sets at once.

    `keys` are the (data, regime, group) of the sets, of which figures in depth have one group. `suffix` tells its files
    from those of other sections; it is empty where there is only one.
    """

    keys: tuple[Key, ...]
    suffix: str
    networks: tuple[Network, ...]
    tables: Tables = field(repr=False)

    @property
    def data(self) -> str:
        """The data its networks are tested on."""
        return ", ".join(self._parts(0))

    @property
    def regime(self) -> str:
        """How their training images were turned."""
        return "; ".join(self._parts(1))

    @property
    def group(self) -> str:
        """The group they are measured under, or the first of several."""
        return self.keys[0][2]

    def _parts(self, place: int) -> tuple[str, ...]:
        return tuple(dict.fromkeys(key[place] for key in self.keys))

    @property
    def regimes(self) -> tuple[str, ...]:
        """Each regime once, in the order of the runs."""
        return self._parts(1)

    def table(self, name: str) -> pd.DataFrame:
        """The rows of a table that belong to this section."""
        rows = self.tables[name]
        return last_epochs(rows[self._mine(rows)])

    def _mine(self, rows: pd.DataFrame) -> "pd.Series[bool]":
        """Which rows of a table are about the networks of this section, on their data and under its group."""
        places = zip(rows["data"], rows["regime"], rows["group"], strict=True)
        return pd.Series([place in self.keys for place in places], index=rows.index, dtype=bool)

    def layers(self, name: str) -> pd.DataFrame:
        """A table by layer, without the layers that figures leave out. Raises EqvizError if that leaves none."""
        rows = self.table(name)
        drawn = rows[rows["kind"].isin(DRAWN_KINDS)].reset_index(drop=True)
        if drawn.empty:
            raise EqvizError(
                "--layers", expected=f"some layers that figures show ({', '.join(DRAWN_KINDS)})",
                found=f"only {', '.join(rows['layer'].astype(str).unique()[:5])}", fix="follow more layers",
            )  # fmt: skip
        return drawn

    def predicted(self, name: str) -> pd.DataFrame:
        """The rows of a table of predictions that belong to this section.

        Predictions are made under the exact part of the group that is measured.
        """
        rows = self.tables[name]
        own = set(self.table("equivariance")["run"])
        names = (self.group, group(self.group).exact_subgroup.name)
        mine = rows["data"].isin(self._parts(0)) & rows["regime"].isin(self.regimes) & rows["group"].isin(names)
        return last_epochs(rows[mine & rows["run"].isin(own)])

    def drawn_layers(self, name: str) -> pd.DataFrame:
        """A table of predictions by layer, without the layers that figures leave out."""
        drawn = self.layers("equivariance_summary")
        kept = set(zip(drawn["layer"].astype(str), drawn["call"], strict=True))
        rows = self.predicted(name)
        chosen = [place in kept for place in zip(rows["layer"].astype(str), rows["call"], strict=True)]
        return rows[chosen].reset_index(drop=True)

    @property
    def subsampling(self) -> tuple[str, ...]:
        """The layers that subsample."""
        drawn = self.layers("equivariance_summary")
        marked = drawn[drawn["subsamples"].fillna(False).astype(bool)]
        return tuple(dict.fromkeys(marked["layer"].astype(str)))

    def examples(self, layer: str) -> list[Example]:
        """What `layer` of the first run of every network makes of the first test image."""
        return [feature_example(run, epoch, self.settings, layer) for run, epoch in self.first_runs()]

    @property
    def settings(self) -> Settings:
        """What was measured, and on what."""
        return self.tables.runs.settings

    def first_runs(self) -> list[tuple[Run, int]]:
        """The first run of every network, at its last epoch."""
        first = self.table("equivariance").drop_duplicates(["model", "input_size"])
        by_name = {run.name: run for run in self.tables.runs}
        return [(by_name[str(name)], int(epoch)) for name, epoch in zip(first["run"], first["epoch"], strict=True)]

    def culprit(self, run: Run) -> str:
        """The layer that breaks most by itself in the network of a run; the output where none does."""
        name = self.label(run.name)
        rows = self.in_depth("local_defect_summary")
        labels = [network_label(model, size) for model, size in zip(rows["model"], rows["input_size"], strict=True)]
        top = top_culprit(rows[pd.Series(labels, index=rows.index) == name])
        return OUTPUT if top is None else str(top["layer"])

    def label(self, run: str) -> str:
        """What figures call the network of that run."""
        runs = self.tables["runs"]
        mine = runs[runs["run"] == run]
        return network_label(str(mine["model"].iloc[0]), mine["input_size"].tolist()[0])

    @property
    def published(self) -> pd.DataFrame | None:
        """What was published of its networks, as the table `published_comparison`; None where nothing is known."""
        if self.settings.published is None:
            return None
        try:
            rows = self.in_depth(PUBLISHED)
        except EqvizError:  # no network of the whole folder: where the table itself is asked for, it says so
            return None
        return rows if len(rows) else None

    def in_depth(self, name: str, *, every_epoch: bool = False) -> pd.DataFrame:
        """The rows of a table in depth that are about the networks of this section, at their last epochs.

        Analyses in depth are made under the exact part of the group that is measured.
        """
        rows = self.tables[name]
        groups = (self.group, group(self.group).exact_subgroup.name)
        trained = set(self.table("equivariance")["run"])
        sources = {*self._parts(0), *(run.data.source for run in self.tables.runs if run.name in trained)}
        mine = rows[rows["data"].isin(sources) & rows["regime"].isin(self.regimes) & rows["group"].isin(groups)]
        own = set(zip(*(self.table("networks")[key].astype(str) for key in ("model", "input_size")), strict=True))
        if "model" in rows:
            places = zip(mine["model"].astype(str), mine["input_size"].astype(str), strict=True)
            mine = mine[pd.Series([place in own for place in places], index=mine.index, dtype=bool)]
        last = "epoch" in rows and "model" in rows and not every_epoch
        return last_epochs(mine) if last else mine.reset_index(drop=True)

    def made_from(self, figure: str, tables: Sequence[str] = (), drawn: int | None = None) -> str:
        """What a figure was made from, in words: networks, data, numbers of seeds and images, group, device, dtype.

        `tables` are those in depth that it is drawn from, `drawn` how many images of the first run of each network.
        """
        listed = self._shown_in(figure, tables)
        labels = [network_label(*place) for place in zip(listed["model"], listed["input_size"], strict=True)]
        names = "; ".join(dict.fromkeys(labels))
        seeds = _counted(int(listed["n_seeds"].min()), int(listed["n_seeds"].max()), "seed")
        parts = [f"Networks: {names}. {seeds} each, after {_epochs(listed['epoch'])}."]
        if figure in PREDICTED:
            parts.append(f"Data: {self.data}; training: {self.regime}. Group {self.group}; no image was run.")
            return " ".join(parts)
        accuracy = figure.startswith(OF_ACCURACY)
        rows = self.table("accuracy" if accuracy else "equivariance")
        if tables:
            parts.append(f"Data: {self.data}{self._shown(tables, drawn)}; training: {self.regime}.")
            exact = group(self.group).exact_subgroup.name
            both = any("mask" in self.tables[name] for name in tables)  # the figure says itself what is hidden
            masked = "" if both else self._masked
            parts += [BALANCED] if self.settings.balanced and not {*tables}.isdisjoint(_SUMMED_UP) else []
            return " ".join([*parts, f"Group {exact}; {self._computed(set(rows['run']))}{masked}."])
        images = 1 if figure in ("aligned_features", "sampling_grid") else int(rows["n"].max())
        parts.append(f"Data: {self.data}, {images} test image{'s' if images != 1 else ''}; training: {self.regime}.")
        if accuracy:
            intervals = self.table("accuracy_summary")["interval"].dropna()
            bands = f"Bands and bars: {intervals.iloc[0]} (none for one seed). " if len(intervals) else ""
            parts.append(f"{bands}What turns in from outside is {_listed(rows['fill'])} on the scale 0 to 1.")
            if figure in OVER_ANGLES and (known := self.published) is not None:
                sources = "; ".join(dict.fromkeys(known["source"]))
                parts.append(f"Pale hollow markers: published means with 95% t intervals ({sources}).")
            parts += [BALANCED] if self.settings.balanced else []
        groups = " and ".join(self._parts(2))
        return " ".join([*parts, f"Group {groups}; {self._computed(set(rows['run']))}{self._masked}."])

    def _shown_in(self, figure: str, tables: Sequence[str]) -> pd.DataFrame:
        """The rows of `networks` that a figure shows: those that its first table has rows of."""
        listed = self.table("networks")
        first = (
            self.table("accuracy") if figure.startswith(OF_ACCURACY) else self.in_depth(tables[0]) if tables else listed
        )
        if "model" not in first:
            return listed
        known = set(zip(first["model"].astype(str), first["input_size"].astype(str), strict=True))
        own = zip(listed["model"].astype(str), listed["input_size"].astype(str), strict=True)
        return listed[[place in known for place in own]]

    @property
    def _masked(self) -> str:
        return ", everything outside the inscribed disc is hidden" if self.settings.mask else ""

    def _shown(self, tables: Sequence[str], drawn: int | None) -> str:
        """How many images the tables in depth were made from, where they say so, or how many are drawn."""
        if drawn is not None:
            return f", {drawn} test image{'s' if drawn != 1 else ''} of the first seed"
        counts = [self.in_depth(name)["n"].max() for name in tables if "n" in self.tables[name]]
        which = "training" if any(name.startswith("data_symmetry") for name in tables) else "test"
        return f", {int(max(counts))} {which} images" if counts else ""

    def _computed(self, names: set[str]) -> str:
        """Number format and device of the measurements of these runs, in words."""
        runs = self.tables.runs
        pairs = {
            f"{measured.symmetry.single.dtype} on {measured.device}": None
            for (run, _), measured in zip(runs.checkpoints, runs.measured(), strict=True)
            if run.name in names
        }
        return " and ".join(pairs)


def _listed(values: "pd.Series[float]") -> str:
    return " or ".join(f"{value:g}" for value in sorted(set(values)))


def _counted(low: int, high: int, word: str) -> str:
    number = str(low) if low == high else f"{low} to {high}"
    return f"{number} {word}{'s' if high != 1 else ''}"


def _epochs(epochs: "pd.Series[int]") -> str:
    return _counted(int(epochs.min()), int(epochs.max()), "epoch")


def last_epochs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every network at its last epoch."""
    last = table.groupby(["model", "input_size", "data", "regime", "group"])["epoch"].transform("max")
    return table[table["epoch"] == last].reset_index(drop=True)


def sections(tables: Tables) -> tuple[Section, ...]:
    """The sections of a folder of runs, in the order of its runs. Colours are the same in all of them."""
    listed = tables["networks"]
    styles = style_networks(listed)
    keys: Sequence[Key] = list(dict.fromkeys(zip(listed["data"], listed["regime"], listed["group"], strict=True)))
    return tuple(Section((key,), end, styles, tables) for key, end in zip(keys, suffixes(keys), strict=True))


def joined(parts: Sequence[Section], over: Sequence[str]) -> tuple[Section, ...]:
    """One section for all that differ in nothing but `over` (`data`, `regime`, `group`), in their order."""
    places = [place for place, name in enumerate(("data", "regime", "group")) if name not in over]
    alike: dict[Key, list[Section]] = {}
    for part in parts:
        names = [part.keys[0][place] if place in places else "" for place in range(3)]
        alike.setdefault((names[0], names[1], names[2]), []).append(part)
    ends = suffixes(list(alike))
    return tuple(
        Section(tuple(key for part in same for key in part.keys), end, same[0].networks, same[0].tables)
        for same, end in zip(alike.values(), ends, strict=True)
    )


def suffixes(keys: Sequence[Key]) -> list[str]:
    """The parts in which the keys differ, safe for file names; numbered where that makes them equal.

    >>> suffixes([("mnist", "upright", "C4"), ("mnist", "N(45, 20)", "C4"), ("mnist", "N(45,20)", "C4")])
    ['-upright', '-N_45_20', '-N_45_20-2']
    """
    found: list[str] = []
    for key in keys:
        telling = [part for place, part in enumerate(key) if len({other[place] for other in keys}) > 1]
        suffix = "".join(f"-{re.sub(r'[^A-Za-z0-9.-]+', '_', part).strip('_.')[-_LONGEST:]}" for part in telling)
        number = 2
        plain = suffix
        while suffix.lower() in [other.lower() for other in found]:
            suffix, number = f"{plain}-{number}", number + 1
        found.append(suffix)
    return found
