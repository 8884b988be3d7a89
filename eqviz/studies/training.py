"""Training the runs of a recipe into run folders: `train_recipe`."""

import importlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import nn

from eqviz.errors import EqvizError
from eqviz.models.lookup import offered_modules
from eqviz.models.registry import build_model
from eqviz.studies.batches import TrainingData
from eqviz.studies.devices import Placement
from eqviz.studies.extensions import import_modules
from eqviz.studies.processes import apart
from eqviz.studies.progress import OnProgress, Progress, silent
from eqviz.studies.recipes import Recipe, RunSpec
from eqviz.studies.run_folders import Run, read_run
from eqviz.studies.run_writing import RunWriter, open_run
from eqviz.studies.streams import own_randomness, stream_seed
from eqviz.studies.training_data import prepare
from eqviz.tables import format_size


def train_recipe(
    recipe: Recipe, folder: str | Path, *, resume: bool = False, device: str = "auto", devices: int = 1,
    workers: int = 0, jobs: int = 1, progress: OnProgress = silent,
) -> tuple[Run, ...]:  # fmt: skip
    """Train every run of `recipe` into its own folder in `folder`, and return the runs.

    A run that is finished is skipped. One that was interrupted goes on after its last complete epoch if `resume`, and
    on the CPU ends with the very weights of an uninterrupted run (with the same number of threads). `device` is auto,
    cpu, cuda, cuda:N or mps; `devices` of the kind share every batch, in processes of their own. `workers` processes a
    device read the pictures of data sets that memory cannot hold. With `jobs` above 1 that many runs train at once, in
    processes of their own; `progress` then hears of whole runs only. Weights, shuffling, dropout and augmentation
    depend on the seed of the run and the number of devices, and nothing else.

    Raises EqvizError before anything is trained for data and models that do not fit, for folders that hold something
    else, and for unfinished runs without `resume`; and when lightning is missing or a loss is no longer finite.
    """
    _lightning_loop()  # first of all: is it installed?
    if jobs < 1:
        raise EqvizError("jobs", expected="a number of at least 1", found=str(jobs), fix="give 1 or more")
    if jobs > 1 and devices > 1:
        raise EqvizError("jobs", expected="1 where several devices share a run", found=str(jobs), fix="leave one out")
    placement = Placement(device, devices, workers)
    specs = recipe.expand()
    folder = Path(folder)
    _check_folder(folder)
    _check_all(recipe, specs, folder, resume, devices)
    _make_folder(folder)
    if jobs == 1:
        for place, spec in enumerate(specs, 1):
            _train(recipe, spec, folder, placement, progress, (place, len(specs)))
    else:
        imports = offered_modules()  # which other processes have not imported
        tasks = (delayed(_train_quietly)(recipe, spec, folder, placement, imports) for spec in specs)
        with apart(jobs):
            done = Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks)
            for place, event in enumerate(done, 1):
                progress(replace(event, place=place, runs=len(specs)))
    return tuple(read_run(folder / spec.name) for spec in specs)


def _lightning_loop() -> ModuleType:
    try:
        return importlib.import_module("eqviz.studies.lightning_loop")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lightning":
            raise
        raise EqvizError(
            "training", expected="lightning", found="it is not installed", fix="install eqviz with its extra `train`"
        ) from None


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise EqvizError(str(folder), expected="a folder, new or old", found="a file", fix="choose another folder")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EqvizError(
            str(folder), expected="a folder that can be made", found=error.strerror or str(error),
            fix="choose another folder",
        ) from None  # fmt: skip


def _check_all(recipe: Recipe, specs: tuple[RunSpec, ...], folder: Path, resume: bool, devices: int) -> None:
    """Everything that could stop a later run, before the first one starts: data, models, folders."""
    checked: dict[object, TrainingData] = {}
    for spec in specs:
        if spec.seed == recipe.seeds[0]:
            needed = (spec.data, spec.variant.normalisation, spec.input_size)
            if needed not in checked:
                checked = {needed: prepare(spec)}  # one data set in memory at a time
            _check_model(spec, checked[needed])
            _check_shares(spec, checked[needed], devices)
        open_run(spec, folder / spec.name, resume=resume)


def _arguments(spec: RunSpec, data: TrainingData) -> dict[str, Any]:
    return {"in_channels": data.image_shape[0], "classes": data.classes, **spec.arguments}


def _check_model(spec: RunSpec, data: TrainingData) -> None:
    """One forward pass on the meta device, which has shapes but no numbers."""
    about = f"{spec.model} on {format_size(spec.input_size)} pixels"
    with torch.device("meta"):
        model = build_model(spec.model, **_arguments(spec, data)).eval()
        images = torch.empty(2, *data.image_shape)
        try:
            found = tuple(model(images).shape)
        except (RuntimeError, ValueError, NotImplementedError) as error:
            if isinstance(error, EqvizError):
                raise
            raise EqvizError(
                about, expected="an input the network can take", found=str(error).split("\n")[0][:200],
                fix="choose a larger input size",
            ) from error  # fmt: skip
    if found != (2, data.classes):
        raise EqvizError(
            about, expected=f"scores of shape (2, {data.classes})", found=str(found), fix="check the model's arguments"
        )


def _check_shares(spec: RunSpec, data: TrainingData, devices: int) -> None:
    """Several devices need two images each of every batch: batch norm cannot learn from one."""
    held = min(spec.training.batch_size, data.count)
    if devices > 1 and held < 2 * devices:
        raise EqvizError(
            "devices", expected=f"batches of {2 * devices} images or more, two for each of {devices} devices",
            found=f"{held} in run {spec.name}", fix="lower the number of devices or raise batch_size",
        )  # fmt: skip


def _train_quietly(
    recipe: Recipe, spec: RunSpec, folder: Path, placement: Placement, imports: Sequence[str]
) -> Progress:
    import_modules(imports)
    events: list[Progress] = []
    _train(recipe, spec, folder, placement, events.append, (1, 1))
    return events[-1]


def _train(
    recipe: Recipe, spec: RunSpec, folder: Path, placement: Placement, progress: OnProgress, count: tuple[int, int]
) -> None:
    """One run, from where it stands to its end."""
    path, epochs, started = folder / spec.name, spec.training.epochs, time.perf_counter()

    def tell(kind: str, epoch: int, accuracy: float | None = None, seconds: float | None = None) -> None:
        progress(Progress(kind, spec.name, *count, epoch, epochs, accuracy, seconds))

    standing = open_run(spec, path, resume=True)
    if standing == "finished":
        tell("skipped", epochs)
        return
    data = prepare(spec, placement.workers)
    with own_randomness():
        torch.manual_seed(stream_seed(spec.seed, "weights"))
        network = build_model(spec.model, **_arguments(spec, data))
    writer = RunWriter(recipe, spec, path, data, _arguments(spec, data))
    loop = _lightning_loop()
    state = writer.start(network, lambda: loop.accuracy(network, data, spec.training.batch_size))
    tell("resumed" if state else "started", writer.done)

    def after_epoch(result: Any, optimisation: dict[str, Any]) -> None:
        writer.after_epoch(network, result, optimisation)
        tell("epoch", result.epoch, result.test_accuracy, result.seconds)

    if writer.done < epochs:
        _fit(loop, network, data, spec, placement, writer.done, state, after_epoch)
    writer.finish()
    reached = float(read_run(path).metrics()["test_accuracy"].iloc[-1])  # written by whichever process trained
    tell("finished", epochs, reached, time.perf_counter() - started)


def _fit(
    loop: ModuleType, network: nn.Module, data: TrainingData, spec: RunSpec, placement: Placement, done: int,
    state: Any, after_epoch: Any,
) -> None:  # fmt: skip
    try:
        loop.fit(
            network,
            data,
            spec.training,
            seed=spec.seed,
            placement=placement,
            done=done,
            state=state,
            after_epoch=after_epoch,
        )
    except EqvizError as error:
        raise EqvizError(
            f"run {spec.name}: {error.about}", expected=error.expected, found=error.found, fix=error.fix
        ) from error
