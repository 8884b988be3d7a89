"""CKA of x and g x: 1 on exact layers, blind to what an orthogonal map undoes; networks of any size are compared."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eqviz.analysis.cka import cka, cka_summary, twin_cka, twin_cka_summary
from eqviz.analysis.kernel_alignment import biased_cka, gram_matrix, unbiased_cka
from eqviz.capture.features import orbit_features
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.tables import RUN_KEYS, SCHEMAS

RUN = {
    "run": "a", "model": "p4cnn", "input_size": 28, "group": "C4", "seed": 0, "epoch": 5, "data": "digits",
    "regime": "upright",
}  # fmt: skip


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


class Roll(nn.Module):
    """Pixels moved by one row: orthogonal, and not equivariant."""

    def forward(self, images):
        return images.roll(1, -2)


@pytest.mark.parametrize(("G", "elements"), [("p4", 3), ("p4m", 7)])
def test_an_exact_network_has_one_everywhere_and_a_broken_one_has_not(G, elements):
    model = network(G).double()
    exact = cka(model, torch.rand(8, 1, 9, 9), G)
    assert len(exact) == elements * exact[["layer", "call"]].drop_duplicates().shape[0]
    # float64 rounding of features and of sums over some thousand of them
    np.testing.assert_allclose(exact[["cka", "cka_biased"]], 1, atol=1e-12)
    broken = cka(model, torch.rand(8, 1, 8, 8), G)
    np.testing.assert_allclose(broken.loc[broken["layer"] == "0", "cka"], 1, atol=1e-12)
    strided = broken[broken["layer"] == "1"].set_index("element")["cka"]
    assert strided["rotation 180"] < 0.999
    if G == "p4m":  # the transpose survives a stride that misses on both axes alike
        assert strided["transpose"] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (6, 8)])
def test_the_moved_frame_gives_what_the_aligned_frame_gives(shape):
    G = "D4" if shape == (8, 8) else "D2"
    model = network("D4") if G == "D4" else nn.Conv2d(1, 3, 3, stride=2, padding=1)
    for features in orbit_features(model, torch.rand(6, 1, *shape), G).values():
        for aligned, moved in zip(features.aligned, features.moved(), strict=True):
            np.testing.assert_allclose(gram_matrix(aligned), gram_matrix(moved), atol=1e-6)  # float32 features, sums


def test_what_an_orthogonal_map_undoes_is_not_seen():
    images = torch.rand(6, 1, 7, 7, dtype=torch.float64)
    model = Roll()
    np.testing.assert_allclose(cka(model, images, "C4")["cka"], 1, atol=1e-6)  # a model without weights is float32
    breaking = capture(model, images, "C4").equivariance()["breaking_fraction"]
    assert breaking.min() > 0.1


def test_values_are_those_of_outputs_computed_one_by_one():
    model, images = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()).double(), torch.rand(7, 1, 8, 6).double()
    table = cka(model, images, "D2", "0").set_index("element")
    with torch.no_grad():
        grams = [gram_matrix(model[0](moved)) for moved in (images, images.flip(-1))]
    assert table.loc["flip left-right", "cka"] == pytest.approx(unbiased_cka(*grams), abs=1e-12)
    assert table.loc["flip left-right", "cka_biased"] == pytest.approx(biased_cka(*grams), abs=1e-12)
    assert table["n"].tolist() == [7] * 3
    assert (table["kind"] == "convolution").all()


def test_batches_kinds_and_progress():
    model, images, told = network(), torch.rand(9, 1, 8, 8), []
    whole, parts = cka(model, images), cka(model, images, batch_size=8, progress=told.append)
    # float32 convolutions may sum in another order for another batch
    np.testing.assert_allclose(whole["cka"], parts["cka"], atol=1e-5)
    assert told == sorted(told)
    assert told[-1] == 1
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    assert "1" not in set(cka(layers, images)["layer"])
    assert set(cka(layers, images, kinds=["activation"])["layer"]) == {"1"}


def test_a_dead_layer_has_none():
    layer = nn.Conv2d(1, 2, 3)
    nn.init.zeros_(layer.weight)
    assert cka(layer, torch.rand(5, 1, 6, 6))[["cka", "cka_biased"]].isna().all(axis=None)


@pytest.mark.parametrize("call", [lambda m, x: cka(m, x), lambda m, x: twin_cka(m, x, m, x)])
def test_too_few_images_are_refused(call):
    with pytest.raises(EqvizError, match="4 or more"):
        call(nn.Conv2d(1, 2, 3), torch.rand(3, 1, 6, 6))


def test_a_network_is_left_as_it_was_also_if_it_fails():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(5, 1)).train()
    model[1].eval()
    for call in (lambda x: cka(model, x), lambda x: twin_cka(model, x, model, x)):
        with pytest.raises(EqvizError, match="last layer that ran: 1"):
            call(torch.rand(5, 1, 6, 6))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_a_network_is_its_own_twin_at_any_batch_size():
    model, images = network().double(), torch.rand(6, 1, 9, 9)
    table = twin_cka(model, images, model, images, batch_size=5)
    np.testing.assert_allclose(table[["cka", "cka_biased"]], 1, atol=1e-12)
    assert table["layer"].tolist() == ["0", "1"]
    assert table["n"].tolist() == [6] * 2


def test_twins_of_other_sizes_and_widths_are_compared_layer_by_layer():
    first, second = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU())
    first, second = first.double(), second.double()
    images, larger, told = torch.rand(6, 1, 6, 6).double(), torch.rand(6, 1, 7, 8).double(), []
    table = twin_cka(first, images, second, larger, layers="0", progress=told.append).iloc[0]
    with torch.no_grad():
        grams = gram_matrix(first[0](images)), gram_matrix(second[0](larger))
    assert table["cka"] == pytest.approx(unbiased_cka(*grams), abs=1e-12)
    assert told == [0.5, 1.0]


def test_twins_need_the_same_images_and_a_layer_in_common():
    images = torch.rand(5, 1, 6, 6)
    with pytest.raises(EqvizError, match="same 5 pictures"):
        twin_cka(nn.Conv2d(1, 2, 3), images, nn.Conv2d(1, 2, 3), images[:4])
    first = nn.Sequential(nn.Conv2d(1, 2, 3), declare(nn.ReLU(), "image"))
    second = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 3))
    with pytest.raises(EqvizError, match="0 and 1"):
        twin_cka(first, images, second, images, kinds=["convolution"])


def test_summaries_over_elements_and_seeds():
    keys = {"layer": "conv1", "call": 0, "depth": 0, "kind": "convolution", "subsamples": False, "n": 9}
    values = {0: (0.9, 0.7), 1: (0.5, 0.3)}
    rows = [
        RUN | keys | {"run": f"r{seed}", "seed": seed, "element": g, "cka": value, "cka_biased": value + 0.1}
        for seed, both in values.items()
        for g, value in zip(("rotation 90", "rotation 180"), both, strict=True)
    ]
    found = cka_summary(pd.DataFrame(rows)).iloc[0]
    assert found[["cka", "lowest", "highest", "cka_biased"]].tolist() == pytest.approx([0.6, 0.4, 0.8, 0.7])
    assert found["n_seeds"] == 2
    assert tuple(found.index) == SCHEMAS["cka_summary"]


def test_a_pair_counts_once_in_the_summary_of_twins():
    keys = {"layer": "conv1", "call": 0, "depth": 0, "kind": "convolution", "subsamples": False, "n": 9}
    pairs = [("a", "b", 0.9), ("b", "a", 0.9), ("b", "c", 0.6)]
    rows = [
        RUN | keys | {"run": run, "other_run": other, "other_model": "p4cnn", "other_input_size": 28, "cka": value}
        for run, other, value in pairs
    ]
    found = twin_cka_summary(pd.DataFrame(rows).assign(cka_biased=1.0)).iloc[0]
    assert found[["cka", "lowest", "highest"]].tolist() == pytest.approx([0.75, 0.6, 0.9])
    assert found["n_pairs"] == 2


def test_columns_are_those_of_the_schemas():
    model, images = network(), torch.rand(5, 1, 8, 8)
    assert (*RUN_KEYS, *cka(model, images).columns) == SCHEMAS["cka"]
    others = {"other_run", "other_model", "other_input_size"}
    own = [column for column in SCHEMAS["twin_cka"] if column not in {*RUN_KEYS, *others}]
    assert twin_cka(model, images, model, images).columns.tolist() == own
