"""Whether a run has an accuracy at all. This is the one place that decides it."""

import torch
from torch import nn

from eqviz.analysis.accuracy import missing_scores
from eqviz.data.images import LabelledImages
from eqviz.studies.run_folders import Run

NO_ACCURACY = "no accuracy"
"""How a reason begins why something that rests on the accuracy of a run is not there."""

WITHOUT_LABELS = "its images have no labels (labels = false in its record)"

_TRIED = 2
"""Images that a network is run on to see what it gives out."""


def no_accuracy(run: Run, model: nn.Module, images: LabelledImages) -> str:
    """Why the accuracy of a run cannot be measured on these images (in units of 0 to 1), in words; "" if it can.

    Raises EqvizError if the network fails on them.
    """
    if not run.data.labels:
        return WITHOUT_LABELS
    few = run.normalisation.apply(torch.from_numpy(images.images[:_TRIED]))
    return missing_scores(model, few, len(images.classes))
