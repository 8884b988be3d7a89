"""The symmetry of the data that networks were trained on, kept in the cache."""

from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from eqviz.analysis.data_symmetry import data_symmetry
from eqviz.fields.grid_action import mask_disc
from eqviz.studies.cache import Cache, cache_key
from eqviz.studies.measuring_settings import Settings
from eqviz.studies.provenance import code_fingerprint
from eqviz.studies.run_folders import Run
from eqviz.studies.seen_images import seen_images

DATA_SYMMETRY = "data_symmetry"


def run_data_symmetry(
    run: Run, settings: Settings, cache: Cache, progress: Callable[[float], None] | None = None
) -> pd.DataFrame:
    """The table `data_symmetry` for the training images of a run, as its regime shows them; at most `limit` of them.

    Raises EqvizError for data that cannot be read.
    """
    group = settings.group or run.group
    seen = seen_images(run, settings.limit)
    training = run.training
    key = cache_key({
        "analysis": DATA_SYMMETRY, "data": seen.fingerprint, "group": group, "code": code_fingerprint(),
        "normalisation": asdict(run.normalisation), "limit": settings.limit, "mask": settings.mask,
        "turned": None if training is None else [asdict(training.rotation), training.mirror, training.quarter_turns],
    })  # fmt: skip
    known = cache.read_table(DATA_SYMMETRY, key)
    if known is not None:
        return known
    shown = mask_disc(seen.images) if settings.mask else seen.images
    found = data_symmetry(shown, seen.labels, seen.classes, group, progress=progress)
    cache.write_table(DATA_SYMMETRY, key, found)
    return found
