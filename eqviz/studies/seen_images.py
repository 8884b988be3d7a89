"""The images that a network saw in training, turned as its regime turned them: what its data look like."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from eqviz.data.registry import load_images
from eqviz.fields.grid_action import rotate_each
from eqviz.studies.augmentation import flip_randomly, turn_by_quarters, turn_uniformly
from eqviz.studies.run_folders import Run
from eqviz.studies.settings import TrainingSettings
from eqviz.studies.streams import stream

_STREAM = "images seen"


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Normalised training images after their augmentation, one draw of it each; `fingerprint` is that of the source."""

    images: Float[Tensor, "n channel height width"]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    fingerprint: str


def seen_images(run: Run, limit: int) -> SeenImages:
    """At most `limit` training images of a run as it saw them: upright, or turned by draws from its regime.

    A regime that turns whole batches by one angle shows, over training, every image at angles of that distribution;
    here each image has an angle of its own. Random draws do not depend on the seed of the run, so runs that share data
    and regime share these images. Raises EqvizError for data that cannot be read.
    """
    data = run.data
    count = limit if data.train_limit is None else min(limit, data.train_limit)
    root = None if data.root is None else Path(data.root).expanduser()
    loaded = load_images(
        data.source, data.train_split, size=run.input_size, limit=count, seed=data.seed, root=root,
        channels=data.channels, labels=data.labels,
    )  # fmt: skip
    images = torch.from_numpy(loaded.images)
    training = run.training
    if training is not None and training.rotation.kind == "uniform":
        images = turn_uniformly(images, stream(0, _STREAM))
    normalised = run.normalisation.apply(images)
    if training is not None:
        normalised = _turned(normalised, training)
    return SeenImages(normalised, loaded.labels, tuple(loaded.classes), loaded.fingerprint())


def _turned(images: Tensor, training: TrainingSettings) -> Tensor:
    """What training does to normalised images, each by a draw of its own."""
    turned = flip_randomly(images, stream(0, _STREAM, 2)) if training.mirror else images
    if training.rotation.kind == "normal":
        draws = torch.randn(len(images), generator=stream(0, _STREAM), dtype=torch.float64)
        turned = rotate_each(turned, training.rotation.mean + training.rotation.std * draws)
    if training.quarter_turns:
        turned = turn_by_quarters(turned, stream(0, _STREAM, 1))
    return turned
