"""What is kept of the scores of a patched network: sums over images that give accuracy, agreement and breaking."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from eqviz.fields.measures import Array, breaking_fraction, over_group
from eqviz.fields.sums import reduce_orbit


@dataclass(frozen=True, eq=False)
class PatchedSums:
    """What is kept of the scores of a patched network on an orbit: counts and sums over images, which add up.

    hits       (|G|,)       images classified correctly, by element
    agreeing   images that all elements leave in the same class
    norms      (|G|,)       sum of |f(g x)|^2
    distances  (|G|, |G|)   sum of |f(g x) - f(h x)|^2
    images     how many images are summed
    """

    hits: Array
    agreeing: int
    norms: Array
    distances: Array
    images: int

    def __add__(self, other: "PatchedSums") -> "PatchedSums":
        return PatchedSums(
            self.hits + other.hits,
            self.agreeing + other.agreeing,
            self.norms + other.norms,
            self.distances + other.distances,
            self.images + other.images,
        )

    @classmethod
    def of(cls, scores: Float[np.ndarray, "element image class"], labels: Int[np.ndarray, " image"]) -> "PatchedSums":
        """The sums of one batch."""
        predicted = scores.argmax(-1)
        sums = reduce_orbit(torch.from_numpy(scores)).summed()
        hits = np.asarray((predicted == labels).sum(1), dtype=np.float64)
        agreeing = int((predicted == predicted[:1]).all(0).sum())
        return cls(hits, agreeing, sums.norms, sums.distances, sums.images)

    def values(self) -> dict[str, float]:
        """The columns of the table `patching` that a single layer and scale give."""
        accuracy = self.hits / self.images
        return {
            "accuracy_upright": float(accuracy[0]),
            "accuracy_rotated": float(over_group(accuracy)),
            "accuracy_orbit": float(accuracy.mean()),
            "consistency": self.agreeing / self.images,
            "output_breaking": float(breaking_fraction(self.norms, self.distances)),
            "n": self.images,
        }
