"""f = S f + A f: known by hand on toys, against plain numpy on random scores, and the identities of the paper."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eqviz.analysis.function_split import SplitSums, function_split
from eqviz.analysis.orbit_scores import scores_in
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.tables import RUN_KEYS, columns


class Corner(nn.Module):
    """The upper left pixel and 0, as two scores."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], torch.zeros(len(x))], dim=1)


class Sum(nn.Module):
    """The sum of all pixels and 0: exactly invariant."""

    def forward(self, x):
        return torch.stack([x.sum((1, 2, 3)), torch.zeros(len(x))], dim=1)


def network(count=3):
    return nn.Sequential(nn.Conv2d(1, count, 4), nn.Flatten()).double()


def row(table, function, distribution):
    (found,) = table[(table["function"] == function) & (table["distribution"] == distribution)].to_dict("records")
    return found


def test_a_corner_by_hand():
    image = torch.tensor([[4.0, 0.0], [0.0, 0.0]])
    table = function_split(Corner(), torch.stack([image, -image])[:, None], np.array([0, 1]), "C4")
    upright, orbit = row(table, "scores", "upright"), row(table, "scores", "orbit")
    # scores of the first image 4, 0, 0, 0 over the orbit, of the second their negatives; S f = 1 and -1
    norms = ("norm_whole", "norm_symmetric", "norm_antisymmetric", "antisymmetric_fraction")
    assert [upright[name] for name in norms] == [16, 1, 9, 0.9]
    assert [orbit[name] for name in norms] == [4, 1, 3, 0.75]
    assert (upright["accuracy"], upright["accuracy_symmetric"], upright["accuracy_antisymmetric"]) == (1, 1, 1)
    # elsewhere the scores tie, which counts as class 0, and A f has the wrong sign
    assert (orbit["accuracy"], orbit["accuracy_symmetric"], orbit["accuracy_antisymmetric"]) == (0.625, 1, 0.25)
    assert upright["cross_entropy"] == pytest.approx(np.log1p(np.exp(-4)))
    assert upright["cross_entropy_symmetric"] == pytest.approx(np.log1p(np.exp(-1)))
    # against (1, 0) and (0, 1)
    assert upright["squared_loss"] == pytest.approx((9 + 17) / 2)
    assert upright["squared_loss_symmetric"] == pytest.approx((0 + 2) / 2)
    assert set(table["n"]) == {2}
    whole, rest = (row(table, "probabilities", name)["cross_entropy"] for name in ("upright", "orbit"))
    assert (whole, rest) == (upright["cross_entropy"], orbit["cross_entropy"])  # the same function's logarithm


def test_an_invariant_network_has_no_other_part():
    table = function_split(Sum(), torch.rand(5, 1, 4, 6), np.array([0, 1, 0, 1, 0]), "D4")
    assert table["accuracy_antisymmetric"].isna().all()
    assert (table["accuracy"] == table["accuracy_symmetric"]).all()
    assert table["antisymmetric_fraction"].max() < 1e-12  # a sum of 24 float32 numbers in another order
    assert table[["cross_entropy_gap", "squared_loss_gap"]].abs().max(axis=None) < 1e-5


@pytest.mark.parametrize("group", ["C4", "D4", "C2"])
@pytest.mark.parametrize("function", ["scores", "probabilities"])
def test_the_identities_on_the_orbit(function, group):
    found = row(function_split(network(), torch.randn(30, 1, 4, 4), np.arange(30) % 3, group, 24), function, "orbit")
    assert found["norm_symmetric"] + found["norm_antisymmetric"] == pytest.approx(found["norm_whole"], rel=1e-12)
    assert found["squared_loss_gap"] == pytest.approx(found["norm_antisymmetric"], rel=1e-9)
    assert found["norm_antisymmetric"] > 1e-3
    assert found["cross_entropy_gap"] > 0


def test_the_fraction_is_the_breaking_fraction_of_the_output():
    model, images = network(), torch.randn(9, 1, 4, 4)
    found = row(function_split(model, images, np.arange(9) % 3, "D4"), "scores", "orbit")
    layers = capture(model, images, "D4", layers="(output)").equivariance()
    assert found["antisymmetric_fraction"] == pytest.approx(layers["breaking_fraction"][0], rel=1e-12)


def by_hand(scores, labels, function):
    """The rows of both distributions by plain numpy, one image and element at a time."""
    values = scores if function == "scores" else np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    order, count, classes = values.shape
    found = {name: np.zeros(order) for name in ("whole", "symmetric", "rest", "hits", "entropy", "averaged", "loss")}
    for n in range(count):
        mean = sum(values[g, n] for g in range(order)) / order
        truth = np.array([1.0 if c == labels[n] else 0.0 for c in range(classes)])
        chances = mean if function == "probabilities" else np.exp(mean) / np.exp(mean).sum()
        for g in range(order):
            f = values[g, n]
            found["whole"][g] += f @ f
            found["symmetric"][g] += mean @ mean
            found["rest"][g] += (f - mean) @ (f - mean)
            found["hits"][g] += np.argmax(f - mean) == labels[n]
            p = f if function == "probabilities" else np.exp(f) / np.exp(f).sum()
            found["entropy"][g] -= np.log(p[labels[n]])
            found["averaged"][g] -= np.log(chances[labels[n]])
            found["loss"][g] += (f - truth) @ (f - truth)
    return {
        "upright": {k: v[0] / count for k, v in found.items()},
        "orbit": {k: v.mean() / count for k, v in found.items()},
    }


NAMES = {
    "whole": "norm_whole", "symmetric": "norm_symmetric", "rest": "norm_antisymmetric",
    "hits": "accuracy_antisymmetric", "entropy": "cross_entropy", "averaged": "cross_entropy_symmetric",
    "loss": "squared_loss",
}  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([2, 4, 8]), st.integers(2, 9), st.data())
def test_against_plain_numpy_and_merged(seed, order, count, data):
    rng = np.random.default_rng(seed)
    scores, labels = 3 * rng.normal(size=(order, count, 4)), rng.integers(0, 4, count)
    cut = data.draw(st.integers(1, count - 1))
    for function in ("scores", "probabilities"):
        probabilities = function == "probabilities"
        whole = SplitSums.of(scores, labels, probabilities=probabilities)
        merged = SplitSums.of(scores[:, :cut], labels[:cut], probabilities=probabilities) + SplitSums.of(
            scores[:, cut:], labels[cut:], probabilities=probabilities
        )
        for distribution, wanted in by_hand(scores, labels, function).items():
            found = whole.values(distribution)
            assert {key: found[name] for key, name in NAMES.items()} == pytest.approx(wanted, rel=1e-9)
            assert merged.values(distribution) == pytest.approx(found, rel=1e-9)
        assert whole.values("orbit")["cross_entropy_gap"] >= -1e-12  # by convexity


def test_scores_too_large_for_probabilities_have_a_finite_loss():
    scores = np.array([[[0.0, 2000.0]], [[0.0, 3000.0]]])
    found = SplitSums.of(scores, np.array([0]), probabilities=True).values("orbit")
    assert found["cross_entropy"] == 2500
    assert found["cross_entropy_symmetric"] == pytest.approx(2000 + np.log(2))


def test_batches_columns_and_progress():
    model, images, labels = network(), torch.randn(10, 1, 4, 4), np.arange(10) % 3
    told = []
    whole = function_split(model, images, labels, "p4")
    split = function_split(model, images, labels, "C8", 12, progress=told.append)  # C8: its exact subgroup
    assert set(whole.columns) == set(columns("function_split")) - set(RUN_KEYS)
    assert told == [0.3, 0.6, 0.9, 1.0]
    for name in whole.columns.drop(["function", "distribution"]):
        np.testing.assert_allclose(whole[name], split[name], rtol=1e-10, atol=1e-12)


def test_scores_are_found_in_what_a_model_returns():
    features, scores = torch.zeros(4, 3, 2), torch.zeros(4, 5)
    assert scores_in({"features": features, "scores": scores}, 4, 5) is scores
    for output, words in (((features,), r"found \[\(4, 3, 2\)\]"), (None, "found NoneType"), (scores, "4, 6 or more")):
        with pytest.raises(EqvizError, match=words):
            scores_in(output, 4, 6)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1], "one for each of 3 images; found 2"), ([0, 1, -1], "from 0 on"), ([0, 1, 3], "model output")],
)
def test_errors(labels, words):
    with pytest.raises(EqvizError, match=words) as caught:
        function_split(network(), torch.randn(3, 1, 4, 4), np.array(labels), "C4")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails):
    model = nn.Sequential(nn.Conv2d(1, 3, 4), nn.Dropout(0.5), nn.Flatten()).train()
    if fails:
        model.append(nn.Linear(1, 1))
        with pytest.raises(EqvizError, match="model"):
            function_split(model, torch.randn(3, 1, 4, 4), np.array([0, 1, 2]), "C4")
    else:
        first, second = (function_split(model, torch.ones(3, 1, 4, 4), np.array([0, 1, 2]), "C4") for _ in range(2))
        assert first.equals(second)  # no dropout
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()
