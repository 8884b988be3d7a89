"""The untrained twin: the same architecture, nothing of the weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from eqviz.analysis.twins import rebuild, untrained_twin
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declared
from eqviz.models.registry import build_model


def trained(model):
    """Every parameter and statistic moved away from where it started."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(7 + torch.rand_like(tensor))
    return model


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x * self.scale[:, None, None]


class HalfReset(nn.Linear):
    def __init__(self):
        super().__init__(2, 3)
        self.extra = nn.Parameter(torch.zeros(3))


@pytest.mark.parametrize("name", ["p4cnn", "p4mcnn", "z2cnn", "p4resnet44"])
def test_no_weight_and_no_statistic_is_left(name):
    model = trained(build_model(name))
    twin = rebuild(model)
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    for (key, old), new in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert old.shape == new.shape
        if old.is_floating_point():
            assert not (old == new).any(), key
    assert [declared(m) for m in twin.modules()] == [declared(m) for m in model.modules()]


def test_weights_are_those_of_a_fresh_layer():
    torch.manual_seed(3)
    fresh = nn.Conv2d(1, 2, 3)
    twin = rebuild(trained(nn.Conv2d(1, 2, 3)), seed=3)
    assert torch.equal(twin.weight, fresh.weight)
    assert torch.equal(twin.bias, fresh.bias)


def test_the_seed_decides_and_the_random_state_and_the_model_stay():
    model = trained(build_model("p4cnn", channels=2)).train()
    model.conv3.eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    first, again, other = rebuild(model), rebuild(model), rebuild(model, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(first.conv1.weight, again.conv1.weight)
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert [m.training for m in first.modules()] == [m.training for m in model.modules()]
    assert all(parameter.requires_grad for parameter in first.parameters())


def test_constants_of_the_architecture_stay():
    model = nn.Sequential(nn.Conv2d(1, 2, 3))
    model.register_buffer("coordinates", torch.arange(4.0))
    assert torch.equal(rebuild(model).coordinates, torch.arange(4.0))


def test_attention_and_tied_weights_are_drawn_anew():
    attention = rebuild(trained(nn.MultiheadAttention(4, 2)))
    assert attention.in_proj_weight.abs().max() < 2
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    twin = rebuild(trained(tied))
    assert twin[1].weight is twin[0].weight
    assert twin[0].weight.abs().max() < 1


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (nn.Sequential(nn.Conv2d(1, 3, 3), Scale()), r"module 1: .* a Scale that does not reset its scale"),
        (nn.Sequential(HalfReset()), "module 0: .* a HalfReset that does not reset its extra"),
        (nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2))), r"module 0\.parametrizations\.weight"),
        (nn.Sequential(nn.LazyLinear(2)), "module 0: .* a lazy module"),
        (Scale(), "untrained twin: .* a Scale that does not reset"),
    ],
)
def test_what_cannot_be_rebuilt_is_named(model, named):
    assert untrained_twin(model) is None
    with pytest.raises(EqvizError, match=named) as caught:
        rebuild(model)
    assert "\n" not in str(caught.value)


def test_a_reset_that_wants_arguments_is_named():
    class Wants(nn.Linear):
        def reset_parameters(self, gain=None):
            if gain is None and self.bias is not None and self.bias.isnan().any():
                raise TypeError("missing gain")
            super().reset_parameters()

    with pytest.raises(EqvizError, match=r"a Wants whose reset_parameters\(\) fails \(missing gain\)"):
        rebuild(nn.Sequential(Wants(2, 2)))


def test_a_network_without_weights_is_its_own_twin():
    assert isinstance(untrained_twin(nn.Sequential(nn.ReLU())), nn.Sequential)
