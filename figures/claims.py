"""The claims of the paper, what is checked of each, and what is left out here."""

from collections.abc import Callable
from dataclasses import dataclass

from checks import (
    Finding,
    approximate_networks_lose_what_they_did_not_see,
    approximate_networks_match_upright,
    approximate_p4_loses_on_benchmarks,
    approximate_p4_matches_on_benchmarks,
    approximate_p4m_loses_on_benchmarks,
    approximate_p4m_matches_on_benchmarks,
    enough_digits_and_seeds,
    exact_networks_do_not_lose,
    mirrored_copy_is_learned,
    mirrored_copy_is_not_learned_by_the_exact_twin,
    narrow_rotations_are_matched,
    one_pixel_decides_in_a_deep_network,
    one_pixel_decides_on_mnist,
    rotated_copy_is_learned,
    rotated_copy_is_not_learned_by_the_exact_twin,
    the_difference_is_significant,
    transposed_copy_is_never_learned,
    uniform_rotations_make_them_alike,
    wide_rotations_are_matched,
)
from reading import Results

Check = tuple[str, Callable[[Results], Finding]]
"""The experiment that is looked at, and how."""

LEARNED, ROTATION, STAGES, BENCHMARKS = (
    "01_learned_unequivariance", "02_mnist_rotation", "03_equivariance_error_by_stage", "04_benchmarks",
)  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, what is checked of it, and what was left out here."""

    name: str
    text: str
    checks: tuple[Check, ...]
    left: str


CLAIMS = (
    Claim(
        "C1",
        "A group convolution with subsampling can learn to break its equivariance.",
        ((LEARNED, rotated_copy_is_learned), (LEARNED, rotated_copy_is_not_learned_by_the_exact_twin)),
        "other pictures than the one drawn for it.",
    ),
    Claim(
        "C2",
        "One pixel of input size turns common architectures from exactly into approximately equivariant.",
        ((ROTATION, one_pixel_decides_on_mnist), (STAGES, one_pixel_decides_in_a_deep_network)),
        "PatchCamelyon, for which recipe and loader are there.",
    ),
    Claim(
        "C3",
        "Approximately equivariant networks generalise significantly worse to symmetries not seen in training.",
        (
            (ROTATION, enough_digits_and_seeds),
            (ROTATION, exact_networks_do_not_lose),
            (ROTATION, approximate_networks_lose_what_they_did_not_see),
            (ROTATION, the_difference_is_significant),
            (BENCHMARKS, approximate_p4_loses_on_benchmarks),
        ),
        "CIFAR-100, Flowers-102 and ImageNet, for which recipes and loaders are there.",
    ),
    Claim(
        "C4",
        "Where the data have less symmetry than the network, approximately equivariant networks relax their "
        "constraint and match or beat exact ones.",
        (
            (ROTATION, approximate_networks_match_upright),
            (ROTATION, uniform_rotations_make_them_alike),
            (ROTATION, narrow_rotations_are_matched),
            (ROTATION, wide_rotations_are_matched),
            (BENCHMARKS, approximate_p4_matches_on_benchmarks),
        ),
        "the full protocol of the benchmarks (ResNet44, 200 epochs), and ImageNet.",
    ),
    Claim(
        "C5",
        "All this for rotations (P4) and for rotations with reflections (P4M).",
        (
            (LEARNED, mirrored_copy_is_learned),
            (LEARNED, mirrored_copy_is_not_learned_by_the_exact_twin),
            (LEARNED, transposed_copy_is_never_learned),
            (BENCHMARKS, approximate_p4m_loses_on_benchmarks),
            (BENCHMARKS, approximate_p4m_matches_on_benchmarks),
        ),
        "P4M on MNIST over rotation and by stage, as in the paper.",
    ),
)
"""In the order of the paper."""
