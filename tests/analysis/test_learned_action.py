"""Learned maps find the action of the group where it is known: group networks, gradients, closed filter banks."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eqviz.analysis.learned_action import (
    declared_actions,
    errors_of_maps,
    learned_action,
    learned_action_summary,
    ridge_strengths,
)
from eqviz.analysis.linear_maps import STRENGTHS, best_linear, best_orthogonal, best_permutation, squared_error
from eqviz.capture.channel_moments import channel_moments, moments_of
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Vector, declare
from eqviz.fields.layer_calls import OUTPUT, LayerCall
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.tables import RUN_KEYS, columns

ROUNDING = 1e-6
"""Relative: exact float32 layers differ by some 1e-7, and moments in float64 leave the root of 1e-16."""


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(2015)
        yield


class Gradient(nn.Module):
    """Differences to the right and upwards: `(B, 1, H, W)` to `(B, 2, H, W)`, a vector field."""

    kind = "convolution"

    def forward(self, images):
        padded = nn.functional.pad(images, (1, 1, 1, 1))
        right = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        up = padded[..., :-2, 1:-1] - padded[..., 2:, 1:-1]
        return torch.cat([right, up], dim=1)


def group_network(G, size=3):
    field = f"regular({G})"
    return nn.Sequential(
        LiftingConv2d(G, 1, size, 3, padding=1),
        declare(nn.ReLU(), field),
        declare(GroupConv2d(G, size, size, 3, stride=2, padding=1), field),
    )


def errors(table, layer=OUTPUT):
    return table[table["layer"] == layer].pivot_table(index="map", columns="element", values="error", sort=False)


@pytest.mark.parametrize("G", ["C4", "D4"])
def test_an_exact_layer_is_moved_by_its_declared_action_and_the_best_permutation_is_that_action(G):
    network, images = group_network(G), torch.rand(8, 1, 9, 9)
    found = errors(learned_action(network, images, G), "2")
    assert (found.drop(index="identity") < ROUNDING).to_numpy().all()
    assert (found.loc["identity"] > 0.1).all()
    layer = channel_moments(network, images, group(G), "2")[LayerCall("2", 0)]
    actions = declared_actions("2", network[2], layer.shape, {}, group(G).elements[1:])
    for g, action in enumerate(actions):
        np.testing.assert_array_equal(best_permutation(layer.moments.xy.sum(0)[g]), action)
        assert not np.array_equal(action, np.eye(len(action)))


def test_a_broken_layer_has_no_such_map():
    found = errors(learned_action(group_network("C4"), torch.rand(8, 1, 10, 10), "C4"), "2")
    assert (found > 100 * ROUNDING).to_numpy().all()


def test_gradients_turn_as_arrows_do():
    images = torch.rand(8, 1, 6, 6, dtype=torch.float64)
    found = errors(learned_action(Gradient(), images, "C4"))
    assert (found.loc[["orthogonal", "ridge"]] < ROUNDING).to_numpy().all()
    assert (found.loc[["identity", "permutation"]] > 0.5).to_numpy().all()
    moments = channel_moments(Gradient(), images, group("C4"), OUTPUT)[LayerCall(OUTPUT, 0)].moments
    for g, element in enumerate(group("C4").elements[1:]):
        # float32 features: the moments are known to about 1e-7
        np.testing.assert_allclose(best_orthogonal(moments.xy.sum(0)[g]), element.matrix, atol=1e-6)
    arrows = Vector(group("C4"), np.stack([element.matrix for element in group("C4").elements]))
    declared = errors(learned_action(Gradient(), images, "C4", fields={OUTPUT: arrows}))
    assert (declared.loc["declared"] < ROUNDING).all()


def test_a_plain_convolution_with_filters_enough_has_a_linear_action():
    """Nine filters of 3x3 span all filters, and turned filters with them; eight do not."""
    images = torch.rand(12, 1, 8, 8)
    enough, lacking = (
        errors(learned_action(nn.Conv2d(1, count, 3, bias=False).double(), images, "C4")) for count in (9, 8)
    )
    assert (enough.loc["ridge"] < ROUNDING).all()
    assert (lacking.loc["ridge"] > 1e-3).all()
    assert (enough.loc["permutation"] > 0.1).all()


def test_held_out_and_training_errors_are_those_of_explicit_vectors():
    vectors = torch.randn(2, 9, 6, 3, dtype=torch.float64) + torch.randn(1, 9, 6, 3, dtype=torch.float64)
    fold = torch.arange(9) % 3
    moments = moments_of(vectors, fold, 3)
    held_out, training = errors_of_maps(moments, [np.diag([1.0, -1.0, 1.0])])
    strengths = ridge_strengths(moments)
    sums = dict.fromkeys(held_out, 0.0)
    own = dict.fromkeys(held_out, 0.0)
    for one in range(3):
        x, y = (part[fold != one].reshape(-1, 3).numpy() for part in vectors)
        other_x, other_y = (part[fold == one].reshape(-1, 3).numpy() for part in vectors)
        maps = {
            "identity": np.eye(3), "declared": np.diag([1.0, -1.0, 1.0]), "permutation": best_permutation(x.T @ y),
            "orthogonal": best_orthogonal(x.T @ y), "ridge": best_linear(x.T @ x, x.T @ y, strengths[one, 0]),
        }  # fmt: skip
        for name, M in maps.items():
            sums[name] += ((other_y - other_x @ M.T) ** 2).sum()
            own[name] += ((y - x @ M.T) ** 2).sum()
    energy = float(vectors[1].square().sum())
    for name, total in sums.items():
        assert held_out[name][0] == pytest.approx(np.sqrt(total / energy), rel=1e-9)  # float64, no cancellation
        assert training[name][0] == pytest.approx(np.sqrt(own[name] / (2 * energy)), rel=1e-9)


def test_the_strength_is_chosen_without_the_held_out_fold():
    vectors = torch.randn(2, 12, 2, 6, dtype=torch.float64)
    fold = torch.arange(12) % 4
    strengths = ridge_strengths(moments_of(vectors, fold, 4))
    moments = moments_of(vectors, fold, 4)
    for held_out in range(4):
        errors_by_strength = []
        for strength in STRENGTHS:
            total = 0.0
            for judge in {0, 1, 2, 3} - {held_out}:
                rest, other = moments.of({0, 1, 2, 3} - {held_out, judge}), moments.of([judge])
                M = best_linear(rest.xx[0], rest.xy[0, 0], strength)
                total += squared_error(M, other.xx[0], other.xy[0, 0], float(other.yy[0, 0]))
            errors_by_strength.append(total)
        assert strengths[held_out, 0] == STRENGTHS[int(np.argmin(errors_by_strength))]
    spoilt = vectors.clone()
    spoilt[:, fold == 2] *= 50
    assert ridge_strengths(moments_of(spoilt, fold, 4))[2, 0] == strengths[2, 0]


def test_unrelated_features_are_not_learned_though_they_fit():
    """More entries than images: every map fits the training images, none the others."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 40))
    found = learned_action(model, torch.randn(12, 1, 6, 6), "C4", layers="1")
    ridge = found[found["map"] == "ridge"]
    assert (found["dimension"] == 40).all()
    assert (ridge["error"] > 0.8).all()
    assert (ridge["error"] < 1.2).all()  # the strength keeps it from doing much worse than 0
    assert (found[found["map"] == "orthogonal"].eval("training_error < error")).all()


def test_columns_layers_without_a_type_and_elements():
    """A group axis of unknown kind, a vector and a tuple item, none of them declared."""

    class Parts(nn.Module):
        def forward(self, images):
            lifted = torch.stack([images.roll(1, -1), images.roll(-1, -1)], dim=2)
            return {"maps": lifted, "vector": images.flatten(1)[:, :5]}

    found = learned_action(Parts(), torch.rand(6, 1, 6, 6), "D1(left-right)")
    assert tuple(found.columns) == columns("learned_action")[len(RUN_KEYS) :]
    assert set(found["layer"]) == {f"{OUTPUT}[maps]", f"{OUTPUT}[vector]"}
    assert set(found["element"]) == {"flip left-right"}
    assert set(found["map"]) == {"identity", "permutation", "orthogonal", "ridge"}
    maps = errors(found, f"{OUTPUT}[maps]")
    assert (maps.loc["permutation"] < ROUNDING).all()  # the flip exchanges the two entries
    assert (maps.loc["identity"] > 0.1).all()


def test_maps_that_are_not_square():
    found = errors(learned_action(group_network("C4"), torch.rand(6, 1, 7, 9), "C4"), "2")
    assert (found.loc[["declared", "permutation"]] < ROUNDING).to_numpy().all()


def test_dead_layers_and_long_vectors_have_no_error():
    dead = nn.Conv2d(1, 3, 3)
    nn.init.zeros_(dead.weight)
    nn.init.zeros_(dead.bias)
    images = torch.rand(6, 1, 6, 6)
    assert learned_action(dead, images, "C2")["error"].isna().all()
    found = learned_action(nn.Conv2d(1, 3, 3), images, "C2", largest=2)
    assert found[["error", "training_error"]].isna().to_numpy().all()
    assert set(found["dimension"]) == {3}
    assert len(found) == 4


@pytest.mark.parametrize(
    ("shape", "field", "known"),
    [((8, 5, 5), "regular(C4, flattened)", True), ((2, 4, 5, 5), "regular(C4)", True), ((2, 4), "regular(C4)", True),
     ((3, 5, 5), "image", True), ((10,), "invariant", True), ((3, 1, 1), "invariant", True),
     ((3, 5, 5), "invariant", False), ((3, 5, 5), "regular(C4)", False), ((3, 5, 5), "regular(D1)", False)],
)  # fmt: skip
def test_declared_actions_are_matrices_of_the_fibre(shape, field, known):
    actions = declared_actions("layer", nn.Identity(), shape, {"layer": field}, group("C4").elements)
    assert (actions is not None) is known
    if actions is not None:
        for g, h in np.ndindex(4, 4):
            np.testing.assert_array_equal(actions[g] @ actions[h], actions[group("C4").compose(g, h)])
    assert declared_actions("layer", nn.Identity(), shape, {}, group("C4").elements) is None


def test_progress_grows_to_one_and_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5)).train()
    told = []
    images = torch.rand(6, 1, 6, 6)
    first = learned_action(model, images, "C8", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    pd.testing.assert_frame_equal(first, learned_action(model, images, "C4"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": "C3"}, "group: expected an element on the pixel grid beside the identity; found C3"),
        ({"folds": 2}, "folds: expected at least 3"),
        ({"folds": 7}, "folds: .*7 folds of 6 images"),
        ({"layers": "1"}, "layers: expected at least one of kind convolution"),
        ({"fields": {"cnov": "image"}}, "fields: "),
        ({"fields": {"0": "imgae"}}, "field type: "),
    ],
)
def test_errors_say_what_to_do(change, message):
    with pytest.raises(EqvizError, match=f"^{message}"):
        learned_action(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(6, 1, 6, 6), **{"group": "C4"} | change)


def test_over_elements_and_seeds():
    row = dict.fromkeys(columns("learned_action"), 0) | {"model": "p4cnn", "layer": "pool", "map": "ridge"}
    seeds = [
        row | {"run": run, "seed": run, "element": element, "error": error, "training_error": error / 2}
        for run, pair in ((0, (3.0, 4.0)), (1, (0.0, 0.0)))
        for element, error in zip(("rotation 90", "rotation 180"), pair, strict=True)
    ]
    dead = [row | {"layer": "dead", "error": np.nan, "training_error": np.nan}]
    found = learned_action_summary(pd.DataFrame(seeds + dead)).astype({"layer": str}).set_index("layer")
    assert found.loc["pool", "highest"] == pytest.approx(np.sqrt(12.5))
    assert found.loc["pool", "error"] == pytest.approx(np.sqrt(12.5) / 2)
    assert found.loc["pool", "training_error"] == pytest.approx(np.sqrt(12.5) / 4)
    assert found.loc["pool", ["lowest", "n_seeds"]].tolist() == [0, 2]
    assert np.isnan(found.loc["dead", "error"])
    assert found.loc["dead", "n_seeds"] == 0
