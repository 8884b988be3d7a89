"""Networks that declare nothing and whose field types are known by how they are built."""

import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eqviz.analysis.field_inference import candidates, fields_from, infer_fields
from eqviz.analysis.verdicts import verdict
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.normalisation import GroupBatchNorm2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupMaxPool2d
from eqviz.models.registry import build_model


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def undeclared(model):
    """The same model without a word on how the group acts."""
    for module in model.modules():
        vars(module).pop("field_type", None)
    return model


def reverse(G, x):
    return x[:, :, [G.inverse(u) for u in range(G.order)]]


LAYOUTS = {  # how another library might lay out our (batch, channel, |G|, height, width), and the way back
    "regular({})": (lambda G, x: x, lambda G, x: x),
    "regular({}, reversed)": (reverse, reverse),
    "regular({}, group first)": (lambda G, x: x.transpose(1, 2), lambda G, x: x.transpose(1, 2)),
    "regular({}, flattened)": (lambda G, x: x.flatten(1, 2), lambda G, x: x.unflatten(1, (-1, G.order))),
    "regular({}, flattened, reversed)": (
        lambda G, x: reverse(G, x).flatten(1, 2),
        lambda G, x: reverse(G, x.unflatten(1, (-1, G.order))),
    ),
    "regular({}, flattened, group first)": (
        lambda G, x: x.transpose(1, 2).flatten(1, 2),
        lambda G, x: x.unflatten(1, (G.order, -1)).transpose(1, 2),
    ),
}


def foreign(name, layout, size_kept=True):
    """A group network with activations in that layout: lifting, rectifier, strided convolution, rectifier in place."""
    G, (out_of, into) = group(name), LAYOUTS[layout]

    class Lift(LiftingConv2d):
        def forward(self, x):
            return out_of(G, super().forward(x))

    class Convolve(GroupConv2d):
        def forward(self, x):
            return out_of(G, super().forward(into(G, x)))

    layers = (Lift(G, 2, 3, 3, padding=1), nn.ReLU(), Convolve(G, 3, 3, 3, 2, 1), nn.ReLU(inplace=True))
    return undeclared(nn.Sequential(*layers))


@pytest.mark.parametrize("name", ["C4", "D4"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_the_group_axis_is_found(name, layout):
    table = infer_fields(foreign(name, layout), torch.randn(4, 2, 9, 9), name)
    assert set(table["field"]) == {layout.format(name)}, table[["layer", "field", "why"]].to_string()
    assert table["decided"].all()
    # float64 rounds to about 1e-15; the runner-up is off by the size of the activations
    assert table["defect"].lt(1e-12).all()
    assert table["next_defect"].gt(0.1).all()
    assert table["margin"].gt(1e9).all()
    assert table["evidence"].eq("local").all()
    assert table["layer"].tolist() == ["0", "1", "2", "3", "(output)"]


WRONG = {
    "regular({})": ["image", "regular({}, reversed)"],
    "regular({}, reversed)": ["image", "regular({})"],
    "regular({}, flattened)": ["image", "regular({}, flattened, reversed)", "regular({}, flattened, group first)"],
    "regular({}, flattened, group first)": ["regular({}, flattened)", "regular({}, flattened, reversed, group first)"],
}


@pytest.mark.parametrize("layout", WRONG)
def test_what_was_found_makes_capture_exact_and_another_type_does_not(layout):
    model, images = foreign("C4", layout).double(), torch.randn(16, 2, 9, 9)
    right = fields_from(infer_fields(model, images, "C4"))
    found = capture(model, images, "C4", fields=right).equivariance()
    assert found["breaking_fraction"].lt(1e-24).all()
    assert found["field_source"].eq("given").all()
    for wrong in WRONG[layout]:
        broken = capture(model, images, "C4", fields=dict.fromkeys(right, wrong.format("C4"))).equivariance()
        assert broken["breaking_fraction"].gt(1e-3).all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_audit_knows_every_layout_and_agrees_with_what_is_measured(layout):
    model, images = foreign("C4", layout), torch.randn(16, 2, 9, 9)
    fields = fields_from(infer_fields(model, images, "C4"))
    right = verdict(model, images, "C4", fields=fields, twin=False)
    assert right["exact"].eq("yes").all()
    assert right["agrees"].ne("no").all(), right.to_string()
    assert right["predicted"].eq("yes").all() or layout == "regular({}, group first)"
    last = {**fields, "3": "image", "(output)": "image"}
    wrong = verdict(model, images, "C4", fields=last, twin=False).set_index("layer")
    assert wrong.loc["(output)", ["exact", "predicted", "agrees"]].tolist() == ["no", "no", "yes"], wrong.to_string()


def whole(G):
    return undeclared(
        nn.Sequential(
            LiftingConv2d(G, 1, 3, 3, padding=1), GroupBatchNorm2d(3), nn.ReLU(inplace=True), GroupMaxPool2d(2),
            GroupConv2d(G, 3, 5, 3), GlobalAveragePool(), CosetMaxPool(), nn.Linear(5, 4),
        )
    )  # fmt: skip


@pytest.mark.parametrize("G", ["C4", "D4", "D2(diagonals)"])
def test_a_classifier_from_images_to_invariants(G):
    table = infer_fields(whole(G), 8, G, channels=1)
    assert table["field"].tolist() == [f"regular({G})"] * 6 + ["invariant"] * 3
    assert table["decided"].all()


def test_under_a_subgroup_the_types_of_larger_groups_are_tried_too():
    table = infer_fields(foreign("D4", "regular({}, flattened)"), 9, "C4", channels=2)
    assert set(table["field"]) == {"regular(D4, flattened)"}


def test_a_network_keeps_no_more_than_its_group():
    table = infer_fields(foreign("C4", "regular({}, flattened)"), 9, "D4", channels=2)
    assert not table["decided"].any()
    assert set(table["field"]) == {""}


def test_a_plain_network_is_refused_where_its_filters_begin():
    table = infer_fields(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten()), 7, "C4", channels=1)
    assert table["field"].tolist() == ["image", "", "", "", ""]
    refused = table.iloc[1]
    assert refused["why"].startswith("no candidate fits: ")
    assert refused["defect"] > 0.1
    assert refused["margin"] < 10
    assert table["evidence"].tolist() == ["local", "local", "orbit", "orbit", "local"]
    assert fields_from(table) == {"0": "image"}


def test_one_scale_for_each_orientation_is_refused_although_a_fresh_one_looks_exact():
    flat = foreign("C4", "regular({}, flattened)")
    model = nn.Sequential(flat[0], nn.BatchNorm2d(12), flat[2])
    images = torch.randn(4, 2, 9, 9)
    assert (
        capture(model, images, "C4", "1", {"1": "regular(C4, flattened)"}).equivariance()["breaking_fraction"][0]
        < 1e-11
    )
    table = infer_fields(model, images, "C4")
    assert table["field"].tolist() == ["regular(C4, flattened)", "", "", ""]


class Block(nn.Module):
    """A residual block whose sums and rectifiers are functions; it may be called twice."""

    def __init__(self, G):
        super().__init__()
        self.first = GroupConv2d(G, 3, 3, 3, padding=1)
        self.second = GroupConv2d(G, 3, 3, 3, padding=1)

    def forward(self, x, scale=1.0):
        return F.relu(self.second(F.relu(self.first(x))) + scale * x)


def residual(G="C4"):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift = LiftingConv2d(G, 1, 3, 3, padding=1)
            self.block = Block(G)

        def forward(self, x):
            return self.block(self.block(self.lift(x)), scale=0.5)

    return undeclared(Net())


def test_functions_between_modules_are_judged_by_the_orbit_and_blocks_by_themselves():
    table = infer_fields(residual(), 7, "C4", channels=1).set_index(["layer", "call"])
    assert set(table["field"]) == {"regular(C4)"}
    assert table["evidence"].to_dict() == {
        ("lift", 0): "local", ("block.first", 0): "local", ("block.second", 0): "orbit", ("block", 0): "local",
        ("block.first", 1): "local", ("block.second", 1): "orbit", ("block", 1): "local", ("(output)", 0): "local",
    }  # fmt: skip
    assert table.loc[("block.second", 0), "why"].endswith(
        "judged with all layers before it, whose types are not all known"
    )


def test_what_is_declared_or_given_is_taken_as_it_is_and_not_inferred():
    model = foreign("C4", "regular({})")
    declare(model[0], "regular(C4)")
    table = infer_fields(model, 9, "C4", {"2": "regular(C4)"}, channels=2)
    assert table["layer"].tolist() == ["1", "3", "(output)"]
    assert set(table["field"]) == {"regular(C4)"}
    wrong = infer_fields(model, 9, "C4", {"2": "image"}, channels=2)
    # the rectifier keeps what it is given, and the network gives out what the rectifier does
    assert wrong["field"].tolist() == ["regular(C4)", "image", "image"]


def test_candidates_that_nothing_tells_apart_are_not_chosen_between():
    """Filters of one pixel: all copies are alike, and so are all orientations of the output."""
    table = infer_fields(undeclared(nn.Sequential(LiftingConv2d("C4", 1, 3, 1))), 7, "C4", channels=1)
    assert not table["decided"].any()
    assert table["why"][0].startswith("image, regular(C4), regular(C4, reversed) all leave no more than rounding")


def test_a_dead_layer_is_not_decided():
    class Nothing(nn.Module):
        def forward(self, x):
            return 0 * x

    table = infer_fields(nn.Sequential(Nothing()), 7, "C4", channels=1)
    assert table["field"].tolist() == ["", ""]
    assert table["why"][0].startswith("dead")


def test_weights_that_cannot_be_drawn_anew_are_used_as_given():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.randn(3))

        def forward(self, x):
            return x * self.scale[:, None, None, None]

    table = infer_fields(nn.Sequential(whole("C4")[0], Scaled()), 8, "C4", channels=1)
    assert table.attrs["weights"] == "given"
    assert set(table["field"]) == {"regular(C4)"}
    assert infer_fields(whole("C4"), 8, "C4", channels=1).attrs["weights"] == "fresh"


def test_calls_that_differ_are_left_out_of_the_fields():
    table = pd.DataFrame(
        {"layer": list("aabbcc"), "field": ["image", "image", "image", "", "x", "y"], "decided": [1, 1, 1, 0, 1, 1]}
    )
    assert fields_from(table) == {"a": "image"}


def test_outputs_in_tuples_are_inferred_one_by_one():
    class Two(nn.Module):
        def forward(self, x):
            return x.mean((-2, -1)), {"maps": x.relu(), "indices": x.argmax(1)}

    table = infer_fields(nn.Sequential(Two()), 7, "C4", channels=1)
    assert dict(zip(table["layer"], table["field"], strict=True)) == {
        "0[0]": "invariant", "0[1][maps]": "image", "(output)[0]": "invariant", "(output)[1][maps]": "image",
    }  # fmt: skip


def test_the_model_and_the_random_state_are_left_as_they_were():
    model = foreign("C4", "regular({})").train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.random.get_rng_state()
    infer_fields(model, 9, "C4", channels=2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.is_grad_enabled()


def test_candidates_of_a_shape():
    names = {shape: [str(f) for f in candidates(shape, group("C4"))] for shape in [(1, 8), (1, 3, 4), (9, 12, 5, 5)]}
    assert names == {
        (1, 8): [
            "invariant", "regular(C4, flattened)", "regular(C4, flattened, reversed)",
            "regular(C4, flattened, group first)", "regular(C4, flattened, reversed, group first)",
            "regular(D4, flattened)",
        ],
        (1, 3, 4): ["invariant", "regular(C4)", "regular(C4, reversed)"],
        (9, 12, 5, 5): [
            "image", "regular(C4, flattened)", "regular(C4, flattened, reversed)",
            "regular(C4, flattened, group first)", "regular(C4, flattened, reversed, group first)",
        ],
    }  # fmt: skip
    assert [str(f) for f in candidates((1, 3, 7, 7), group("D4"))] == ["image"]
    assert candidates((1,), group("C4")) == ()
    # an axis of length two is the same both ways round
    assert [str(f) for f in candidates((1, 3, 2), group("C2"))] == ["invariant", "regular(C2)"]


@pytest.mark.parametrize(
    ("size", "name", "named"),
    [
        ((8, 9), "C4", "input size: .* found 8 x 9"),
        (torch.randn(2, 1, 8, 9), "C4", "input size: .* found 8 x 9"),
        (8, "C8", "group: expected a subgroup of D4"),
        (0, "C4", "input size"),
        (2, "C4", "model: "),
        (torch.randn(2, 3, 8, 8), "C4", "model: "),
    ],
)
def test_what_cannot_be_used_is_one_line(size, name, named):
    with pytest.raises(EqvizError, match=named) as caught:
        infer_fields(nn.Sequential(nn.Conv2d(1, 2, 3)), size, name, channels=1)
    assert "\n" not in str(caught.value)


def test_unknown_layers_in_fields_are_named():
    with pytest.raises(EqvizError, match=r"fields: .* found 'head'"):
        infer_fields(nn.Sequential(nn.ReLU()), 8, "C4", {"head": "image"})


def test_a_misfitting_size_is_exchanged_for_a_safe_one():
    table = infer_fields(foreign("C4", "regular({})"), 8, "C4", channels=2)
    assert table.attrs["input_size"] in (7, 9)
    assert set(table["field"]) == {"regular(C4)"}


def test_what_the_models_here_declare_is_what_is_found():
    model = build_model("p4cnn", channels=6)
    told = {path: str(module.field_type) for path, module in model.named_modules() if path}
    found = fields_from(infer_fields(undeclared(model), 8, "C4", channels=1))
    assert {path: found.get(path) for path in told} == told
    assert found["(output)"] == "invariant"


def test_margins():
    table = infer_fields(nn.Sequential(nn.ReLU()), 7, "C4", channels=4)
    assert table["margin"].eq(math.inf).all()
    assert table["defect"].eq(0).all()
    assert table["next_field"].str.startswith("regular(C4, flattened").all()


class Patches(nn.Module):
    """A class token and one token a pixel, which a linear layer reads one by one."""

    def __init__(self):
        super().__init__()
        self.tokens, self.linear = nn.Identity(), nn.Linear(1, 3)

    def forward(self, images):
        patches = images.flatten(2).transpose(1, 2)
        tokens = self.tokens(torch.cat([patches.mean(1, keepdim=True), patches], 1))
        return self.linear(tokens)[:, 0]


def test_tokens_of_a_square_grid_are_found_by_evidence():
    table = infer_fields(Patches(), 5, "C4", channels=1)
    assert table.attrs["input_size"] == 5
    tokens = "tokens(5, 5, class token)"
    assert dict(zip(table["layer"], table["field"], strict=True)) == {
        "tokens": tokens, "linear": tokens, "(output)": "invariant",
    }  # fmt: skip
