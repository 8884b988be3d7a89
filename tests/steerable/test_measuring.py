"""Networks of e2cnn, measured: exact where the grid fits, broken where it does not, and nothing left behind."""

import pytest
import torch
from torch import nn

from eqviz.analysis.attribution import attribution
from eqviz.analysis.field_inference import infer_fields
from eqviz.analysis.learned_action import learned_action
from eqviz.analysis.lie_derivative import lie_derivative
from eqviz.analysis.local_defect import local_defect
from eqviz.analysis.orientation_selectivity import orientation_selectivity
from eqviz.analysis.verdicts import verdict
from eqviz.audit.auditing import audit
from eqviz.capture.decomposition import decompose
from eqviz.capture.layers import layer_kind, select_layers, stages
from eqviz.capture.orbit_capture import capture
from eqviz.capture.patching import run_patched
from eqviz.fields.field_types import declared
from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.module_states import copied
from eqviz.fields.orbit import symmetric_part
from eqviz.fields.stated_types import stated
from eqviz.groups.group import group

pytestmark = pytest.mark.filterwarnings("ignore")  # of e2cnn, at every call

IMAGES = torch.randn(16, 1, 9, 9, generator=torch.Generator().manual_seed(1))


def images(size):
    return IMAGES[..., :size, :size]


CASES = [
    # network, group, what a stride of 2 leaves over of it at size 8
    ("C4", "C4", "C1"), ("D4", "D4", "D1(transpose)"), ("D4 mixed", "D4", "D1(transpose)"), ("C8", "C4", "C1"),
    ("SO(2)", "C4", "C1"), ("left-right", "D1(left-right)", "C1"), ("up-down", "D1(up-down)", "C1"),
    ("transpose", "D1(transpose)", "D1(transpose)"),
]  # fmt: skip


@pytest.fixture(scope="module")
def verdicts(networks):
    """The verdict on a network at a size, measured once."""
    known = {}

    def found(name, G, size):
        if (name, size) not in known:
            known[name, size] = verdict(networks(name), images(size), G, twin=False)
        return known[name, size]

    return found


@pytest.mark.parametrize(("name", "G", "left"), CASES)
def test_verdicts_are_exact_where_the_grid_fits_and_the_audit_agrees(verdicts, name, G, left):
    for size, survives in ((9, G), (8, left)):
        table = verdicts(name, G, size)
        assert table.attrs["surviving"] == survives
        assert table.attrs["exact"] is (survives == G)
        assert not table.attrs["disagreements"]
        assert not table.attrs["not_predicted"]
        rows = table.set_index("layer")
        layers = ["conv1", "act", "conv2", "pool"]
        assert set(rows.loc[layers, "field_source"]) == {"declared"}
        assert (rows.loc[layers[:2], "exact"] == "yes").all()
        assert (rows.loc[["conv2", "pool", "fc", "(output)"], "exact"] == ("yes" if survives == G else "no")).all()


def test_the_audit_follows_fields_that_only_exchange_channels_and_is_unsure_of_the_others(verdicts, networks):
    for name, G, known in (("C4", "C4", "yes"), ("D4", "D4", "yes"), ("D4 mixed", "D4", "unknown")):
        for size, predicted in ((9, known), (8, "no")):
            table = verdicts(name, G, size).set_index("layer")
            assert table.loc[["conv2", "(output)"], "predicted"].tolist() == 2 * [predicted]
            assert table.loc["conv1", "predicted"] == known
    assert audit(networks("SO(2)"), 9, "C4")["why"].str.contains("matrices").any()


def test_a_break_in_one_filter_is_neither_measured_nor_predicted_as_exact(build):
    network = build("C4", stride=1)
    with torch.no_grad():
        network.conv2.filter[3, 2, 0, 1] += 1e-3 * network.conv2.filter.abs().max()
    table = verdict(network, images(9), "C4", twin=False).set_index("layer")
    assert table.loc["act", "exact"] == "yes"
    assert table.loc["conv2", ["exact", "predicted"]].tolist() == ["no", "no"]


def test_other_elements_than_those_of_the_grid_are_interpolated_and_say_so(networks):
    table = capture(networks("C8"), images(9), "C8", mask=True).equivariance().set_index("layer")
    exact, off = table[table["grid"]], table[~table["grid"]]
    assert (exact["breaking_fraction"] < 1e-10).all()
    assert (off["breaking_fraction"] > 1e-4).all()
    # a rotation by 45 degrees costs less than moving the fibre wrongly would
    wrong = {"act": "image"}
    blind = capture(networks("C8"), images(9), "C8", "act", wrong, mask=True).equivariance()
    assert off.loc["act", "breaking_fraction"] < float(blind.loc[~blind["grid"], "breaking_fraction"].iloc[0]) / 2


def test_every_rotation_acts_on_so2(networks):
    table = capture(networks("SO(2)"), images(9), "C16", "conv1").equivariance()
    assert set(table["grid"]) == {True, False}
    assert set(table["field"]) == {"steerable(SO(2); 2 irrep_0, 1 irrep_1, 1 irrep_2)"}


def test_a_network_over_the_trivial_group_is_a_plain_one(networks):
    table = capture(networks("C1"), images(9), "C4").equivariance().set_index("layer")
    assert table.loc["conv1", ["field", "field_source"]].tolist() == ["image", "by shape"]
    assert table.loc["conv1", "breaking_fraction"] > 0.1


def test_layers_are_what_the_library_calls_them_and_parts_of_layers_are_none(networks):
    network = networks("residual")
    network(images(9))
    kinds = {name: layer_kind(name, module) for name, module in select_layers(network, "*").items()}
    assert kinds == {
        "stem": "convolution", "block": "block", "block.a": "convolution", "block.act": "activation",
        "block.b": "convolution", "down.0": "convolution", "down.1": "normalisation", "down.2": "activation",
        "pool": "pooling", "(output)": "output",
    }  # fmt: skip
    assert stages(network) == ("stem", "block", "down")
    assert list(select_layers(network, "down")) == ["down"]


def test_a_module_that_declares_nothing_has_the_type_of_what_it_gives_out(networks):
    network = networks("residual")
    statistics = capture(network, images(9), "C4")
    assert statistics.skipped == {}
    rows = statistics.equivariance().set_index("layer")
    assert rows.loc["block", ["field", "field_source"]].tolist() == ["steerable(C4; 1 regular)", "declared"]
    assert stated("block", copied(network).block) is None


def test_layers_alone_are_exact_and_the_culprit_is_the_stride(networks):
    for size, culprit in ((9, []), (8, ["down.0"])):
        table = local_defect(networks("residual"), images(size), "C4").set_index("layer")
        assert table.index[table["rank"].notna()].tolist() == culprit
        alone = table.drop(index=["(output)", *culprit])
        assert (alone["exact"] == "yes").all()
        assert (table.loc[["stem", "block", "down.1"], "field_source"] == "declared").all()


def test_the_symmetric_part_put_in_behind_the_stride_makes_the_output_invariant(networks):
    network, key = networks("C4"), LayerCall("conv2", 0)
    x = images(8)
    orbit = torch.cat([torch.rot90(x, q, (-2, -1)) for q in range(4)])
    parts = decompose(network, x, "conv2", "C4")
    field = declared(network.conv2)
    symmetric = symmetric_part(parts.aligned)
    moved = torch.cat([field.act(symmetric, g) for g in group("C4").elements])
    mended = run_patched(network, orbit, key, moved).unflatten(0, (4, 16))
    with torch.no_grad():
        broken = network(orbit).unflatten(0, (4, 16))
    assert (broken - broken[0]).abs().max() > 1e-2
    torch.testing.assert_close(mended, mended[0].expand_as(mended), atol=1e-5, rtol=1e-4)


def test_the_derivative_of_a_vector_field_turns_its_vectors(e2cnn, spaces, networks):
    table = lie_derivative(networks("SO(2)"), images(9)[:2], "C4").set_index(["layer", "transformation"])
    assert table["lie_error"].notna().all()
    assert table.loc[("fc", "rotation"), "expected"] == 0


def test_analyses_in_depth_take_steerable_layers(networks):
    network, x = networks("D4 mixed"), images(9)
    assert "declared" in set(learned_action(network, x, "D4", "conv1")["map"].astype(str))
    spread = orientation_selectivity(network, x, "D4", "conv1, pool")
    assert set(spread["layer"].astype(str)) == {"conv1"}  # what is pooled over the fibre has none
    assert float(spread["energy"].sum()) == pytest.approx(1)
    explained = attribution(network, x[:2], "C2", layers="conv2").query("method == 'grad_cam'")
    assert explained["cosine"].tolist() == pytest.approx([1.0])
    found = infer_fields(network, 9, "D4", channels=1)
    assert found[["layer", "field"]].values.tolist() == [["fc", "invariant"], ["(output)", "invariant"]]


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_model_changes(build, training):
    network = build("C4").train(training)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in network.named_modules()}
    capture(network, images(9), "C4")
    audit(network, 9, "C4")
    local_defect(network, images(9)[:2], "C4", "conv1")
    left = network.state_dict()
    assert list(left) == list(state)
    assert all(torch.equal(left[name], tensor) for name, tensor in state.items())
    assert {name: set(vars(module)) for name, module in network.named_modules()} == attributes
    assert all(module.training is training for module in network.modules())


def test_a_model_fresh_from_its_constructor_keeps_its_empty_filters(e2cnn, spaces):
    space = spaces["C4"]
    kinds = [e2cnn.nn.FieldType(space, [space.trivial_repr]), e2cnn.nn.FieldType(space, [space.regular_repr])]
    layer = e2cnn.nn.R2Conv(*kinds, 3)

    class Fresh(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(e2cnn.nn.GeometricTensor(x, kinds[0]))

    capture(Fresh(), images(9), "C4")
    assert layer.training
    assert not layer.filter.any()
