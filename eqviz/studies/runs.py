"""A folder of checkpoints as one object whose methods are the tables of eqviz."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from functools import cached_property, partial
from pathlib import Path

import pandas as pd
from torch import nn

from eqviz.analysis.accuracy import QUARTER_TURNS
from eqviz.analysis.published import read_published
from eqviz.errors import EqvizError, NoAnswerError
from eqviz.studies.adapters import CopyOf
from eqviz.studies.analyses import ANALYSED, ANALYSES, Analysed, analyse_run
from eqviz.studies.data_symmetries import DATA_SYMMETRY, run_data_symmetry
from eqviz.studies.derived import CURVES, DERIVED
from eqviz.studies.extensions import import_modules
from eqviz.studies.finding import find_runs, records
from eqviz.studies.foreign.proposed_runs import proposed_runs
from eqviz.studies.measured_runs import Epochs
from eqviz.studies.measuring import ACCURACY
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.pairing import TWIN_CKA, compare_twins, partners, twins_of
from eqviz.studies.run_folders import Run, existing_folder
from eqviz.studies.sizes import parse_size
from eqviz.studies.stages import STAGE_ERRORS, stage_calls, stage_rows
from eqviz.studies.stepping import Call, OnStep, teller
from eqviz.studies.tables_in_depth import TablesInDepth
from eqviz.studies.tables_recorded import RecordedTables
from eqviz.tables import conform, empty

TRAINING = "training_summary"
CURVE_LIMIT, CURVE_IMAGES = 300, 32
"""Test images for the accuracy, and through the layers, at every saved epoch."""


class Runs(RecordedTables, TablesInDepth):
    """The runs found in a folder, and what eqviz measures of them.

    A sequence of `Run`; every table is a method that returns a tidy DataFrame, measured when it is first asked for
    and kept on disk, so that the second time costs nothing.

    >>> import eqviz
    >>> runs = eqviz.open_runs("eqviz-demo/runs")  # doctest: +SKIP
    >>> runs.equivariance().query("layer == 'pool'")  # doctest: +SKIP
    """

    @cached_property
    def _analysed(self) -> dict[str, list[pd.DataFrame | None]]:
        """What each analysis that was made found, one a checkpoint."""
        return {}

    @cached_property
    def _problems(self) -> dict[str, dict[str, str]]:
        """Why an analysis has no answer, by its name and the run's."""
        return {}

    def analyse(self, names: Iterable[str]) -> None:
        """Have these analyses in depth of every checkpoint, all of one checkpoint after the other; see `ANALYSES`."""
        asked = set(names)
        wanted = [name for name in ANALYSES if name in asked and name not in self._analysed]
        if not wanted:
            return
        calls = [Call(*at, partial(analyse_run, *at, wanted, self.settings, self.cache)) for at in self.checkpoints]
        found: list[Analysed] = self._in_turn(calls, ANALYSED)
        for name in wanted:
            self._analysed[name] = [part.tables.get(name) for part in found]
            pairs = zip(self.checkpoints, found, strict=True)
            self._problems[name] = {run.name: part.problems[name] for (run, _), part in pairs if name in part.problems}

    def analysed(self, name: str) -> pd.DataFrame:
        """The table of an analysis in depth over all checkpoints.

        Raises EqvizError if it has no answer for any of them; :meth:`unanswered` tells of single ones.
        """
        if name not in self._tables:
            self.analyse([name])
            found = [pair for pair in zip(self.checkpoints, self._analysed[name], strict=True) if pair[1] is not None]
            if not found:
                reason = next(iter(self._problems[name].values()))
                raise NoAnswerError(
                    name, expected="a network that it has an answer for", found=reason,
                    fix="choose other analyses with --only",
                )  # fmt: skip
            self._join(name, ((self._predicted_keys(*at), part) for at, part in found if part is not None))
        return self._tables[name].copy()

    def derived(self, name: str) -> pd.DataFrame:
        """A table that follows from others, which are made first."""
        if name not in self._tables:
            rule = DERIVED[name]
            sources = (self._source(source, needed=source not in rule.dispensable) for source in rule.sources)
            self._tables[name] = conform(rule.make(*sources), name)
        return self._tables[name].copy()

    def _source(self, name: str, *, needed: bool) -> pd.DataFrame:
        if name == ACCURACY:
            return self.scored(needed=needed)
        try:
            return self.table(name)
        except NoAnswerError:
            if needed:
                raise
            return empty(name)

    def twin_cka(self) -> pd.DataFrame:
        """Linear CKA between each network and its exact twin on the same images, by layer.

        An approximate run is paired with the exact run of its seed, an exact run with that of the next seed.
        """
        if TWIN_CKA not in self._tables:
            pairs = twins_of(self.checkpoints, partners(self.runs(), self.networks()))
            if not pairs:
                raise EqvizError(
                    TWIN_CKA, expected="runs of one model on the same data, one of them exact", found="none",
                    fix="add such a run to the folder, or choose other analyses with --only",
                )  # fmt: skip
            calls = [Call(*at, partial(compare_twins, *at, other, self.settings, self.cache)) for at, other in pairs]
            found = self._in_turn(calls, ANALYSED)
            self._join(TWIN_CKA, (self._with_twin(*pair, part.table) for pair, part in zip(pairs, found, strict=True)))
        return self._tables[TWIN_CKA].copy()

    def _with_twin(
        self, at: tuple[Run, int], other: tuple[Run, int], rows: pd.DataFrame
    ) -> tuple[dict[str, object], pd.DataFrame]:
        theirs = self._predicted_keys(*other)
        named = {f"other_{name}": theirs[name] for name in ("run", "model", "input_size")}
        return self._predicted_keys(*at) | named, rows

    def data_symmetry(self) -> pd.DataFrame:
        """How well a classifier tells the training images from moved copies: all of them, and class by class.

        One measurement for all runs that share training images, what turns them, input size and group.
        """
        if DATA_SYMMETRY not in self._tables:
            self._join(DATA_SYMMETRY, self._symmetries_of_data())
        return self._tables[DATA_SYMMETRY].copy()

    def _symmetries_of_data(self) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
        found: dict[tuple[object, ...], pd.DataFrame] = {}
        for place, (run, epoch) in enumerate(self.checkpoints, start=1):
            keys = self._predicted_keys(run, epoch)
            turned = (
                None
                if run.training is None
                else (run.training.rotation, run.training.mirror, run.training.quarter_turns)
            )
            data = (keys["group"], run.data, run.input_size, run.normalisation, turned)
            tell = partial(teller(self._on_step, run, epoch, place, len(self.checkpoints)), DATA_SYMMETRY)
            keys["data"] = run.data.source  # the images it was trained on, whatever it is tested on
            if data not in found:
                found[data] = run_data_symmetry(run, self.settings, self.cache, tell)
            yield keys, found[data]

    def training_summary(self) -> pd.DataFrame:
        """Breaking, upright and rotated accuracy over the saved epochs, the untrained network first.

        On fewer images than the other tables, unless these are of all epochs anyway.
        """
        if TRAINING not in self._tables:
            runs = self if self._every_epoch else self._over_epochs()
            self._tables[TRAINING] = conform(CURVES.make(runs.equivariance(), runs.scored(needed=False)), TRAINING)
        return self._tables[TRAINING].copy()

    def stage_errors(self) -> pd.DataFrame:
        """The error after every stage at all saved epochs, under the disc mask and without: the paper's L1 and ratios.

        On fewer images than the other tables unless `analysis_images` says how many, because the epochs are many.
        """
        if STAGE_ERRORS not in self._tables:
            calls = stage_calls(self._runs, self.settings, self.cache)
            found = self._in_turn([call for _, call in calls], ANALYSED)
            self._join(STAGE_ERRORS, (
                (self._keys(call.run, call.epoch, part.symmetry.single.group.exact_subgroup.name),
                 stage_rows(part, mask=mask))
                for (mask, call), part in zip(calls, found, strict=True)
            ))  # fmt: skip
        return self._tables[STAGE_ERRORS].copy()

    @property
    def _every_epoch(self) -> bool:
        return len(self.checkpoints) == sum(len(run.epochs) for run in self._runs)

    def _over_epochs(self) -> "Runs":
        fewer = replace(
            self.settings, limit=min(self.settings.limit, CURVE_LIMIT), angles=QUARTER_TURNS,
            orbit_images=min(self.settings.orbit_images, CURVE_IMAGES),
        )  # fmt: skip
        return Runs(self.folder, self._runs, fewer, "all", self._jobs, self._on_step)

    def unanswered(self) -> dict[str, dict[str, str]]:
        """Why an analysis that was asked for has no answer, by its name and the name of the run."""
        return {name: dict(reasons) for name, reasons in self._problems.items() if reasons}


def open_runs(
    folder: str | Path,
    settings: Settings | None = None,
    *,
    model: Callable[..., nn.Module] | nn.Module | None = None,
    input_size: int | tuple[int, int] | None = None,
    epochs: Epochs = "last",
    jobs: int = 1,
    on_step: OnStep | None = None,
    **changes: object,
) -> Runs:
    """The runs in a folder of checkpoints; nothing is measured until a table is asked for.

    `settings`, or any of its fields as keywords (`group="C4"`, `limit=500`), say what to measure; `epochs` is `last`
    or `all` saved epochs; `jobs` measures that many checkpoints at a time in processes of their own, through joblib
    (inside `joblib.parallel_config(backend="dask")` on a cluster). `on_step` is told of progress.
    `model`, a class or function, makes the networks of checkpoints that an `eqviz.toml` describes, from the arguments
    given there and in place of the model named there. Where there is none, checkpoints are taken that its networks fit,
    as `eqviz init` understands them; `input_size` is then theirs, in pixels, and must be given if nothing says it.
    Raises EqvizError for a folder that is missing or holds no run, and for settings that are unknown or cannot be.
    """
    if epochs not in ("last", "all"):
        raise EqvizError("epochs", expected="last or all", found=repr(epochs), fix="choose one of these")
    if jobs == 0:
        raise EqvizError("jobs", expected="1 or more, or -1 for one a core", found="0", fix="give 1 or more")
    known = [field.name for field in fields(Settings)]
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise EqvizError(
            "open_runs", expected=f"settings among {', '.join(known)}", found=", ".join(unknown),
            fix="check the spelling",
        )  # fmt: skip
    chosen = replace(settings or Settings(), **changes)  # type: ignore[arg-type]  # checked by Settings
    if chosen.published is not None:
        read_published(chosen.published)  # before anything is measured: it may be a file that cannot be read
    import_modules(chosen.imports)
    return Runs(Path(folder), _found(folder, _constructor(model), input_size), chosen, epochs, jobs, on_step)


def _found(
    folder: str | Path, constructor: Callable[..., nn.Module] | None, input_size: int | tuple[int, int] | None
) -> tuple[Run, ...]:
    if constructor is not None and not any(records(existing_folder(Path(folder)))):
        return proposed_runs(folder, constructor, None if input_size is None else parse_size(input_size, "input_size"))
    if input_size is not None:
        raise EqvizError(
            "input_size", expected="a model, and a folder of checkpoints that nothing describes", found=str(input_size),
            fix="leave it out: run.toml or eqviz.toml says it",
        )  # fmt: skip
    return find_runs(folder, constructor)


def _constructor(model: Callable[..., nn.Module] | nn.Module | None) -> Callable[..., nn.Module] | None:
    """What makes the networks: copies of one that is given."""
    return CopyOf(model) if isinstance(model, nn.Module) else model
