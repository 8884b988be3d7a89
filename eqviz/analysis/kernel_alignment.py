"""Linear centred kernel alignment (CKA) of two sets of features, from their Gram matrices over images.

Sources: Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited", ICML 2019; the
unbiased estimator: Song et al., "Feature selection via dependence maximization", JMLR 2012, equation 5, in CKA by
Nguyen, Raghu, Kornblith, "Do wide and deep networks learn the same things?", ICLR 2021, equation 3.
"""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

Gram = Float[np.ndarray, "image image"]

_COLUMNS_AT_ONCE = 2**14
_ROUNDING = 16  # units in the last place of a feature's mean: what differs by less is constant


def gram_matrix(features: Float[Tensor, "image ..."]) -> Gram:
    """Inner products over features of the images' deviations from their mean, (n, n), in float64.

    Adds over sets of features. Features that differ between images by rounding alone count as constant.

    >>> gram_matrix(torch.tensor([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    rounding = _ROUNDING * torch.finfo(features.dtype).eps
    total = torch.zeros(len(features), len(features), dtype=torch.float64)
    for part in torch.split(features.reshape(len(features), -1), _COLUMNS_AT_ONCE, dim=1):
        values = part.double()
        mean = values.mean(0)
        deviations = values - mean
        # columns, so that what is constant does not depend on how features are split
        varies = deviations.abs().amax(0) > rounding * mean.abs()
        kept = deviations[:, varies]
        total += kept @ kept.T
    return np.asarray(total.numpy())


def biased_cka(first: Gram, second: Gram) -> float:
    """Linear CKA of two centred Gram matrices: <K, L> / (|K| |L|), Kornblith et al., equation 1 with 3; 0..1."""
    return _cosine(first, second, first, second)


def unbiased_cka(first: Gram, second: Gram) -> float:
    """HSIC_1(K, L) / sqrt(HSIC_1(K, K) HSIC_1(L, L)) with the unbiased HSIC_1; -1..1, 0 on average if unrelated.

    As HSIC_1(K, L) = <K~, L~> / (n (n - 3)) with U-centred matrices (Szekely and Rizzo, "Partial distance correlation
    with methods for dissimilarities", Annals of Statistics 2014), this is a cosine. NaN for constant features.

    >>> K = np.diag([1.0, 1.0, 0.0, 0.0]) + np.diag([1.0, 0.0, 1.0], 1) + np.diag([1.0, 0.0, 1.0], -1)
    >>> round(unbiased_cka(K, 3 * K), 12)
    1.0
    """
    return _cosine(u_centred(first), u_centred(second), first, second)


def u_centred(gram: Gram) -> Gram:
    """K_ij - r_i / (n - 2) - r_j / (n - 2) + t / ((n - 1)(n - 2)) off the diagonal and 0 on it.

    r_i are the sums of rows and t the sum of all, both without the diagonal. Rows add to 0.
    """
    n = len(gram)
    hollow = gram - np.diag(np.diag(gram))
    rows = hollow.sum(1)
    centred = hollow - (rows[:, None] + rows[None]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return np.asarray(centred - np.diag(np.diag(centred)))


def _cosine(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], whole: Gram, other_whole: Gram) -> float:
    """The cosine of two matrices; NaN where one is nothing but rounding beside the Gram matrix it was made of."""
    sizes = float(np.linalg.norm(first)), float(np.linalg.norm(second))
    scales = float(np.linalg.norm(whole)), float(np.linalg.norm(other_whole))
    rounding = len(first) * float(np.finfo(np.float64).eps)
    if any(size <= rounding * scale for size, scale in zip(sizes, scales, strict=True)):
        return float("nan")
    return float((first / sizes[0] * (second / sizes[1])).sum())
