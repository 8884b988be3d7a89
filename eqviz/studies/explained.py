"""Test images explained by the networks of runs: the maps that figures show."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eqviz.analysis.attribution_examples import attribution_example
from eqviz.analysis.breaking_attribution import BreakingMaps, breaking_maps
from eqviz.studies.measuring import test_images
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.subjects import Subject

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One image (channel, height, width), 0 to 1, and two attributions (height, width) in units of the class score.

    `upright` is that of x, `moved_back` that of g x moved back, `cosine` of the two, `element` g in words.
    """

    image: Array
    upright: Array
    moved_back: Array
    cosine: float
    element: str


@dataclass(frozen=True, eq=False)
class BrokenImages:
    """Images (image, channel, height, width), 0 to 1, and which of their pixels break a layer; see `BreakingMaps`."""

    images: Array
    maps: Array
    breaking: Array
    rounding: bool


def explained_example(run: Run, epoch: int, settings: Settings) -> ExplainedImage:
    """Integrated gradients of one test image x of a run and of its copy moved by the first element that moves it.

    Raises EqvizError for a group that moves nothing.
    """
    subject = Subject(run, epoch, settings, test_images(run, settings))
    chosen = subject.chosen(1)
    found = attribution_example(subject.model, subject.shown(chosen), subject.group)
    return ExplainedImage(
        chosen.images[0].astype(np.float64),
        found.upright[0],
        found.moved_back[0],
        float(found.cosine[0]),
        found.element,
    )


def breaking_example(run: Run, epoch: int, settings: Settings, layer: str, count: int) -> BrokenImages:
    """The breaking of a layer attributed to the pixels of `count` of a run's test images."""
    subject = Subject(run, epoch, settings, test_images(run, settings))
    chosen = subject.chosen(count)
    found: BreakingMaps = breaking_maps(subject.model, subject.shown(chosen), layer, subject.group)
    return BrokenImages(chosen.images.astype(np.float64), found.maps, found.breaking, found.rounding)
