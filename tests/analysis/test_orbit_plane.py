"""The plane of orbits: by hand, against a singular value decomposition, and on exact and broken networks."""

import numpy as np
import pytest
import torch
from torch import nn

from eqviz.analysis.orbit_plane import chosen_images, orbit_plane, plane
from eqviz.capture.decomposition import decompose
from eqviz.errors import EqvizError
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.registry import build_model
from eqviz.tables import RUN_KEYS, SCHEMAS


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def network(G="p4"):
    """Exact on odd sizes, broken at its stride on even ones."""
    return nn.Sequential(
        LiftingConv2d(G, 1, 3, 3, padding=1),
        GroupConv2d(G, 3, 3, 3, stride=2, padding=1),
    )


class Undeclared(nn.Module):
    """Maps with an axis more, of which nobody says how the group acts on it."""

    def forward(self, images):
        return images[:, :, None]


class Head(nn.Module):
    """A block that holds the classifier: its output are scores, not features."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, features):
        return self.linear(features.mean((-2, -1)))


def test_a_rectangle_by_hand():
    # images at x = -2 and 2, elements 1 above and below: variance 4 along x between images, 1 along y within orbits
    aligned = torch.tensor([[[-2.0, 1.0], [2.0, 1.0]], [[-2.0, -1.0], [2.0, -1.0]]]) + 5
    found = plane(aligned)
    assert found.explained == pytest.approx((0.8, 0.2))
    assert found.orbit_spread == pytest.approx(0.2)
    np.testing.assert_allclose(found.coordinates, aligned.numpy() / np.sqrt(5) - np.sqrt(5), atol=1e-12)


def test_against_a_singular_value_decomposition():
    aligned = torch.randn(4, 6, 3, 5, dtype=torch.float64)
    found = plane(aligned)
    points = aligned.reshape(24, 15).numpy()
    centred = points - points.mean(0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    rms = np.sqrt(np.square(centred).sum() / 24)
    coordinates = found.coordinates.reshape(24, 2)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(centred @ axes[:2].T) / rms, atol=1e-12)
    assert found.explained == pytest.approx(tuple(np.square(sizes[:2]) / np.square(sizes).sum()))
    # coordinates have the variance that is said to be explained, in units in which all of it is 1
    np.testing.assert_allclose(np.square(coordinates).mean(0), found.explained, rtol=1e-12)
    within = np.square((aligned - aligned.mean(0)).numpy()).sum() / np.square(centred).sum()
    assert found.orbit_spread == pytest.approx(float(within))


def test_signs_do_not_depend_on_the_order_of_images_or_elements():
    aligned = torch.randn(4, 5, 7, dtype=torch.float64)
    images, elements = torch.tensor([3, 1, 4, 0, 2]), torch.tensor([2, 0, 3, 1])
    expected = plane(aligned).coordinates[elements][:, images]
    np.testing.assert_allclose(plane(aligned[elements][:, images]).coordinates, expected, atol=1e-12)


def test_orbits_with_one_mean_spread_over_everything():
    aligned = torch.randn(1, 5, 7, dtype=torch.float64) * torch.tensor([1.0, -1.0]).reshape(2, 1, 1)
    assert plane(aligned).orbit_spread == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_features_that_do_not_differ_have_no_place(value, dtype):
    found = plane(torch.full((4, 3, 5), value, dtype=dtype))
    assert np.isnan(found.coordinates).all()
    assert np.isnan([*found.explained, found.orbit_spread]).all()


def test_a_single_feature_lies_on_a_line():
    found = plane(torch.tensor([[[1.0], [2.0], [6.0]]]))
    assert found.explained == (pytest.approx(1), 0)
    assert not found.coordinates[..., 1].any()
    np.testing.assert_allclose(np.abs(found.coordinates[0, :, 0]), np.array([2, 1, 3]) / np.sqrt(14 / 3))


@pytest.mark.parametrize(("G", "order"), [("p4", 4), ("p4m", 8)])
def test_orbits_of_an_exact_network_are_points(G, order):
    model, images = network(G).double(), torch.rand(6, 1, 9, 9)
    exact = orbit_plane(model, images, range(6), G)
    assert len(exact) == exact["layer"].nunique() * 6 * order
    spans = exact.groupby(["layer", "image"])[["first", "second"]].agg(lambda one: one.max() - one.min())
    assert spans.to_numpy().max() < 1e-12  # float64 rounding, in units of the distance between images
    assert exact["orbit_spread"].max() < 1e-24
    broken = orbit_plane(model, torch.rand(6, 1, 8, 8), range(6), G, "1")
    assert broken["orbit_spread"].min() > 0.01
    assert broken.groupby("image")["first"].nunique().min() > 1


def test_rows_are_the_points_of_their_image_and_element():
    model, images, labels = network(), torch.rand(5, 1, 8, 8), np.array([3, 1, 3, 1, 1])
    table = orbit_plane(model, images, labels, layers="1", points=4, progress=(told := []).append)
    chosen = [0, 1, 2, 3]
    found = plane(decompose(model, images[chosen], "1").aligned)
    np.testing.assert_allclose(table["first"], found.coordinates[..., 0].T.ravel(), atol=1e-6)  # float32 in batches
    assert table["image"].tolist() == np.repeat(chosen, 4).tolist()
    assert table["label"].tolist() == np.repeat(["3", "1", "3", "1"], 4).tolist()
    assert table["element"].tolist()[:4] == ["identity", "rotation 90", "rotation 180", "rotation 270"]
    assert set(table["n"]) == {4}
    assert told[-1] == 1
    assert (*RUN_KEYS, *table.columns) == SCHEMAS["orbit_plane"]


def test_images_are_taken_from_a_few_classes_in_turn():
    labels = np.array([5, 5, 5, 5, 2, 2, 8, 2])
    assert chosen_images(labels, points=5, classes=2).tolist() == [0, 1, 4, 5, 7]
    assert chosen_images(labels, points=3, classes=9).tolist() == [0, 4, 6]
    assert chosen_images(labels, points=99, classes=9).tolist() == list(range(8))


def test_layers_are_the_first_that_subsamples_and_the_last_before_the_classifier():
    table = orbit_plane(build_model("p4cnn", channels=2), torch.rand(4, 1, 8, 8), range(4))
    assert table["layer"].unique().tolist() == ["pool", "coset_pool"]
    nested = nn.Sequential(nn.Conv2d(1, 2, 3), Head())
    assert orbit_plane(nested, torch.rand(4, 1, 6, 6), range(4))["layer"].unique().tolist() == ["0"]
    plain = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    assert orbit_plane(plain, torch.rand(4, 1, 6, 6), range(4))["layer"].unique().tolist() == ["(output)"]
    named = orbit_plane(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(4, 1, 6, 6), range(4), layers="1")
    assert named["kind"].unique().tolist() == ["activation"]


def test_images_that_are_not_square_and_a_network_without_a_group_axis():
    table = orbit_plane(nn.Conv2d(1, 2, 3), torch.rand(4, 1, 6, 9), list("abca"), "D2")
    assert table["element"].nunique() == 4
    assert set(table["label"]) == {"a", "b", "c"}
    assert table["orbit_spread"].iloc[0] > 0.01


def test_elements_that_interpolate_are_left_out():
    assert orbit_plane(nn.Conv2d(1, 2, 3), torch.rand(3, 1, 6, 6), range(3), "C8")["element"].nunique() == 4


def test_what_cannot_be_placed_is_refused():
    model, images = nn.Conv2d(1, 2, 3), torch.rand(4, 1, 6, 6)
    with pytest.raises(EqvizError, match="one for each of 4 images"):
        orbit_plane(model, images, [1, 2])
    with pytest.raises(EqvizError, match="two or more"):
        orbit_plane(model, images[:1], [1])
    with pytest.raises(EqvizError, match="names or globs"):
        orbit_plane(model, images, range(4), layers="conv9")
    with pytest.raises(EqvizError, match="that can be aligned"):
        orbit_plane(Undeclared(), images, range(4))


def test_a_network_is_left_as_it_was_also_if_it_fails():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 1)).train()
    model[1].eval()
    with pytest.raises(EqvizError, match="last layer that ran: 1"):
        orbit_plane(model, torch.rand(4, 1, 6, 6), range(4))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()
