"""The figures of benchmarks and of the error after every stage."""

import pandas as pd
from matplotlib.figure import Figure

from eqviz.plots.benchmark_dots import benchmarks
from eqviz.plots.stage_training import stage_error_over_training
from eqviz.plots.stages import error_by_stage
from eqviz.plots.training_images import accuracy_by_training_images
from eqviz.report.figure_kinds import FigureKind
from eqviz.report.figures_in_depth import DATA
from eqviz.report.sections import Section
from eqviz.tables import MODEL_KEYS

_STAGES = ("stage_errors_summary", "stage_errors")


def _by_stage(section: Section) -> Figure:
    return error_by_stage(section.in_depth(_STAGES[0], every_epoch=True), networks=section.networks)


def _over_training(section: Section) -> Figure:
    return stage_error_over_training(section.in_depth(_STAGES[0], every_epoch=True), networks=section.networks)


def _several_epochs(section: Section) -> bool:
    return section.in_depth(_STAGES[0], every_epoch=True)["epoch"].unique().size > 1


def _benchmarks(section: Section) -> Figure:
    return benchmarks(section.table("benchmarks"), networks=section.networks)


def _images(section: Section) -> pd.DataFrame:
    """The table `accuracy_by_images` under the group of a section, every network at its last epoch."""
    rows = section.tables["accuracy_by_images"]
    mine = rows[rows["group"] == section.group]
    alike = [*(key for key in MODEL_KEYS if key != "epoch"), "train_images"]
    last = mine.groupby(alike, dropna=False)["epoch"].transform("max")
    return mine[mine["epoch"] == last].reset_index(drop=True)


def _by_images(section: Section) -> Figure:
    return accuracy_by_training_images(_images(section), networks=section.networks)


def _several_numbers(section: Section) -> bool:
    counts = _images(section).groupby(["data", "regime"])["train_images"].nunique()
    return bool((counts > 1).any())


BENCHMARK_FIGURES: dict[str, FigureKind] = {
    "benchmarks": FigureKind(
        _benchmarks,
        "Benchmarks",
        "Accuracy on upright images (filled) and its mean over the four quarter turns (open), in one panel for every "
        "data set and way of turning the training images. The line between the two is what turning costs; an exactly "
        "invariant network has none. Networks measured exact are in bold.",
        over=("data", "regime", "group"),
    ),
    "accuracy_by_training_images": FigureKind(
        _by_images,
        "Accuracy by the number of training images",
        "Symmetry that is built in need not be learned: what it is worth shows where training images are few.",
        chapter=DATA,
        over=("data", "regime"),
        applies=_several_numbers,
    ),
    "error_by_stage": FigureKind(
        _by_stage,
        "Error after every stage",
        "On the left the published measure, the mean absolute difference between the features of the moved image, "
        "moved back, and those of the image, summed over the elements of the group other than the identity: it grows "
        "with the activations. The relative error and the breaking fraction do not. Solid lines: trained networks; "
        "dashed: untrained (epoch 0). In the lower row everything outside the inscribed disc of the image is hidden, "
        "in the upper row nothing is.",
        _STAGES,
    ),
    "stage_error_over_training": FigureKind(
        _over_training,
        "Error after every stage over training",
        "Relative error of whole images at every saved epoch. The hollow marker at epoch 0 is the untrained network: "
        "what its architecture breaks before anything is learned.",
        _STAGES,
        DATA,
        applies=_several_epochs,
    ),
}
