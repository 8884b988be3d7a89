"""The error after every stage of a network: at all saved epochs, with and without the disc mask on the input."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pandas as pd
from torch import nn

from eqviz.capture.layers import select_layers, stages
from eqviz.studies.cache import Cache
from eqviz.studies.measuring import MeasuredSymmetry, measure_symmetry_alone
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.run_folders import Run
from eqviz.studies.stepping import Call

STAGE_ERRORS = "stage_errors"
STAGE_IMAGES = 32
"""Test images unless told otherwise."""

MASKS = (False, True)


def stage_settings(run: Run, settings: Settings, *, mask: bool) -> Settings:
    """What to measure of a run: the stem, the stages and the output, or the layers that were asked for.

    Raises EqvizError for arguments that the model does not take.
    """
    everything = settings.layers == "*"
    layers = _stage_globs(run.architecture()) if everything else settings.layers
    return replace(settings, mask=mask, layers=layers or "*", orbit_images=settings.analysis_images or STAGE_IMAGES)


def _stage_globs(model: nn.Module) -> str:
    """The stages of a network, by globs where that can be: one that never runs is then left out and no error.

    Such are heads for training alone.
    """
    free = select_layers(model, "*")
    return ",".join(f"[{name[0]}]{name[1:]}" if name in free else name for name in stages(model))


def stage_calls(runs: Sequence[Run], settings: Settings, cache: Cache) -> list[tuple[bool, Call]]:
    """What to measure, and whether under the mask: every saved epoch of every run, under the mask and without."""
    found = []
    for run in runs:
        chosen = {mask: stage_settings(run, settings, mask=mask) for mask in MASKS}
        for epoch in run.epochs:
            for mask, own in chosen.items():
                given = (run, epoch, own, cache, STAGE_ERRORS)
                found.append((mask, Call(run, epoch, partial(measure_symmetry_alone, *given))))
    return found


def stage_rows(measured: MeasuredSymmetry, *, mask: bool) -> pd.DataFrame:
    """The rows of the table `stage_errors` without the keys of the run: exact elements of the group alone."""
    rows = measured.symmetry.equivariance()
    return rows[rows["grid"].astype(bool)].assign(mask=mask).astype({"layer": str}).reset_index(drop=True)
