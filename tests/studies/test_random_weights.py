"""Weights in general position: nothing constant is left that training would change."""

import torch
from torch import nn

from eqviz.models.cnn import p4cnn
from eqviz.studies.random_weights import in_general_position


def plain():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm([4, 5, 5]), nn.PReLU(3))


def test_no_constant_is_left_and_the_rest_is_as_the_model_drew_it():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        drawn = plain()
    model = in_general_position(plain, seed=3)
    assert torch.equal(model[0].weight, drawn[0].weight)
    norm = model[1]
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var, model[2].weight, model[3].weight):
        assert tensor.unique().numel() > 1
    assert (norm.running_var > 0).all()
    assert not model.training
    assert norm.num_batches_tracked == 0


def test_branches_that_start_at_zero_are_switched_on():
    def build():
        model = plain()
        nn.init.zeros_(model[1].weight)
        return model

    assert (in_general_position(build)[1].weight != 0).all()


def test_the_seed_decides_and_the_random_state_is_left_alone():
    before = torch.random.get_rng_state()
    states = [in_general_position(lambda: p4cnn(channels=1), seed).state_dict() for seed in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["conv1.weight"], states[2]["conv1.weight"])
