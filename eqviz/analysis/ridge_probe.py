"""Linear probes by kernel ridge regression: cross-validated by image, with permuted labels in the same solve.

Rows of a Gram matrix are the orbit of some images, element outermost: row g * images + i is image i moved by g.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import KernelCenterer
from threadpoolctl import ThreadpoolController

from eqviz.errors import EqvizError

RIDGE = 0.1
"""Strength of the ridge, in units of the mean squared norm of the centred training rows."""

TIE = 1e-9
"""Scores closer than this are equal. They are about 1 in size, and solving for them rounds to about 1e-12."""


@dataclass(frozen=True, eq=False)
class Question:
    """What a probe is asked to read from every row: its labels, and the same labels permuted.

    labels   (labelling, row), numbers from 0; labelling 0 is the true one, the others are permuted
    classes  how many different labels there are
    """

    labels: npt.NDArray[np.int64]
    classes: int

    def targets(self) -> npt.NDArray[np.float64]:
        """One column a labelling and class, 1 where the row has that label, else 0: `(row, labelling * classes)`."""
        hot = self.labels.T[:, :, None] == np.arange(self.classes)
        return np.asarray(hot.reshape(self.labels.shape[1], -1), dtype=np.float64)


@dataclass(frozen=True)
class Answer:
    """How often a probe was right on images it had not seen.

    accuracy       fraction of rows, with the true labels
    baseline       mean of that fraction over the permuted labels
    baseline_high  their 95% quantile
    p_value        (1 + number of permutations at least as good) / (1 + number of permutations)
    """

    accuracy: float
    baseline: float
    baseline_high: float
    p_value: float


def image_folds(labels: Int[np.ndarray, " image"], folds: int, seed: int) -> Int[np.ndarray, " image"]:
    """Which fold each image is held out in, from 0; classes are spread evenly where each has an image for every fold.

    All rows of an image belong to its fold, so no image is on both sides. Raises EqvizError for fewer than two folds
    or fewer images than folds.

    >>> np.bincount(image_folds(np.array([0, 0, 0, 1, 1, 1]), 3, seed=0)).tolist()
    [2, 2, 2]
    """
    if not 2 <= folds <= len(labels):
        raise EqvizError(
            "folds", expected="at least 2, and no more than there are images",
            found=f"{folds} folds of {len(labels)} images", fix="choose fewer folds or more images",
        )  # fmt: skip
    even = np.unique(labels, return_counts=True)[1].min() >= folds
    splitter = (StratifiedKFold if even else KFold)(folds, shuffle=True, random_state=seed)
    found = np.empty(len(labels), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels)):
        found[held_out] = fold
    return found


def element_question(order: int, images: int, permutations: int, seed: int) -> Question:
    """Which element moved the image? Permuted within each image, so that every image keeps one of each element."""
    random = np.random.default_rng(seed)
    true = np.repeat(np.arange(order)[:, None], images, axis=1)
    permuted = [random.permuted(true, axis=0) for _ in range(permutations)]
    return Question(np.stack([true, *permuted]).reshape(1 + permutations, -1), order)


def class_question(
    labels: Int[np.ndarray, " image"], fold: Int[np.ndarray, " image"], order: int, permutations: int, seed: int
) -> Question:
    """Which class is the image of? Permuted over the images of each fold, so that folds keep their mix of classes.

    All rows of an image keep one label.
    """
    random = np.random.default_rng(seed)
    names, true = np.unique(labels, return_inverse=True)
    labellings = [true]
    for _ in range(permutations):
        permuted = true.copy()
        for one in np.unique(fold):
            permuted[fold == one] = random.permutation(true[fold == one])
        labellings.append(permuted)
    return Question(np.tile(np.stack(labellings), (1, order)).astype(np.int64), len(names))


def held_out_scores(
    gram: Float[np.ndarray, "row row"],
    targets: Float[np.ndarray, "row column"],
    fold: Int[np.ndarray, " row"],
    ridge: float = RIDGE,
) -> Float[np.ndarray, "row column"]:
    """What ridge regression with an intercept predicts for each row from the rows of all other folds.

    `gram` holds the inner products of the rows. It is centred on the training rows and divided by their mean squared
    norm, so that one strength means the same for every layer; a Gram matrix of 0 predicts the mean. In the dual,
    Y_test = K_test (K + ridge I)^-1 Y (Saunders, Gammerman & Vovk, "Ridge regression learning algorithm in dual
    variables", ICML 1998).

    >>> points = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> scores = held_out_scores(points @ points.T, points, np.array([0, 1, 1, 0]), ridge=1e-9)
    >>> scores.round(6).T.tolist()
    [[0.0, 1.0, 2.0, 3.0]]
    """
    scores = np.empty_like(targets)
    for one in np.unique(fold):
        seen, held_out = fold != one, fold == one
        mean = targets[seen].mean(0)
        scores[held_out] = mean
        centre = KernelCenterer()
        kernel = centre.fit_transform(gram[np.ix_(seen, seen)])
        unit = float(np.trace(kernel)) / len(kernel)
        if unit > 0:
            model = KernelRidge(alpha=ridge, kernel="precomputed").fit(kernel / unit, targets[seen] - mean)
            scores[held_out] += model.predict(centre.transform(gram[np.ix_(held_out, seen)]) / unit)
    return scores


def hit_rates(scores: Float[np.ndarray, "row column"], question: Question) -> Float[np.ndarray, " labelling"]:
    """The fraction of rows whose label has the largest score, for each labelling; of k equal scores each counts 1/k."""
    split = scores.reshape(len(scores), -1, question.classes)
    best = split >= split.max(-1, keepdims=True) - TIE
    chosen = np.take_along_axis(best, question.labels.T[:, :, None], axis=-1)[..., 0]
    return np.asarray((chosen / best.sum(-1)).mean(0), dtype=np.float64)


def ask(
    gram: Float[np.ndarray, "row row"], questions: Sequence[Question], fold: Int[np.ndarray, " row"]
) -> list[Answer]:
    """The answer to each question from the features of this Gram matrix, all in one solve a fold."""
    targets = [question.targets() for question in questions]
    with _blas().limit(limits=1, user_api="blas"):  # of matrices this small, threads that share cores make a crawl
        scores = held_out_scores(gram, np.concatenate(targets, axis=1), fold)
    parts = np.split(scores, np.cumsum([columns.shape[1] for columns in targets])[:-1], axis=1)
    return [_answer(hit_rates(part, question)) for part, question in zip(parts, questions, strict=True)]


@cache
def _blas() -> ThreadpoolController:
    """What sets the threads of BLAS; finding the library takes as long as solving with it."""
    return ThreadpoolController()


def _answer(rates: npt.NDArray[np.float64]) -> Answer:
    true, permuted = float(rates[0]), rates[1:]
    as_good = int((permuted >= true - TIE).sum())  # sums of 1/k round
    return Answer(true, float(permuted.mean()), float(np.quantile(permuted, 0.95)), (1 + as_good) / (1 + len(permuted)))
