"""The five experiments of the paper, and the figures that show what came of them here."""

import math

from entries import Entry, Experiment, with_published
from reading import fullest, on_several

LN2 = math.log(2)
"""Cross entropy of guessing one of two."""

LEARNED = Experiment(
    "01_learned_unequivariance",
    "One group convolution learns to break its own symmetry",
    "Can a single P4 convolution tell a picture from its rotated copy, which no exactly equivariant one can?",
    "A lifting convolution (kernel 3, stride 2, padding 1), the mean over space, the maximum over the group axis and a "
    "linear layer, trained to tell a picture from its moved copy. At 33 pixels the stride maps the sampling grid to "
    "itself, at 32 it does not. The copy is rotated (P4), mirrored or transposed (P4M).",
    (
        Entry(
            "learning_curves", "learning_curves", "Loss and accuracy over training",
            "A step an epoch. At 33 pixels the loss never falls below ln 2, the loss of guessing; at 32 the rotated "
            "and the mirrored copy are learned. The transposed one is not: the reflection across the main diagonal "
            "survives a misfitting stride.", every_epoch=True,
            options={"chance_loss": LN2, "measures": ("train_loss", "train_accuracy")},
        ),
        Entry(
            "features_over_training", "feature_maps", "The filter and its maps over training: a rotated copy",
            "The filter, the map of the picture f(x), that of the rotated copy turned back, and their difference, at "
            "saved steps of the first seed. At 33 pixels the difference is blank throughout.",
            where="data == 'rotated-pair'", every_epoch=True, lettered=False,
        ),
        Entry(
            "features_over_training_mirrored", "feature_maps", "The same for a mirrored copy (P4M)",
            "The filter, the map of the picture, that of the mirrored copy moved back, and their difference.",
            plot="features_over_training", where="data == 'mirrored-pair'", every_epoch=True, lettered=False,
        ),
    ),
    "make results-01",
)  # fmt: skip

ROTATION = Experiment(
    "02_mnist_rotation",
    "MNIST over rotation",
    "What does one pixel of input size do to a network trained on upright, turned or rotated digits?",
    "P4 CNNs at 28 (exact), 27 and 29 pixels (approximate) and a plain CNN, trained on digits that are upright, turned "
    "by batches about 45 degrees (N(45, 20), N(45, 40)), or each turned by any angle; tested every 10 degrees. The "
    "preset `quick` trains on fewer digits than the paper (3,000, not 8,000) and for fewer epochs, in as many steps: "
    "at angles that were trained most of our means lie below the published ones.",
    (
        Entry(
            "accuracy_by_regime", "accuracy_summary", "Accuracy over rotation, regime by regime",
            "Large markers are quarter turns; the pale areas are the training angles. Behind our lines stand the "
            "published means with their 95% intervals.", also=("published_comparison",), draw=with_published,
            where="not reflected", lettered=False,
        ),
        Entry(
            "accuracy_by_regime_polar", "accuracy_summary", "The same around the circle",
            "Upright at the top, counter-clockwise.", also=("published_comparison",), draw=with_published,
            where="not reflected", lettered=False,
        ),
        Entry(
            "accuracy_overview", "accuracy_overview", "Accuracy upright and rotated, trained upright",
            "The exact network has one number at the four quarter turns.", where="regime == 'upright'",
            lettered=False,
        ),
        Entry(
            "breaking_by_layer", "equivariance_summary", "Breaking by layer, trained upright",
            "Where a curve leaves the grey area of float32 rounding, the symmetry breaks.",
            layers=True, where="regime == 'upright'",
        ),
        Entry(
            "isotypic_spectrum", "spectrum_summary", "In which way each layer breaks, trained upright",
            "The broken energy by irrep: B is what half a turn leaves alone, E what it does not.", layers=True,
            where="regime == 'upright'",
        ),
        Entry(
            "breaking_by_layer_uniform", "equivariance_summary", "Breaking by layer, trained on uniform rotations",
            "The same architectures, trained on digits turned by any angle.", plot="breaking_by_layer", layers=True,
            where="regime == 'uniform'",
        ),
        Entry(
            "patching", "patching_summary", "Does the decision rest on the broken part, trained upright",
            "Accuracy when one layer gives out its symmetric component alone (above), and when its breaking component "
            "is scaled by s (below).", where="regime == 'upright'",
        ),
        Entry(
            "probe_accuracy", "probes_summary", "What a linear probe reads, trained upright",
            "The quarter turn that moved the digit (above) and its class (below), from aligned features. On an exact "
            "layer the turn cannot be read.", where="regime == 'upright'",
        ),
        Entry(
            "symmetry_match", "symmetry_match", "Symmetry of the data and of the networks, all regimes",
            "Breaking at the output of every run beside the symmetry of the digits as its regime turned them.",
        ),
        Entry(
            "learning_curves", "learning_curves", "Loss and accuracy over training",
            "Test accuracy is of upright digits.", every_epoch=True,
        ),
    ),
    "make results-02 DATA=folder",
)  # fmt: skip

STAGES = Experiment(
    "03_equivariance_error_by_stage",
    "Equivariance error by stage",
    "Where in a deep network does one pixel break the symmetry, and what does training make of it?",
    "Pre-activation P4-ResNet44 (three stages of seven blocks; the stages 2 and 3 begin with a stride) with the "
    "maximum over the group axis as its head, on stained blood cells split by the picture they were cut from. The "
    "paper used PatchCamelyon at 96 and 97 pixels: its recipe and loader are there, its data were not.",
    (
        Entry(
            "error_by_stage", "stage_errors_summary", "Error after every stage",
            "The paper's L1 on the scale of each stage's activations, and measures that know no scale; trained "
            "networks, their untrained twins, with and without everything outside the inscribed disc hidden.",
            every_epoch=True,
        ),
        Entry(
            "stage_error_over_training", "stage_errors_summary", "Error after every stage over training",
            "Epoch 0 is the untrained network.", every_epoch=True,
        ),
        Entry(
            "breaking_by_layer", "equivariance_summary", "Breaking by layer",
            "Where a curve leaves the grey area of float32 rounding, the symmetry breaks.", layers=True,
        ),
        Entry(
            "accuracy_overview", "accuracy_overview", "Balanced accuracy upright and rotated",
            "The mean of the accuracies of the three classes. Cells have no upright orientation.",
            lettered=False,
        ),
        Entry(
            "learning_curves", "learning_curves", "Loss and accuracy over training",
            "After every epoch; these accuracies are not balanced over the classes.",
            every_epoch=True,
        ),
    ),
    "make results-03 DATA=folder",
)  # fmt: skip

BENCHMARKS = Experiment(
    "04_benchmarks",
    "Benchmarks",
    "Do approximately equivariant networks match or beat exact ones where the data are upright?",
    "ResNets over the plane (Z2), quarter turns (P4) and quarter turns with reflections (P4M) at exact and misfitting "
    "sizes, with the maximum over the group axis or the whole axis (flat head) for the classifier, with and without "
    "quarter turns in training, on fewer images, and with separable filters. The preset `quick` trains ResNet8 on at "
    "most 1,000 images for 10 epochs: enough for Fashion-MNIST, too little for CIFAR-10 with the maximum over the "
    "group axis, where it cannot tell the sizes apart.",
    (
        Entry(
            "benchmarks", "benchmarks", "Accuracy upright and rotated", "One panel a data set and training regime; "
            "rotated is the mean over the four quarter turns.", choose=fullest,
        ),
        Entry(
            "accuracy_by_training_images", "accuracy_by_images", "What more training images bring",
            "Accuracy upright and rotated over the number of training images.",
            where="regime == 'upright'", choose=on_several,
        ),
        Entry(
            "learning_curves", "learning_curves", "Loss and accuracy over training on CIFAR-10", "After every epoch.",
            every_epoch=True, choose=fullest, where="data == 'cifar10' and not regime.str.contains('turns') and "
            "not model.str.contains('flatten|separable=g')",
        ),
    ),
    "make results-04 DATA=folder",
)  # fmt: skip

IMAGENET = Experiment(
    "05_imagenet",
    "ImageNet, from end to end on generated pictures",
    "Does the same path, from recipe to gallery, go for ImageNet?",
    "P4-ResNet18 at 224 (approximate) and 225 pixels (exact). The recipe trains it on ImageNet with several GPUs; here "
    "narrow networks went the same way on a folder of generated pictures, which shows nothing about ImageNet.",
    (
        Entry(
            "benchmarks", "benchmarks", "Accuracy upright and rotated, on generated pictures",
            "Rotated is the mean over the four quarter turns.",
        ),
        Entry(
            "breaking_by_layer", "equivariance_summary", "Breaking by layer",
            "Where a curve leaves the grey area of float32 rounding, the symmetry breaks.",
            layers=True,
        ),
    ),
    "make results-05",
)  # fmt: skip

PAPER = (LEARNED, ROTATION, STAGES, BENCHMARKS, IMAGENET)
"""In the order of the paper."""
