"""What is kept of attributions on an orbit: sums over pairs, an explanation and that of the moved image."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class CosineSums:
    """Sums over images and elements g other than the identity, of a = g^-1 attribution(g x) against b = attribution(x).

    distances  sum of 1 - cos(a, b)
    greatest   the largest of them
    products   sum of <a, b>
    moved      sum of |a|^2
    upright    sum of |b|^2
    pairs      how many have a cosine
    undefined  how many have none, a or b being 0 everywhere
    """

    distances: float = 0.0
    greatest: float = 0.0
    products: float = 0.0
    moved: float = 0.0
    upright: float = 0.0
    pairs: int = 0
    undefined: int = 0

    def __add__(self, other: "CosineSums") -> "CosineSums":
        return CosineSums(
            self.distances + other.distances,
            max(self.greatest, other.greatest),
            self.products + other.products,
            self.moved + other.moved,
            self.upright + other.upright,
            self.pairs + other.pairs,
            self.undefined + other.undefined,
        )

    def values(self) -> dict[str, float | int]:
        """The columns of the table `attribution` that follow; NaN where no pair has a cosine."""
        mean = self.distances / self.pairs if self.pairs else math.nan
        scale = math.sqrt(self.moved * self.upright)
        return {
            "cosine": 1 - mean,
            "cosine_distance": mean,
            "cosine_lowest": 1 - self.greatest if self.pairs else math.nan,
            "cosine_pooled": self.products / scale if scale else math.nan,
            "undefined": self.undefined,
        }


def cosine_sums(aligned: Float[Tensor, "element image ..."]) -> CosineSums:
    """The sums of some aligned attributions, g^-1 attribution(g x), the identity first.

    1 - cos is half the squared distance of the two normalised maps: the difference is taken before squaring, so that
    cosines within rounding of 1 keep their distance. Everything is in float64.

    >>> import torch
    >>> cosine_sums(torch.tensor([[[3.0, 4.0]], [[4.0, 3.0]], [[0.0, 0.0]]])).values()["cosine"]
    0.96
    """
    rows = aligned.flatten(2).cpu().double()
    lengths = rows.norm(dim=2)
    upright, moved = rows[:1].expand_as(rows[1:]), rows[1:]
    defined = (lengths[:1] > 0) & (lengths[1:] > 0)
    pairs, others = moved[defined], upright[defined]
    unit = pairs / pairs.norm(dim=1, keepdim=True) - others / others.norm(dim=1, keepdim=True)
    distances = unit.square().sum(1) / 2
    return CosineSums(
        float(distances.sum()), float(distances.max()) if len(distances) else 0.0, float((pairs * others).sum()),
        float(pairs.square().sum()), float(others.square().sum()), int(defined.sum()), int((~defined).sum()),
    )  # fmt: skip


@dataclass(frozen=True)
class CompletenessSums:
    """By how much the sum of an attribution misses f(x) - f(x0): the largest miss, and the sum of (f(x) - f(x0))^2."""

    largest: float = 0.0
    squares: float = 0.0
    count: int = 0

    def __add__(self, other: "CompletenessSums") -> "CompletenessSums":
        return CompletenessSums(
            max(self.largest, other.largest), self.squares + other.squares, self.count + other.count
        )

    @classmethod
    def of(cls, delta: Float[Tensor, " image"], difference: Float[Tensor, " image"]) -> "CompletenessSums":
        """The sums of some images."""
        return cls(float(delta.abs().max()), float(difference.square().sum()), len(delta))

    @property
    def value(self) -> float:
        """The largest miss over the root mean square of f(x) - f(x0); NaN where there is nothing to explain."""
        return self.largest / math.sqrt(self.squares / self.count) if self.squares else math.nan
