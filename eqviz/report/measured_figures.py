"""The figures of how symmetric and how accurate the networks are."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.plots.exactness import exactness_by_size
from eqviz.plots.features import FeaturePanel, aligned_features
from eqviz.plots.layeraxis import short_name
from eqviz.plots.layers import breaking_by_layer
from eqviz.plots.overview import accuracy_overview
from eqviz.plots.predictions import predicted_and_measured
from eqviz.plots.regimes import accuracy_by_regime, accuracy_by_regime_polar
from eqviz.plots.rotation import accuracy_over_rotation, accuracy_polar
from eqviz.plots.sampling import sampling_grid
from eqviz.plots.spectrum import isotypic_spectrum
from eqviz.plots.subgroups import surviving_subgroups
from eqviz.plots.theme import drawn
from eqviz.plots.training_angles import Density, density
from eqviz.report.figure_kinds import FigureKind
from eqviz.report.sampling import sampled_grids
from eqviz.report.sections import Section
from eqviz.studies.examples import Example


def _rotation(section: Section) -> Axes:
    summary, shape = section.table("accuracy_summary"), _biased(section.regime)
    return accuracy_over_rotation(summary, density=shape, networks=section.networks, published=section.published)


def _polar(section: Section) -> Axes:
    summary, shape = section.table("accuracy_summary"), _biased(section.regime)
    return accuracy_polar(summary, density=shape, networks=section.networks, published=section.published)


def _biased(regime: str) -> Density:
    """The density of training angles where it says more than the name of the regime."""
    shape = density(regime)
    return shape if isinstance(shape, tuple) else None


def _by_regime(section: Section) -> Figure:
    summary = section.table("accuracy_summary")
    return accuracy_by_regime(summary, networks=section.networks, published=section.published)


def _by_regime_polar(section: Section) -> Figure:
    summary = section.table("accuracy_summary")
    return accuracy_by_regime_polar(summary, networks=section.networks, published=section.published)


def _several_regimes(section: Section) -> bool:
    return len(section.regimes) > 1


def _overview(section: Section) -> Figure:
    return accuracy_overview(section.table("accuracy_overview"), networks=section.networks)


def _breaking(section: Section) -> Axes:
    summary = section.layers("equivariance_summary")
    return breaking_by_layer(summary[_one_kind_of_element(summary)], networks=section.networks)


def _one_kind_of_element(summary: pd.DataFrame) -> "pd.Series[bool]":
    """The rows of exact elements, or of interpolated ones where the whole group is to be seen."""
    grid = summary["grid"].astype(bool)
    return grid if grid.all() else ~grid


def _spectrum(section: Section) -> Figure:
    return isotypic_spectrum(section.layers("spectrum_summary"), networks=section.networks)


def _subgroups(section: Section) -> Figure:
    return surviving_subgroups(section.layers("subgroups_summary"), networks=section.networks)


def _sampling(section: Section) -> Figure:
    return sampling_grid(sampled_grids(section))


def _exactness(section: Section) -> Figure:
    table = section.drawn_layers("exactness")
    if table.empty:
        raise EqvizError(
            "exactness_by_size", expected="a network that can be traced", found="none",
            fix="choose other figures with --only",
        )  # fmt: skip
    return exactness_by_size(table, networks=section.networks, subsampling=section.subsampling)


def _predictions(section: Section) -> Figure:
    table = section.drawn_layers("verdict")
    return predicted_and_measured(table, networks=section.networks, subsampling=section.subsampling)


def _features(section: Section) -> Figure:
    if group(section.group).order == 1:
        raise EqvizError(
            "aligned_features", expected="a group with an element that moves the image", found=section.group,
            fix="choose another --group, or other figures with --only",
        )  # fmt: skip
    examples = section.examples(feature_layer(section))
    panels = [_panel(section, example) for example in examples]
    title = f"layer {short_name(examples[0].layer)}, T: {examples[0].element}"
    return aligned_features(examples[0].image, panels, title=title)


def _panel(section: Section, example: Example) -> FeaturePanel:
    return FeaturePanel(drawn(section.label(example.run)), example.feature, example.aligned, example.relative_error)


def feature_layer(section: Section) -> str:
    """The layer to look at: the first that subsamples in every network, or else the last convolution they share."""
    rows = section.layers("equivariance_summary")
    by_network = [set(part["layer"]) for _, part in rows.groupby(["model", "input_size"])]
    shared = rows[rows["layer"].isin(set.intersection(*by_network))].sort_values("depth")
    coarser = shared[shared["subsamples"].astype(bool)]
    maps = shared[shared["kind"].isin(["convolution", "block"])]
    for candidates, place in ((coarser, 0), (maps, -1)):
        if len(candidates):
            return str(candidates["layer"].iloc[place])
    raise EqvizError(
        "aligned_features", expected="a convolution or pool that all networks have", found="none",
        fix="follow more layers with --layers, or choose other figures with --only",
    )  # fmt: skip


MEASURED_FIGURES: dict[str, FigureKind] = {
    "accuracy_overview": FigureKind(
        _overview,
        "Accuracy upright and rotated",
        "An exactly invariant network has one number at the four quarter turns; what an approximate one loses there it "
        "never learned to share between orientations.",
    ),
    "accuracy_over_rotation": FigureKind(
        _rotation,
        "Accuracy over the rotation of the input",
        "Large markers are quarter turns, where pixels are only permuted; between them the input is interpolated.",
    ),
    "accuracy_polar": FigureKind(
        _polar,
        "Accuracy over the rotation of the input, polar",
        "The same numbers around the circle: upright at the top, counter-clockwise. A symmetric network draws a figure "
        "with four-fold symmetry.",
    ),
    "accuracy_by_regime": FigureKind(
        _by_regime,
        "Accuracy over rotation, by training regime",
        "The same networks, trained at other angles: the pale area in each panel is the density of the angles by which "
        "its training images were turned. A network that is not exactly equivariant is good near these and worse on "
        "the opposite side.",
        over=("regime",),
        applies=_several_regimes,
    ),
    "accuracy_by_regime_polar": FigureKind(
        _by_regime_polar,
        "Accuracy over rotation, by training regime, polar",
        "The same numbers around the circle; the density of training angles grows from the centre.",
        over=("regime",),
        applies=_several_regimes,
    ),
    "sampling_grid": FigureKind(
        _sampling,
        "Which pixels the first subsampling visits",
        "The windows of the first strided operation on the image, on its moved copy, and the latter moved back. Where "
        "dots lie in the rings, both copies are sampled at the same places and the symmetry is kept; where rows or "
        "columns are left over they are cut off at one end, and the moved copy is sampled elsewhere.",
    ),
    "exactness_by_size": FigureKind(
        _exactness,
        "Which input sizes are safe",
        "Predicted for every layer with all that comes before it: exact, or approximate with a sign for the part of "
        "the symmetry that survives. Safe sizes are those that stay pale down to the output.",
    ),
    "breaking_by_layer": FigureKind(
        _breaking,
        "How much of each layer breaks the symmetry",
        "Breaking fraction: the energy of the aligned orbit of activations that is not shared by all its elements, "
        "over the whole energy. At the grey floor it is float32 rounding; where a curve leaves the floor, the symmetry "
        "breaks.",
    ),
    "predicted_and_measured": FigureKind(
        _predictions,
        "Predicted and measured",
        "Above, what the audit predicts of each layer, for trained (upper row) and fresh weights (lower row); below, "
        "the breaking fraction in float32 (hollow) and float64 (filled), one pair a seed. Rounding falls by many "
        "orders of magnitude, a real break stays. The untrained twins show what the architecture can break, the "
        "trained networks what training made of it. A red cross marks a layer in which prediction and measurement "
        "disagree.",
    ),
    "isotypic_spectrum": FigureKind(
        _spectrum,
        "In which way each layer breaks the symmetry",
        "The broken energy, split by irreducible representation of the group.",
    ),
    "surviving_subgroups": FigureKind(
        _subgroups,
        "Which part of the symmetry survives in each layer",
        "Residual of every subgroup: the energy that averaging over it would remove. A subgroup survives (marked) if "
        "that energy falls from float32 to float64 as rounding does, in every seed.",
    ),
    "aligned_features": FigureKind(
        _features,
        "One layer on an image and on its moved copy",
        "x, a feature map f(x), the map of the moved image moved back, and their difference on the same colours: blank "
        "where the layer is equivariant. Shown is the channel with the most energy, of the first seed; the error is "
        "that of the whole layer on this image.",
    ),
}
