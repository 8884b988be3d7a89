"""Lie derivatives of layers that are known by hand, and of whole networks against torch.func and finite differences."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.ndimage import map_coordinates
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from eqviz.analysis.lie_derivative import LieSums, lie_derivative, lie_derivative_summary, lie_errors, lie_sums
from eqviz.capture.dual_pass import LayerDerivatives, run_duals
from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image, declare
from eqviz.fields.generators import UNITS, generate
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import GlobalAveragePool
from eqviz.models.registry import build_model
from eqviz.tables import MODEL_KEYS, RUN_KEYS, columns

ROUNDING = 1e-12
"""float64 on networks of few layers: sums of some thousand terms of size 1, relative to the features."""


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def blobs(size=33, width=2.0, turn=0.0, right=0.0, up=0.0, grow=1.0, images=2, reach=0.12):
    """Smooth pictures that vanish at the border, moved by their formula: three Gaussians each, `width` pixels wide."""
    rows = size if isinstance(size, tuple) else (size, size)
    down, across = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in rows)
    x, y = across[None, :] - right, -down[:, None] - up
    c, s = math.cos(turn), math.sin(turn)
    x, y = (c * x + s * y) / grow, (-s * x + c * y) / grow
    generator = torch.Generator().manual_seed(5)
    pictures = []
    for _ in range(images):
        centres = (torch.rand(3, 2, generator=generator, dtype=torch.float64) * 2 - 1) * reach * min(rows)
        heights = torch.tensor([1.0, -0.7, 0.5])
        parts = zip(centres, heights, strict=True)
        pictures.append(sum(h * torch.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * width**2)) for (a, b), h in parts))
    return torch.stack(pictures)[:, None]


MOVED = {
    "rotation": lambda t: {"turn": t}, "translation x": lambda t: {"right": t}, "translation y": lambda t: {"up": t},
    "scale": lambda t: {"grow": math.exp(t)},
}  # fmt: skip


def convolution(kernel, padding=None, mode="zeros", stride=1):
    """One that has this kernel; `conv2d` correlates."""
    weight = torch.tensor(kernel, dtype=torch.float64)
    layer = nn.Conv2d(1, 1, weight.shape, stride, weight.shape[0] // 2 if padding is None else padding, bias=False,
                      padding_mode=mode).double()  # fmt: skip
    layer.weight.data = weight[None, None]
    return layer


def measured(model, images, layers="*", **options):
    """Rows by layer and transformation."""
    return lie_derivative(model, images, layers=layers, **options).set_index(["layer", "transformation"])


def parts_of(model, images, layer, names=tuple(UNITS), fields=None):
    """What arrives at one layer, in one batch."""
    found = {}
    kinds = ("convolution", "activation", "pooling", "other", "block", "linear", "output")
    run_duals(model, images, group("C4"), [layer], fields or {}, 10**6, names, kinds, False,
              lambda key, info, parts: found.update({key.layer: parts}))  # fmt: skip
    return found[layer]


# layers whose answer is known


def test_a_kernel_of_one_pixel_has_nothing_to_break():
    model = nn.Sequential(nn.Conv2d(1, 3, 1, bias=True)).double()
    table = measured(model, torch.randn(3, 1, 7, 9, dtype=torch.float64), "0")
    assert table[["lie_error", "local_error", "floor", "local_floor"]].max(axis=None) < ROUNDING
    np.testing.assert_allclose(table["change"], table["expected"])
    assert table["change"].min() > 0.1


def test_a_convolution_keeps_translations_away_from_its_padding():
    model = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2)).double()
    still = torch.zeros(2, 1, 20, 20, dtype=torch.float64)
    still[..., 6:14, 6:14] = torch.randn(2, 1, 8, 8)  # white noise: no smoothness is asked for
    nn.init.zeros_(model[0].bias)
    table = measured(model, still, "0")
    for name in ("translation x", "translation y"):
        assert table.loc[("0", name), "lie_error"] < ROUNDING
    assert table.loc[("0", "rotation"), "lie_error"] > 0.1
    # a bias alone, on a black picture, is a constant: it moves with nothing, and is not cut off at the edge
    nn.init.ones_(model[0].bias)
    assert measured(model, torch.zeros_like(still), "0")["lie_error"].max() < ROUNDING


def test_padding_shows_at_the_edge():
    table = measured(nn.Sequential(convolution([[1.0] * 3] * 3)), torch.ones(2, 1, 9, 9, dtype=torch.float64), "0")
    row = table.loc[("0", "translation x")]
    # the map is 6 or 4 in the outermost ring and 9 within: a step that does not move with the picture
    assert row["change"] < ROUNDING
    assert row["lie_error"] == row["expected"] > 0.1
    assert row["edge_pixels"] == pytest.approx(32 / 81)
    assert row["edge_share"] > row["edge_pixels"]


@pytest.mark.parametrize("axis", ["x", "y"])
def test_the_derivative_of_a_picture_turns_into_the_other_one(axis):
    """L of f -> D_x f under rotation in closed form, for central differences of any order: -A_x d/dy f."""
    steps = [[-0.5, 0.0, 0.5]]
    kernel = steps if axis == "x" else [[0.5], [0.0], [-0.5]]  # y is upwards
    layer = convolution(kernel, (0, 1) if axis == "x" else (1, 0))
    images = blobs(33)
    parts = parts_of(nn.Sequential(layer), images, "0", ("rotation",))
    # D X f - X D f = [D_x, y d_x - x d_y] f = -A_x d_y f and [D_y, y d_x - x d_y] = A_y d_x, A the mean of neighbours
    up, right = -generate(images, Image(), "translation y"), -generate(images, Image(), "translation x")
    mean = convolution([[0.5, 0.0, 0.5]] if axis == "x" else [[0.5], [0.0], [0.5]], (0, 1) if axis == "x" else (1, 0))
    expected = -mean(up) if axis == "x" else mean(right)
    found = (parts.moved - parts.expected)[0, 0]
    inside = (
        ...,
        slice(3, -3),
        slice(3, -3),
    )  # at the border the picture is not quite 0, and differences are one-sided
    torch.testing.assert_close(found[inside], expected.detach()[inside], atol=ROUNDING, rtol=0)
    assert float(found.norm()) > 1


def test_a_round_kernel_keeps_rotations_and_a_long_one_does_not():
    def kernel(a, b):
        place = np.arange(-8, 9)
        return np.exp(-(place[None, :] ** 2) / (2 * a**2) - place[:, None] ** 2 / (2 * b**2)).tolist()

    images = blobs(41, width=2.5, reach=0.08)
    round_one, long_one = (nn.Sequential(convolution(kernel(2.0, b))) for b in (2.0, 1.2))
    low, high = (measured(model, images, "0").loc[("0", "rotation"), "lie_error"] for model in (round_one, long_one))
    assert low < 0.005  # central differences on a blurred picture (3.2 pixels wide); the kernel is cut off at 4 widths
    assert high > 50 * low


@pytest.mark.parametrize("layer", [nn.Tanh(), nn.GELU(), nn.Sigmoid()], ids=str)
def test_a_smooth_nonlinearity_costs_the_chain_rule_of_differences(layer):
    errors = {}
    for width in (1.5, 3.0, 6.0):
        table = measured(nn.Sequential(layer), blobs(61, width=width, reach=0.05, images=1), "0")
        errors[width] = table["lie_error"] / table["expected"]
        assert (table["lie_error"] < table["floor"]).all() or width < 3  # unresolved pictures cost more than it says
    # order 4: a picture twice as wide errs 2^4 = 16 times less; but as its parts merge it becomes round, and a rotation
    # changes less of it
    assert (errors[1.5] > 5 * errors[3.0]).all()
    assert (errors[3.0] > 4 * errors[6.0]).all()
    assert errors[6.0].max() < 1e-3


@pytest.mark.parametrize("stride", [1, 2])
def test_a_stride_on_fitting_sizes_keeps_what_a_dense_layer_keeps(stride):
    place = np.arange(-8, 9)
    kernel = np.exp(-(place[None, :] ** 2 + place[:, None] ** 2) / (2 * 3.0**2)).tolist()
    table = measured(nn.Sequential(convolution(kernel, stride=stride)), blobs(57, width=4.0, reach=0.05), "0")
    # a picture 5 pixels wide is still resolved by every other pixel; no kernel of one width keeps its scale
    assert table["lie_error"].drop("scale", level="transformation").max() < 0.01
    assert table.loc[("0", "scale"), "lie_error"] > 0.3
    assert table["expected"].min() > 0.1
    assert bool(table["subsamples"].iloc[0]) == (stride == 2)


def test_a_stride_that_leaves_a_row_over_breaks_rotation_by_its_shift_and_keeps_translation():
    place = np.arange(-8, 9)
    kernel = np.exp(-(place[None, :] ** 2 + place[:, None] ** 2) / (2 * 3.0**2)).tolist()
    table = measured(nn.Sequential(convolution(kernel, stride=2)), blobs(58, width=4.0, reach=0.05), "0")
    # the grid sits half a pixel beside the centre: turning about its own centre differs by half a pixel of translation
    both = table.loc[("0", "translation x"), "change"] ** 2 + table.loc[("0", "translation y"), "change"] ** 2
    assert table.loc[("0", "rotation"), "lie_error"] == pytest.approx(0.5 * math.sqrt(both), rel=0.05)
    assert table.loc[("0", "translation x"), "lie_error"] < 0.03


def directional(G):
    """A lifting convolution whose channel u is the derivative of the picture along u."""
    layer = LiftingConv2d(G, 1, 1, 3, padding=1, bias=False).double()
    layer.weight.data = torch.tensor([[0.0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]], dtype=torch.float64).reshape(
        1, 1, 1, 3, 3
    )
    return layer


@pytest.mark.parametrize("G", ["C4", "D4"])
def test_a_lifting_convolution_of_frequency_one_turns_continuously(G):
    images = blobs(41, width=4.0, reach=0.06)
    fine = measured(nn.Sequential(directional(G)), images, "0", group=G).loc[("0", "rotation"), "lie_error"]
    flat = {"0": "image"}
    stacked = nn.Sequential(nn.Sequential(directional(G), nn.Flatten(1, 2)))
    without = measured(stacked, images, "0", kinds=("other", "block"), group=G, fields=flat)
    without = without.loc[("0", "rotation"), "lie_error"]
    # the fibre (cos, sin, -cos, -sin) of the gradient's direction changes by itself in a radian
    assert without == pytest.approx(1.0, abs=0.02)
    # the layer's own differences, of order 2, err by w^2 / 3: on a width of 4 that is sqrt(15) / (2 * 4^2 * 3) = 4%
    assert fine < 0.04


def test_invariants_of_the_directions_are_exact_as_far_as_the_fibre_is_resolved():
    class Energy(nn.Module):
        kind = "pooling"

        def forward(self, features):
            return features.square().sum(2)

    model = nn.Sequential(directional("C4"), declare(Energy(), "image"), declare(GlobalAveragePool(), "invariant"))
    table = measured(model, blobs(41, width=4.0, reach=0.06))
    rotation = table.xs("rotation", level="transformation")["lie_error"]
    # squares halve the width of the picture, and double the error of each factor
    assert rotation["1"] < 0.03
    assert rotation["2"] < 0.01
    assert table.loc[("2", "translation x"), "change"] < 1e-8  # nothing leaves the picture, which is 1e-9 at the border


# whole networks


def test_tangents_are_those_of_torch_func_on_the_whole_network():
    model = build_model("p4cnn", in_channels=1, channels=2).double().eval()
    images = torch.randn(2, 1, 10, 10, dtype=torch.float64)
    parts = parts_of(model, images, "(output)")
    for place, name in enumerate(UNITS):
        for row, order in enumerate((4, 2)):
            tangent = generate(images, Image(), name, order=order)
            output, expected = torch.func.jvp(model, (images,), (tangent,))
            torch.testing.assert_close(parts.features, output.detach())
            torch.testing.assert_close(parts.moved[row, place], expected.detach())


@pytest.mark.parametrize(("name", "G", "size"), [("p4cnn", "C4", 10), ("p4mcnn", "D4", 12), ("p4resnet44", "C4", 9)])
def test_an_exact_network_has_the_same_errors_on_the_turned_picture(name, G, size):
    """For it rho(g) L_X Phi(x) = L_(g X g^-1) Phi(g x): centres, spacings and fibres must all fit for that."""
    small = {"widths": (1, 2, 2)} if "resnet" in name else {"channels": 2}
    model = build_model(name, in_channels=1, **small).double()
    images = torch.randn(2, 1, size, size, dtype=torch.float64)
    upright, turned = (measured(model, x, group=G) for x in (images, torch.rot90(images, 1, (-2, -1))))
    upright = upright.rename({"translation x": "translation y", "translation y": "translation x"}, level=1)

    def compare(found, expected):
        values = ["lie_error", "change", "expected", "floor", "edge_share", "local_error", "local_floor"]
        found, expected = found.loc[expected.index, values].copy(), expected[values].copy()
        if "pool" in expected.index:  # among zeros the derivative of a maximum is that of the first: no symmetry there
            found.loc["pool", ["local_error", "local_floor"]] = expected.loc["pool", ["local_error", "local_floor"]] = 0
        # float64 through up to 44 layers
        pd.testing.assert_frame_equal(found, expected, rtol=1e-7)

    compare(upright, turned)
    if G == "D4":
        compare(measured(model, images.flip(-1), group=G), measured(model, images, group=G))


@pytest.mark.parametrize("name", ["p4cnn", "p4mcnn", "z2cnn", "p4resnet44", "z2resnet18", "p4mresnet18"])
def test_every_operation_of_our_models_has_a_forward_derivative(name):
    small = {"channels": 8} if "cnn" in name else {"widths": (1, 2, 2, 3)[: 3 if "44" in name else 4]}
    G = "D4" if "4m" in name else "C4"
    model = build_model(name, in_channels=1, **small).train()
    table = lie_derivative(model, torch.randn(2, 1, 17, 17), G, transformations=["rotation"])
    assert model.training
    assert table["lie_error"].notna().all()
    assert (table["change"] > 0).all()
    assert table["lie_error"].iloc[-1] == table["change"].iloc[-1]  # class scores are invariant
    known = table[table["note"] == ""]
    assert len(known) > 0.6 * len(table)
    np.testing.assert_allclose(known["local_error"].iloc[0], known["lie_error"].iloc[0], rtol=1e-5)


def turned_back(features, name, t, spacing=1.0):
    """rho(-t) of (batch, channel, [fibre,] height, width): maps by splines of order 5, the fibre by an exponential."""
    height, width = features.shape[-2:]
    down = (np.arange(height) - (height - 1) / 2)[:, None] + np.zeros((1, width))
    right = (np.arange(width) - (width - 1) / 2)[None, :] + np.zeros((height, 1))
    x, y = right * spacing, -down * spacing
    c, s = math.cos(t), math.sin(t)
    x, y = {
        "rotation": (c * x - s * y, s * x + c * y), "translation x": (x + t, y), "translation y": (x, y + t),
        "scale": (x * math.exp(t), y * math.exp(t)),
    }[name]  # fmt: skip
    rows, columns = -y / spacing + (height - 1) / 2, x / spacing + (width - 1) / 2
    flat = features.reshape(-1, height, width).numpy()
    moved = np.stack([map_coordinates(one, [rows, columns], order=5, mode="nearest") for one in flat])
    moved = torch.from_numpy(moved).reshape(features.shape)
    if features.dim() == 5 and name == "rotation":
        logarithm = np.array([[0, -1, 0, 1], [1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0]]) / 2  # (f[u-1] - f[u+1]) / 2
        moved = torch.einsum("uv,bcvhw->bcuhw", torch.from_numpy(expm(-t * logarithm)), moved)
    return moved


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("stride", [1, 2])
def test_finite_differences_of_the_definition_converge_to_it(name, stride):
    """d/dt of rho(-t) f(T_t x), with pictures moved by formula and features moved back by splines: nothing shared."""
    lifting = LiftingConv2d("C4", 1, 2, 5, stride, padding=2, bias=False).double()
    mixing = GroupConv2d("C4", 2, 2, 3, padding=1, bias=False).double()
    model = nn.Sequential(lifting, declare(nn.Tanh(), "regular(C4)"), mixing)
    size, width = (65, 5.0) if stride == 2 else (41, 3.0)

    def pulled_back(t):
        with torch.no_grad():
            return turned_back(model(blobs(size, width, reach=0.05, **MOVED[name](t))), name, t, float(stride))

    parts = parts_of(model, blobs(size, width, reach=0.05), "2", (name,))
    found, scale = (parts.moved - parts.expected)[0, 0], float(parts.expected[0].norm())
    away = []
    for step in (0.4, 0.1, 0.025):
        difference = (pulled_back(step) - pulled_back(-step)) / (2 * step)
        away.append(float((difference - found).norm()) / scale)
    # what is left is the price of differences of order 4 on features 2.5 pixels (stride 2) or 3 pixels wide
    assert away[2] < 0.015
    if name in ("rotation", "scale"):
        assert away[0] > 2 * away[2]
        assert float(found.norm()) / scale > 20 * away[2]  # and there is something to find


# the table


class Joined(nn.Module):
    """Two layers whose outputs are added, one whose input no layer gave out, and one that works in place."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.both = nn.Bilinear(2, 2, 2)
        self.kind = "block"

    def forward(self, x):
        y = self.act(self.left(x))
        flat = F.adaptive_avg_pool2d(self.right(y + x), 1).flatten(1).expand(-1, 2)
        return self.both(flat, flat)


def test_local_errors_and_why_they_are_missing():
    table = measured(Joined(), torch.randn(2, 1, 6, 6)).xs("rotation", level="transformation")
    assert table.loc["right", "note"] == "no local error: the field type of its input is not known"
    assert table.loc["both", "note"] == "no local error: 2 tensors go in"
    assert table.loc["(output)", "note"] == "no local error: it is the whole network"
    assert table.loc[["left", "act"], "note"].tolist() == ["", ""]
    assert table.loc[["left", "act"], "local_error"].notna().all()
    assert table.loc[["right", "both", "(output)"], "local_error"].isna().all()
    assert table.loc["left", "local_error"] == pytest.approx(table.loc["left", "lie_error"])


def test_the_local_error_is_that_of_the_layer_on_its_own_input():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 2, 3, stride=2, padding=1)).double()
    images = torch.randn(2, 1, 9, 9, dtype=torch.float64)
    table = measured(model, images)
    with torch.no_grad():
        h = model[1](model[0](images))
    for name in UNITS:
        output, pushed = (one.detach() for one in torch.func.jvp(model[2], (h,), (generate(h, Image(), name),)))
        error = pushed - generate(output, Image(), name, (2.0, 2.0))
        assert table.loc[("2", name), "local_error"] == pytest.approx(float(error.norm() / output.norm()))


def test_a_layer_that_changes_its_input_in_place_is_measured_like_one_that_does_not():
    model, images = Joined(), torch.randn(2, 1, 6, 6)
    first = measured(model, images).drop(columns="note")
    model.act = nn.ReLU()
    pd.testing.assert_frame_equal(first, measured(model, images).drop(columns="note"))


class Cut(nn.Module):
    def forward(self, x):
        return x.detach() * 2


def test_where_no_derivative_arrives_it_says_so():
    model = nn.Sequential(nn.Conv2d(1, 1, 3), declare(Cut(), "image"), nn.Conv2d(1, 1, 3))
    table = measured(model, torch.randn(2, 1, 8, 8)).xs("translation x", level="transformation")
    assert table.loc["2", "note"].startswith("no derivative arrives")
    assert table.loc["2", "change"] == 0
    assert table.loc["0", "change"] > 0


def test_dead_and_infinite_layers_have_no_ratio():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -1e6)
    table = measured(model, torch.randn(2, 1, 8, 8))
    dead = table.loc["1"]
    assert dead[["lie_error", "change", "local_error", "floor", "edge_share"]].isna().all(axis=None)
    assert dead["note"].str.startswith("dead").all()
    nn.init.constant_(model[0].bias, torch.inf)
    assert measured(model, torch.randn(2, 1, 8, 8)).loc["0", "note"].str.startswith("not finite").all()


def test_columns_rows_and_progress():
    model, images, told = build_model("p4cnn", in_channels=1, channels=2), torch.randn(5, 1, 8, 8), []
    table = lie_derivative(model, images, transformations=("scale", "rotation"), batch_size=8, progress=told.append)
    assert [*RUN_KEYS, *table.columns] == list(columns("lie_derivative"))
    assert told == [0.4, 0.8, 1.0]
    assert set(table["transformation"]) == {"rotation", "scale"}
    assert table["depth"].is_monotonic_increasing
    assert set(table["kind"]) == {"convolution", "activation", "pooling", "linear", "output"}
    assert (table["n"] == 5).all()
    assert set(table.loc[table["layer"] == "pool", "subsamples"]) == {True}
    no_maps = table["layer"].isin(["global_pool", "coset_pool", "fc", "(output)"])
    assert table.loc[no_maps, ["edge_share", "edge_pixels"]].isna().all(axis=None)
    assert table.loc[~no_maps, ["edge_share", "edge_pixels"]].notna().all(axis=None)
    again = lie_derivative(model, [images[:2], images[2:]], transformations=("scale", "rotation"), batch_size=64)
    # another batch size may add up in another order: float32
    numbers = table.select_dtypes("number").columns
    np.testing.assert_allclose(again[numbers], table[numbers], rtol=1e-4, atol=1e-6)
    pd.testing.assert_frame_equal(again.drop(columns=numbers), table.drop(columns=numbers))


def test_fading_takes_the_padding_out_of_the_first_layer():
    model, images = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False)), torch.ones(2, 1, 24, 24)
    plain, faded = (measured(model, images, "0", fade=fade).loc[("0", "translation x")] for fade in (False, True))
    assert plain["edge_share"] > 0.5
    assert faded["lie_error"] < 0.05 * plain["lie_error"]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 7), unique=True, max_size=4), mapped=st.booleans())
def test_sums_of_batches_merge_to_those_of_all_images(cuts, mapped):
    torch.manual_seed(0)
    shape = (8, 2, 4, 5)
    whole = LayerDerivatives(
        torch.randn(shape), torch.randn(2, 3, *shape), torch.randn(2, 3, *shape), torch.randn(2, 3, *shape), mapped, ""
    )
    bounds = [0, *sorted(cuts), 8]
    parts = []
    for a, b in pairwise(bounds):
        stacked = (part[:, :, a:b] for part in (whole.moved, whole.expected, whole.alone))
        parts.append(lie_sums(LayerDerivatives(whole.features[a:b], *stacked, mapped, "")))
    merged = parts[0]
    for part in parts[1:]:
        merged = merged + part
    for name in LieSums.__dataclass_fields__:
        np.testing.assert_allclose(getattr(merged, name), getattr(lie_sums(whole), name), rtol=1e-12)
    L = (whole.moved - whole.expected)[0].double()
    ratios = lie_errors(merged)
    np.testing.assert_allclose(ratios["lie_error"], L.flatten(1).norm(dim=1) / whole.features.double().norm())
    if mapped:
        inside = L[..., 1:-1, 1:-1].flatten(1).square().sum(1) / L.flatten(1).square().sum(1)
        np.testing.assert_allclose(ratios["edge_share"], 1 - inside)
        assert merged.edge_pixels == pytest.approx(14 / 20)


# errors, and no traces


class Raises(nn.Module):
    def forward(self, x):
        raise ValueError("on purpose")


class Sampled(nn.Module):
    def forward(self, x):
        return F.grid_sample(x, torch.zeros(len(x), 2, 2, 2), align_corners=False)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (nn.Sequential(nn.ReLU(), Raises()), {}, "model: expected a forward pass.*on purpose"),
        (nn.Sequential(nn.ReLU(), Sampled()), {}, "operations that all have a forward-mode derivative"),
        (nn.ReLU(), {"transformations": ["shear"]}, "transformations: expected some of rotation.*'shear'"),
        (nn.ReLU(), {"transformations": []}, "transformations: expected some of rotation.*found none"),
        (nn.ReLU(), {"layers": "conv"}, "layers: expected names or globs"),
        (nn.ReLU(), {"fields": {"conv": "image"}}, "fields: expected names or globs"),
        (nn.Sequential(nn.ReLU()), {"fields": {"0": "regular(C4)"}}, "layer 0: expected activations that fit"),
        (nn.Sequential(nn.ReLU()), {"fields": {"0": "regular(C1, flattened)"}}, "layer 0: expected elements that act"),
        (nn.Sequential(nn.ReLU()), {"kinds": ("linear",)}, "at least one layer of kind linear"),
        (nn.ReLU(), {"group": "p5"}, "group: expected p4"),
    ],
)
def test_errors_are_one_line_and_leave_no_trace(model, options, message):
    model.train()
    with pytest.raises(EqvizError, match=message) as caught:
        lie_derivative(model, torch.randn(2, 1, 5, 5), **options)
    assert "\n" not in str(caught.value)
    assert all(
        module.training and not module._forward_hooks and not module._forward_pre_hooks for module in model.modules()
    )
    assert torch.is_grad_enabled()
    with forward_ad.dual_level():  # raises if a level is still open
        pass


def test_an_iterator_is_refused_and_one_name_is_a_transformation():
    with pytest.raises(EqvizError, match="several times"):
        lie_derivative(nn.ReLU(), iter([torch.randn(2, 1, 5, 5)]))
    found = lie_derivative(nn.ReLU(), torch.randn(2, 1, 5, 5), transformations="scale")
    assert found["transformation"].tolist() == ["scale"]


def test_the_network_is_left_as_it_was():
    model = build_model("p4cnn", in_channels=1, channels=2)
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lie_derivative(model, torch.randn(2, 1, 8, 8), transformations="rotation")
    assert model.training
    assert not model.bn1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_over_seeds():
    shared = dict.fromkeys(MODEL_KEYS, "x") | {
        "run": "r", "layer": "conv", "call": 0, "depth": 0, "kind": "convolution", "subsamples": False,
        "field": "image", "transformation": "scale", "unit": "log scale", "note": "", "n": 4, "edge_pixels": 0.5,
    }  # fmt: skip
    values = {"lie_error": 1.0, "change": 2.0, "expected": 3.0, "floor": 0.1, "edge_share": 0.25, "local_error": 0.5}
    rows = [
        shared | {"seed": 0, "local_floor": 0.2} | values,
        shared | {"seed": 1, "local_floor": 0.3} | {name: 3 * value for name, value in values.items()},
        shared | {"seed": 2, "local_floor": np.nan} | dict.fromkeys(values, np.nan),
    ]
    (found,) = lie_derivative_summary(pd.DataFrame(rows)).to_dict("records")
    assert (found["lie_error"], found["lowest"], found["highest"], found["n_seeds"]) == (2.0, 1.0, 3.0, 2)
    assert (found["local_error"], found["local_lowest"], found["local_highest"]) == (1.0, 0.5, 1.5)
    assert (found["floor"], found["local_floor"]) == (pytest.approx(0.3), 0.3)
    assert (found["change"], found["expected"], found["edge_share"], found["edge_pixels"]) == (4.0, 6.0, 0.5, 0.5)
