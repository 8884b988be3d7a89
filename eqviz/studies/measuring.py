"""Measuring one run: which images, which settings, and what is taken from the cache."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from eqviz.analysis.accuracy import accuracy_tables, rotations
from eqviz.analysis.symmetry import Symmetry, measure_symmetry
from eqviz.audit.auditing import image_channels
from eqviz.data.images import CHANNELS, LabelledImages
from eqviz.data.registry import load_images
from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.fields.statistics import OrbitStatistics
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.devices import choose_device
from eqviz.studies.extensions import import_modules
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.provenance import code_fingerprint, file_fingerprint, model_fingerprints
from eqviz.studies.run_folders import Run
from eqviz.studies.scoring import no_accuracy

ACCURACY = "accuracy"
NO_ACCURACY = "no-accuracy"
"""The kind under which the reason is kept, where a network has none."""

SYMMETRY = "symmetry"
TWIN = "untrained twin"


@dataclass(frozen=True)
class Measured:
    """The measurements of one run at one epoch; `reused` says which came from the cache.

    `images` is the number of test images and `data` their fingerprint. `no_accuracy` says why there is none; then both
    tables of it are empty.
    """

    accuracy: pd.DataFrame
    accuracy_classes: pd.DataFrame
    no_accuracy: str
    symmetry: Symmetry
    images: int
    data: str
    device: str
    reused: tuple[str, ...]

    @property
    def from_cache(self) -> bool:
        """Whether nothing had to be measured."""
        return len(self.reused) == 2


@dataclass(frozen=True)
class MeasuredSymmetry:
    """The symmetry of one network without its accuracy: a run at a saved epoch, or its untrained twin."""

    symmetry: Symmetry
    from_cache: bool


def test_images(run: Run, settings: Settings) -> LabelledImages:
    """The test images of a run at its own input size, in units of 0 to 1.

    Raises EqvizError for data that cannot be read, or that have not the channels of its normalisation.
    """
    own = settings.data is None
    source = run.data.source if settings.data is None else settings.data
    root = settings.root if settings.root is not None else (run.data.root if own else None)
    split = run.data.test_split if own else "test"
    images = load_images(
        source, split, size=run.input_size, limit=settings.limit, seed=run.data.seed,
        root=None if root is None else Path(root), channels=run.data.channels, labels=run.data.labels,
    )  # fmt: skip
    found, wanted = images.images.shape[1], len(run.normalisation.mean)
    if found != wanted:
        can = {found, wanted} <= set(CHANNELS)
        raise EqvizError(
            f"run {run.name}, images of {images.name}",
            expected=f"{wanted} channel{'s' if wanted > 1 else ''}, as its normalisation has", found=str(found),
            fix=f"add channels = {wanted} to the settings of its data" if can else "show it other images",
        )  # fmt: skip
    return images


def measure_run(
    run: Run,
    epoch: int,
    settings: Settings,
    cache: Cache,
    *,
    images: LabelledImages | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Measured:
    """Accuracy, if it has any, and symmetry of one run at one saved epoch, from the cache where it has them.

    `progress` is called with what is being measured and the fraction done. Raises EqvizError for weights or data that
    cannot be used.
    """
    import_modules(settings.imports)
    tell = progress or (lambda kind, fraction: None)
    found = test_images(run, settings) if images is None else images
    device = choose_device(settings.device)
    bench = _Bench(run, epoch, settings, cache, found, device)
    try:
        symmetry, symmetry_reused = bench.symmetry(tell)  # first: it is what a wrong layer or group stops
        (accuracy, classes, reason), accuracy_reused = bench.accuracy(tell)
    except EqvizError as error:
        raise _about(run, error, bench) from error
    reused = [kind for kind, hit in ((ACCURACY, accuracy_reused), (SYMMETRY, symmetry_reused)) if hit]
    return Measured(accuracy, classes, reason, symmetry, len(found), found.fingerprint(), device, tuple(reused))


def measure_twin(
    run: Run,
    settings: Settings,
    cache: Cache,
    *,
    images: LabelledImages | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> MeasuredSymmetry:
    """Symmetry of a run's untrained twin: the same architecture on the images of :func:`measure_run`, fresh weights.

    They are those the run started from. From the cache if it is there; raises EqvizError as `measure_run` does.
    """
    return measure_symmetry_alone(run, None, settings, cache, TWIN, images=images, progress=progress)


def measure_symmetry_alone(
    run: Run,
    epoch: int | None,
    settings: Settings,
    cache: Cache,
    called: str = SYMMETRY,
    *,
    images: LabelledImages | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> MeasuredSymmetry:
    """Symmetry of one run at one saved epoch, from the cache if it is there; `epoch` None is its untrained twin.

    `progress` is told that it is `called` so. Raises EqvizError as :func:`measure_run` does.
    """
    import_modules(settings.imports)
    tell = progress or (lambda kind, fraction: None)
    found = test_images(run, settings) if images is None else images
    bench = _Bench(run, epoch, settings, cache, found, choose_device(settings.device))
    try:
        return MeasuredSymmetry(*bench.symmetry(lambda _, fraction: tell(called, fraction)))
    except EqvizError as error:
        raise _about(run, error, bench) from error


def _about(run: Run, error: EqvizError, bench: "_Bench") -> EqvizError:
    about = error.about if run.name in error.about else f"run {run.name}, {error.about}"
    fix = (bench.other_channels() or error.fix) if error.about == "model" else error.fix
    return EqvizError(about, expected=error.expected, found=error.found, fix=fix)


def corner_fill(run: Run, settings: Settings) -> float:
    """What turns in from outside a rotated picture of a run, 0 black to 1 white.

    Images of the uniform regime are turned before they are normalised, with black corners; those turned by batches
    after it, with corners of 0, the mean.
    """
    if not isinstance(settings.fill, str):
        return float(settings.fill)
    if run.training is not None and run.training.rotation.kind == "uniform":
        return 0.0
    return sum(run.normalisation.mean) / len(run.normalisation.mean)


def network_ingredients(run: Run, epoch: int | None, settings: Settings) -> dict[str, Any]:
    """What a result of a network alone depends on, for the key it is kept under; `epoch` None is the untrained twin."""
    adapter = {} if run.adapter is None else {"adapter": run.adapter.ingredients()}
    return {
        **adapter,
        "weights": {"untrained": run.seed} if epoch is None else file_fingerprint(run.weights_path(epoch)),
        "model": run.model,
        "arguments": dict(run.arguments),
        "code": code_fingerprint(),
        "own": model_fingerprints(run.model, settings.imports),
    }


class _Bench:
    """One run on one set of images; the network is built only when something has to be measured.

    `epoch` None is the untrained twin.
    """

    def __init__(
        self, run: Run, epoch: int | None, settings: Settings, cache: Cache, images: LabelledImages, device: str
    ) -> None:
        self._run, self._epoch, self._settings, self._cache = run, epoch, settings, cache
        self._images, self._device = images, device
        self._model: nn.Module | None = None
        self._common = {
            **network_ingredients(run, epoch, settings),
            "normalisation": asdict(run.normalisation),
            "data": images.fingerprint(),
            "mask": settings.mask,
            "device": device,
        }

    @property
    def _layers(self) -> str:
        """The layers asked for, and the output: the verdict on a network is that of its output."""
        return f"{self._settings.layers},{OUTPUT}"

    def model(self) -> nn.Module:
        if self._model is None:
            built = self._run.untrained() if self._epoch is None else self._run.build(self._epoch)
            self._model = built.to(self._device)
        return self._model

    def other_channels(self) -> str:
        """What to do if the network seems to take images of other channels than it is shown; "" if it does not."""
        wanted, shown = image_channels(self.model()), self._images.images.shape[1]
        if wanted == shown:
            return ""
        return f"set channels = {wanted} for its data, and a normalisation of as many channels"

    def accuracy(self, tell: Callable[[str, float], None]) -> tuple[tuple[pd.DataFrame, pd.DataFrame, str], bool]:
        """Both tables, or why there are none; and whether that came from the cache."""
        conditions, fill = rotations(self._settings.angles), corner_fill(self._run, self._settings)
        key = cache_key({**self._common, "angles": list(self._settings.angles), "fill": fill})
        tables = [self._cache.read_table(kind, key) for kind in (ACCURACY, "accuracy_classes")]
        if tables[0] is not None and tables[1] is not None:
            return (tables[0], tables[1], ""), True
        known = self._cache.read_text(NO_ACCURACY, key)
        reason = no_accuracy(self._run, self.model(), self._images) if known is None else known
        if reason:
            if known is None:
                self._cache.write_text(NO_ACCURACY, key, reason)
            return (pd.DataFrame(), pd.DataFrame(), reason), known is not None
        overall, by_class = accuracy_tables(
            self.model(), torch.from_numpy(self._images.images), self._images.labels, self._images.classes, conditions,
            normalise=self._run.normalisation.apply, mask=self._settings.mask, fill=fill,
            batch_size=self._settings.batch_size, progress=lambda done: tell(ACCURACY, done / len(conditions)),
        )  # fmt: skip
        self._cache.write_table("accuracy_classes", key, by_class)
        self._cache.write_table(ACCURACY, key, overall)
        return (overall, by_class, ""), False

    def symmetry(self, tell: Callable[[str, float], None]) -> tuple[Symmetry, bool]:
        group = self._settings.group or self._run.group
        images = self._orbit_images()
        key = cache_key(
            {
                **self._common,
                "group": group,
                "images": [len(images), self._run.data.seed],
                "layers": self._layers,
                "batch_size": self._settings.batch_size,
            }
        )
        known = _read_symmetry(self._cache.read_text(SYMMETRY, key))
        if known is not None:
            return known, True
        measured = measure_symmetry(
            self.model(), images, group, self._layers, batch_size=self._settings.batch_size,
            mask=self._settings.mask, progress=lambda done: tell(SYMMETRY, done / (2 * len(images))),
        )  # fmt: skip
        self._cache.write_text(SYMMETRY, key, _write_symmetry(measured))
        return measured, False

    def _orbit_images(self) -> Tensor:
        chosen = self._images.take(min(self._settings.orbit_images, len(self._images)), self._run.data.seed)
        return self._run.normalisation.apply(torch.from_numpy(chosen.images))


def _write_symmetry(measured: Symmetry) -> str:
    rounding = [[key.layer, key.call, value] for key, value in measured.rounding.items()]
    return json.dumps({"single": measured.single.to_json(), "double": measured.double.to_json(), "rounding": rounding})


def _read_symmetry(text: str | None) -> Symmetry | None:
    if text is None:
        return None
    try:
        content: dict[str, Any] = json.loads(text)
        rounding = {LayerCall(str(layer), int(call)): float(value) for layer, call, value in content["rounding"]}
        single, double = (OrbitStatistics.from_json(content[part]) for part in ("single", "double"))
        return Symmetry(single, double, rounding)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
