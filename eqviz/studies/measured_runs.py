"""A folder of checkpoints: what is measured and predicted of each, as tables over all of them."""

from abc import ABC
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, overload

import pandas as pd

from eqviz.analysis import summaries
from eqviz.analysis.summaries import Interval
from eqviz.analysis.verdicts import verdict_table
from eqviz.errors import NoAnswerError
from eqviz.studies.auditing import RunAudit, audit_run, audited_group, run_exactness, sizes_about
from eqviz.studies.cache import Cache
from eqviz.studies.measuring import Measured, MeasuredSymmetry, measure_run, measure_twin
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.scoring import NO_ACCURACY
from eqviz.studies.stepping import Call, OnStep, in_turn, teller
from eqviz.tables import columns, concatenate, format_size

Epochs = Literal["last", "all"]

_OF_THE_DATA = ("in_channels", "classes")
"""Arguments of a model that follow from the data."""


class MeasuredRuns(Sequence[Run], ABC):
    """The runs of a folder, measured one by one: accuracy, symmetry, audit and verdict.

    A sequence of `Run`. Every table is made when it is first asked for, and a copy of it given each time.
    """

    def __init__(
        self,
        folder: Path,
        runs: Sequence[Run],
        settings: Settings,
        epochs: Epochs = "last",
        jobs: int = 1,
        on_step: OnStep | None = None,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self._runs = tuple(runs)
        self.checkpoints = [(run, e) for run in runs for e in (run.epochs if epochs == "all" else run.epochs[-1:])]
        self._jobs = jobs
        self._on_step = on_step
        self._measured: list[Measured] | None = None
        self._twins: dict[str, MeasuredSymmetry] | None = None
        self._fresh: set[tuple[str, int]] = set()
        self._audits: dict[tuple[str, int | None], RunAudit] = {}
        self._disagreements: list[str] = []
        self._tables: dict[str, pd.DataFrame] = {}

    @cached_property
    def cache(self) -> Cache:
        """Where measurements are kept. Made when it is first needed: looking at runs writes nothing."""
        return Cache.beside(self.folder)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Run]: ...
    def __getitem__(self, place: int | slice) -> Run | Sequence[Run]:
        """The run at a place, or the runs of a slice."""
        return self._runs[place]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}: {', '.join(run.name for run in self._runs)})"

    def measured(self) -> list[Measured]:
        """All measurements, one a checkpoint; measured now unless they are there already."""
        if self._measured is None:
            given = self.settings, self.cache
            calls = [Call(*at, partial(measure_run, *at, *given)) for at in self.checkpoints]
            self._measured = self._in_turn(calls, "done")
        return self._measured

    def _in_turn(self, calls: Sequence[Call], end: str) -> list[Any]:
        """What every call finds; which checkpoints took work is remembered."""
        found = list(in_turn(calls, end, self.settings, self._jobs, self._on_step))
        pairs = zip(calls, found, strict=True)
        self._fresh |= {(call.run.name, call.epoch) for call, part in pairs if not part.from_cache}
        return found

    @property
    def reused(self) -> int:
        """For how many checkpoints all that was asked for so far came from the cache."""
        return sum((run.name, epoch) not in self._fresh for run, epoch in self.checkpoints)

    def twins(self) -> dict[str, MeasuredSymmetry]:
        """The untrained twin of every run, by the run's name; measured now unless they are there already."""
        if self._twins is None:
            calls = [Call(run, 0, partial(measure_twin, run, self.settings, self.cache)) for run in self._runs]
            found = in_turn(calls, "twin done", self.settings, self._jobs, self._on_step)
            self._twins = {run.name: twin for run, twin in zip(self._runs, found, strict=True)}
            measured = {name for name, twin in self._twins.items() if not twin.from_cache}
            self._fresh |= {(run.name, epoch) for run, epoch in self.checkpoints if run.name in measured}
        return self._twins

    def _keys(self, run: Run, epoch: int, group: str) -> dict[str, object]:
        keys: dict[str, object] = {
            "run": run.name, "model": self._model_names[run.name], "input_size": format_size(run.input_size),
            "group": group, "seed": run.seed, "epoch": epoch, "data": self.settings.data or run.data.source,
            "regime": self._regimes[run.name],
        }  # fmt: skip
        return keys

    @cached_property
    def _model_names(self) -> dict[str, str]:
        """Labels, or else model names, with the arguments added where runs of one name differ in them.

        What follows from the data (`in_channels`, `classes`) is compared among runs on the same data only.
        """
        names = {}
        for run in self._runs:
            alike = [other for other in self._runs if other.model == run.model]
            on_same_data = [other for other in alike if other.data.source == run.data.source]
            telling = [
                f"{name}={value}"
                for name, value in run.arguments.items()
                for others in [on_same_data if name in _OF_THE_DATA else alike]
                if any(other.arguments.get(name) != value for other in others)
            ]
            names[run.name] = run.label or (f"{run.model}({', '.join(telling)})" if telling else run.model)
        return names

    @cached_property
    def _regimes(self) -> dict[str, str]:
        """Regimes, with the number of training images added where runs on the same data differ in it.

        Such runs are no seeds of one network.
        """
        counts: dict[str, set[int]] = {}
        for run in self._runs:
            if run.train_images is not None:
                counts.setdefault(run.data.source, set()).add(run.train_images)
        several = {source for source, found in counts.items() if len(found) > 1}
        return {
            run.name: f"{run.regime}, {run.train_images} images"
            if run.data.source in several and run.train_images is not None
            else run.regime
            for run in self._runs
        }

    def _collect(self, name: str, part: Callable[[Measured], pd.DataFrame]) -> pd.DataFrame:
        """The table `name` over all checkpoints; put together once, and a copy of it each time."""
        if name not in self._tables:
            pairs = zip(self.checkpoints, self.measured(), strict=True)
            self._join(name, ((self._keys(*at, found.symmetry.single.group.name), part(found)) for at, found in pairs))
        return self._tables[name].copy()

    def _join(self, name: str, parts: Iterable[tuple[dict[str, object], pd.DataFrame]]) -> None:
        keyed = (pd.concat([pd.DataFrame(keys, index=rows.index), rows], axis=1) for keys, rows in parts)
        self._tables[name] = concatenate(keyed, name)

    def accuracy(self) -> pd.DataFrame:
        """Fraction of test images classified correctly, by angle of the input: one row a run, epoch and angle.

        Runs without labels, or whose output holds no score for each class, have no rows; :meth:`no_accuracy` tells why.
        Raises NoAnswerError if there are no others.
        """
        return self._some(self._collect("accuracy", lambda measured: measured.accuracy))

    def scored(self, *, needed: bool = True) -> pd.DataFrame:
        """The table `accuracy` as all that sums it up takes it: balanced over the classes, if the settings say so.

        Raises NoAnswerError if there is none, unless it is not `needed`: then it has no rows.
        """
        table = self.accuracy() if needed else self._collect("accuracy", lambda measured: measured.accuracy)
        return table.assign(accuracy=table["balanced_accuracy"]) if self.settings.balanced else table

    def accuracy_classes(self) -> pd.DataFrame:
        """The same class by class."""
        return self._some(self._collect("accuracy_classes", lambda measured: measured.accuracy_classes))

    def no_accuracy(self) -> dict[str, str]:
        """Why its accuracy cannot be measured, by the names of the runs that have none."""
        pairs = zip(self.checkpoints, self.measured(), strict=True)
        return {run.name: found.no_accuracy for (run, _), found in pairs if found.no_accuracy}

    def _some(self, table: pd.DataFrame) -> pd.DataFrame:
        if len(table) == 0:
            reasons = "; ".join(dict.fromkeys(self.no_accuracy().values()))
            raise NoAnswerError(
                "accuracy", expected="a network whose accuracy can be measured", found=f"{NO_ACCURACY}: {reasons}",
                fix="ask for what needs none",
            )  # fmt: skip
        return table

    def skipped_layers(self) -> pd.DataFrame:
        """The layers that were asked for and could not be measured, each with its reason in words."""
        return self._collect("skipped_layers", lambda measured: measured.symmetry.skipped_layers())

    def equivariance(self) -> pd.DataFrame:
        """How far each layer is from equivariant, over the group, with its rounding floor: one row a run and layer."""
        return self._collect("equivariance", lambda measured: measured.symmetry.equivariance())

    def equivariance_elements(self) -> pd.DataFrame:
        """The same errors for each element of the group."""
        return self._collect("equivariance_elements", lambda measured: measured.symmetry.equivariance_elements())

    def spectrum(self) -> pd.DataFrame:
        """In which way each layer breaks the symmetry: energy fraction of every irrep."""
        return self._collect("spectrum", lambda measured: measured.symmetry.spectrum())

    def subgroups(self) -> pd.DataFrame:
        """Which part of the symmetry survives in each layer: residual of every subgroup."""
        return self._collect("subgroups", lambda measured: measured.symmetry.subgroups())

    def audit(self) -> pd.DataFrame:
        """What every operation of each network does to the symmetry, predicted: one row a run and operation."""
        if "audit" not in self._tables:
            self._join("audit", ((self._predicted_keys(*at), self._audit_of(*at).table()) for at in self.checkpoints))
        return self._tables["audit"].copy()

    def verdict(self) -> pd.DataFrame:
        """Predicted beside measured, layer by layer, for each network and its untrained twin."""
        if "verdict" not in self._tables:
            self._disagreements = []
            self._join("verdict", self._verdicts())
        return self._tables["verdict"].copy()

    def exactness(self) -> pd.DataFrame:
        """At which input sizes about its own each layer is predicted exact: one row a model, size and layer."""
        if "exactness" not in self._tables:
            self._join("exactness", self._exactness())
        return self._tables["exactness"].copy()

    def accuracy_summary(self, *, interval: Interval = "auto") -> pd.DataFrame:
        """Accuracy by angle over seeds: mean, standard deviation, and interval (`auto`, `t`, `bootstrap`, `range`)."""
        return summaries.accuracy_summary(self.scored(), interval=interval)

    def accuracy_overview(self, *, interval: Interval = "auto") -> pd.DataFrame:
        """Upright and rotated accuracy of every network over seeds."""
        return summaries.accuracy_overview(self.scored(), interval=interval)

    def equivariance_summary(self) -> pd.DataFrame:
        """Breaking fraction by layer over seeds: mean, lowest, highest."""
        return summaries.equivariance_summary(self.equivariance())

    def spectrum_summary(self) -> pd.DataFrame:
        """Mean energy of every irrep by layer over seeds."""
        return summaries.spectrum_summary(self.spectrum(), self.equivariance())

    def subgroups_summary(self) -> pd.DataFrame:
        """Largest residual over seeds, and what survives in every seed."""
        return summaries.subgroups_summary(self.subgroups(), self.equivariance())

    def networks(self) -> pd.DataFrame:
        """One row a network: exact or not, what survives, which layer breaks first, and the accuracy it costs."""
        return summaries.networks_summary(self.equivariance(), self.subgroups(), self.scored(needed=False))

    def disagreements(self) -> list[str]:
        """A line for every layer of a run in which prediction and measurement contradict each other."""
        self.verdict()
        return list(self._disagreements)

    def untraceable(self) -> dict[str, str]:
        """Why there is no audit, by the names of the runs that cannot be traced."""
        reasons = {run.name: self._audit_of(run, epoch).reason for run, epoch in self.checkpoints}
        return {name: reason for name, reason in reasons.items() if reason}

    def _audit_of(self, run: Run, epoch: int | None) -> RunAudit:
        if (run.name, epoch) not in self._audits:
            self._audits[run.name, epoch] = audit_run(run, epoch, self.settings, self.cache)
        return self._audits[run.name, epoch]

    def _predicted_keys(self, run: Run, epoch: int) -> dict[str, object]:
        return self._keys(run, epoch, audited_group(run, self.settings).name)

    def _verdicts(self) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
        twins = self.twins()
        for (run, epoch), measured in zip(self.checkpoints, self.measured(), strict=True):
            pairs = {
                "trained": (measured.symmetry, self._audit_of(run, epoch)),
                "untrained": (twins[run.name].symmetry, self._audit_of(run, None)),
            }
            for weights, (symmetry, predicted) in pairs.items():
                rows = verdict_table(symmetry, predicted.audit, weights)
                self._disagreements += [f"{run.name}, {line}" for line in rows.attrs["disagreements"]]
                yield self._predicted_keys(run, epoch), rows.astype({"layer": str})

    def _exactness(self) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
        """The sizes about those of all runs of a model on the same data, with the weights of the first of them."""
        alike: dict[tuple[object, ...], list[Run]] = {}
        for run in self._runs:
            keys = self._predicted_keys(run, run.epochs[-1])
            alike.setdefault(tuple(keys[name] for name in ("model", "group", "data", "regime")), []).append(run)
        for place, runs in enumerate(alike.values(), start=1):
            first, epoch = runs[0], runs[0].epochs[-1]
            tell = partial(teller(self._on_step, first, epoch, place, len(alike)), "sizes")
            sizes = sizes_about(run.input_size for run in runs)
            rows = run_exactness(first, epoch, sizes, self.settings, self.cache, tell)
            for size, part in rows.groupby("input_size", sort=False):
                shown = int(str(size)) if str(size).isdecimal() else size
                yield self._predicted_keys(first, epoch) | {"input_size": shown}, part.drop(columns="input_size")

    def table(self, name: str) -> pd.DataFrame:
        """The table of that name. Raises EqvizError for a name that is not a table."""
        columns(name)
        found: pd.DataFrame = getattr(self, name)()
        return found

    def runs(self) -> pd.DataFrame:
        """What the runs are: one row a run, without measuring anything."""
        parts = [
            pd.DataFrame(
                {**self._keys(run, run.epochs[-1], self.settings.group or run.group),
                 "parameters": pd.array([run.parameters], dtype="Int64"),
                 "train_images": pd.array([run.train_images], dtype="Int64")},
                index=[0],
            )
            for run in self._runs
        ]  # fmt: skip
        return concatenate(parts, "runs")
