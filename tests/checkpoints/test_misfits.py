"""What an error says about weights that do not fit: names, the nearest, and a mend that works."""

import tomllib

import pytest
import torch

from eqviz.checkpoints.fitting import Reading
from eqviz.checkpoints.misfits import explaining_prefixes
from tests.checkpoints.networks import fitted, same, under


def test_at_most_three_names_of_each_kind(wanted, refused):
    found = {f"layer{i}.x": torch.ones(i + 20) for i in range(5)}
    message = refused("the weights of net; found missing: conv1.weight .2, 1, 3, 3., ", fitted, found, wanted)
    assert "and 7 more; unexpected: layer0.x, layer1.x, layer2.x and 2 more; check model and arguments" in message


def test_the_nearest_of_equal_shape_is_named(state, wanted, refused):
    found = {name.replace("fc.", "classifier.").replace("conv2", "last"): value for name, value in state.items()}
    message = refused("missing", fitted, found, wanted)
    assert "conv2.weight (3, 2, 3, 3) (the file has last.weight of that shape)" in message
    assert "fc.bias (10,) (the file has classifier.bias of that shape)" in message
    assert 'try rename = { "last." = "conv2.", "classifier." = "fc." }' in message.replace(
        '"classifier." = "fc.", "last." = "conv2."', '"last." = "conv2.", "classifier." = "fc."'
    )


def test_axes_of_length_one_are_named_and_never_reshaped(state, wanted, refused):
    found = {
        **{name: value for name, value in state.items() if name != "fc.weight"},
        "head.weight": state["fc.weight"][:, :, None],
    }
    refused(
        r"fc.weight \(10, 3\) \(the file has head.weight \(10, 3, 1\), the same but for axes of length 1\)",
        fitted, found, wanted,
    )  # fmt: skip


@pytest.mark.parametrize("old", ["", "features.", "encoder.net."])
@pytest.mark.parametrize("outer", ["", "module.", "model."])
def test_the_rename_that_is_suggested_works(state, old, outer, refused):
    needed, found = under("body.", state), under(outer + old, state)
    message = refused("try rename = ", fitted, found, needed)
    table = tomllib.loads(message[message.index("rename") : message.rindex(" in eqviz.toml")])
    assert same(fitted(found, needed, Reading(rename=table["rename"])), needed)


def test_a_rename_beside_a_prefix_that_was_found(state, wanted, refused):
    found = {**under("backbone.", {name: value for name, value in state.items() if not name.startswith("fc.")})}
    found |= {"head.weight": state["fc.weight"], "head.bias": state["fc.bias"]}
    message = refused("try rename = ", fitted, found, wanted)
    table = tomllib.loads(message[message.index("rename") : message.rindex(" in eqviz.toml")])
    assert same(fitted(found, wanted, Reading(rename=table["rename"])), state)


def test_no_rename_where_none_explains_all():
    assert explaining_prefixes({"a.x": (1,), "b.y": (2,)}, {"c.x": (1,)}) == {}
    assert explaining_prefixes({"a.x": (1,)}, {"c.x": (2,)}) == {}
    assert explaining_prefixes({f"a{i}.x": (i,) for i in range(9)}, {f"b{i}.x": (i,) for i in range(9)}) == {}
    assert explaining_prefixes({}, {"c.x": (2,)}) == {}


PARTS = {
    "remove_weight_norm": {"conv2.weight_g": torch.ones(3, 1, 1, 1), "conv2.weight_v": torch.ones(3, 2, 3, 3)},
    "parametrize.remove_parametrizations": {
        "conv2.parametrizations.weight.original0": torch.ones(3, 1, 1, 1),
        "conv2.parametrizations.weight.original1": torch.ones(3, 2, 3, 3),
    },
    "prune.remove": {"conv2.weight_orig": torch.ones(3, 2, 3, 3), "conv2.weight_mask": torch.ones(3, 2, 3, 3)},
    "remove_spectral_norm": {"conv2.weight_orig": torch.ones(3, 2, 3, 3), "conv2.weight_u": torch.ones(3)},
}


@pytest.mark.parametrize("function", PARTS)
def test_weights_that_are_kept_in_parts(state, wanted, refused, function):
    found = {name: value for name, value in state.items() if name != "conv2.weight"} | PARTS[function]
    refused(f"kept in parts: put them together before saving .*{function}", fitted, found, wanted)
