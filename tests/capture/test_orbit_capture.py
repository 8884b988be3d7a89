"""Captured statistics against hand computation and brute force."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eqviz.capture.decomposition import decompose
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.statistics import OrbitStatistics
from eqviz.groups.group import group

SUMS = ("norms", "distances", "differences", "magnitude")
FLOAT32 = 1e-5  # a few roundings of 2^-24 in sums of some hundred entries


def brute_sums(A: np.ndarray) -> dict[str, np.ndarray]:
    flat = A.reshape(len(A), -1)
    return {
        "norms": np.array([a @ a for a in flat]),
        "distances": np.array([[(a - b) @ (a - b) for b in flat] for a in flat]),
        "differences": np.array([np.abs(a - flat[0]).sum() for a in flat]),
        "magnitude": np.abs(flat[0]).sum(),
    }


def assert_sums(found: OrbitStatistics, key: tuple[str, int], A: np.ndarray, rtol: float) -> None:
    sums = found.layers[LayerCall(*key)].sums
    assert sums.images == A.shape[1]
    for name, expected in brute_sums(A).items():
        # absolute: what is 0 in exact arithmetic is rounding of numbers of the size of the norms, squared for distances
        np.testing.assert_allclose(getattr(sums, name), expected, rtol=rtol, atol=rtol * sums.norms[0], err_msg=name)


def assert_same(one: OrbitStatistics, two: OrbitStatistics, rtol: float, floor: float = 0.0) -> None:
    assert list(one.layers) == list(two.layers)
    for key, layer in one.layers.items():
        for name in SUMS:
            scale = floor * float(layer.sums.norms[0])
            mine, other = getattr(layer.sums, name), getattr(two.layers[key].sums, name)
            np.testing.assert_allclose(mine, other, rtol=rtol, atol=scale, err_msg=f"{key} {name}")


class Corner(nn.Module):
    """Keeps the upper left pixel of every map: breaks every rotation."""

    def forward(self, images):
        return images[..., 0, 0]


def test_closed_form_of_a_corner():
    """Under C4 the upper left pixel of [[1, 2], [3, 4]] runs through 1, 2, 4, 3."""
    table = capture(Corner(), torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), "C4")
    sums = table.layers[LayerCall("(output)", 0)].sums
    orbit = np.array([1.0, 2.0, 4.0, 3.0])
    np.testing.assert_allclose(sums.norms, orbit**2)
    np.testing.assert_allclose(sums.distances, (orbit[:, None] - orbit) ** 2)
    row = table.equivariance().iloc[0]
    assert row["breaking_fraction"] == pytest.approx(5 / 30)
    assert row["relative_error"] == pytest.approx(np.sqrt((1 + 9 + 4) / 3))
    assert row["cosine"] == pytest.approx(1)
    assert row["l1"] == pytest.approx(1 + 3 + 2)
    assert (row["field"], row["field_source"]) == ("invariant", "by shape")
    # DFT of (1, 2, 4, 3): 10, -3 + i, 0, -3 - i; energies 100/4, (10 + 10)/4, 0 of 30
    np.testing.assert_allclose(table.spectrum()["energy"], [25 / 30, 0, 5 / 30], atol=1e-7)
    assert table.spectrum()["irrep"].tolist() == ["A", "B", "E"]


def test_closed_form_of_a_gradient_under_one_flip():
    """conv [1, -1] turns a flip of (a, b, c) into minus its mirror image: the orbit is A, -A and the fraction 1."""
    model = nn.Conv2d(1, 1, (1, 2), bias=False)
    model.weight.data = torch.tensor([[[[1.0, -1.0]]]])
    table = capture(model, torch.tensor([[[[1.0, 5.0, 2.0]]]]), "D1").equivariance()
    assert table["breaking_fraction"].tolist() == [1.0]
    assert table["cosine"].tolist() == [-1.0]
    assert table["relative_error"].tolist() == [2.0]


@pytest.mark.parametrize("G", ["C4", "D4"])
@pytest.mark.parametrize("size", [7, 8])
def test_group_networks_against_brute_force(G, size, brute, group_network):
    model, images = group_network(G), torch.randn(3, 1, size, size)
    found = capture(model, images, G, batch_size=5 if G == "C4" else 16)
    for depth, name in enumerate(["0", "1", "2"]):
        prefix = copy.deepcopy(model)[: depth + 1]
        A = brute(prefix, images, G, G)
        # layer 0 is kept before the ReLU overwrites it in place
        assert_sums(found, (name, 0), A, FLOAT32)
        D = A - A.mean(0)
        b = found.equivariance().iloc[depth]["breaking_fraction"]
        assert b == pytest.approx((D**2).sum() / (A**2).sum(), rel=1e-4, abs=1e-11)
        assert (b > 0.05) == (size == 8 and depth == 2)


@pytest.mark.parametrize("G", ["D4", "C4", "D1(transpose)", "D2(axes)"])
def test_non_square_inputs_against_brute_force(G, brute, group_network):
    model, images = group_network("D4", stride=1), torch.randn(3, 1, 5, 8)
    plain = nn.Conv2d(1, 2, 3)
    for network, fibre in ((model, "D4"), (plain, None)):
        found = capture(network, images, G, layers="(output)", fields={"(output)": "regular(D4)"} if fibre else {})
        assert_sums(found, ("(output)", 0), brute(network, images, G, fibre), FLOAT32)
    assert capture(model, images, G, layers="0").equivariance()["breaking_fraction"].max() < 1e-12
    assert capture(plain, images, G).equivariance()["breaking_fraction"].min() > 0.1


def test_non_square_inputs_keep_their_symmetry_where_theory_says(group_network):
    """Stride 2 on (8, 9): the transpose survives under D4, one flip under D2; (9, 13) keeps all."""
    model = group_network("D4").double()

    def kept(size, G):
        table = capture(model, torch.randn(16, 1, *size, dtype=torch.float64), G, layers="2").subgroups()
        return set(table[table["survives"]]["subgroup"])

    assert kept((8, 9), "D4") == {"C1", "D1(transpose)"}
    assert kept((8, 9), "D2") == {"C1", "D1(left-right)"}
    assert kept((9, 13), "D4") == {H.name for H in group("D4").subgroups}
    assert kept((8, 8), "D4") == {"C1", "D1(transpose)"}


def test_maps_that_only_some_elements_leave_in_shape_are_listed(group_network):
    lopsided = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for size, reason in (((6, 6), "maps of 6 x 4"), ((5, 8), "maps of (2, 5, 6) and (2, 3, 8)")):
        found = capture(lopsided, torch.randn(2, 1, *size), "C4")
        assert [key.layer for key in found.layers] == ["1", "2", "(output)"]
        assert found.skipped["0"].startswith(reason)
        assert capture(lopsided, torch.randn(2, 1, *size), "D2").skipped == {}


def test_exact_networks_fall_to_the_floor_of_their_precision(group_network):
    G = "C4"
    layers = list(group_network(G, stride=1))
    for _ in range(4):
        layers += list(group_network(G, stride=1))[1:]
    model, images = nn.Sequential(*layers), torch.randn(4, 1, 9, 9)
    single = capture(model, images, G)
    double = capture(copy.deepcopy(model).double(), images, G)
    low = single.equivariance()["breaking_fraction"]
    high = double.equivariance()["breaking_fraction"]
    # squares of a few epsilons: (6e-8)^2 is 4e-15, (1e-16)^2 is 1e-32
    assert ((low > 1e-17) & (low < 1e-12)).all()
    assert ((high > 1e-35) & (high < 1e-29)).all()
    assert (low > 1e6 * high).all()
    assert single.subgroups()["survives"].all()
    assert single.subgroups(double=double)["survives"].all()
    assert (single.dtype, double.dtype) == ("float32", "float64")


def test_oracle_transpose_survives_inside_a_broken_layer(group_network):
    """p4m, stride 2 on size 8: A2 = B1 = 0, all the breaking in B2 and E, D1(transpose) survives alone."""
    model = group_network("D4")
    images = torch.randn(16, 1, 8, 8)
    for network, floor in ((model, 1e-10), (copy.deepcopy(model).double(), 1e-25)):
        found = capture(network, images, "D4", layers="2")
        energies = found.spectrum().set_index("irrep")["energy"]
        assert energies["A2"] == energies["B1"] == 0
        assert min(energies["B2"], energies["E"]) > 0.01
        residuals = found.subgroups().set_index("subgroup")["residual"]
        assert residuals["C1"] == 0
        assert residuals["D1(transpose)"] < floor
        assert residuals.drop(["C1", "D1(transpose)"]).min() > 0.01


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch_size=st.integers(1, 80), cut=st.integers(1, 6))
def test_neither_batch_size_nor_split_changes_the_statistics(group_network, batch_size, cut):
    torch.manual_seed(0)
    model, images = group_network("D4"), torch.randn(7, 1, 8, 8)
    whole = capture(model, images, "D4", batch_size=64)
    assert whole.images == 7
    again = capture(model, images, "D4", batch_size=batch_size)
    halves = capture(model, images[:cut], "D4") + capture(model, images[cut:], "D4")
    # a stack of another size may round a convolution otherwise
    assert_same(whole, again, rtol=FLOAT32, floor=1e-11)
    assert_same(whole, halves, rtol=FLOAT32, floor=1e-11)
    assert halves.images == again.images == 7


def test_two_captures_are_the_same_to_the_bit(group_network):
    model, images = group_network("C4"), torch.randn(5, 1, 8, 8)
    assert capture(model, images, "C4").to_json() == capture(model, images, "C4").to_json()


def test_all_kinds_of_images(group_network):
    model, images = group_network("C4"), torch.randn(7, 1, 8, 8)
    whole = capture(model, images, "C4", batch_size=16)
    read_only = images.numpy().copy()
    read_only.flags.writeable = False
    for same in (
        images.numpy(),
        read_only,
        images.numpy()[:, :, ::-1][:, :, ::-1],  # negative strides
        images.double(),
        [images[:3], images[3:]],
        (batch for batch in (images[:2], images[2:3], images[:0], images[3:])),
        DataLoader(TensorDataset(images, torch.arange(7)), batch_size=4),
        DataLoader(images, batch_size=3),
        [(images.numpy(), None)],
    ):
        # smaller stacks may round a convolution otherwise
        assert_same(whole, capture(model, same, "C4", batch_size=16), rtol=FLOAT32, floor=1e-11)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (torch.zeros(8, 8), "found float32 of shape"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "found uint8 of shape"),
        (np.zeros((2, 1, 8, 8), dtype=np.int64), "found int64 of shape"),
        (torch.zeros(0, 1, 8, 8), "at least one image; found none"),
        ([], "at least one image; found none"),
        ([torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 9, 9)], r"all of one shape, \(1, 8, 8\); found shape \(1, 9, 9\)"),
        ("digits.png", "found 'd'"),
        (None, "found None"),
        ([{"image": 1}], "found {'image': 1}"),
        (np.array(["a"]), "found <U1 of shape"),
        ((torch.zeros(2, 1, 8, 8), torch.zeros(2)), r"found float32 of shape \(2,\)"),
    ],
)
def test_other_images_are_refused_in_one_line(images, found):
    with pytest.raises(EqvizError, match=f"images: expected .*{found}") as caught:
        capture(nn.Conv2d(1, 1, 3), images, "C4")
    assert "\n" not in str(caught.value)


def test_rows_for_each_image_add_up_to_the_sums(group_network):
    model, images = group_network("C4"), torch.randn(7, 1, 8, 8)
    found = capture(model, images, "C4", batch_size=8, per_sample=True)
    rows = found.equivariance(per_sample=True)
    assert len(rows) == 7 * len(found.layers)
    A = decompose(model, images, "2", "C4").aligned.double().numpy()
    D = A - A.mean(0)
    expected = (D**2).sum((0, 2, 3, 4, 5)) / (A**2).sum((0, 2, 3, 4, 5))
    part = rows[rows["layer"] == "2"]
    assert part["image"].tolist() == list(range(7))
    np.testing.assert_allclose(part["breaking_fraction"], expected, rtol=1e-4)
    assert found.samples is not None
    for key, sums in found.samples.read(4).items():
        for name in SUMS:
            # the same seven float64 numbers in another order
            np.testing.assert_allclose(
                getattr(sums.summed(), name), getattr(found.layers[key].sums, name), rtol=1e-14, err_msg=name
            )
    with pytest.raises(EqvizError, match="per_sample=True"):
        capture(model, images, "C4").equivariance(per_sample=True)


def test_progress_counts_images(group_network):
    counts: list[int] = []
    capture(group_network("C4"), torch.randn(7, 1, 8, 8), "C4", batch_size=12, progress=counts.append)
    assert counts == [3, 6, 7]
    counts.clear()
    capture(group_network("D4"), torch.randn(3, 1, 8, 8), "D4", batch_size=2, progress=counts.append)
    assert counts == [1, 2, 3]  # a batch is one orbit at least


def test_mask_blacks_out_the_corners():
    images = torch.ones(2, 1, 6, 6)
    found = capture(nn.Identity(), images, "C4", mask=True)
    assert found.mask
    # 32 of 36 pixels lie in the disc
    np.testing.assert_allclose(found.layers[LayerCall("(output)", 0)].sums.norms, [2 * 32] * 4)


def test_off_grid_groups(group_network):
    images = torch.rand(4, 1, 9, 9)
    model = nn.Sequential(nn.AvgPool2d(3, 1, 1))
    table = capture(model, images, "C8").equivariance()
    assert table["grid"].tolist() == [True, False] * 2
    exact, interpolated = table[table["grid"]], table[~table["grid"]]
    assert (exact["relative_error"] < 1e-6).all()
    assert (interpolated["relative_error"] > 0.01).all()  # the floor that interpolation itself costs
    with pytest.raises(EqvizError, match=r"layer 0: expected elements that act on regular\(C4\); found rotation 45"):
        capture(group_network("C4"), images, "C8")


@pytest.mark.parametrize(("dtype", "floor"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2), (torch.float64, 1e-25)])
def test_the_dtype_of_the_model_is_kept(dtype, floor, group_network):
    model = group_network("C4").to(dtype)
    found = capture(model, torch.randn(2, 1, 9, 9), "C4")
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert next(model.parameters()).dtype == dtype
    assert found.equivariance()["breaking_fraction"].max() < floor  # about epsilon squared, and some
    assert found.epsilon == torch.finfo(dtype).eps


def test_a_regular_network_under_its_own_subgroups_and_no_other(group_network):
    model, images = group_network("C4"), torch.randn(2, 1, 8, 8)
    with pytest.raises(EqvizError, match="layer 0: expected elements that act on regular") as caught:
        capture(model, images, "D4")
    assert "\n" not in str(caught.value)
    assert "choose that group or a subgroup of it" in str(caught.value)
    found = capture(model, images, "C2").equivariance()
    assert found["breaking_fraction"].iloc[0] < 1e-12
    assert capture(group_network("D4"), images, "C4").group == group("C4")


def test_a_wrong_field_type_is_one_line_with_the_name_of_the_layer():
    model = nn.Sequential()
    model.add_module("stem", declare(nn.Conv2d(1, 3, 3), "regular(C4)"))
    with pytest.raises(EqvizError, match=r"layer stem: expected activations that fit regular\(C4\)") as caught:
        capture(model, torch.randn(2, 1, 8, 8), "C4")
    assert "\n" not in str(caught.value)
    found = capture(model, torch.randn(2, 1, 8, 8), "C4", layers="stem", fields={"st*": "image"}).equivariance()
    assert found[["field", "field_source"]].values.tolist() == [["image", "given"]]


class Parts(nn.Module):
    """Gives out a dictionary of all sorts of things."""

    def forward(self, x):
        return {"maps": x, "pair": (x.mean((-2, -1)), [x.amax((-2, -1))]), "classes": x.long(), "count": 3}


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = Parts()
        self.classes = nn.Identity()
        self.total = nn.Identity()
        self.text = nn.Identity()
        self.middle = nn.Identity()
        self.idle = nn.Linear(2, 2)

    def forward(self, x):
        parts = self.parts(x)
        self.classes(parts["classes"])
        self.total(x.sum())
        self.text("text")
        self.middle(x[:, :, 0])
        return parts["pair"]


def test_nested_outputs_and_what_cannot_be_measured():
    found = capture(Odd(), torch.rand(2, 1, 4, 4), "C4")
    assert [key.layer for key in found.layers] == [
        "parts[maps]", "parts[pair][0]", "parts[pair][1][0]", "(output)[0]", "(output)[1][0]",
    ]  # fmt: skip
    assert found.equivariance()["breaking_fraction"].max() < 1e-12
    assert found.equivariance()["kind"].tolist() == ["other"] * 3 + ["output"] * 2
    assert set(found.skipped) == {"parts[classes]", "classes", "total", "text", "middle", "idle"}
    assert found.skipped["parts[classes]"] == "its output is torch.int64, not floating point"
    assert "no batch of 8" in found.skipped["total"]
    assert found.skipped["text"] == "its output is a str with no tensor in it"
    assert found.skipped["middle"].startswith("no field type for activations of shape (batch, 1, 4)")
    assert found.skipped["idle"] == "it never ran"
    assert all("\n" not in reason for reason in found.skipped.values())
    given = capture(Odd(), torch.rand(2, 1, 4, 4), "C4", fields={"parts[maps]": "image", "parts[pair]*": "invariant"})
    sources = given.equivariance().set_index("layer")["field_source"]
    assert sources.loc[["parts[maps]", "parts[pair][0]", "parts[pair][1][0]"]].tolist() == ["given"] * 3


def test_when_nothing_can_be_measured_the_reason_is_given():
    with pytest.raises(
        EqvizError,
        match="layers: expected at least one layer that can be measured; found middle: no field type for",
    ):
        capture(Odd(), torch.rand(2, 1, 4, 4), "C4", layers="middle")


class Twice(nn.Module):
    """One module, three calls."""

    def __init__(self):
        super().__init__()
        self.twofold = nn.Conv2d(1, 1, 1, bias=False)
        self.twofold.weight.data.fill_(2.0)

    def forward(self, x):
        return self.twofold(self.twofold(self.twofold(x)))


def test_a_module_that_runs_again_has_a_row_for_each_call():
    images = torch.ones(3, 1, 2, 2)
    found = capture(Twice(), images, "C4", batch_size=4)
    table = found.equivariance()
    assert table[["layer", "call", "depth", "n"]].values.tolist() == [
        ["twofold", 0, 0, 3], ["twofold", 1, 1, 3], ["twofold", 2, 2, 3], ["(output)", 0, 3, 3],
    ]  # fmt: skip
    assert [layer.sums.norms[0] for layer in found.layers.values()] == pytest.approx([48, 192, 768, 768])


class Reshaping(nn.Module):
    """The second call of `same` gives something unfit, the first does not."""

    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        self.same(x)
        return self.same(x.mean((1, -2, -1)))[:, None]


def test_an_unfit_call_does_not_take_the_fit_ones_with_it():
    found = capture(Reshaping(), torch.rand(5, 1, 4, 4), "C4", batch_size=8)
    assert found.layers[LayerCall("same", 0)].sums.images == 5
    assert LayerCall("same", 1) not in found.layers
    assert found.skipped["same"].startswith("call 1: its output of shape (8,)")


class Codebook(nn.Module):
    """`book` gives eight vectors whatever the batch: by chance as many as a full stack of two images under C4."""

    def __init__(self):
        super().__init__()
        self.book = nn.Identity()

    def forward(self, x):
        return x + self.book(torch.ones(8, 1, 1, 1)).mean()


def test_a_layer_that_is_a_batch_only_by_chance_is_left_out_altogether():
    found = capture(Codebook(), torch.rand(3, 1, 4, 4), "C4", batch_size=8, per_sample=True)
    assert [key.layer for key in found.layers] == ["(output)"]
    assert "no batch of 4" in found.skipped["book"]
    assert found.equivariance(per_sample=True)["layer"].unique().tolist() == ["(output)"]


class Moody(nn.Module):
    """`extra` is left out of the second forward pass: half an orbit of the first image, whole ones of the others."""

    def __init__(self):
        super().__init__()
        self.extra = nn.Identity()
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return x if self.passes == 2 else self.extra(x)


def test_half_an_orbit_never_mixes_with_the_next_images():
    images = torch.rand(3, 1, 3, 5)
    found = capture(Moody(), images, "D4", batch_size=1)
    sums = found.layers[LayerCall("extra", 0)].sums
    assert sums.images == 2
    assert not sums.distances.any()
    # float32 squares of 15 numbers an image
    np.testing.assert_allclose(sums.norms, [float(images[1:].double().square().sum())] * 8, rtol=1e-6)


class Growing(nn.Module):
    """`cropped` gives out smaller maps in the second forward pass; `rows` is 1-D, and a part of `both` complex."""

    def __init__(self):
        super().__init__()
        self.cropped, self.rows, self.both = nn.Identity(), nn.Identity(), nn.Identity()
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        self.cropped(x[..., : 4 - self.passes, : 4 - self.passes])
        self.rows(x.flatten(2))
        self.both({"complex": torch.complex(x, x), "real": x})
        return x


def test_what_is_left_out_has_its_reason_in_words():
    found = capture(Growing(), torch.rand(2, 1, 4, 4), "C4", batch_size=4)
    assert [key.layer for key in found.layers] == ["both[real]", "(output)"]
    assert found.skipped == {
        "both[complex]": "its output is torch.complex64, not floating point",
        "cropped": "its output changes size from batch to batch: (1, 3, 3) in some, (1, 2, 2) in others",
        "rows": "no field type for activations of shape (batch, 1, 16); "
        "say how the group acts on it, as in fields={'rows': 'regular(C4)'}",
    }


def test_an_activation_has_no_type_where_its_input_has_none():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act, self.other = nn.Linear(1, 3), nn.GELU(), nn.GELU()

        def forward(self, x):
            return self.other(self.act(self.linear(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))

    found = capture(Last(), torch.rand(2, 1, 4, 6), "C2")
    assert [key.layer for key in found.layers] == ["other", "(output)"]
    assert "channels seem to come last" in found.skipped["linear"]
    assert found.skipped["act"] == "it passes on activations of a layer before it, of which no field type is known"


def test_a_type_given_by_a_glob_counts_where_it_fits():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.head = nn.Identity(), nn.Linear(1, 3)

        def forward(self, x):
            return self.head(self.tokens(x.flatten(2).transpose(1, 2)).mean(1))

    images = torch.rand(2, 1, 4, 4)
    table = capture(Patches(), images, "C4", fields={"*": "tokens(4, 4)"}).equivariance()
    assert table["layer"].tolist() == ["tokens", "head", "(output)"]
    assert table["field"].tolist() == ["tokens(4, 4)", "invariant", "invariant"]
    assert table["field_source"].tolist() == ["given", "by shape", "by shape"]
    assert table["breaking_fraction"].max() < 1e-12
    with pytest.raises(EqvizError, match=r"layer head: expected activations that fit tokens\(4, 4\)"):
        capture(Patches(), images, "C4", fields={"head": "tokens(4, 4)"})
    with pytest.raises(EqvizError, match=r"field type: expected .*'token\(4, 4\)'"):
        capture(Patches(), images, "C4", fields={"*": "token(4, 4)"})
    declared = Patches()
    declare(declared.head, "tokens(4, 4)", by_glob=True)
    sources = capture(declared, images, "C4").equivariance()["field_source"].tolist()
    assert sources == ["by shape", "by shape"]


def test_depth_counts_execution_and_subsampling_is_seen():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.AdaptiveAvgPool2d(1)
            self.pool = nn.MaxPool2d(2)
            self.first = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x):
            return self.last(self.pool(self.first(x))).flatten(1)

    table = capture(Backwards(), torch.rand(2, 1, 8, 8), "C4").equivariance()
    assert table[["layer", "depth", "kind", "subsamples"]].values.tolist() == [
        ["first", 0, "convolution", False], ["pool", 1, "pooling", True], ["last", 2, "pooling", False],
        ["(output)", 3, "output", False],
    ]  # fmt: skip
    assert list(table["layer"].cat.categories) == ["first", "pool", "last", "(output)"]


@pytest.mark.parametrize(
    ("layer", "subsamples"),
    [
        (nn.Conv2d(1, 1, 3, stride=2, padding=1), True),
        (nn.Conv2d(1, 1, (1, 3), stride=(1, 2)), True),
        (nn.Conv2d(1, 1, 3), False),  # a valid convolution cuts the border and visits every position
        (nn.MaxPool2d(3, stride=1), False),
        (nn.AdaptiveAvgPool2d(2), True),
        (nn.AdaptiveAvgPool2d(1), False),
        (nn.Identity(), False),
        (nn.Flatten(), False),
    ],
    ids=str,
)
def test_what_subsamples(layer, subsamples):
    found = capture(nn.Sequential(layer), torch.rand(2, 1, 5, 5), "C1", layers="0").equivariance()
    assert found["subsamples"].tolist() == [subsamples]


def test_dead_and_infinite_layers_have_a_note_and_no_ratio():
    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.dead, self.infinite, self.missing = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, x):
            self.dead(x * 0)
            self.infinite(x / 0)
            self.missing(x.log())
            return x

    table = capture(Bad(), -torch.rand(2, 1, 4, 4) - 0.1, "C4").equivariance()
    assert table["note"].str.partition(":")[0].tolist() == ["dead", "not finite", "not finite", ""]
    assert table["breaking_fraction"].isna().tolist() == [True, True, True, False]


def test_decompose_splits_one_call_of_one_layer(group_network, brute):
    model, images = group_network("D4"), torch.randn(5, 1, 8, 8)
    parts = decompose(model, images, "2", "D4", batch_size=16)
    A = brute(model, images, "D4", "D4")
    # float32 activations of size 1
    np.testing.assert_allclose(parts.aligned, A, atol=1e-5)
    np.testing.assert_allclose(parts.symmetric, A.mean(0), atol=1e-5)
    np.testing.assert_allclose(parts.breaking, A - A.mean(0), atol=1e-5)
    again = decompose(Twice(), torch.ones(2, 1, 2, 2), "twofold", "C4", call=1)
    assert again.aligned.unique().tolist() == [4.0]
    assert decompose(Twice(), torch.ones(2, 1, 2, 2), "(output)", "C4").aligned.unique().tolist() == [8.0]


def test_decompose_picks_one_tensor_of_several():
    images = torch.rand(2, 1, 4, 4)
    parts = decompose(Odd(), images, "parts[pair][0]", "C4")
    np.testing.assert_allclose(parts.symmetric, images.mean((-2, -1)), atol=1e-6)  # another order of 16 numbers
    assert decompose(Odd(), images, "parts[maps]", "C4").aligned.shape == (4, 2, 1, 4, 4)


@pytest.mark.parametrize(
    ("layer", "call", "found"),
    [
        ("twofold", 3, "no such call or tensor"),
        ("tofold", 0, "'tofold'; near names are twofold"),
        ("twofold[0]", 0, "no such call or tensor"),
    ],
)
def test_decompose_refuses_what_is_not_there(layer, call, found):
    with pytest.raises(EqvizError, match=found) as caught:
        decompose(Twice(), torch.ones(2, 1, 2, 2), layer, "C4", call=call)
    assert "\n" not in str(caught.value)


def test_decompose_says_why_a_layer_is_unfit():
    with pytest.raises(EqvizError, match=r"layer classes: .*torch\.int64"):
        decompose(Odd(), torch.rand(2, 1, 4, 4), "classes", "C4")


def test_tables_of_a_capture_survive_json(group_network):
    found = capture(group_network("D4"), torch.randn(2, 1, 8, 8), "D4")
    back = OrbitStatistics.from_json(found.to_json())
    pd.testing.assert_frame_equal(found.subgroups(), back.subgroups(), check_exact=True)


def test_a_field_for_a_layer_that_is_not_there_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(EqvizError, match=r"fields: expected names or globs .* 'fist'"):
        capture(model, torch.randn(2, 1, 8, 8), "C4", fields={"fist": "image"})
