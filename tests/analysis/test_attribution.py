"""Explanations of exact networks turn with the image; the table holds what a brute force finds."""

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import nn

from eqviz import tables
from eqviz.analysis.attribution import METHODS, attribution, attribution_summary
from eqviz.analysis.attribution_examples import attribution_example
from eqviz.analysis.explanation_sums import CompletenessSums, CosineSums, cosine_sums
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupAvgPool2d, GroupMaxPool2d

EXACT = 1e-24
"""1 - cosine in float64: attributions agree to some 1e-14 of their length; 1 - cosine is half the square of that."""


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        yield


def network(G="C4", pool=GroupAvgPool2d, stride=1):
    """A group network in float64: exact on even sizes; with stride 2 broken on 8 pixels."""
    field = f"regular({G})"
    return (
        nn.Sequential(
            LiftingConv2d(G, 1, 3, 3, padding=1),
            declare(nn.ReLU(inplace=True), field),
            declare(pool(2), field),
            declare(GroupConv2d(G, 3, 3, 3, stride, padding=1), field),
            declare(GlobalAveragePool(), field),
            CosetMaxPool(),
            declare(nn.Linear(3, 4), "invariant"),
        )
        .double()
        .eval()
    )


def plain():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 3)
    ).double()


def digits(n=3, size=8):
    """Dark flat background with something in the middle, so that windows of a pool are tied."""
    images = torch.zeros(n, 1, size, size, dtype=torch.float64)
    images[..., size // 4 : size // 2 + 1, size // 4 : size // 2 + 2] = torch.randn(n, 1, size // 4 + 1, size // 4 + 2)
    return images


def move(array, element):
    turned = np.rot90(array, element.quarter_turns, (-2, -1))
    return np.flip(turned, -2) if element.reflected else turned


@pytest.mark.parametrize(("G", "shape"), [("C4", (8, 8)), ("D4", (8, 8)), ("D1(transpose)", (8, 8)), ("D4", (8, 14))])
def test_explanations_of_an_exact_network_turn_with_the_image_where_the_pool_averages(G, shape):
    table = attribution(network(G), torch.randn(3, 1, *shape, dtype=torch.float64), G, steps=5)
    assert table["method"].tolist() == [*METHODS[:3], "grad_cam", "grad_cam", "grad_cam"]
    assert (table["cosine_distance"] < EXACT).all()
    assert (table["undefined"] == 0).all()
    assert table["tied_windows"].isna().all()  # there is no maximum pool


def test_a_network_that_breaks_the_symmetry_has_explanations_that_do():
    table = attribution(network(stride=2), torch.randn(3, 1, 8, 8, dtype=torch.float64), "C4", steps=5)
    assert (table["cosine_distance"] > 1e-3).all()
    assert (table["cosine_lowest"] <= table["cosine"]).all()


def test_ties_in_maximum_pools_are_what_is_left_of_an_exact_network():
    model, images = network(pool=GroupMaxPool2d), digits()
    nn.init.ones_(model[0].bias)  # so that flat background is not rectified away
    tied = attribution(model, images, "C4", steps=5, baseline=1.0).set_index("method")
    assert tied["tied_windows"].iloc[0] > 0.1
    assert tied["tied_windows_with_gradient"].iloc[0] > 0.1
    assert tied.loc["saliency", "cosine_distance"] > 1e-6
    assert tied.loc["integrated_gradients", "cosine_distance"] > 1e-6  # from white, black background weighs
    assert tied.loc["occlusion", "cosine_distance"] < EXACT  # which takes no gradient
    untied = attribution(model, torch.randn_like(images), "C4", steps=5).set_index("method")
    assert untied["tied_windows_with_gradient"].iloc[0] == 0
    assert untied.loc["saliency", "cosine_distance"] < EXACT


def test_from_black_flat_background_does_not_weigh():
    model, images = network(pool=GroupMaxPool2d), digits().abs()
    nn.init.ones_(model[0].bias)
    white, black, default = (
        attribution(model, images, "C4", methods=["integrated_gradients"], baseline=baseline)
        for baseline in (1.0, 0.0, None)
    )
    assert black["cosine_distance"].iloc[0] < 0.01 * white["cosine_distance"].iloc[0]
    pd.testing.assert_frame_equal(black, default)


@pytest.mark.parametrize(
    ("G", "shape"), [("C4", (9, 9)), ("D4", (9, 9)), ("D2", (7, 10)), ("C4", (7, 10)), ("D4", (7, 10))]
)
def test_numbers_are_those_of_a_brute_force(G, shape):
    model, images = plain(), torch.randn(3, 2, *shape, dtype=torch.float64)
    targets = model(images).argmax(1)
    found = attribution(model, images, G, baseline=0.5, steps=6, batch_size=7).set_index("method")
    elements = group(G).elements
    for method in ("saliency", "integrated_gradients"):
        cosines = []
        for image, target in zip(images, targets, strict=True):
            maps = []
            for element in elements:
                moved = torch.from_numpy(move(image.numpy(), element).copy())[None].requires_grad_()
                if method == "saliency":
                    explained = Saliency(model).attribute(moved, target=int(target), abs=False)
                else:
                    explained = IntegratedGradients(model).attribute(moved, 0.5, target=int(target), n_steps=6)
                maps.append(move(explained.detach().numpy()[0], element.inverse).ravel())
            norms = [np.linalg.norm(one) for one in maps]
            cosines += [maps[0] @ one / norms[0] / norm for one, norm in zip(maps[1:], norms[1:], strict=True)]
        row = found.loc[method]
        assert row["cosine"] == pytest.approx(np.mean(cosines), rel=1e-9)  # float64
        assert row["cosine_lowest"] == pytest.approx(np.min(cosines), rel=1e-9)
        assert row["cosine_distance"] == pytest.approx(1 - np.mean(cosines), rel=1e-9)
        assert row["n"] == 3


@pytest.mark.parametrize("shape", [(9, 9), (7, 10)])
def test_the_size_of_batches_changes_nothing(shape):
    model, images = plain(), torch.randn(7, 2, *shape, dtype=torch.float64)
    whole = attribution(model, images, "C4", steps=4, batch_size=1000)
    parts = attribution(model, list(torch.split(images, [3, 2, 2])), "C4", steps=4, batch_size=5)
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-9)  # float64


def test_ties_are_counted_on_the_whole_orbit():
    model = nn.Sequential(nn.MaxPool2d((1, 2)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    images = torch.randn(2, 1, 6, 1).expand(-1, -1, -1, 8)  # constant along rows: tied there, and not along columns
    table = attribution(model, images.contiguous(), "C4", methods=["saliency"])
    assert table["tied_windows"].tolist() == table["tied_windows_with_gradient"].tolist() == [0.5]


def test_columns_are_those_of_the_table():
    table = attribution(network(), torch.randn(1, 1, 8, 8), "C4", methods=["saliency", "grad_cam"])
    wanted = [column for column in tables.columns("attribution") if column not in tables.RUN_KEYS]
    assert sorted(table.columns) == sorted(wanted)
    assert table["layer"].tolist() == ["(input)", "0", "2", "3"]
    assert table["depth"].tolist() == [-1, 0, 2, 3]
    assert table["subsamples"].tolist() == [False, False, True, False]
    assert table.loc[0, "kind"] == "input"


def test_grad_cam_of_a_flattened_fibre_is_an_image():
    class Flattens(nn.Module):
        kind = "block"

        def __init__(self):
            super().__init__()
            declare(self, "regular(C4, flattened)")

        def forward(self, maps):
            return maps.flatten(1, 2)

    torch.manual_seed(0)
    model = nn.Sequential(
        LiftingConv2d("C4", 1, 3, 3, padding=1), nn.ReLU(), Flattens(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Unflatten(1, (3, 4)), CosetMaxPool(),
    ).double()  # fmt: skip
    fields = {"1": "regular(C4)", "3": "regular(C4, flattened)", "4": "regular(C4, flattened)", "5": "regular(C4)"}
    table = attribution(model, torch.randn(2, 1, 6, 6), "C4", fields=fields, methods=["grad_cam"])
    assert "2" in table["layer"].tolist()
    assert (table["cosine_distance"] < EXACT).all()


def test_of_a_layer_that_runs_twice_the_last_call_is_explained():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)
            self.fc = nn.Linear(36, 2)

        def forward(self, images):
            return self.fc(torch.tanh(self.conv(torch.tanh(self.conv(images)))).flatten(1))

    table = attribution(Twice(), torch.randn(2, 1, 6, 6), "C4", methods=["grad_cam"])
    assert table[["layer", "call"]].to_numpy().tolist() == [["conv", 1]]


def test_attributions_of_nothing_are_counted_and_left_out():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(model[1].weight)
    table = attribution(model, torch.randn(3, 1, 4, 4), "C4", steps=2)
    assert (table["undefined"] == 3 * 3).all()
    assert table[["cosine", "cosine_distance", "cosine_lowest", "cosine_pooled", "completeness"]].isna().all(axis=None)


def test_the_model_is_left_as_it_was():
    model = network(pool=GroupMaxPool2d).train()
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attribution(model, torch.randn(2, 1, 8, 8), "C4", steps=2)
    assert all(module.training for module in model.modules())
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())
    assert [parameter.requires_grad for parameter in model.parameters()].count(False) == 1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


class Failing(nn.Module):
    """Raises from its third call on: not while the layers are looked at, but while they are explained."""

    def __init__(self):
        super().__init__()
        self.left, self.conv, self.fc = 3, nn.Conv2d(1, 1, 3), nn.Linear(16, 2)

    def forward(self, images):
        self.left -= 1
        if self.left < 0:
            raise ValueError("no more")
        return self.fc(self.conv(images).flatten(1))


def test_the_model_is_left_as_it_was_when_it_raises():
    model = Failing().train()
    with pytest.raises(EqvizError, match="no more"):
        attribution(model, torch.randn(1, 1, 6, 6), "C4", methods=["saliency", "grad_cam"])
    assert all(module.training and not module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_progress_grows_to_the_end():
    told = []
    attribution(plain(), torch.randn(4, 2, 9, 9), "C4", steps=2, batch_size=8, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 4


@pytest.mark.parametrize(
    ("chosen", "match"),
    [
        ({"group": "C1"}, "a group that moves the image"),
        ({"methods": ["lime"]}, "found lime"),
        ({"methods": []}, "found none"),
        ({"baseline": torch.randn(2, 9, 9)}, "one that rotation 90 moves"),
        ({"baseline": torch.randn(4)}, r"can be expanded to \(2, 9, 9\); found shape \(4,\)"),
        ({"window": 2, "stride": 2}, "window 2, stride 2"),
        ({"steps": 0}, "steps: expected at least 1"),
        ({"methods": ["grad_cam"], "layers": "(output)"}, "at least one layer with maps"),
        ({"layers": "conv9"}, "names or globs of layers"),
    ],
)
def test_what_a_user_gets_wrong_is_said(chosen, match):
    chosen = {"group": "C4", **chosen}
    with pytest.raises(EqvizError, match=match):
        attribution(plain(), torch.randn(1, 2, 9, 9, dtype=torch.float64), **chosen)


def test_images_must_last():
    with pytest.raises(EqvizError, match="an iterator, which ends"):
        attribution(plain(), iter([torch.randn(1, 2, 9, 9)]), "C4")


def test_baselines_may_be_constant_by_channel_or_symmetric():
    images = torch.randn(1, 2, 9, 9)
    ring = torch.ones(2, 9, 9)
    ring[:, 2:7, 2:7] = 0
    for baseline in (torch.tensor([0.1, 0.2])[:, None, None], ring):
        table = attribution(plain(), images, "D4", methods=["integrated_gradients"], baseline=baseline)
        assert table["cosine"].notna().all()
    constant = torch.tensor([0.1, 0.2])[:, None, None]
    attribution(plain(), torch.randn(1, 2, 7, 9), "C4", methods=["integrated_gradients"], baseline=constant)


@pytest.mark.parametrize("cuts", [[1], [2, 5], [1, 2, 3, 4, 5, 6]])
def test_sums_over_parts_add_up(cuts):
    aligned = torch.randn(4, 7, 3, 5, dtype=torch.float64)
    aligned[2, 3] = 0
    parts = [cosine_sums(part) for part in torch.tensor_split(aligned, cuts, dim=1)]
    whole, total = cosine_sums(aligned), sum(parts, CosineSums())
    assert total.values() == pytest.approx(whole.values())
    assert (whole.undefined, whole.pairs) == (1, 20)
    delta, size = torch.randn(2, 7, dtype=torch.float64)
    pieces = zip(torch.tensor_split(delta, cuts), torch.tensor_split(size, cuts), strict=True)
    complete = sum((CompletenessSums.of(*piece) for piece in pieces), CompletenessSums())
    assert complete.value == pytest.approx(CompletenessSums.of(delta, size).value)
    assert complete.value == pytest.approx(float(delta.abs().max() / size.square().mean().sqrt()))


def test_a_distance_below_rounding_of_one_is_kept():
    upright = torch.tensor([3.0, 4.0], dtype=torch.float64)
    moved = upright + 1e-11 * torch.tensor([4.0, -3.0], dtype=torch.float64)  # at a right angle, 1e-11 of its length
    found = cosine_sums(torch.stack([upright, moved])[:, None]).values()
    assert found["cosine"] == 1.0
    assert found["cosine_distance"] == pytest.approx(0.5e-22, rel=1e-4)  # entries of 1 are rounded to 1e-16


def test_the_example_is_what_the_table_is_made_of():
    model, images = plain(), torch.randn(2, 2, 9, 9, dtype=torch.float64)
    for method in ("integrated_gradients", "saliency", "occlusion"):
        cosines = [attribution_example(model, images, "D4", method=method, element=g).cosine for g in range(1, 8)]
        table = attribution(model, images, "D4", methods=[method])
        assert table["cosine"].iloc[0] == pytest.approx(np.mean(cosines))
    example = attribution_example(model, images, "D4", method="saliency", element=5)
    assert example.element == "transpose"
    assert example.targets.tolist() == model(images).argmax(1).tolist()
    shown = images.transpose(-1, -2).clone().requires_grad_()
    model(shown).gather(1, torch.from_numpy(example.targets)[:, None]).sum().backward()
    np.testing.assert_allclose(example.moved_back, shown.grad.sum(1).transpose(-1, -2), rtol=1e-9)  # float64


def test_examples_of_images_that_are_not_square():
    example = attribution_example(plain(), torch.randn(2, 2, 7, 10, dtype=torch.float64), "C4", method="occlusion")
    assert example.upright.shape == example.moved_back.shape == (2, 7, 10)


@pytest.mark.parametrize(
    ("chosen", "match"), [({"method": "grad_cam"}, "one of integr"), ({"element": 4}, "from 1 to 3")]
)
def test_examples_that_there_are_not(chosen, match):
    with pytest.raises(EqvizError, match=match):
        attribution_example(plain(), torch.randn(1, 2, 9, 9), "C4", **chosen)


def test_the_summary_is_over_seeds():
    rows = []
    keys = {"model": "p4cnn", "input_size": 16, "group": "C4", "epoch": 1, "data": "digits", "regime": "upright"}
    for seed, distance in enumerate((0.1, 0.3, np.nan)):
        values = {"cosine": 1 - distance, "cosine_distance": distance, "cosine_lowest": -distance}
        rows.append(
            keys
            | {"method": "saliency", "layer": "(input)", "call": 0, "depth": -1, "kind": "input", "subsamples": False}
            | values
            | {"tied_windows": 0.5, "tied_windows_with_gradient": np.nan, "seed": seed}
        )
    (row,) = attribution_summary(pd.DataFrame(rows)).to_dict("records")
    assert (row["cosine_distance"], row["lowest"], row["highest"]) == pytest.approx((0.2, 0.1, 0.3))
    assert (row["cosine"], row["cosine_lowest"], row["n_seeds"]) == pytest.approx((0.8, -0.3, 2))
