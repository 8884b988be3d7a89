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

    accuracy_over_rotation, accuracy_polar      accuracy_summary (and published_comparison)
    accuracy_by_regime, accuracy_by_regime_polar  the same
    accuracy_overview                           accuracy_overview
    breaking_by_layer                           equivariance_summary
    isotypic_spectrum                           spectrum_summary
    surviving_subgroups                         subgroups_summary
    exactness_by_size                           exactness
    local_defect                                local_defect_summary
    predicted_and_measured                      verdict
    data_symmetry                               data_symmetry_summary
    symmetry_match                              symmetry_match
    breaking_over_training                      training_summary
    learning_curves                             learning_curves
    features_over_training                      feature_maps
    error_by_stage                              stage_errors_summary
    stage_error_over_training                   stage_errors_summary
    benchmarks                                  benchmarks
    accuracy_by_training_images                 accuracy_by_images
    patching                                    patching_summary
    function_split                              function_split_summary
    orbits_in_plane                             orbit_plane
    cka_by_layer                                cka_summary
    twin_cka_by_layer                           twin_cka_summary
    selectivity_by_layer                        orientation_selectivity_summary
    probe_accuracy                              probes_summary
    learned_action_by_layer                     learned_action_summary
    lie_derivative_by_layer                     lie_derivative_summary
    sampling_grid                               SampledGrid arrays
    aligned_features                            an image and FeaturePanel arrays
    explanation_equivariance                    attribution_summary
    attribution_examples                        AttributionPanel arrays
    breaking_attribution                        BreakingPanel arrays

>>> sorted(REGISTRY) == __dir__()
True
"""

from importlib import import_module

REGISTRY: dict[str, str] = {
    "accuracy_by_regime": "eqviz.plots.regimes:accuracy_by_regime",
    "accuracy_by_regime_polar": "eqviz.plots.regimes:accuracy_by_regime_polar",
    "accuracy_by_training_images": "eqviz.plots.training_images:accuracy_by_training_images",
    "accuracy_over_rotation": "eqviz.plots.rotation:accuracy_over_rotation",
    "accuracy_overview": "eqviz.plots.overview:accuracy_overview",
    "accuracy_polar": "eqviz.plots.rotation:accuracy_polar",
    "aligned_features": "eqviz.plots.features:aligned_features",
    "attribution_examples": "eqviz.plots.attribution_maps:attribution_examples",
    "AttributionPanel": "eqviz.plots.attribution_maps:AttributionPanel",
    "benchmarks": "eqviz.plots.benchmark_dots:benchmarks",
    "breaking_attribution": "eqviz.plots.attribution_maps:breaking_attribution",
    "BreakingPanel": "eqviz.plots.attribution_maps:BreakingPanel",
    "explanation_equivariance": "eqviz.plots.attribution:explanation_equivariance",
    "breaking_by_layer": "eqviz.plots.layers:breaking_by_layer",
    "breaking_over_training": "eqviz.plots.training:breaking_over_training",
    "cka_by_layer": "eqviz.plots.cka:cka_by_layer",
    "data_symmetry": "eqviz.plots.symmetry_of_data:data_symmetry",
    "error_by_stage": "eqviz.plots.stages:error_by_stage",
    "exactness_by_size": "eqviz.plots.exactness:exactness_by_size",
    "FeaturePanel": "eqviz.plots.features:FeaturePanel",
    "features_over_training": "eqviz.plots.training_features:features_over_training",
    "function_split": "eqviz.plots.split:function_split",
    "isotypic_spectrum": "eqviz.plots.spectrum:isotypic_spectrum",
    "learning_curves": "eqviz.plots.curves:learning_curves",
    "lie_derivative_by_layer": "eqviz.plots.lie_derivative:lie_derivative_by_layer",
    "local_defect": "eqviz.plots.culprits:local_defect",
    "learned_action_by_layer": "eqviz.plots.learned_action:learned_action_by_layer",
    "Network": "eqviz.plots.labels:Network",
    "networks": "eqviz.plots.labels:networks",
    "patching": "eqviz.plots.patched:patching",
    "orbits_in_plane": "eqviz.plots.orbit_plane:orbits_in_plane",
    "predicted_and_measured": "eqviz.plots.predictions:predicted_and_measured",
    "probe_accuracy": "eqviz.plots.probes:probe_accuracy",
    "SampledGrid": "eqviz.plots.sampled_grid:SampledGrid",
    "sampling_grid": "eqviz.plots.sampling:sampling_grid",
    "selectivity_by_layer": "eqviz.plots.orientation_selectivity:selectivity_by_layer",
    "stage_error_over_training": "eqviz.plots.stage_training:stage_error_over_training",
    "surviving_subgroups": "eqviz.plots.subgroups:surviving_subgroups",
    "twin_cka_by_layer": "eqviz.plots.cka:twin_cka_by_layer",
    "symmetry_match": "eqviz.plots.symmetry_of_data:symmetry_match",
}
"""Public name -> "module:attribute"; loaded when first asked for."""


def __getattr__(name: str) -> object:
    if name not in REGISTRY:
        raise AttributeError(f"eqviz.plots has no {name!r}; it has {', '.join(sorted(REGISTRY))}")
    module, attribute = REGISTRY[name].split(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(REGISTRY)
