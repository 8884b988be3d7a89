"""Experiment 0, the demo: small networks on scikit-learn's digits, and every analysis of them."""

from entries import Entry, Experiment, sampling_grid, with_subsampling, without_networks

DEMO = Experiment(
    "00_demo",
    "The demo: every analysis on small networks",
    "What does eqviz say of networks that differ by one pixel of input size?",
    "P4 CNNs of seven layers (8 channels) at 15, 16 and 17 pixels and a plain CNN (16 channels) at 16, trained upright "
    "on 1,200 of scikit-learn's digits and tested on the other 597. The pool after layer 2 fits at 16 pixels and "
    "leaves a row and a column over at 15 and 17.",
    (
        Entry(
            "accuracy_over_rotation", "accuracy_summary", "Accuracy over the rotation of the input",
            "Large markers are quarter turns, where pixels are only permuted; between them the input is interpolated. "
            "The exact network is equally accurate at the four quarter turns, to the last digit; the others lose what "
            "they never learned to share between orientations.",
        ),
        Entry(
            "accuracy_polar", "accuracy_summary", "The same around the circle",
            "Upright at the top, counter-clockwise. A symmetric network draws a figure with four-fold symmetry.",
        ),
        Entry(
            "accuracy_overview", "accuracy_overview", "Accuracy upright and rotated",
            "An exactly invariant network has one number at the four quarter turns.", lettered=False,
        ),
        Entry(
            "sampling_grid", "audit", "Which pixels the first subsampling visits",
            "The windows of the pool on the image, on its turned copy, and the latter turned back. Where dots lie in "
            "the rings, both copies are sampled at the same places; at 15 and 17 pixels a row and a column are left "
            "over, and the turned copy is sampled elsewhere.", draw=sampling_grid, lettered=False,
        ),
        Entry(
            "exactness_by_size", "exactness", "Which input sizes are safe, as predicted",
            "Predicted for every layer with all that comes before it: exact, or approximate with a sign for the part "
            "of the symmetry that survives. Safe sizes stay pale down to the output.", layers=True,
            also=("equivariance_summary",), draw=with_subsampling,
        ),
        Entry(
            "breaking_by_layer", "equivariance_summary", "How much of each layer breaks the symmetry",
            "Breaking fraction: the energy of the aligned orbit of activations that is not shared by all its elements, "
            "over the whole energy. At the grey floor it is float32 rounding; where a curve leaves the floor, the "
            "symmetry breaks: at the pool.", layers=True,
        ),
        Entry(
            "predicted_and_measured", "verdict", "Predicted and measured",
            "Above, what the audit predicts of each layer, for trained (upper row) and fresh weights (lower row); "
            "below, the breaking fraction in float32 (hollow) and float64 (filled), one pair a seed. Rounding falls by "
            "many orders of magnitude, a real break stays.", layers=True, also=("equivariance_summary",),
            draw=with_subsampling,
        ),
        Entry(
            "isotypic_spectrum", "spectrum_summary", "In which way each layer breaks the symmetry",
            "The broken energy by irreducible representation of the group. B is what half a turn leaves alone, E what "
            "it does not. In E even the half turn is broken.", layers=True,
        ),
        Entry(
            "surviving_subgroups", "subgroups_summary", "Which part of the symmetry survives",
            "Residual of every subgroup: the energy that averaging over it would remove. A subgroup survives (marked) "
            "if that energy falls from float32 to float64 as rounding does, in every seed.", layers=True,
        ),
        Entry(
            "local_defect", "local_defect_summary", "Who breaks the symmetry",
            "Every layer alone, fed with its actual input and with that input moved (bars), beside the error of all "
            "that happened up to it (line). At 15 and 17 pixels the pool breaks and nothing else; in the plain CNN "
            "every convolution does.", also=("equivariance_summary",), draw=with_subsampling,
        ),
        Entry(
            "patching", "patching_summary", "Does the decision rest on the broken part",
            "Accuracy when one layer gives out its symmetric component alone (above), and when its breaking component "
            "is scaled by s (below): 0 takes it out, 1 is the network as it is. Rotated: mean over the other elements.",
        ),
        Entry(
            "function_split", "function_split_summary", "Symmetric and anti-symmetric part of the output",
            "The output f is the sum of its mean over the orbit, S f, and of the rest, A f: the energy of the two, and "
            "how well each classifies by itself.",
        ),
        Entry(
            "probe_accuracy", "probes_summary", "What a linear probe reads from each layer",
            "The element of the group that moved the image (above) and the class (below), read from aligned features "
            "of images that the probe has not seen. On an exact layer the element cannot be read. The grey area is "
            "what permuted labels reach.",
        ),
        Entry(
            "explanation_equivariance", "attribution_summary", "Do explanations turn with the image",
            "One minus the cosine between the attribution of g x and the moved attribution of x, by method (left) and "
            "for Grad-CAM by layer (right). Even exact networks differ where maxima of a pool are tied.",
        ),
        Entry(
            "lie_derivative_by_layer", "lie_derivative_summary", "Symmetry under infinitesimal transformations",
            "How fast the features of a moved image and the moved features come apart, relative to the features, per "
            "unit of the transformation. Being exact at the quarter turns does not help between them.",
        ),
        Entry(
            "learned_action_by_layer", "learned_action_summary", "How the group acts on the features, learned",
            "Held-out error of the best map from the features of x to those of g x, of each kind. In the exact network "
            "a permutation does it, with no error.",
        ),
        Entry(
            "orbits_in_plane", "orbit_plane", "Orbits in the plane of two principal components",
            "Aligned features of some images, of the first seed: the marker is the upright image, the outline joins "
            "its moved copies. In an exactly equivariant layer every orbit is one point.",
        ),
        Entry(
            "cka_by_layer", "cka_summary", "Similarity of the features of x and g x",
            "Linear CKA (unbiased) over images: 1 where an orthogonal map takes one to the other, as in an exact "
            "layer.",
        ),
        Entry(
            "twin_cka_by_layer", "twin_cka_summary", "Similarity to the exact twin",
            "Linear CKA between a network and the exact network of its seed, on the same images at their own sizes. "
            "Thin lines pair networks that differ in nothing but their seed.",
        ),
        Entry(
            "selectivity_by_layer", "orientation_selectivity_summary", "Orientation selectivity of the fibres",
            "How the answers of a layer to one image spread over the irreps of the group axis. This is not breaking.",
        ),
        Entry(
            "data_symmetry", "data_symmetry_summary", "How symmetric the data are",
            "How well a classifier tells training images from copies moved by the group: 0.5 where the data have the "
            "symmetry, at the dashed line (but for chance) where they have none of it.", draw=without_networks,
        ),
        Entry(
            "symmetry_match", "symmetry_match", "Symmetry of the data and of the networks",
            "Breaking at the output of every run beside the symmetry of the data that it was trained on: networks that "
            "can break their symmetry are free to match data that lack it.",
        ),
        Entry(
            "breaking_over_training", "training_summary", "Breaking over training",
            "The hollow marker at epoch 0 is the untrained network. The breaking of the output grows at 15 and 17 "
            "pixels and never leaves rounding at 16.", every_epoch=True,
        ),
    ),
    "make results-00",
)  # fmt: skip
"""The demo and its figures."""
