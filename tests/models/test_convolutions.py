"""Group convolutions against plain numpy loops that share nothing with them but the group's matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from eqviz.errors import EqvizError
from eqviz.fields.field_types import Image
from eqviz.groups.group import Group, group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.separable import SEPARABLE

ON_GRID = [H.name for H in group("D4").subgroups]


def element_of(G: Group, matrix: np.ndarray) -> int:
    return next(u for u, element in enumerate(G.elements) if np.allclose(element.matrix, matrix))


def moved_by_coordinates(psi: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """psi(u^-1 p) at every filter cell p = (x to the right, y upwards), measured from the filter's centre."""
    k = len(psi)
    out = np.zeros_like(psi)
    for row in range(k):
        for column in range(k):
            x, y = matrix.T @ np.array([column - (k - 1) / 2, (k - 1) / 2 - row])
            out[row, column] = psi[round((k - 1) / 2 - y), round(x + (k - 1) / 2)]
    return out


def reference(x, w, bias, G: Group, stride: int, padding: int, dilation: int) -> np.ndarray:
    """[f * psi](p, u) = sum_q sum_v f(q, v) psi(u^-1 (q - p), u^-1 v).

    x is (B, in, fibre, H, W), w is (out, in, fibre, k, k).
    """
    batch, channels, fibre, height, width = x.shape
    out_channels, k = len(w), w.shape[-1]
    padded = np.zeros((batch, channels, fibre, height + 2 * padding, width + 2 * padding))
    padded[..., padding : padding + height, padding : padding + width] = x
    rows = (height + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    columns = (width + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    out = np.zeros((batch, out_channels, G.order, rows, columns))
    for u, element in enumerate(G.elements):
        for o in range(out_channels):
            for i in range(channels):
                for v in range(fibre):
                    source = element_of(G, element.matrix.T @ G.elements[v].matrix) if fibre > 1 else 0
                    psi = moved_by_coordinates(w[o, i, source], element.matrix)
                    for r in range(rows):
                        for c in range(columns):
                            top, left = r * stride, c * stride
                            span = dilation * (k - 1) + 1
                            window = padded[:, i, v, top : top + span : dilation, left : left + span : dilation]
                            out[:, o, u, r, c] += (window * psi).sum((-2, -1))
            out[:, o, u] += 0.0 if bias is None else bias[o]
    return out


def filter_by_loops(layer) -> np.ndarray:
    """w[o, i, v] = spatial filter x weight of channel and group element, as the source writes it."""
    own = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    if "weight" in own:
        return own["weight"]
    spatial, pointwise = own["depthwise_weight"], own["pointwise_weight"]
    out, channels, fibre = pointwise.shape[:3]
    w = np.empty((out, channels, fibre, *layer.kernel_size))
    for o, i, v in np.ndindex(out, channels, fibre):
        w[o, i, v] = pointwise[o, i, v, 0, 0] * (spatial[o, 0, 0] if spatial.ndim == 5 else spatial[o, i])
    return w


every_kind = pytest.mark.parametrize("kind", SEPARABLE)
CASES = [  # kernel, stride, padding, dilation, bias, height, width
    (3, 1, 1, 1, True, 5, 5),
    (3, 2, 1, 1, True, 6, 5),
    (3, 1, 2, 2, False, 5, 6),
    (2, 2, 0, 1, True, 5, 4),
    (1, 2, 0, 1, False, 5, 5),
    (4, 3, 2, 1, True, 6, 7),
]


@pytest.mark.parametrize("name", ["C4", "D4", "C2", "D1(transpose)", "D2(axes)"])
@pytest.mark.parametrize(("k", "stride", "padding", "dilation", "bias", "height", "width"), CASES)
def test_lifting_is_the_written_sum(name, k, stride, padding, dilation, bias, height, width):
    layer = LiftingConv2d(name, 2, 3, k, stride, padding, dilation, bias)
    x = torch.randn(2, 2, height, width)
    w, b = layer.weight.detach().numpy(), layer.bias.detach().numpy() if bias else None
    expected = reference(x.numpy()[:, :, None], w, b, group(name), stride, padding, dilation)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-10)


@every_kind
@pytest.mark.parametrize("name", ["C4", "D4", "D1(left-right)"])
@pytest.mark.parametrize(("k", "stride", "padding", "dilation", "bias", "height", "width"), CASES)
def test_group_convolution_is_the_written_sum(kind, name, k, stride, padding, dilation, bias, height, width):
    G = group(name)
    layer = SEPARABLE[kind](G, 2, 3, k, stride, padding, dilation, bias)
    x = torch.randn(1, 2, G.order, height, width)
    b = layer.bias.detach().numpy() if bias else None
    expected = reference(x.numpy(), filter_by_loops(layer), b, G, stride, padding, dilation)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, atol=1e-10)


@every_kind
@pytest.mark.parametrize("name", ON_GRID)
def test_the_law_holds_for_every_element_of_every_group_on_the_grid(name, kind):
    G = group(name)
    lift, conv = LiftingConv2d(G, 2, 3, 3, padding=1), SEPARABLE[kind](G, 3, 2, 3, stride=2, padding=1)
    images = torch.randn(2, 2, 7, 9)
    maps = lift(images)
    for element in G.elements:
        moved = Image().act(images, element)
        torch.testing.assert_close(lift(moved), lift.field_type.act(maps, element), rtol=0, atol=1e-10)
        expected = conv.field_type.act(conv(maps), element)
        torch.testing.assert_close(conv(lift(moved)), expected, rtol=0, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["C4", "D4"]),
    n=st.integers(5, 12), k=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 2), data=st.data(),
)  # fmt: skip
def test_exact_when_nothing_is_left_over_and_only_then(name, n, k, stride, dilation, data):
    padding = data.draw(st.integers(0, dilation * (k - 1) // 2))
    G, span = group(name), n + 2 * padding - dilation * (k - 1) - 1
    if span < 0:
        return
    layer = LiftingConv2d(G, 1, 2, k, stride, padding, dilation)
    image = torch.randn(4, 1, n, n)
    with torch.no_grad():
        upright = layer(image)
        error = max(
            float((layer(Image().act(image, g)) - layer.field_type.act(upright, g)).abs().max()) for g in G.elements
        )
    assert (error < 1e-10) == (span % stride == 0)


def test_weight_layout_and_order_of_the_fibre_are_the_grouppy_lineages():
    """Element r: rot90 r times; 4 + r: then flip up-down. For C4 the filter's fibre rolls: w_u[v] = R^u w[v - u]."""
    lift, conv, mirrored = LiftingConv2d("p4", 3, 5, 3), GroupConv2d("p4", 3, 5, 3), GroupConv2d("p4m", 3, 5, 3)
    assert lift.weight.shape == (5, 3, 1, 3, 3)
    assert conv.weight.shape == (5, 3, 4, 3, 3)
    assert mirrored.weight.shape == (5, 3, 8, 3, 3)
    planar = lift.planar_filter().reshape(5, 4, 3, 3, 3)
    copies = conv.planar_filter().reshape(5, 4, 3, 4, 3, 3)
    for u in range(4):
        assert torch.equal(planar[:, u], torch.rot90(lift.weight[:, :, 0], u, (-2, -1)))
        assert torch.equal(copies[:, u], torch.rot90(conv.weight.roll(u, 2), u, (-2, -1)))
    # v = 0 .. 7 reads u^-1 v, written out by hand for u = 4 (flip up-down) and u = 6 (flip left-right)
    copies = mirrored.planar_filter().reshape(5, 8, 3, 8, 3, 3)
    assert torch.equal(copies[:, 4], mirrored.weight[:, :, [4, 5, 6, 7, 0, 1, 2, 3]].flip(-2))
    assert torch.equal(copies[:, 6], mirrored.weight[:, :, [6, 7, 4, 5, 2, 3, 0, 1]].flip(-1))
    assert torch.equal(copies[:, 0], mirrored.weight)


def test_fresh_weights_are_uniform_and_ignore_the_group():
    layer = GroupConv2d("p4m", 20, 40, 3)
    bound = 1 / (20 * 9) ** 0.5
    assert layer.weight.abs().max() <= bound
    assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)


@every_kind
def test_products_have_the_variance_of_an_ordinary_filter(kind):
    """Squares of n uniform numbers have a mean that is off by sqrt(0.8 / n) of itself: 1.6% for 64 filters of 49."""
    layer = SEPARABLE[kind]("p4", 64, 64, 7, bias=False)
    assert float(layer.full_weight().detach().square().mean()) == pytest.approx(1 / (3 * 64 * 49), rel=0.1)
    if kind:
        assert float(layer.pointwise_weight.detach().square().mean()) == pytest.approx(1 / (3 * 64), rel=0.1)
        assert float(layer.depthwise_weight.detach().square().sum((-2, -1)).mean()) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("kind", "depthwise"), [("g", (5, 3, 7, 7)), ("gc", (5, 1, 1, 7, 7))])
@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_names_and_shapes_of_separable_weights_are_their_sources(kind, depthwise, name):
    layer = SEPARABLE[kind](name, 3, 5, 7)
    shapes = {key: tuple(value.shape) for key, value in layer.state_dict().items()}
    order = group(name).order
    assert shapes == {"depthwise_weight": depthwise, "pointwise_weight": (5, 3, order, 1, 1), "bias": (5,)}
    assert layer.full_weight().shape == (5, 3, order, 7, 7)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    layer.reset_parameters()
    assert not any((value == before[key]).any() for key, value in layer.state_dict().items())


@pytest.mark.parametrize("name", ON_GRID)
def test_gc_is_a_convolution_of_kernel_1_and_then_one_moved_filter_a_channel(name):
    """Two steps, in which the source computes it, in place of one filter."""
    G = group(name)
    layer, mixing = SEPARABLE["gc"](G, 3, 5, 3, 2, 1, bias=False), GroupConv2d(G, 3, 5, 1, bias=False)
    mixing.load_state_dict({"weight": layer.pointwise_weight})
    x = torch.randn(2, 3, G.order, 7, 9)
    moved = torch.stack([Image().act(layer.depthwise_weight[:, 0], g) for g in G.elements], 1).flatten(0, 1)
    steps = F.conv2d(mixing(x).flatten(1, 2), moved, stride=2, padding=1, groups=len(moved))
    torch.testing.assert_close(layer(x), steps.unflatten(1, (5, G.order)), rtol=0, atol=1e-10)


@every_kind
def test_gradients_are_those_of_the_written_function(kind):
    layer = SEPARABLE[kind]("p4m", 1, 1, 3, padding=1)
    x = torch.randn(1, 1, 8, 3, 3, requires_grad=True)
    names, weights = zip(*layer.named_parameters(), strict=True)

    def call(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *weights))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept_and_the_index_is_not_saved(dtype):
    layer = LiftingConv2d("p4", 1, 2, 3).to(dtype)
    assert layer(torch.zeros(1, 1, 5, 6, dtype=dtype)).dtype == dtype
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert list(LiftingConv2d("p4", 1, 2, 3, bias=False).state_dict()) == ["weight"]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: LiftingConv2d("C8", 1, 1, 3), "use C4"),
        (lambda: GroupConv2d("p5", 1, 1, 3), "'p5'"),
        (lambda: GroupConv2d("p4", 0, 1, 3), "in_channels"),
        (lambda: GroupConv2d("p4", 1, -2, 3), "out_channels"),
        (lambda: SEPARABLE["g"]("p4", 1, -2, 3), "out_channels"),
        (lambda: SEPARABLE["gc"]("C8", 1, 1, 3), "use C4"),
        (lambda: LiftingConv2d("p4", 1, 1, 0), "kernel_size"),
        (lambda: LiftingConv2d("p4", 1, 1, 3, stride=0), "stride"),
        (lambda: LiftingConv2d("p4", 1, 1, 3, padding=-1), "padding"),
    ],
)
def test_arguments_that_cannot_be_are_refused_in_one_line(build, words):
    with pytest.raises(EqvizError) as caught:
        build()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_input_of_another_group_is_refused():
    for layer in SEPARABLE.values():
        with pytest.raises(EqvizError, match=f"{layer.__name__} of D4"):
            layer("p4m", 2, 1, 3)(torch.zeros(1, 2, 4, 5, 5))
    with pytest.raises(EqvizError, match="LiftingConv2d of C4"):
        LiftingConv2d("p4", 3, 1, 3)(torch.zeros(1, 1, 5, 5))
