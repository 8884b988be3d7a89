"""Figures: tables (pandas) and plain arrays in, matplotlib Axes and Figures out.

A function that draws one panel takes `ax=None` and returns the Axes; one that draws several panels returns the
Figure. Nothing is computed here (means, intervals and ranges come ready in the summary tables), nothing is read or
written, and pyplot's list of open figures stays as it was: save with `axes.figure.savefig(...)`, inside
`theme.theme()` so that fonts are embedded.

    from eqviz.plots.theme import theme

    shared = eqviz.plots.networks(accuracy_summary)        # the same colours in every figure
    with theme():
        axes = eqviz.plots.accuracy_over_rotation(accuracy_summary, networks=shared)
        axes.figure.savefig("rotation.pdf")

Each figure belongs to one table of `eqviz.tables.SCHEMAS`:

    accuracy_over_rotation, accuracy_polar      accuracy_summary
    accuracy_overview                           accuracy_overview
    breaking_by_layer                           equivariance_summary
    isotypic_spectrum                           spectrum_summary
    surviving_subgroups                         subgroups_summary
    exactness_by_size                           exactness
    predicted_and_measured                      verdict
    sampling_grid                               SampledGrid arrays
    aligned_features                            an image and FeaturePanel arrays

>>> sorted(REGISTRY) == __dir__()
True
"""

from importlib import import_module

REGISTRY: dict[str, str] = {
    "accuracy_over_rotation": "eqviz.plots.rotation:accuracy_over_rotation",
    "accuracy_overview": "eqviz.plots.overview:accuracy_overview",
    "accuracy_polar": "eqviz.plots.rotation:accuracy_polar",
    "aligned_features": "eqviz.plots.features:aligned_features",
    "breaking_by_layer": "eqviz.plots.layers:breaking_by_layer",
    "exactness_by_size": "eqviz.plots.exactness:exactness_by_size",
    "FeaturePanel": "eqviz.plots.features:FeaturePanel",
    "isotypic_spectrum": "eqviz.plots.spectrum:isotypic_spectrum",
    "Network": "eqviz.plots.labels:Network",
    "networks": "eqviz.plots.labels:networks",
    "predicted_and_measured": "eqviz.plots.predictions:predicted_and_measured",
    "SampledGrid": "eqviz.plots.sampled_grid:SampledGrid",
    "sampling_grid": "eqviz.plots.sampling:sampling_grid",
    "surviving_subgroups": "eqviz.plots.subgroups:surviving_subgroups",
}
"""Public name -> "module:attribute"; loaded when first asked for."""


def __getattr__(name: str) -> object:
    if name not in REGISTRY:
        raise AttributeError(f"eqviz.plots has no {name!r}; it has {', '.join(sorted(REGISTRY))}")
    module, attribute = REGISTRY[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(REGISTRY)
