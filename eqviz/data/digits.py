"""The data set that is always there: scikit-learn's 1,797 handwritten digits of 8x8 pixels.

From the test set of the UCI "Optical Recognition of Handwritten Digits" data (Alpaydin and Kaynak, 1998).
"""

from pathlib import Path

import numpy as np

from eqviz.data.images import LabelledImages
from eqviz.data.splits import check_split

N_TRAIN = 1200


def load_digits(split: str, root: Path | None = None, *, size: tuple[int, int] = (16, 16)) -> LabelledImages:
    """1,200 train or 597 test digits, one channel, values 0..1, enlarged bilinearly from 8x8 to `size` pixels.

    The split is a fixed shuffle. `root` is not used: the digits come with scikit-learn. Raises EqvizError for a split
    that is not 'train' or 'test'.

    >>> load_digits("train")
    LabelledImages('digits', 'train': 1200 images of 1x16x16, 10 classes)
    """
    check_split(split)
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    rows = order[:N_TRAIN] if split == "train" else order[N_TRAIN:]
    pixels = (bunch.images[rows, None] / 16).astype(np.float32)
    labels = bunch.target[rows].astype(np.int64)
    return LabelledImages("digits", split, pixels, labels, tuple("0123456789")).resized(size)
