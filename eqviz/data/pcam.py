"""PatchCamelyon, from its official HDF5 files.

B. S. Veeling et al., "Rotation Equivariant CNNs for Digital Pathology", 2018: patches of 96x96 pixels of stained lymph
nodes; a patch is positive when its central 32x32 pixels hold tumour. The files are published gzipped, and one row
cannot be reached in them: they are unpacked after the download.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from eqviz.data.hdf5 import read_rows
from eqviz.data.images import LabelledImages, balanced_choice
from eqviz.data.locate import locate
from eqviz.data.resize import blank, check_size, from_bytes, resize
from eqviz.data.splits import check_split
from eqviz.errors import EqvizError

SIDE = 96
CLASSES = ("no tumour", "tumour")

_BLOCK = 1024
"""Patches held as bytes at once."""


def load_pcam(
    split: str,
    root: Path | None = None,
    *,
    size: tuple[int, int] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> LabelledImages:
    """PatchCamelyon: 262,144 train or 32,768 test patches of 96x96 pixels, 3 channels, values 0..1; needs h5py.

    The files, unpacked (`.h5`), are in `root`, `root/pcam` or `root/patchcamelyon`; without `root` they are in the
    cache, downloaded (7 GB to train, 0.8 GB to test) and unpacked if need be. The validation split is not used. `size`
    is (height, width) in pixels, bilinearly. `limit` and `seed` are those of `LabelledImages.take`; only the patches
    it takes are read (all of them are 29 GB to train, 3.6 GB to test). Raises EqvizError for missing or malformed
    files.

    >>> load_pcam("test", Path("no-such-folder"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: pcam: expected its files in no-such-folder or ...
    """
    new = (SIDE, SIDE) if size is None else check_size(size)
    images_file, labels_file = (f"camelyonpatch_level_2_split_{check_split(split)}_{key}.h5" for key in "xy")
    wanted = (images_file, labels_file)

    def missing(place: Path) -> list[str]:
        return [f"{file}{_gzipped(place, file)}" for file in wanted if not (place / file).is_file()]

    folder = locate(
        "pcam", root, ("pcam", "patchcamelyon"), missing, files=tuple(f"{file}.gz" for file in wanted),
        advice="put them there (unpack .h5.gz with gunzip), or leave out root to download them",
    )  # fmt: skip
    labels = _labels(folder / labels_file)
    rows = np.arange(len(labels)) if limit is None or limit >= len(labels) else balanced_choice(labels, limit, seed)
    images = blank(len(rows), 3, new)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        patches = read_rows(folder / images_file, "x", (SIDE, SIDE, 3), block, total=len(labels))
        images[start : start + len(block)] = resize(from_bytes(patches.transpose(0, 3, 1, 2)), new)
    return LabelledImages("pcam", split, images, labels[rows], CLASSES)


def _labels(path: Path) -> Int64[np.ndarray, " n"]:
    labels = read_rows(path, "y", (1, 1, 1)).reshape(-1).astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise EqvizError(
            str(path), expected="labels 0 and 1", found=f"label {labels.max()}",
            fix="get the file again from its official source",
        )  # fmt: skip
    return labels


def _gzipped(place: Path, file: str) -> str:
    return f" (only {file}.gz)" if (place / f"{file}.gz").is_file() else ""
