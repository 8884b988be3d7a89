"""Does the data set have the symmetry of the network? How well its images are told from their transformed copies.

H. Lawrence, E. Hofgard, V. Portilheiro, Y. Chen, T. Smidt, R. Walters, "To augment or not to augment? Diagnosing
distributional symmetry breaking", arXiv 2510.01349 (2025): where no classifier tells the data from a copy in which
every image was moved by a random element of the group, the group is a symmetry of the data's distribution.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from eqviz.analysis.two_sample import Told, told_apart
from eqviz.data.images import balanced_choice
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import Element, Group
from eqviz.groups.group import group as named_group
from eqviz.tables import MODEL_KEYS, conform

CHANCE = 0.5
FEWEST = 20
"""Images (of a class) without which nothing is said: each of five folds then has four to be judged."""

FOLDS = 5
LIMIT = 1200
LARGEST_SIDE = 16
RANDOM = "random"
"""The name of the test in which every copy is moved by an element of its own."""

Integers = npt.NDArray[np.int64]


def data_symmetry(
    images: Float[Tensor, "image channel height width"] | Float[np.ndarray, "image channel height width"],
    labels: Int[np.ndarray, " label"] | Int[Tensor, " label"],
    classes: Sequence[str],
    group: str | Group = "p4",
    *,
    limit: int = LIMIT,
    seed: int = 0,
    classifier: Any = None,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `data_symmetry` without its run keys: how well the images are told from their transformed copies.

    For all images (label "") and, where there are several classes, for those of each, each time with a classifier that
    learned from these images alone. `element` says how the copies were moved: `random`, each by an element drawn
    uniformly from the group, identity included, or all of them by one element. `auc` is the chance that a copy looks
    more like a copy than another original does: 0.5 (`chance`) where the element or the group is a symmetry of the
    data. The best of all classifiers could reach `highest` (an estimate may lie a little above): 1 for one element, 1 -
    1/(2|G|) for `random`, because one copy in |G| was not moved at all, and no more than 1 - |H|/(2|G|) for data that
    have the symmetries of a subgroup H. A low value shows that this classifier cannot tell, not that none could.

    Every image is used twice, as it is and as a copy, but never apart: both are in the same of five folds, and so is
    every other image of its orbit that the data hold. To split the images in halves instead, one to be moved, would
    leave half of them to learn from. `low`, `high`: see :func:`eqviz.analysis.two_sample.told_apart`; `lowest_fold` and
    `highest_fold` are the extremes of single folds.

    `images` (as the network was trained on, on any scale) are averaged down to 16 x 16 where they are larger, which
    commutes with the group; at most `limit` are used, classes as equal as they can be. Off-grid elements are left out:
    the group is `named_group(group).exact_subgroup`. The same `seed` gives the same table. Values are missing for
    classes of fewer than 20 images. Raises EqvizError for fewer images in all, for a group with no element but the
    identity on the grid, and for images that an element changes the shape of.

    >>> bright = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    >>> bright[:, :, 0, 0] += 5
    >>> found = data_symmetry(bright, np.zeros(60, dtype=int), ["corner"], "C2").set_index(["label", "element"])
    >>> float(found.loc[("", "rotation 180"), "auc"])
    1.0
    """
    pictures, kinds = torch.as_tensor(images).cpu(), torch.as_tensor(labels).cpu().numpy().astype(np.int64)
    G = _exact(group, tuple(pictures.shape[-2:]))
    _check(len(pictures), kinds, classes)
    chosen = balanced_choice(kinds, min(limit, len(kinds)), seed)
    pictures, kinds = pictures[torch.from_numpy(chosen)], kinds[chosen]
    orbits, moved = _orbits(pictures, G), _moved(pictures, G)
    subsets = [("", np.arange(len(kinds)))]
    if len(np.unique(kinds)) > 1:
        subsets += [(classes[c], np.flatnonzero(kinds == c)) for c in np.unique(kinds)]
    rows = []
    for done, (label, members) in enumerate(subsets, start=1):
        tests = _tests(moved[:, members], orbits[members], kinds[members], G, seed, classifier)
        rows += [
            {
                "label": label, "element": element, "auc": told.auc, "low": told.low, "high": told.high,
                "interval": told.interval, "lowest_fold": told.lowest_fold, "highest_fold": told.highest_fold,
                "highest": _highest(element, G), "chance": CHANCE, "n": len(members),
            }
            for element, told in tests
        ]  # fmt: skip
        if progress is not None:
            progress(done / len(subsets))
    return pd.DataFrame(rows)


def data_symmetry_summary(data_symmetry: pd.DataFrame) -> pd.DataFrame:
    """The table `data_symmetry_summary`: the AUC of the data of every network, over seeds.

    Seeds that were trained on the same images have the same values. Where they differ (other images, other random
    turns), `auc` is the mean and `low` to `high` reaches from the lowest to the highest bound of any seed.
    """
    by = [*MODEL_KEYS, "label", "element"]
    grouped = data_symmetry.groupby(by, sort=False, observed=True, dropna=False)
    summary = grouped.agg(
        auc=("auc", "mean"), low=("low", "min"), high=("high", "max"), interval=("interval", "first"),
        highest=("highest", "first"), chance=("chance", "first"), n=("n", "max"), n_seeds=("seed", "nunique"),
    )  # fmt: skip
    return conform(summary.reset_index(), "data_symmetry_summary")


def _tests(
    moved: npt.NDArray[np.float32], orbits: Integers, labels: Integers, G: Group, seed: int, classifier: Any
) -> Iterator[tuple[str, Told]]:
    """What the copies were moved by, and how well they were told; `moved` is (element, image, feature)."""
    n = len(labels)
    rng = np.random.default_rng(seed)
    folds = _folds(orbits, labels, rng)
    drawn = rng.permutation(np.arange(n) % G.order)  # uniform for each image, and each element equally often
    choices = {RANDOM: drawn, **{str(g): np.full(n, place) for place, g in enumerate(G.elements) if place > 0}}
    few = n < FEWEST or len(np.unique(folds)) < FOLDS
    for element, chosen in choices.items():
        copies = moved[chosen, np.arange(n)]
        yield element, Told() if few else told_apart(moved[0], copies, orbits, folds, classifier)


def _folds(orbits: Integers, labels: Integers, rng: np.random.Generator) -> Integers:
    """A fold for every image: the same within an orbit, and folds alike in size and in classes."""
    _, first, orbit = np.unique(orbits, return_index=True, return_inverse=True)
    order = rng.permutation(len(first))
    order = order[np.argsort(labels[first][order], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    return fold[orbit]


def _orbits(images: Tensor, G: Group) -> Integers:
    """A number for every image, the same for images that an element of the group moves onto each other."""
    known: dict[bytes, int] = {}
    names = [min(_turned(image, g).numpy().tobytes() for g in G.elements) for image in images]
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _moved(images: Tensor, G: Group) -> npt.NDArray[np.float32]:
    """The images moved by every element, as features: (element, image, feature)."""
    height, width = images.shape[-2:]
    small = F.adaptive_avg_pool2d(images.float(), (min(height, LARGEST_SIDE), min(width, LARGEST_SIDE)))
    return np.stack([_turned(small, g).flatten(1).numpy() for g in G.elements])


def _turned(images: Tensor, g: Element) -> Tensor:
    return act_on_grid(images, g).contiguous()


def _highest(element: str, G: Group) -> float:
    return 1 - 1 / (2 * G.order) if element == RANDOM else 1.0


def _exact(group: str | Group, shape: tuple[int, ...]) -> Group:
    named = named_group(group)
    G = named.exact_subgroup
    if G.order == 1:
        raise EqvizError(
            "group", expected="a group that moves the pixel grid onto itself in more than one way", found=named.name,
            fix="measure the data under p4, p4m or another group of quarter turns and flips",
        )  # fmt: skip
    if shape[0] != shape[1] and any(g.transposes for g in G.elements):
        raise EqvizError(
            "images", expected=f"square images for {named.name}", found=f"{shape[0]}x{shape[1]}",
            fix="choose C2 or D2(axes), which keep the shape",
        )  # fmt: skip
    return G


def _check(images: int, labels: Integers, classes: Sequence[str]) -> None:
    if len(labels) != images or labels.min(initial=0) < 0 or labels.max(initial=0) >= len(classes):
        raise EqvizError(
            "labels", expected=f"one for each of {images} images, from 0 to {len(classes) - 1}",
            found=f"{len(labels)} from {labels.min(initial=0)} to {labels.max(initial=0)}",
            fix="number the classes from 0, in the order of their names",
        )  # fmt: skip
    if images < FEWEST:
        raise EqvizError(
            "images", expected=f"at least {FEWEST} to tell from their copies", found=str(images), fix="give more"
        )
