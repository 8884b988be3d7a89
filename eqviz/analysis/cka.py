"""Linear CKA: how alike two representations of the same images are, up to an orthogonal map.

Linear centred kernel alignment compares the Gram matrices over images of two sets of features, of whatever sizes. It
sees nothing that an orthogonal map of the features undoes: the features of an exactly equivariant layer on x and on
g x have CKA 1. The converse does not hold, as that map need not be the layer's own rho(g).

Source: Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited", ICML 2019; the
estimators are in `eqviz.analysis.kernel_alignment`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import pandas as pd
from jaxtyping import Float
from torch import Tensor, nn

from eqviz.analysis.kernel_alignment import Gram, biased_cka, gram_matrix, unbiased_cka
from eqviz.capture.features import ANALYSED_KINDS, OrbitFeatures, orbit_features
from eqviz.errors import EqvizError
from eqviz.fields.field_types import FieldType
from eqviz.fields.layer_calls import LayerCall
from eqviz.groups.group import Group
from eqviz.tables import LAYER_KEYS, MODEL_KEYS, RUN_KEYS, conform

Fields = Mapping[str, str | FieldType]
Progress = Callable[[float], None]

FEWEST_IMAGES = 4
"""The unbiased estimator divides by n (n - 3)."""
_LAYER = (*LAYER_KEYS, "kind", "subsamples")


def cka(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    group: str | Group = "p4",
    layers: str | Iterable[str] = "*",
    fields: Fields | None = None,
    batch_size: int = 64,
    *,
    kinds: Iterable[str] = ANALYSED_KINDS,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The table `cka` without its run keys: linear CKA between the features of x and of g x, a row a layer and g.

    images   (n, channel, height, width), 4 or more, normalised as the model wants them
    group    elements that interpolate are left out: the group is its exact subgroup; the identity has no row
    layers   globs of module paths, of which those of `kinds` are taken

    `cka` is the unbiased estimate, at most 1 and about 0 for unrelated features; `cka_biased` is in 0..1 and too high
    where features outnumber images, as they mostly do. The value for Phi(g x) and that for the aligned A_g(x) =
    rho(g)^-1 Phi(g x) are one and the same, as rho(g) is orthogonal. Maps larger than 8 x 8 are averaged down first.
    NaN where the features of x or of g x are the same for all images. Raises EqvizError for fewer than 4 images.

    >>> import torch
    >>> table = cka(nn.Conv2d(1, 2, 1), torch.rand(5, 1, 6, 6), "C4")
    >>> table["element"].tolist(), table["cka"].round(6).tolist()
    (['rotation 90', 'rotation 180', 'rotation 270'], [1.0, 1.0, 1.0])
    """
    _enough(len(images))
    found = orbit_features(model, images, group, layers, fields, batch_size, kinds=kinds, progress=progress)
    rows = (row for features in found.values() for row in _elements(features))
    return pd.DataFrame(rows, columns=[*_LAYER, "element", "cka", "cka_biased", "n"])


def twin_cka(
    model: nn.Module,
    images: Float[Tensor, "image channel height width"],
    other: nn.Module,
    other_images: Float[Tensor, "other_image other_channel other_height other_width"],
    layers: str | Iterable[str] = "*",
    fields: Fields | None = None,
    batch_size: int = 64,
    *,
    kinds: Iterable[str] = ANALYSED_KINDS,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The table `twin_cka` without its run keys: linear CKA of the layers that two networks have in common.

    `images` and `other_images` are the same pictures in the same order, each at its network's size and normalised for
    it; 4 or more. Layers are those with the same path and call in both; depth, kind and `subsamples` are those of
    `model`. Estimates, averaging down and NaN as for :func:`cka`. Networks differ by their seeds too: two networks of
    one architecture and size with different seeds are the value to compare with.

    Raises EqvizError for fewer than 4 images, for unequal numbers of them, or if no layer is in both networks.

    >>> import torch
    >>> first, second, images = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 5, 3), torch.rand(6, 1, 8, 8)
    >>> twin_cka(first, images, second, images[..., 1:, 1:])[["layer", "n"]].values.tolist()
    [['(output)', 6]]
    """
    _enough(len(images))
    if len(images) != len(other_images):
        raise EqvizError(
            "images of the other network", expected=f"the same {len(images)} pictures", found=f"{len(other_images)}",
            fix="give both networks the same pictures, each at its own size",
        )  # fmt: skip

    def halves(start: float) -> Progress:
        return lambda done: progress(start + done / 2) if progress is not None else None

    # under the trivial group an aligned orbit is the layer's output itself
    own = orbit_features(model, images, "C1", layers, fields, batch_size, kinds=kinds, progress=halves(0.0))
    others = orbit_features(other, other_images, "C1", layers, fields, batch_size, kinds=kinds, progress=halves(0.5))
    shared = [key for key in own if key in others]
    if not shared:
        raise EqvizError(
            "layers", expected="at least one that is in both networks", fix="compare networks of one architecture",
            found=f"{_named(own)} and {_named(others)}",
        )  # fmt: skip
    rows = []
    for key in shared:
        first, second = gram_matrix(own[key].aligned[0]), gram_matrix(others[key].aligned[0])
        rows.append({**_layer(own[key]), **_both(first, second)})
    return pd.DataFrame(rows, columns=[*_LAYER, "cka", "cka_biased", "n"])


def cka_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `cka_summary`: CKA of x and g x, its mean over g, and of that the mean, lowest, highest over seeds."""
    runs = table.groupby([*RUN_KEYS, *_LAYER], sort=False, observed=True, dropna=False)
    means = runs[["cka", "cka_biased"]].mean().reset_index()
    return conform(_over(means, [*MODEL_KEYS, *_LAYER], "n_seeds"), "cka_summary")


def twin_cka_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `twin_cka_summary`: CKA of two networks, its mean, lowest and highest over pairs of runs.

    A pair that is there both ways counts once.
    """
    pairs = [" and ".join(sorted(pair)) for pair in zip(table["run"], table["other_run"], strict=True)]
    keys = [*MODEL_KEYS, "other_model", "other_input_size", *_LAYER]
    once = table.assign(pair=pairs).drop_duplicates([*keys, "pair"])
    return conform(_over(once, keys, "n_pairs"), "twin_cka_summary")


def _over(table: pd.DataFrame, by: list[str], count: str) -> pd.DataFrame:
    """Mean, lowest and highest CKA, and how many have one."""
    columns = {
        "cka": ("cka", "mean"), "lowest": ("cka", "min"), "highest": ("cka", "max"),
        "cka_biased": ("cka_biased", "mean"), count: ("cka", "count"),
    }  # fmt: skip
    return table.groupby(by, sort=False, observed=True, dropna=False).agg(**columns).reset_index()


def _elements(features: OrbitFeatures) -> Iterator[dict[str, object]]:
    upright = gram_matrix(features.aligned[0])
    for element, moved in zip(features.group.elements[1:], features.aligned[1:], strict=True):
        yield {**_layer(features), "element": str(element), **_both(upright, gram_matrix(moved))}


def _layer(features: OrbitFeatures) -> dict[str, object]:
    key, info = features.key, features.info
    values = (key.layer, key.call, info.depth, info.kind, info.subsamples)
    return dict(zip(_LAYER, values, strict=True))


def _both(first: Gram, second: Gram) -> dict[str, object]:
    return {"cka": unbiased_cka(first, second), "cka_biased": biased_cka(first, second), "n": len(first)}


def _enough(images: int) -> None:
    if images < FEWEST_IMAGES:
        raise EqvizError(
            "images", expected=f"{FEWEST_IMAGES} or more, whose distances are compared", found=f"{images}",
            fix="give more images, 100 or so",
        )  # fmt: skip


def _named(found: Iterable[LayerCall]) -> str:
    return ", ".join(key.layer for key in list(found)[:3]) or "none"
