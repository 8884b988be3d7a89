"""What is chosen for a steerable network: the group, its twin, the channels of its images."""

import pytest
import torch
from torch import nn

from eqviz.analysis.twins import fresh_copy, rebuild, untrained_twin
from eqviz.audit.auditing import image_channels
from eqviz.fields.layer_calls import layer_names
from eqviz.studies.random_weights import in_general_position as general
from eqviz.studies.targets import own_group

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call

IMAGES = torch.randn(4, 1, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "G"),
    [("C4", "C4"), ("C8", "C4"), ("D4", "D4"), ("D4 mixed", "D4"), ("SO(2)", "C4"), ("C1", "C4"),
     ("up-down", "D1(up-down)"), ("transpose", "D1(transpose)")],
)  # fmt: skip
def test_the_group_is_the_largest_on_the_grid_that_acts_on_all_layers(networks, name, G):
    assert own_group(networks(name)) == G


def test_o2_has_all_of_d4_and_a_restricted_network_what_is_left(e2cnn, spaces):
    space, library = spaces["O(2)"], e2cnn.nn
    whole = library.FieldType(space, [space.trivial_repr] * 2)
    assert own_group(nn.Sequential(library.ReLU(whole))) == "D4"
    restricted = library.RestrictionModule(whole, (None, 4))
    assert own_group(nn.Sequential(library.ReLU(whole), restricted)) == "C4"


@pytest.mark.parametrize("name", ["C4", "D4 mixed"])
@pytest.mark.parametrize("training", [True, False])
def test_a_twin_is_drawn_by_the_librarys_own_initialisation(build, name, training):
    network = build(name).train(training)
    twin, other = rebuild(network, seed=1), rebuild(network, seed=2)
    assert set(twin.state_dict()) == set(network.state_dict())
    for layer in ("conv1", "conv2"):
        drawn = [layer_names(model)[layer].weights for model in (network, twin, other)]
        assert not torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[1], drawn[2])
        assert 0.3 < float(drawn[1].std() / drawn[2].std()) < 3
        assert not layer_names(twin)[layer].bias.any()
    with torch.no_grad():  # what runs is made of the new weights
        twin.eval()
        expected = twin.conv1.expand_parameters()[0]
        torch.testing.assert_close(twin.conv1.filter, expected)
        assert torch.isfinite(twin(IMAGES)).all()
    assert fresh_copy(network)[1] == "fresh"


def test_norms_of_the_library_begin_anew(e2cnn, spaces):
    space, library = spaces["C4"], e2cnn.nn
    kind = library.FieldType(space, [space.irrep(1), space.regular_repr])
    norm = library.GNormBatchNorm(kind)
    learned = ("weight", "bias", "running_var", "running_mean")
    start = {name: tensor.clone() for name, tensor in norm.state_dict().items() if name.endswith(learned)}
    with torch.no_grad():
        for name in start:
            norm.state_dict()[name].add_(1)
    found = rebuild(norm).state_dict()
    assert start
    assert all(torch.equal(found[name], tensor) for name, tensor in start.items())


def test_there_is_no_twin_where_a_module_of_the_users_own_cannot_be_reset(build):
    network = build("C4")
    network.scale = nn.Parameter(torch.ones(2))
    assert untrained_twin(network) is None


def test_random_weights_reach_the_filters_that_run(build):
    network = general(lambda: build("C4"), seed=3)
    with torch.no_grad():
        expected, bias = network.conv2.expand_parameters()
    torch.testing.assert_close(network.conv2.filter, expected)
    torch.testing.assert_close(network.conv2.expanded_bias, bias)


def test_fixed_numbers_of_the_library_stay(build):
    assert float(general(lambda: build("SO(2)")).act.eps) == pytest.approx(1e-10)


def test_channels_are_those_of_the_first_input_type(e2cnn, spaces):
    space, library = spaces["C4"], e2cnn.nn
    colours, inner = (library.FieldType(space, [kind] * 4) for kind in (space.trivial_repr, space.irrep(1)))
    assert image_channels(nn.Sequential(library.R2Conv(colours, inner, 3))) == 4
