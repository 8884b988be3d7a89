"""Train and test: which names are allowed, and how data that come without a split are divided.

The division depends on the keys alone (file names, sources), never on their order or on a random state: a picture
keeps its side when others are added, and everything that shares a key stays together.
"""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from eqviz.errors import EqvizError

SPLITS = ("train", "test")
TEST_SHARE = 0.2


def check_split(split: str) -> str:
    """`split` itself, 'train' or 'test'. Raises EqvizError for any other name.

    >>> check_split("test")
    'test'
    """
    if split not in SPLITS:
        raise EqvizError(
            "split", expected="'train' or 'test'", found=repr(split),
            fix="choose one of the two (data that come without a split are divided 80/20)",
        )  # fmt: skip
    return split


def held_out(keys: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """Which of `n` samples are in the test split, about 20% of the distinct keys; equal keys share one side.

    A key is held out when its SHA-256, read as a fraction of the largest one, is below 0.2. With two distinct keys
    or more neither side is empty: the nearest key changes sides if it must.

    >>> held_out(["a.png", "b.png", "a.png", "c.png"]).tolist()
    [False, False, False, True]
    """
    places = {key: _place(key) for key in keys}
    if not places:
        return np.zeros(0, dtype=bool)
    test = {key for key, place in places.items() if place < TEST_SHARE}
    if len(places) > 1 and not test:
        test = {min(places, key=lambda key: (places[key], key))}
    if len(places) > 1 and len(test) == len(places):
        test.remove(max(places, key=lambda key: (places[key], key)))
    return np.array([key in test for key in keys], dtype=bool)


def _place(key: str) -> float:
    """Where a key falls in 0..1; the same on systems that write accents in one character or in two."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
