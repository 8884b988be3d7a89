"""A network's function split into its symmetric and anti-symmetric part, and what each of them is worth.

f = S f + A f with S f(x) = 1/|G| sum_g f(g x) and A f = f - S f, for class scores, which nothing moves.

Source: Elesedy & Zaidi, "Provably strict generalisation benefit for equivariant models", ICML 2021: where the data are
as likely in every pose, the two parts are orthogonal, and S f generalises better than f by |A f|^2 in squared loss.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy.special import log_softmax, logsumexp
from torch import Tensor, nn

from eqviz.analysis.orbit_scores import class_count, orbit_scores
from eqviz.capture.hooks import watching
from eqviz.fields.layer_calls import placement
from eqviz.fields.measures import Array, ratio
from eqviz.fields.orbit import orbit
from eqviz.groups.group import Group
from eqviz.groups.group import group as named_group

Scores = Float[np.ndarray, "element image class"]

FUNCTIONS = ("scores", "probabilities")
DISTRIBUTIONS = ("upright", "orbit")

ROUNDINGS = 1000
"""An anti-symmetric part within so many machine epsilons is rounding: 44 layers of float32 were seen to round to 10."""


def function_split(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    labels: Int[np.ndarray, " label"],
    group: str | Group = "p4",
    batch_size: int = 64,
    *,
    progress: Callable[[float], None] | None = None,
) -> pd.DataFrame:
    """The table `function_split` without its run keys: four rows, a row a `function` and `distribution` of images.

    `function` is the network's scores, or the probabilities (softmax) that they give. `distribution` is `upright`, the
    images as they are, or `orbit`, every element of the group equally often. With S f and A f as above and means over
    the distribution:

    norm_whole, norm_symmetric, norm_antisymmetric   mean of |f|^2, |S f|^2, |A f|^2; on the orbit the last two add up
                                                     to the first, on upright images they need not
    antisymmetric_fraction   norm_antisymmetric / (norm_symmetric + norm_antisymmetric), 0..1; on the orbit the
                             breaking fraction of the output
    accuracy, accuracy_symmetric, accuracy_antisymmetric   of the largest entry of f, S f and A f, 0..1; NaN for A f
                             where it is nothing but rounding
    cross_entropy, cross_entropy_symmetric, cross_entropy_gap   in nats, of f, of S f, and the first minus the second;
                             on the orbit the gap is never negative, by convexity
    squared_loss, squared_loss_symmetric, squared_loss_gap   mean of |f - y|^2 with y the label as 0s and a 1 (the
                             Brier score for probabilities, a formality for scores); on the orbit the gap is exactly
                             norm_antisymmetric

    Elements that interpolate are left out: the group is its exact subgroup. `labels` are 0, 1, ..., one an image;
    `batch_size` counts the elements. Costs one pass over the orbit. `progress` is told the fraction done. Raises
    EqvizError for labels and scores that do not fit.

    >>> network = nn.Sequential(nn.Conv2d(1, 2, 5), nn.Flatten())
    >>> table = function_split(network, torch.rand(3, 1, 5, 5), np.array([0, 1, 1]), "C4")
    >>> table[["function", "distribution"]].agg(" ".join, axis=1).tolist()
    ['scores upright', 'scores orbit', 'probabilities upright', 'probabilities orbit']
    """
    G, classes = named_group(group).exact_subgroup, class_count(images, labels)
    device, dtype = placement(model)
    size = max(1, batch_size // G.order)
    sums: dict[str, SplitSums] = {}
    with watching(model, {}, _ignore) as watch:
        for start in range(0, len(images), size):
            batch, known = images[start : start + size], labels[start : start + size]
            parts = orbit(batch.to(device, dtype), G)
            scores = orbit_scores(lambda part: watch.run(part.images), parts, len(batch), classes)
            for name in FUNCTIONS:
                own = SplitSums.of(scores, known, probabilities=name == "probabilities")
                sums[name] = sums[name] + own if name in sums else own
            if progress is not None:
                progress((start + len(batch)) / len(images))
    rounding = (ROUNDINGS * torch.finfo(dtype).eps) ** 2
    rows = [
        {"function": name, "distribution": distribution, **sums[name].values(distribution, rounding)}
        for name in FUNCTIONS
        for distribution in DISTRIBUTIONS
    ]
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class SplitSums:
    """Sums over images of a function f and its parts on the orbit, by element (|G|,); one number for S f.

    Norms are squared; hits count images whose largest entry is that of their label.
    """

    norm_whole: Array
    norm_symmetric: float
    norm_antisymmetric: Array
    hits: Array
    hits_symmetric: float
    hits_antisymmetric: Array
    cross_entropy: Array
    cross_entropy_symmetric: float
    squared_loss: Array
    squared_loss_symmetric: float
    images: int

    def __add__(self, other: "SplitSums") -> "SplitSums":
        return SplitSums(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @classmethod
    def of(cls, scores: Scores, labels: Int[np.ndarray, " image"], *, probabilities: bool) -> "SplitSums":
        """The sums of one batch, of its scores or of the probabilities that they give."""
        logs = log_softmax(scores, axis=-1)
        whole = np.exp(logs) if probabilities else scores
        symmetric = whole.mean(0)
        rest = whole - symmetric
        # of logarithms: a probability may be too small for a number of its own
        averaged = logsumexp(logs, axis=0) - np.log(len(logs)) if probabilities else log_softmax(symmetric, axis=-1)
        truth = np.eye(scores.shape[-1])[labels]
        return cls(
            norm_whole=_squares(whole),
            norm_symmetric=float(_squares(symmetric)),
            norm_antisymmetric=_squares(rest),
            hits=_hits(whole, labels),
            hits_symmetric=float(_hits(symmetric, labels)),
            hits_antisymmetric=_hits(rest, labels),
            cross_entropy=-logs[..., np.arange(len(labels)), labels].sum(-1),
            cross_entropy_symmetric=-float(averaged[np.arange(len(labels)), labels].sum()),
            squared_loss=_squares(whole - truth),
            squared_loss_symmetric=float(_squares(symmetric - truth)),
            images=len(labels),
        )

    def values(self, distribution: str, rounding: float = 0.0) -> dict[str, float]:
        """The values of a row of `function_split`; an A f of at most that fraction of the energy has no accuracy."""

        def mean(sums: Array | float) -> float:
            over_elements = np.mean(sums) if distribution == "orbit" else np.ravel(sums)[0]
            return float(over_elements / self.images)

        symmetric, rest = mean(self.norm_symmetric), mean(self.norm_antisymmetric)
        fraction = float(ratio(np.array(rest), np.array(symmetric + rest)))
        losses = {name: (mean(getattr(self, name)), mean(getattr(self, f"{name}_symmetric"))) for name in _LOSSES}
        row = {
            "norm_whole": mean(self.norm_whole),
            "norm_symmetric": symmetric,
            "norm_antisymmetric": rest,
            "antisymmetric_fraction": fraction,
            "accuracy": mean(self.hits),
            "accuracy_symmetric": mean(self.hits_symmetric),
            "accuracy_antisymmetric": mean(self.hits_antisymmetric) if fraction > rounding else float("nan"),
        }
        for name, (whole, averaged) in losses.items():
            row |= {name: whole, f"{name}_symmetric": averaged, f"{name}_gap": whole - averaged}
        return {**row, "n": self.images}


_LOSSES = ("cross_entropy", "squared_loss")


def _squares(values: Array) -> Array:
    """Squared norms over classes, summed over images: (..., image, class) to (...)."""
    return np.asarray(np.square(values).sum((-2, -1)))


def _hits(values: Array, labels: Int[np.ndarray, " image"]) -> Array:
    return np.asarray((values.argmax(-1) == labels).sum(-1), dtype=np.float64)


def _ignore(*_: object) -> None:
    """No layer is watched: the context only sets the modes of the model."""
