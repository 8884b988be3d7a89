"""Captum called by us is captum called by hand; and what every method is by definition."""

import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion, Saliency
from torch import nn

from eqviz.analysis.attribution_methods import (
    Asked,
    class_scores,
    completeness,
    grad_cam,
    integrated_gradients,
    occlusion,
    predicted,
    saliency,
)
from eqviz.analysis.occlusion_windows import Windows, fitting_windows
from eqviz.errors import EqvizError
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group
from eqviz.models.convolutions import LiftingConv2d


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 5)
    ).eval()  # fmt: skip


def asked(network, batch_size, targets=True):
    images = torch.randn(5, 2, 10, 10, generator=torch.Generator().manual_seed(1))
    chosen = predicted(network, images, 64) if targets else None
    return Asked(network, images, chosen, torch.full((1, 2, 10, 10), 0.3), batch_size)


@pytest.mark.parametrize("batch_size", [1, 64, 1000])
def test_numbers_are_those_of_captum(network, batch_size):
    one = asked(network, batch_size)
    baseline = one.baseline.expand(5, -1, -1, -1)
    by_hand = {
        "ig": IntegratedGradients(network).attribute(one.images, baseline, target=one.targets, n_steps=7),
        "saliency": Saliency(network).attribute(one.images.clone().requires_grad_(), target=one.targets, abs=False),
        "occlusion": Occlusion(network).attribute(
            one.images, (2, 4, 4), (2, 2, 2), baselines=baseline, target=one.targets
        ),
        "cam": LayerGradCam(network, network[3]).attribute(one.images, target=one.targets),
    }
    ours = {
        "ig": integrated_gradients(one, steps=7),
        "saliency": saliency(one),
        "occlusion": occlusion(one, Windows((4, 4), (2, 2))),
        "cam": grad_cam(one, network[3]),
    }
    for name, found in ours.items():
        # float32; batches of other sizes are summed in another order
        torch.testing.assert_close(found, by_hand[name].detach(), rtol=1e-4, atol=1e-6)
        assert found.abs().max() > 1e-3


def test_saliency_is_the_signed_gradient(network):
    one = asked(network, 64)
    images = one.images.clone().requires_grad_()
    network(images).gather(1, one.targets[:, None]).sum().backward()
    torch.testing.assert_close(saliency(one), images.grad)
    assert (saliency(one) < 0).any()


def test_integrated_gradients_of_a_quadratic_are_known():
    images, start = torch.tensor([[[[2.0, -1.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    one = Asked(lambda x: (x.square() / 2).flatten(1).sum(1), images, None, start)
    found = integrated_gradients(one, steps=2)  # the rule is exact for polynomials of degree 3
    torch.testing.assert_close(found, (images.square() - start.square()) / 2)
    delta, difference = completeness(one, found)
    assert delta.abs().max() < 1e-6  # float32
    assert difference.tolist() == pytest.approx([1.5])


def test_completeness_is_what_the_sum_misses(network):
    one = asked(network, 64)
    found = integrated_gradients(one, steps=3)
    delta, difference = completeness(one, found)
    with torch.no_grad():
        scores = network(one.images) - network(one.baseline)
    expected = scores.gather(1, one.targets[:, None])[:, 0].double()
    torch.testing.assert_close(difference, expected, rtol=1e-4, atol=1e-5)  # float32
    torch.testing.assert_close(found.double().flatten(1).sum(1) - expected, delta, rtol=1e-4, atol=1e-5)
    finer, _ = completeness(one, integrated_gradients(one, steps=300))
    assert finer.abs().max() < 0.1 * delta.abs().max()


def test_grad_cam_keeps_the_group_axis():
    torch.manual_seed(0)
    lift = LiftingConv2d("C4", 1, 3, 3)
    network = nn.Sequential(lift, nn.Tanh(), nn.Flatten(), nn.Linear(3 * 4 * 36, 2))
    images = torch.randn(2, 1, 8, 8)
    found = grad_cam(Asked(network, images, torch.tensor([1, 0]), torch.zeros(1, 1, 8, 8)), lift)
    maps = lift(images).detach().requires_grad_()
    network[1:](maps).gather(1, torch.tensor([[1], [0]])).sum().backward()
    weights = maps.grad.mean((2, 3, 4), keepdim=True)
    torch.testing.assert_close(found, (weights * maps).sum(1, keepdim=True).detach())
    assert found.shape == (2, 1, 4, 6, 6)


def test_a_model_without_gradients_is_refused():
    for network in (lambda x: x.detach().flatten(1), lambda x: torch.ones(len(x), 3)):
        one = Asked(network, torch.randn(2, 1, 3, 3), torch.zeros(2, dtype=torch.long), torch.zeros(1, 1, 3, 3))
        with pytest.raises(EqvizError, match="scores that can be differentiated by the images"):
            saliency(one)


def test_scores_are_the_first_table_in_the_output():
    images = torch.zeros(4, 1, 2, 2)
    scores = torch.rand(4, 3)
    assert (
        class_scores(lambda x: {"maps": x, "labels": scores.argmax(1, keepdim=True), "scores": scores}, images)
        is scores
    )
    with pytest.raises(EqvizError, match=r"class scores of shape \(4, classes\); found \[\(4, 1, 2, 2\)\]"):
        class_scores(lambda x: x, images)


@pytest.mark.parametrize("length", range(1, 65))
def test_windows_chosen_are_mapped_onto_windows_and_cover_the_image(length):
    windows = fitting_windows(length, 24)
    for n, w, s in zip((length, 24), windows.size, windows.stride, strict=True):
        starts = range(0, n - w + 1, s)
        assert {n - w - start for start in starts} == set(starts)
        assert set().union(*(range(start, start + w) for start in starts)) == set(range(n))
    assert windows.transposed == fitting_windows(24, length)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (17, 1), (2, 3), (None, 20), (0, None), (5, 0)])
def test_windows_that_do_not_fit_are_refused(window, stride):
    with pytest.raises(EqvizError, match="occlusion"):
        fitting_windows(16, 16, window, stride)


@pytest.mark.parametrize(("window", "stride", "fits"), [(3, 2, False), (4, 2, True)])
def test_windows_that_do_not_fit_would_break_the_symmetry(window, stride, fits):
    def invariant(images):
        return images.square().flatten(1).sum(1)

    images = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for element in group("D4").elements[1:]:
        pair = [
            occlusion(
                Asked(invariant, shown, None, torch.zeros_like(images)), Windows((window, window), (stride, stride))
            )
            for shown in (images, act_on_grid(images, element))
        ]
        same = torch.allclose(act_on_grid(pair[0], element), pair[1], atol=1e-12)  # float64
        assert same == fits or str(element) == "transpose"  # which reverses no axis
