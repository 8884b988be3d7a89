"""The sampling grids of a report, over the first test image of a run."""

import numpy as np

from eqviz.plots.audited_sampling import Picture, audited_grids
from eqviz.plots.sampled_grid import SampledGrid
from eqviz.report.sections import Section
from eqviz.studies.measuring import test_images


def sampled_grids(section: Section) -> list[SampledGrid]:
    """One grid for each different operation and input size among the networks of a section; see `audited_grids`."""

    def picture(run: str) -> Picture:
        """The first test image of a run, its channels averaged."""
        runs = section.tables.runs
        (found,) = [one for one in runs if one.name == run]
        return np.asarray(test_images(found, runs.settings).images[0].mean(axis=0), dtype=np.float64)

    return audited_grids(section.predicted("audit"), section.networks, section.group, picture)
