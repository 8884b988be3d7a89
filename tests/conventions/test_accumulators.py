"""Whatever eqviz adds up over images gives, in parts and in any order, what the whole gives.

Every class with an `__add__` stands in `CASES` with the function that makes its sums, and is held to the law: sums of
parts, merged, are the sums of the whole; merging is associative and commutative; and images are counted once.
"""

import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import eqviz
from eqviz.analysis.attribution import Explanation
from eqviz.analysis.attribution_methods import Asked
from eqviz.analysis.attribution_orbit import ExplainedOrbit, Instrument
from eqviz.analysis.defect_sums import measure_defects
from eqviz.analysis.explanation_sums import CompletenessSums, cosine_sums
from eqviz.analysis.function_split import SplitSums
from eqviz.analysis.lie_derivative import LIE_KINDS, lie_sums
from eqviz.analysis.orientation_selectivity import fibre_energies
from eqviz.analysis.patched_sums import PatchedSums
from eqviz.analysis.pool_ties import pool_ties
from eqviz.capture.channel_moments import channel_vectors, moments_of
from eqviz.capture.dual_pass import run_duals
from eqviz.capture.orbit_capture import capture
from eqviz.fields.field_types import Image, Regular
from eqviz.fields.generators import UNITS
from eqviz.fields.sums import reduce_orbit
from eqviz.groups.group import Group, group

Images = np.ndarray
"""Which images, by their places in the whole."""

ROUNDING = 1e-12
"""Of the largest number beside it: some thousand float64 additions in another order, each off by 2^-53 of the sum."""

WHOLE_BATCH = 1000
"""A batch size that no part reaches: every part is one update."""


# discovery


def accumulators(package) -> dict[str, type]:
    """Every class of a package that defines how it is added, by module and name."""
    names = [package.__name__, *(f.name for f in pkgutil.walk_packages(package.__path__, package.__name__ + "."))]
    modules = [importlib.import_module(name) for name in names if "__add__" in source(name)]
    return {
        f"{cls.__module__}.{cls.__qualname__}": cls
        for module in modules
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__ and "__add__" in vars(cls)
    }


def source(module: str) -> str:
    """The text of a module, which is not run: those that say nothing of `__add__` are slow to import for nothing."""
    return importlib.util.find_spec(module).loader.get_source(module)


def require_cases(found, cases) -> None:
    missing, gone = sorted(set(found) - set(cases)), sorted(set(cases) - set(found))
    assert not missing, f"{', '.join(missing)} can be added, but no case in CASES says that parts add up to the whole"
    assert not gone, f"CASES holds {', '.join(gone)}, which eqviz does not define or which cannot be added"


# the law


@dataclass(frozen=True)
class Sample:
    """Random data of some images: `of` gives the sums of some of them, one object for each layer.

    `counted` is how many an image counts for.
    """

    of: Callable[[Images], Sequence[object]]
    counted: int = 1


@dataclass(frozen=True)
class Case:
    """How sums of one class are made, of random data of so many images, and where they say how many went in.

    exact     names of fields that count, though in floating-point numbers
    examples  fewer where a network runs
    """

    sample: Callable[[np.random.Generator, int], Sample]
    images: Callable[[object], int]
    exact: frozenset[str] = frozenset()
    examples: int = 25


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """What an object holds, and what that holds, by path."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key}]")
    else:
        yield path, value


def parted(path: str) -> tuple[str, str]:
    owner, _, name = path.rpartition(".")
    return owner, name


def is_float(value: object) -> bool:
    return np.asarray(value).dtype.kind == "f"


def number_leaves(objects: Sequence[object]) -> Iterator[tuple[str, object]]:
    return ((path, value) for one in objects for path, value in leaves(one) if is_number(value))


def is_number(value: object) -> bool:
    return np.asarray(value).dtype.kind in "fiu"


def scales(parts: Sequence[object]) -> dict[str, float]:
    """By the path of their owner, the largest floating-point number of each part, added up."""
    found: dict[str, float] = {}
    for part in parts:
        largest: dict[str, float] = {}
        for path, value in leaves(part):
            if is_float(value):
                size = float(np.max(np.abs(np.nan_to_num(value)), initial=0.0))
                largest[parted(path)[0]] = max(largest.get(parted(path)[0], 0.0), size)
        found = {owner: found.get(owner, 0.0) + size for owner, size in largest.items()}
    return found


def assert_same(one: object, two: object, scale: Mapping[str, float], exact: frozenset[str]) -> None:
    """Whole numbers and whatever is no number are equal; other numbers within `ROUNDING` of their scale."""
    mine, other = dict(leaves(one)), dict(leaves(two))
    assert list(mine) == list(other)
    for path, value in mine.items():
        owner, name = parted(path)
        loose = is_float(value) and name not in exact
        tolerance = ROUNDING * scale.get(owner, 0.0) if loose else 0.0
        if is_number(value):
            assert np.shape(value) == np.shape(other[path]), path
            np.testing.assert_allclose(value, other[path], rtol=0, atol=tolerance, err_msg=path)
        else:
            assert value == other[path], path


def check_law(case: Case, sample: Sample, parts: Sequence[Images]) -> Sequence[object]:
    """The law for the sums of each layer, which it gives; `parts` are all images, each once, in any order."""
    count = sum(map(len, parts))
    whole, pieces = sample.of(np.arange(count)), [sample.of(part) for part in parts]
    assert whole
    for layer, expected in enumerate(whole):
        own = [piece[layer] for piece in pieces]
        scale = scales(own)
        merged = reduce(add, own)
        assert type(merged) is type(expected)
        assert_same(merged, expected, scale, case.exact)
        from_the_right = reduce(lambda later, earlier: earlier + later, reversed(own))
        assert_same(from_the_right, merged, scale, case.exact)
        assert_same(reduce(add, reversed(own)), merged, scale, case.exact)
        for one, two in pairwise(own):
            assert_same(one + two, two + one, {}, case.exact)  # float64 addition of two numbers commutes exactly
        assert [case.images(part) for part in own] == [sample.counted * len(part) for part in parts]
        assert case.images(merged) == case.images(expected) == sample.counted * count
    return whole


@st.composite
def splits(draw) -> list[Images]:
    """Some images in a random order, in 1 to 4 parts."""
    count = draw(st.integers(1, 7))
    order = np.array(draw(st.permutations(range(count))))
    cuts = draw(st.sets(st.integers(1, count - 1), max_size=3)) if count > 1 else set()
    return np.split(order, sorted(cuts))


# random data


def numbers(rng: np.random.Generator, *shape: int, image: int = 0) -> np.ndarray:
    """Random numbers, a quarter of them 0 and a quarter of the images all 0; `image` is the axis of the images."""
    values = rng.standard_normal(shape) * (rng.random(shape) > 0.25)
    blank = rng.random(shape[image]) < 0.25
    np.moveaxis(values, image, 0)[blank] = 0
    return values


def tensor(rng: np.random.Generator, *shape: int, image: int = 0) -> Tensor:
    return torch.from_numpy(numbers(rng, *shape, image=image))


def some_group(rng: np.random.Generator, *names: str) -> Group:
    return group(str(rng.choice(names)))


def network(rng: np.random.Generator, size: int, activation: nn.Module, *pools: nn.Module) -> nn.Sequential:
    """A small one in float64 that breaks every symmetry, for images of so many pixels each way."""
    channels, classes = int(rng.integers(1, 4)), int(rng.integers(2, 5))
    body = nn.Sequential(nn.Conv2d(1, channels, 3), activation, *pools, nn.Flatten())
    values = body(torch.zeros(1, 1, size, size)).shape[1]
    model = nn.Sequential(*body, nn.Linear(values, classes)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    return model


# a sample of each class


def orbit_sums(rng, count):
    shape = rng.integers(1, 5, size=rng.integers(1, 4))
    aligned = tensor(rng, int(rng.integers(1, 9)), count, *map(int, shape), image=1)
    return Sample(lambda images: [reduce_orbit(aligned[:, images]).summed()])


def orbit_statistics(rng, count):
    size, G = int(rng.integers(5, 8)), some_group(rng, "C2", "C4", "D4")
    model, images = network(rng, size, nn.ReLU(), nn.MaxPool2d(2)), tensor(rng, count, 1, size, size)
    return Sample(lambda chosen: [capture(model, images[chosen], G, batch_size=WHOLE_BATCH)])


def channel_moments(rng, count):
    folds, channels, size = (int(number) for number in rng.integers(1, 5, size=3))
    vectors = channel_vectors(tensor(rng, 4, count, channels, size, size, image=1))
    fold = torch.arange(count) % folds
    return Sample(lambda images: [moments_of(vectors[:, images], fold[images], folds)])


def defect_sums(rng, count):
    size, G = int(rng.integers(5, 7)), some_group(rng, "C2", "C4")
    model, images = network(rng, size, nn.ReLU(), nn.MaxPool2d(2)), tensor(rng, count, 1, size, size)

    def of(chosen):
        found = measure_defects(model, images[chosen], G, "*", {}, WHOLE_BATCH)
        return [layer.sums for layer in found.values()]

    return Sample(of)


def lie_derivatives(rng, count):
    # smooth: the derivative of a rectifier or a maximum jumps where an image is 0
    size = int(rng.integers(5, 8))
    model, images = network(rng, size, nn.Tanh(), nn.AvgPool2d(2)), tensor(rng, count, 1, size, size)

    def of(chosen):
        found = []
        run_duals(
            model, images[chosen], group("C4"), "*", {}, WHOLE_BATCH, tuple(UNITS), LIE_KINDS, False,
            lambda key, info, derivatives: found.append(lie_sums(derivatives)),
        )  # fmt: skip
        return found

    return Sample(of)


def explanations(rng, count):
    # smooth, as a pool or rectifier sends the gradient of what is equal but for rounding to one or the other
    size, G = int(rng.integers(4, 6)), some_group(rng, "C2", "C4")
    model, images = network(rng, size, nn.Tanh()), tensor(rng, count, 1, size, size)
    instrument = Instrument.fitting([images], G, baseline=0.0, steps=3)
    methods = ("integrated_gradients", "saliency")
    asked_for = [Explanation(name, {}, Image(), partial(instrument.explain, name)) for name in methods]

    def of(chosen):
        orbit = ExplainedOrbit.of(model, images[chosen], G, instrument.baseline, WHOLE_BATCH)
        return [explanation.measure(orbit) for explanation in asked_for]

    return Sample(of)


def cosines(rng, count):
    order, size = int(rng.integers(2, 9)), int(rng.integers(1, 5))
    aligned = tensor(rng, order, count, 1, size, size, image=1)
    return Sample(lambda images: [cosine_sums(aligned[:, images])], counted=order - 1)


def completeness(rng, count):
    delta, difference = tensor(rng, count), tensor(rng, count)
    return Sample(lambda images: [CompletenessSums.of(delta[images], difference[images])])


def scores_and_labels(rng, count):
    order, classes = int(rng.integers(1, 9)), int(rng.integers(2, 6))
    return numbers(rng, order, count, classes, image=1), rng.integers(classes, size=count)


def patched_sums(rng, count):
    scores, labels = scores_and_labels(rng, count)
    return Sample(lambda images: [PatchedSums.of(scores[:, images], labels[images])])


def split_sums(rng, count):
    scores, labels = scores_and_labels(rng, count)
    return Sample(
        lambda images: [SplitSums.of(scores[:, images], labels[images], probabilities=kind) for kind in (False, True)]
    )


def tie_counts(rng, count):
    # whole numbers throughout, so that what ties in one batch ties in any
    size = int(rng.integers(4, 9))
    model, images = network(rng, size, nn.ReLU(), nn.MaxPool2d(2)), tensor(rng, count, 1, size, size).round()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.round_()
    targets = torch.from_numpy(rng.integers(model[-1].out_features, size=count))

    def of(chosen):
        return [pool_ties(model, Asked(model, images[chosen], targets[chosen], torch.zeros_like(images[:1])))]

    return Sample(of, counted=model[-1].in_features)  # a window each


def fibre_sums(rng, count):
    field, channels, size = Regular(some_group(rng, "C4", "D2", "D4")), int(rng.integers(1, 4)), int(rng.integers(1, 4))
    features = tensor(rng, count, channels, field.group.order, size, size)
    return Sample(lambda images: [fibre_energies(features[images], field, field.group)])


def images_of(sums) -> int:
    return sums.images


CASES = {
    "eqviz.fields.sums.OrbitSums": Case(orbit_sums, images_of),
    "eqviz.fields.statistics.OrbitStatistics": Case(orbit_statistics, images_of, examples=10),
    "eqviz.capture.channel_moments.ChannelMoments": Case(channel_moments, lambda sums: sums.images.sum()),
    "eqviz.analysis.defect_sums.DefectSums": Case(defect_sums, images_of, examples=5),
    "eqviz.analysis.attribution.ExplanationSums": Case(explanations, images_of, examples=10),
    "eqviz.analysis.explanation_sums.CosineSums": Case(cosines, lambda sums: sums.pairs + sums.undefined),
    "eqviz.analysis.explanation_sums.CompletenessSums": Case(completeness, lambda sums: sums.count),
    "eqviz.analysis.patched_sums.PatchedSums": Case(patched_sums, images_of, frozenset({"hits"})),
    "eqviz.analysis.function_split.SplitSums": Case(
        split_sums, images_of, frozenset({"hits", "hits_symmetric", "hits_antisymmetric"})
    ),
    "eqviz.analysis.lie_derivative.LieSums": Case(lie_derivatives, images_of, examples=5),
    "eqviz.analysis.pool_ties.TieCounts": Case(tie_counts, lambda sums: sums.windows, examples=15),
    "eqviz.analysis.orientation_selectivity.FibreSums": Case(fibre_sums, images_of),
}


# tests


def test_every_class_that_can_be_added_has_a_case():
    require_cases(accumulators(eqviz), CASES)


@pytest.mark.parametrize("name", CASES)
def test_parts_add_up_to_the_whole_in_any_order(name):
    case = CASES[name]
    module, _, attribute = name.rpartition(".")
    cls = getattr(importlib.import_module(module), attribute)

    known, filled = set(), set()

    @settings(max_examples=case.examples, deadline=None, derandomize=True)
    @given(splits(), st.integers(0, 2**32 - 1))
    def law(parts, seed):
        sample = case.sample(np.random.default_rng(seed), sum(map(len, parts)))
        whole = check_law(case, sample, parts)
        assert {type(sums) for sums in whole} == {cls}
        filled.update(parted(path)[1] for path, value in number_leaves(whole) if np.nan_to_num(value).any())
        known.update(parted(path)[1] for path, _ in number_leaves(whole))

    law()
    assert known == filled, f"{', '.join(known - filled)} never anything but 0: nothing is known of their sums"


@dataclass(frozen=True)
class Total:
    """A sum of numbers, and how many; what adds the sums can be put wrong."""

    total: float
    images: int
    combine: Callable[[float, float], float] = add

    def __add__(self, other: "Total") -> "Total":
        return Total(self.combine(self.total, other.total), self.images + other.images, self.combine)


@pytest.mark.parametrize(
    ("combine", "holds"),
    [(add, True), (lambda a, b: (a + b) / 2, False), (lambda a, b: float(np.float32(a + b)), False)],
    ids=["sum", "mean", "float32"],
)
def test_the_law_tells_a_sum_from_what_is_none(combine, holds):
    values = np.random.default_rng(0).random(5)
    sample = Sample(lambda images: [Total(float(values[images].sum()), len(images), combine)])
    parts = [np.array([3, 0]), np.array([2]), np.array([4, 1])]
    if holds:
        check_law(Case(orbit_sums, images_of), sample, parts)
    else:
        with pytest.raises(AssertionError, match="total"):
            check_law(Case(orbit_sums, images_of), sample, parts)


def test_the_law_sees_an_image_counted_twice():
    sample = Sample(lambda images: [Total(0.0, len(images) + 1)])
    with pytest.raises(AssertionError):
        check_law(Case(orbit_sums, images_of), sample, [np.array([0]), np.array([1])])


def test_a_planted_class_is_found_and_missed_by_name(tmp_path, monkeypatch):
    inner = tmp_path / "planted_package" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("")
    (inner / "__init__.py").write_text("from planted_package.inner.sums import Sums\n")
    (inner / "sums.py").write_text(
        "class Sums:\n    def __add__(self, other):\n        return self\n\n\nclass Plain:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = accumulators(importlib.import_module("planted_package"))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "planted_package"]:
            del sys.modules[name]
    assert list(found) == ["planted_package.inner.sums.Sums"]
    with pytest.raises(AssertionError, match=r"planted_package\.inner\.sums\.Sums can be added, but no case"):
        require_cases(found, {})
    with pytest.raises(AssertionError, match=r"CASES holds eqviz\.gone\.Sums"):
        require_cases(found, {**found, "eqviz.gone.Sums": None})
