"""Capture against bare forward passes, and against a plain implementation that keeps everything."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from eqviz.capture.layers import select_layers
from eqviz.capture.orbit_capture import capture
from eqviz.fields.field_types import Invariant
from eqviz.fields.layer_calls import OUTPUT
from eqviz.fields.sums import OrbitSums
from eqviz.groups.group import Element, Group, group
from eqviz.models.registry import build_model

LAYERS = f"conv*,*pool*,fc,{OUTPUT}"
TARGET = 1.3
NETWORKS = [pytest.param("p4cnn", "C4", id="C4"), pytest.param("p4mcnn", "D4", id="D4")]
BATCH_SIZES = (16, 64, 256)


def forward_passes(model: nn.Module, images: Tensor, times: int, batch_size: int) -> None:
    with torch.no_grad():
        for _ in range(times):
            for batch in images.split(batch_size):
                model(batch)


@pytest.mark.parametrize("stack", [32, 64])
@pytest.mark.parametrize(("name", "G"), NETWORKS)
def test_capture_against_bare_forward_passes(name, G, stack, benchmark, interleaved, say, request):
    model, images, order = build_model(name).eval(), torch.rand(256, 1, 28, 28), group(G).order
    bare = {f"{size}": lambda size=size: forward_passes(model, images, order, size) for size in BATCH_SIZES}
    medians = interleaved(lambda: capture(model, images, G, LAYERS, batch_size=stack), bare)
    captured = medians.pop("")
    fastest = min(medians, key=medians.__getitem__)
    ratio = captured / medians[fastest]
    benchmark.extra_info.update(ratio=ratio, bare_seconds=medians)
    say(
        f"{name}, {G}: capture (batch_size={stack}) {captured:.3f} s, {order} bare passes "
        f"{medians[fastest]:.3f} s (batches of {fastest}): ratio {ratio:.2f}, target {TARGET}"
    )
    if request.config.getoption("--strict-ratio"):
        assert ratio <= TARGET


@pytest.mark.parametrize(("name", "G"), NETWORKS)
def test_capture_against_plain_implementation(name, G, benchmark, interleaved, say):
    model = build_model(name).eval()
    agree(model, torch.rand(8, 1, 27, 27), group(G))  # of odd size, where pooling breaks the symmetry
    images = torch.rand(32, 1, 28, 28)
    medians = interleaved(lambda: capture(model, images, G, LAYERS), {"plain": lambda: plain(model, images, group(G))})
    benchmark.extra_info.update(speedup=medians["plain"] / medians[""])
    say(
        f"{name}, {G}, {len(images)} images: capture {medians['']:.3f} s, keeping everything and turning map by map "
        f"{medians['plain']:.3f} s: {medians['plain'] / medians['']:.1f} times as long"
    )


def agree(model: nn.Module, images: Tensor, G: Group) -> None:
    found = {key.layer: layer.sums for key, layer in capture(model, images, G, LAYERS).layers.items()}
    expected = plain(model, images, G)
    assert found.keys() == expected.keys()
    for layer, sums in expected.items():
        # the absolute part is for layers that keep the symmetry, where only rounding is left
        energy, magnitude = sums.norms.mean(), sums.magnitude
        np.testing.assert_allclose(found[layer].norms, sums.norms, rtol=1e-5)
        np.testing.assert_allclose(found[layer].distances, sums.distances, rtol=1e-5, atol=1e-10 * energy)
        np.testing.assert_allclose(found[layer].differences, sums.differences, rtol=1e-5, atol=1e-5 * magnitude)
        np.testing.assert_allclose(found[layer].magnitude, magnitude, rtol=1e-5)


def plain(model: nn.Module, images: Tensor, G: Group) -> dict[str, OrbitSums]:
    """Every activation of every element is kept, then turned back map by map; numbers as those of capture."""
    kept = [activations(model, torch.stack([moved(image, g) for image in images])) for g in G.elements]
    return {layer: sums_of([aligned(model, layer, maps[layer], g, G)
                            for maps, g in zip(kept, G.elements, strict=True)]) for layer in kept[0]}  # fmt: skip


def activations(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    kept: dict[str, Tensor] = {}

    def keeper(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: kept.update({name: output.clone()})

    handles = [module.register_forward_hook(keeper(name)) for name, module in select_layers(model, LAYERS).items()]
    with torch.no_grad():
        model(images)
    for handle in handles:
        handle.remove()
    return kept


def moved(maps: Tensor, element: Element) -> Tensor:
    turned = torch.rot90(maps, element.quarter_turns, (-2, -1))
    return turned.flip(-2) if element.reflected else turned


def aligned(model: nn.Module, layer: str, features: Tensor, element: Element, G: Group) -> Tensor:
    module = select_layers(model, layer)[layer]
    if isinstance(module.field_type, Invariant):
        return features
    back = torch.empty_like(features)
    for image in range(features.shape[0]):
        for channel in range(features.shape[1]):
            for position, h in enumerate(G.elements):
                source = features[image, channel, G.index(element * h)]
                back[image, channel, position] = moved(source, element.inverse) if source.dim() == 2 else source
    return back


def sums_of(orbit: list[Tensor]) -> OrbitSums:
    distances = np.array([[float((a - b).double().square().sum()) for b in orbit] for a in orbit])
    differences = np.array([float((a - orbit[0]).double().abs().sum()) for a in orbit])
    norms = np.array([float(a.double().square().sum()) for a in orbit])
    return OrbitSums(norms, distances, differences, np.array(float(orbit[0].double().abs().sum())), len(orbit[0]))
