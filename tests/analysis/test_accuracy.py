"""Accuracy against plain loops over np.rot90, np.flip and scipy's rotation."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import balanced_accuracy_score
from torch import nn

from eqviz.analysis.accuracy import EVERY_TEN_DEGREES, QUARTER_TURNS, Rotation, accuracy_tables, class_scores, rotations
from eqviz.errors import EqvizError
from eqviz.models.registry import build_model

CORNERS = ("top left", "top right", "bottom left", "bottom right")


class Corners(nn.Module):
    """Scores are the four corner pixels of the first channel; remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.modes = []

    def forward(self, images):
        self.seen.append(images.clone())
        self.modes.append((self.training, torch.is_grad_enabled()))
        return images[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]]


def random_images(n=30, size=7, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((n, 1, size, size), np.float32))


def spread_labels(n, seed=1):
    """Labels of four classes, unequally many of each."""
    labels = np.random.default_rng(seed).choice(4, size=n, p=[0.5, 0.3, 0.1, 0.1])
    labels[:4] = range(4)
    return labels


def turned(images, angle, reflected):
    """The same by numpy, one image at a time, for quarter turns."""
    found = []
    for image in images.numpy():
        source = image[:, :, ::-1] if reflected else image
        found.append(np.rot90(source, int(angle // 90), (1, 2)))
    return np.stack(found)


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 270.0])
@pytest.mark.parametrize("reflected", [False, True])
def test_quarter_turns_against_a_plain_loop(angle, reflected):
    images, labels = random_images(), spread_labels(30)
    overall, by_class = accuracy_tables(Corners(), images, labels, CORNERS, [Rotation(angle, reflected)], batch_size=7)
    moved = turned(images, angle, reflected)
    predicted = np.array([[m[0, 0, 0], m[0, 0, -1], m[0, -1, 0], m[0, -1, -1]] for m in moved]).argmax(1)
    hits = predicted == labels
    row = overall.iloc[0]
    assert row[["angle", "reflected", "grid", "n"]].tolist() == [angle, reflected, True, 30]
    assert row["accuracy"] == hits.mean()
    # both are means of the same four fractions, summed in another order
    assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), rel=1e-12)
    assert by_class["label"].tolist() == list(CORNERS)
    assert by_class["n"].tolist() == np.bincount(labels).tolist()
    assert by_class["accuracy"].tolist() == [hits[labels == label].mean() for label in range(4)]


@pytest.mark.parametrize(("angle", "corner"), [(0.0, 1), (90.0, 0), (180.0, 2), (270.0, 3), (-90.0, 3), (450.0, 0)])
def test_turns_counter_clockwise(angle, corner):
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 0, -1] = 1  # top right
    overall, _ = accuracy_tables(Corners(), image, np.array([corner]), CORNERS, rotations([angle], reflections=False))
    assert overall["accuracy"].item() == 1.0
    assert overall["angle"].item() == angle % 360


@pytest.mark.parametrize(("angle", "corner"), [(0.0, 0), (90.0, 2), (180.0, 3), (270.0, 1)])
def test_reflected_means_flipped_left_right_before_the_turn(angle, corner):
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 0, -1] = 1
    overall, _ = accuracy_tables(Corners(), image, np.array([corner]), CORNERS, [Rotation(angle, reflected=True)])
    assert overall["accuracy"].item() == 1.0


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 200.0])
def test_the_network_sees_turned_then_masked_then_normalised_images(mask, angle):
    images, model, fill = random_images(5, 8), Corners(), 0.25
    accuracy_tables(
        model, images, np.zeros(5, np.int64), CORNERS, [Rotation(angle)], normalise=lambda x: (x - 0.5) / 0.1,
        mask=mask, fill=fill, batch_size=2,
    )  # fmt: skip
    expected = np.stack(
        [
            ndimage.rotate(image[0].astype(np.float64), angle, reshape=False, order=1, mode="grid-constant", cval=fill)
            for image in images.numpy()
        ]
    )
    if mask:
        away = np.hypot(*(np.mgrid[:8, :8] - 3.5))
        expected[:, away > 4] = fill
    assert [len(seen) for seen in model.seen] == [2, 2, 1]
    # positions are rounded to float32, and normalising multiplies by 10
    np.testing.assert_allclose(torch.cat(model.seen)[:, 0], (expected - 0.5) / 0.1, atol=2e-4)


def test_fill_shows_between_quarter_turns_only():
    model = Corners()
    conditions = [Rotation(45.0), Rotation(90.0)]
    accuracy_tables(model, torch.ones(1, 1, 8, 8), np.array([0]), CORNERS, conditions, fill=0.5)
    # at 45 degrees the corner pixel lies 2 pixels outside the picture, where there is nothing but fill
    assert model.seen[0][0, 0, 0, 0] == 0.5
    assert torch.equal(model.seen[1], torch.ones(1, 1, 8, 8))


def test_conditions_by_default():
    found = rotations()
    assert [c.angle for c in found if not c.reflected] == list(EVERY_TEN_DEGREES)
    assert [c.angle for c in found if c.reflected] == [0, 90, 180, 270]
    assert [c.angle for c in found if c.grid and not c.reflected] == [0, 90, 180, 270]


def test_an_angle_given_twice_is_measured_once():
    assert [c.angle for c in rotations((0.0, 360.0, -90.0, 270.0, 90.0, 0.0), reflections=False)] == [0, 270, 90]


def undecided_network(name, images):
    """A random network, its biases set so that its scores have mean 0 over the images: no class always wins."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, channels=8, classes=4).double().eval()
    with torch.no_grad():
        model.fc.bias -= model(images).mean(0)
    return model


@pytest.mark.parametrize(("name", "size", "same"), [("p4cnn", 8, True), ("p4cnn", 9, False), ("z2cnn", 8, False)])
def test_an_exactly_invariant_network_is_as_good_at_every_quarter_turn(name, size, same):
    images, labels = random_images(60, size).double(), spread_labels(60)
    model = undecided_network(name, images)
    overall, by_class = accuracy_tables(model, images, labels, CORNERS, rotations(QUARTER_TURNS, reflections=False))
    assert model(images).argmax(1).unique().numel() > 1
    assert bool(overall["accuracy"].nunique() == 1) is same
    assert bool(by_class.groupby("label")["accuracy"].nunique().max() == 1) is same


def test_a_p4m_network_is_as_good_on_reflected_images():
    images, labels = random_images(40, 8).double(), spread_labels(40)
    model = undecided_network("p4mcnn", images)
    overall, _ = accuracy_tables(model, images, labels, CORNERS, rotations(QUARTER_TURNS))
    assert model(images).argmax(1).unique().numel() > 1
    assert len(overall) == 8
    assert overall["accuracy"].nunique() == 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores: (scores,),
        lambda scores: {"features": torch.zeros(len(scores), 9), "logits": scores},
        lambda scores: [{"deep": (torch.zeros(1), scores)}, scores + 100],
    ],
)
def test_scores_are_found_in_tuples_and_dicts(wrap):
    class Wrapped(Corners):
        def forward(self, images):
            return wrap(super().forward(images))

    images, labels = random_images(), spread_labels(30)
    plain, _ = accuracy_tables(Corners(), images, labels, CORNERS, [Rotation(90.0)])
    wrapped, _ = accuracy_tables(Wrapped(), images, labels, CORNERS, [Rotation(90.0)])
    assert wrapped.equals(plain)


@pytest.mark.parametrize("output", [torch.zeros(3, 5), None, {"logits": torch.zeros(2, 4)}, torch.zeros(4)])
def test_output_without_one_score_a_class(output):
    with pytest.raises(EqvizError, match=r"class scores of shape \(3, 4\)") as caught:
        class_scores(output, 3, 4)
    assert "\n" not in str(caught.value)


def test_a_model_that_fails_is_one_line():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(EqvizError, match="model: expected a forward pass on images of shape") as caught:
        accuracy_tables(model, random_images(3), spread_labels(4)[:3], CORNERS, [Rotation(0.0)])
    assert "\n" not in str(caught.value)


def test_runs_in_evaluation_mode_and_restores_it_also_after_an_error():
    inner = Corners()
    model = nn.Sequential(nn.Identity(), inner).train()
    inner.eval()
    accuracy_tables(model, random_images(3), np.arange(3), CORNERS, [Rotation(0.0)])
    assert inner.modes == [(False, False)]
    with pytest.raises(EqvizError):
        accuracy_tables(model, random_images(3), np.arange(3), ("a", "b"), [Rotation(0.0)])
    assert [module.training for module in model.modules()] == [True, True, False]
    assert torch.is_grad_enabled()


def test_tells_how_many_conditions_are_done():
    done = []
    accuracy_tables(
        Corners(),
        random_images(2),
        np.arange(2),
        CORNERS,
        rotations((0.0, 45.0), reflections=False),
        progress=done.append,
    )
    assert done == [1, 2]


def test_classes_that_do_not_occur_have_no_row_and_no_weight():
    labels = np.array([2, 2, 3])
    overall, by_class = accuracy_tables(Corners(), random_images(3), labels, CORNERS, [Rotation(0.0)])
    assert by_class["label"].tolist() == ["bottom left", "bottom right"]
    assert overall["balanced_accuracy"].item() == pytest.approx(by_class["accuracy"].mean())
