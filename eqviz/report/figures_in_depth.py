"""The figures of the analyses in depth: who breaks the symmetry, and what that means for the network."""

import math
from collections.abc import Callable

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.plots.attribution import explanation_equivariance
from eqviz.plots.attribution_maps import AttributionPanel, BreakingPanel, attribution_examples, breaking_attribution
from eqviz.plots.cka import cka_by_layer, twin_cka_by_layer
from eqviz.plots.culprits import local_defect
from eqviz.plots.curves import learning_curves
from eqviz.plots.layeraxis import short_name
from eqviz.plots.learned_action import learned_action_by_layer
from eqviz.plots.lie_derivative import lie_derivative_by_layer
from eqviz.plots.orbit_plane import orbits_in_plane
from eqviz.plots.orientation_selectivity import selectivity_by_layer
from eqviz.plots.patched import patching
from eqviz.plots.probes import probe_accuracy
from eqviz.plots.split import function_split
from eqviz.plots.symmetry_of_data import data_symmetry, symmetry_match
from eqviz.plots.theme import drawn
from eqviz.plots.training import breaking_over_training
from eqviz.plots.training_features import MOST_BLOCKS, features_over_training
from eqviz.report.figure_kinds import FIRST, FigureKind
from eqviz.report.sections import Section
from eqviz.studies.explained import breaking_example, explained_example

CAUSES = "Who breaks it, and does the network use it"
EXPLANATIONS = "What explanations do"
CONTINUOUS = "Small transformations, learned actions, geometry"
DATA = "Data and training"
CHAPTERS = (FIRST, CAUSES, EXPLANATIONS, CONTINUOUS, DATA)
"""In the order in which a page has them."""

_SHOWN = 3
"""Test images whose breaking is drawn as maps."""


def _of(plot: Callable[..., Axes | Figure], table: str) -> Callable[[Section], Axes | Figure]:
    """A figure of all networks of a section from one table."""
    return lambda section: plot(section.in_depth(table), networks=section.networks)


def _local_defect(section: Section) -> Figure:
    table = section.in_depth("local_defect_summary")
    return local_defect(table, networks=section.networks, subsampling=section.subsampling)


def _explained(section: Section) -> Figure:
    panels = []
    for run, epoch in section.first_runs():
        found = explained_example(run, epoch, section.settings)
        name = drawn(section.label(run.name))
        panels.append(AttributionPanel(name, found.image, found.upright, found.moved_back, found.cosine, found.element))
    return attribution_examples(panels)


def _breaking(section: Section) -> Figure:
    panels = []
    for run, epoch in section.first_runs():
        layer = section.culprit(run)
        found = breaking_example(run, epoch, section.settings, layer, _SHOWN)
        title = f"{drawn(section.label(run.name))}, {'output' if layer == '(output)' else short_name(layer)}"
        panels.append(BreakingPanel(title, found.images, found.maps, found.breaking.tolist(), found.rounding))
    return breaking_attribution(panels)


def _data_symmetry(section: Section) -> Figure:
    return data_symmetry(section.in_depth("data_symmetry_summary"))


def _symmetry_match(section: Section) -> Axes:
    return symmetry_match(section.in_depth("symmetry_match"), networks=section.networks)


def _curves(section: Section) -> Figure:
    table = section.in_depth("learning_curves", every_epoch=True)
    classes = section.table("accuracy_classes")["label"].nunique()
    return learning_curves(table, networks=section.networks, chance_loss=math.log(classes))


def _features(section: Section) -> Figure:
    table = section.in_depth("feature_maps", every_epoch=True)
    held = [network for network in section.networks if len(network.rows(table))][:MOST_BLOCKS]
    return features_over_training(pd.concat([network.rows(table) for network in held]), networks=held)


def _several_epochs(section: Section) -> bool:
    return any(len(run.epochs) > 1 for run, _ in section.first_runs())


def _training(section: Section) -> Figure:
    return breaking_over_training(section.in_depth("training_summary", every_epoch=True), networks=section.networks)


IN_DEPTH_FIGURES: dict[str, FigureKind] = {
    "local_defect": FigureKind(
        _local_defect,
        "Who breaks the symmetry",
        "Every layer alone, fed with its actual input and with that input moved (bars), beside the error of all that "
        "happened up to it (line), relative to the layer's output. An exact layer has no defect of its own, however "
        "broken its input is; the first culprit is named.",
        ("local_defect_summary", "local_defect"),
        CAUSES,
    ),
    "patching": FigureKind(
        _of(patching, "patching_summary"),
        "Does the decision rest on the broken part",
        "Accuracy when one layer gives out its symmetric component alone (above), and when its breaking component is "
        "scaled by s (below): 0 takes it out, 1 is the network as it is. At the output, s = 0 averages the scores over "
        "the orbit. Rotated: mean over the other elements of the group.",
        ("patching_summary", "patching"),
        CAUSES,
    ),
    "function_split": FigureKind(
        _of(function_split, "function_split_summary"),
        "Symmetric and anti-symmetric part of the output",
        "The output f is the sum of its mean over the orbit, S f, and of the rest, A f. Energy of the two over the "
        "orbit, and how well each classifies by itself.",
        ("function_split_summary", "function_split"),
        CAUSES,
    ),
    "probe_accuracy": FigureKind(
        _of(probe_accuracy, "probes_summary"),
        "What a linear probe reads from each layer",
        "The element of the group that moved the image (above) and the class (below), read from aligned features of "
        "images that the probe has not seen. On an exact layer the element cannot be read; what is above chance tells "
        "of breaking. The grey area is what permuted labels reach.",
        ("probes_summary", "probes"),
        CAUSES,
    ),
    "explanation_equivariance": FigureKind(
        _of(explanation_equivariance, "attribution_summary"),
        "Do explanations turn with the image",
        "One minus the cosine between the attribution of g x and the moved attribution of x, by method (left) and for "
        "Grad-CAM by layer (right); 0 for an explanation that turns with the image. Even exact networks differ where "
        "maxima of a pool are tied: the gradient goes to the first of them.",
        ("attribution_summary", "attribution"),
        EXPLANATIONS,
    ),
    "attribution_examples": FigureKind(
        _explained,
        "One explanation, upright and moved",
        "Integrated gradients of the predicted class for a test image x and for its moved copy, moved back.",
        ("attribution",),
        EXPLANATIONS,
        images=1,
    ),
    "breaking_attribution": FigureKind(
        _breaking,
        "Which pixels break the symmetry",
        "The breaking fraction of a layer (the first culprit, or the output where there is none) attributed to the "
        "pixels of some test images by integrated gradients: red pixels raise it, blue ones lower it.",
        ("breaking_attribution", "local_defect_summary"),
        EXPLANATIONS,
        images=_SHOWN,
    ),
    "lie_derivative_by_layer": FigureKind(
        _of(lie_derivative_by_layer, "lie_derivative_summary"),
        "Symmetry under infinitesimal transformations",
        "Local equivariance error: how fast the features of a moved image and the moved features come apart, relative "
        "to the features, per unit of the transformation. The grey area is what the discrete derivative costs.",
        ("lie_derivative_summary", "lie_derivative"),
        CONTINUOUS,
    ),
    "learned_action_by_layer": FigureKind(
        _of(learned_action_by_layer, "learned_action_summary"),
        "How the group acts on the features, learned",
        "Held-out error of the best map from the features of x to those of g x, of each kind. A permutation that fits "
        "as well as a free linear map says that the layer carries a group axis, declared or not.",
        ("learned_action_summary", "learned_action"),
        CONTINUOUS,
    ),
    "orbits_in_plane": FigureKind(
        _of(orbits_in_plane, "orbit_plane"),
        "Orbits in the plane of two principal components",
        "Aligned features of some images: the marker is the upright image, the outline joins its moved copies. In an "
        "exactly equivariant layer every orbit is one point.",
        ("orbit_plane",),
        CONTINUOUS,
        images=24,
    ),
    "cka_by_layer": FigureKind(
        _of(cka_by_layer, "cka_summary"),
        "Similarity of the features of x and g x",
        "Linear CKA (unbiased) over images: 1 where an orthogonal map takes one to the other, as in an exact layer.",
        ("cka_summary", "cka"),
        CONTINUOUS,
    ),
    "twin_cka_by_layer": FigureKind(
        _of(twin_cka_by_layer, "twin_cka_summary"),
        "Similarity to the exact twin",
        "Linear CKA (unbiased) between a network and the exact network of its seed, on the same images at their own "
        "sizes. Thin lines pair networks that differ in nothing but their seed: the value to compare with.",
        ("twin_cka_summary", "twin_cka"),
        CONTINUOUS,
    ),
    "selectivity_by_layer": FigureKind(
        _of(selectivity_by_layer, "orientation_selectivity_summary"),
        "Orientation selectivity of the fibres",
        "How the answers of a layer to one image spread over the irreps of the group axis. This is not breaking: an "
        "exactly equivariant layer may be as selective as it likes.",
        ("orientation_selectivity_summary", "orientation_selectivity"),
        CONTINUOUS,
    ),
    "data_symmetry": FigureKind(
        _data_symmetry,
        "How symmetric the data are",
        "How well a classifier tells training images, as the regime shows them, from copies moved by the group: 0.5 "
        "where the data have the symmetry, at the dashed line (but for chance) where they have none of it.",
        ("data_symmetry_summary", "data_symmetry"),
        DATA,
    ),
    "symmetry_match": FigureKind(
        _symmetry_match,
        "Symmetry of the data and of the networks",
        "Breaking at the output of every run beside the symmetry of the data that it was trained on: networks that can "
        "break their symmetry are free to match data that lack it. All data and regimes of the folder are shown.",
        ("symmetry_match",),
        DATA,
        over=("data", "regime"),
    ),
    "breaking_over_training": FigureKind(
        _training,
        "Breaking over training",
        "The hollow marker at epoch 0 is the untrained network: what the architecture can break before training "
        "decides how that is used. Rotated: mean over the quarter turns other than upright. On at most 300 test "
        "images, and 32 for the breaking, unless the other tables are of all epochs too.",
        ("training_summary",),
        DATA,
    ),
    "learning_curves": FigureKind(
        _curves,
        "Loss and accuracy over training",
        "As the runs recorded them: training loss and accuracy are means over the batches of an epoch, test accuracy "
        "is of upright images after it. A network that cannot tell the classes apart ends at the dashed line; no image "
        "was run.",
        ("learning_curves",),
        DATA,
    ),
    "features_over_training": FigureKind(
        _features,
        "One layer on an image and on its moved copy, over training",
        "The first layer that subsamples: its filter where it has one, a feature map f(x), the map of the moved image "
        "moved back, and their difference, white where the layer is equivariant. Maps of features share a scale in "
        "each row, differences in the whole figure. Shown is the channel that has the most energy in the end, of at "
        "most three networks.",
        ("feature_maps",),
        DATA,
        images=1,
        applies=_several_epochs,
    ),
}
