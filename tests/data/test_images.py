import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eqviz.data.images import LabelledImages, Normalisation, balanced_choice
from eqviz.errors import EqvizError


def make(n=12, channels=1, size=(4, 4), n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.random((n, channels, *size), dtype=np.float32)
    return LabelledImages("made", "train", images, np.arange(n) % n_classes, tuple("abcdef"[:n_classes]))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"images": np.zeros((2, 4, 4), np.float32)}, "shape (2, 4, 4)"),
        ({"images": np.zeros((2, 1, 4, 4))}, "float64"),
        ({"images": np.full((2, 1, 4, 4), 255, np.float32)}, "values 255..255"),
        ({"images": np.full((2, 1, 4, 4), np.nan, np.float32)}, "values nan"),
        ({"images": np.zeros((2, 0, 4, 4), np.float32)}, "no pixels"),
        ({"images": np.zeros((0, 1, 4, 4), np.float32)}, "no pixels"),
        ({"labels": np.array([0, 2])}, "labels 0..2"),
        ({"labels": np.array([-1, 0])}, "labels -1..0"),
        ({"labels": np.array([0])}, "shape (1,)"),
        ({"labels": np.array([0, 1], np.int32)}, "int32"),
        ({"split": "valid"}, "'valid'"),
    ],
)
def test_what_is_not_labelled_images_is_refused_in_one_line(change, found):
    good = {"name": "made", "split": "test", "images": np.zeros((2, 1, 4, 4), np.float32), "labels": np.array([0, 1])}
    with pytest.raises(EqvizError) as raised:
        LabelledImages(**{**good, "classes": ("a", "b"), **change})
    assert found in str(raised.value)
    assert "\n" not in str(raised.value)


def test_class_names_are_a_tuple_of_text():
    # a TypeError where annotations are checked
    with pytest.raises((EqvizError, TypeError)):
        LabelledImages("made", "test", np.zeros((1, 1, 4, 4), np.float32), np.array([0]), ["a"])


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), n=st.integers(1, 70), seed=st.integers(0, 9))
def test_a_balanced_choice_is_as_even_as_the_classes_allow(labels, n, seed):
    labels = np.array(labels)
    rows = balanced_choice(labels, n, seed)
    assert len(rows) == min(n, len(labels))
    assert (np.diff(rows) > 0).all()
    assert set(balanced_choice(labels, max(1, n - 1), seed)) <= set(rows)
    counts, available = np.bincount(labels[rows], minlength=5), np.bincount(labels, minlength=5)
    unfinished = counts[counts < available]
    if len(unfinished):
        assert counts.max() - unfinished.min() <= 1


def test_take_is_deterministic_depends_on_the_seed_and_keeps_pairs():
    data = make(n=60)
    assert data.take(20).fingerprint() == data.take(20).fingerprint()
    assert data.take(20, seed=1).fingerprint() != data.take(20).fingerprint()
    assert data.take(60) is data
    position = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    part = data.take(7)
    assert [position[image.tobytes()] for image in part.images] == part.labels.tolist()


@pytest.mark.parametrize("n", [0, -3])
def test_taking_nothing_is_refused(n):
    with pytest.raises(EqvizError, match="at least 1"):
        make().take(n)


def test_the_fingerprint_sees_every_part():
    data = make()
    other_pixel = data.images.copy()
    other_pixel[3, 0, 1, 1] = 0
    variants = [
        data,
        LabelledImages("other", "train", data.images, data.labels, data.classes),
        LabelledImages("made", "test", data.images, data.labels, data.classes),
        LabelledImages("made", "train", data.images, data.labels[::-1].copy(), data.classes),
        LabelledImages("made", "train", data.images, data.labels, ("a", "b", "d")),
        LabelledImages("made", "train", other_pixel, data.labels, data.classes),
        LabelledImages("made", "train", data.images.reshape(12, 1, 2, 8), data.labels, data.classes),
    ]
    assert len({variant.fingerprint() for variant in variants}) == len(variants)


def test_the_fingerprint_ignores_the_layout_in_memory():
    data = make(channels=3)
    strided = data.images.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    again = LabelledImages("made", "train", strided, data.labels, data.classes)
    assert again.fingerprint() == data.fingerprint()


def test_normalisation_matches_numpy_and_undoes_mean_and_spread():
    data = make(n=40, channels=3)
    norm = Normalisation.of(data)
    np.testing.assert_allclose(norm.mean, data.images.astype(np.float64).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(norm.std, data.images.astype(np.float64).std(axis=(0, 2, 3)))
    assert norm == Normalisation.of(data.images)
    scaled = norm.apply(torch.from_numpy(data.images).double())
    assert scaled.dtype == torch.float64
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-7, rtol=0)
    torch.testing.assert_close(scaled.std((0, 2, 3), correction=0), torch.ones(3).double())


def test_a_constant_channel_becomes_zeros():
    images = np.full((3, 1, 4, 4), 0.1, np.float32)
    norm = Normalisation.of(images)
    assert norm.std == (1.0,)
    assert norm.apply(torch.from_numpy(images)).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.0,)), ((0.5,), (1.0, 1.0)), ((), ()), ((float("nan"),), (1.0,)), ((0.5,), (-1.0,))]
)
def test_impossible_normalisations_are_refused(mean, std):
    with pytest.raises(EqvizError, match="std above 0"):
        Normalisation(mean, std)


def test_normalisation_refuses_another_number_of_channels():
    with pytest.raises(EqvizError, match="1 channels"):
        Normalisation((0.5,), (0.5,)).apply(torch.zeros(2, 3, 4, 4))


def test_grey_is_repeated_and_colour_averaged():
    grey, colour = make(channels=1), make(channels=3)
    np.testing.assert_array_equal(grey.with_channels(3).images, np.repeat(grey.images, 3, 1))
    np.testing.assert_allclose(colour.with_channels(1).images[:, 0], colour.images.mean(1))
    # three equal numbers of float32 have that number as their mean, to a rounding
    np.testing.assert_allclose(grey.with_channels(3).with_channels(1).images, grey.images, rtol=2e-7)
    assert colour.with_channels(3) is colour
    assert colour.with_channels(1).labels is colour.labels


@pytest.mark.parametrize(("own", "wanted"), [(3, 2), (4, 3), (1, 0)])
def test_other_numbers_of_channels_are_refused_in_one_line(own, wanted):
    with pytest.raises(EqvizError, match=rf"channels of made: expected 1 .*; found {wanted} of .* {own}") as caught:
        make(channels=own).with_channels(wanted)
    assert "\n" not in str(caught.value)


def test_without_labels_there_is_one_class():
    found = make().without_labels()
    assert (set(found.labels.tolist()), found.classes) == ({0}, ("unlabelled",))
    assert found.fingerprint() != make().fingerprint()
