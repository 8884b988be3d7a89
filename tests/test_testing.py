"""The assertion for users' own test suites: what passes, and what a failure says."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool, GroupMaxPool2d
from eqviz.testing import assert_equivariant


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


def strided(G="C4", stride=2):
    """Lifting, a rectifier, a strided convolution and an invariant head: exact on odd sizes."""
    return nn.Sequential(
        LiftingConv2d(G, 1, 3, 3, padding=1),
        declare(nn.ReLU(), f"regular({G})"),
        GroupConv2d(G, 3, 3, 3, stride=stride, padding=1),
        declare(GlobalAveragePool(), f"regular({G})"),
        CosetMaxPool(),
    )


def failure(*arguments, **keywords):
    """The message with which it fails."""
    with pytest.raises(AssertionError) as caught:
        assert_equivariant(*arguments, **keywords)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "shape", "G"),
    [
        (strided(), (1, 9, 9), "p4"),
        (strided("D4"), (1, 9, 9), "p4m"),
        (strided("D4"), (1, 9, 9), "p4"),
        (strided().double(), (20, 1, 9, 9), "p4"),
        (strided(), torch.randn(16, 1, 7, 7), "p4"),
        (strided("D4"), (1, 9, 13), "p4m"),
        (strided(), (1, 9, 9), "C8"),
    ],
)
def test_exact_networks_pass(model, shape, G):
    assert assert_equivariant(model, shape, G) is None


def test_a_misfitting_stride_is_named_with_its_reason_what_survives_and_safe_sizes():
    message = failure(strided("D4"), (1, 8, 8), "p4m")
    head, *lines = message.splitlines()
    assert head == "not equivariant under D4: (output) breaks"
    measured, first, fault, sizes = lines
    assert measured.startswith("  measured: (output), breaking fraction ")
    assert measured.endswith("in float64; D1(transpose) survives; taken as invariant (by shape)")
    assert first.startswith("  first broken layer: 2, breaking fraction ")
    assert first.endswith("D1(transpose) survives; taken as regular(D4) (declared)")
    assert fault.startswith("  operation at fault: 2, conv2d kernel 3, stride 2, padding 1")
    assert "on 8 x 8: " in fault
    assert sizes == "  nearest safe input sizes: 7 and 9"


def test_a_pool_that_cuts_off_a_row_is_named():
    model = nn.Sequential(
        LiftingConv2d("C4", 1, 2, 3, padding=1), declare(GroupMaxPool2d(2), "regular(C4)"),
        declare(GlobalAveragePool(), "regular(C4)"), CosetMaxPool(),
    )  # fmt: skip
    message = failure(model, (1, 9, 9))
    assert "first broken layer: 1, " in message
    assert "operation at fault: 1, max_pool2d" in message
    assert "8 and 10" in message


def test_a_plain_network_has_no_safe_size():
    message = failure(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3)), (1, 8, 8))
    assert "not equivariant under C4: (output) breaks" in message
    assert "first broken layer: 0, breaking fraction " in message
    assert "operation at fault: 0, conv2d" in message
    assert message.splitlines()[-1] == "  no other input size would help: the sampling grids fit at this one"
    assert "C1 survives; taken as image (by shape)" in message


class Undecidable(nn.Module):
    def forward(self, x):
        return x.relu() if x.mean() > -100 else x


def test_a_network_that_cannot_be_traced_still_fails_by_measurement():
    message = failure(nn.Sequential(Undecidable(), nn.Conv2d(1, 2, 3)), (1, 8, 8))
    assert "first broken layer: 1, " in message
    assert "cause: not known, the audit could not follow the network (" in message
    assert_equivariant(nn.Sequential(Undecidable(), nn.AvgPool2d(2)), (1, 8, 8))


def test_a_wrong_field_type_fails_and_the_right_one_passes():
    model = nn.Sequential(LiftingConv2d("C4", 1, 3, 3), nn.Flatten(1, 2))
    right = {"1": "regular(C4, flattened)", "(output)": "regular(C4, flattened)"}
    assert_equivariant(model, (1, 8, 8), fields=right)
    for wrong in ("image", "regular(C4, flattened, reversed)"):
        assert f"taken as {wrong} (given)" in failure(model, (1, 8, 8), fields={**right, "(output)": wrong})


def test_what_cannot_be_decided_fails_in_its_own_words():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    nn.init.constant_(model[0].bias, -1e6)
    message = failure(model, (1, 8, 8))
    assert message.startswith("undecided whether equivariant under C4: the breaking of (output) falls")
    assert "(output), no breaking fraction, as every activation is 0 or some are not finite; what surv" in message


def test_filters_made_symmetric_in_float32_are_hinted_at():
    layer = nn.Conv2d(1, 2, 5, bias=False)
    with torch.no_grad():
        turns = [layer.weight.rot90(r, (2, 3)) for r in range(4)]
        layer.weight.copy_((turns[0] + turns[1] + turns[2] + turns[3]) / 4)
    assert "made symmetric in float32" in failure(layer, (1, 8, 8))
    with torch.no_grad():
        turns = [layer.weight.double().rot90(r, (2, 3)) for r in range(4)]
        layer.weight.copy_((turns[0] + turns[1] + turns[2] + turns[3]) / 4)
    assert_equivariant(layer, (1, 8, 8))


def test_a_network_that_runs_in_float64_alone():
    class Doubles(nn.Module):
        def forward(self, x):
            return nn.functional.conv2d(x, torch.ones(1, 1, 3, 3, dtype=torch.float64))

    keep = nn.Conv2d(1, 1, 1, bias=False).double()
    assert_equivariant(nn.Sequential(keep, Doubles()), (1, 8, 8))
    assert "not run in float32" in failure(nn.Sequential(Doubles(), nn.Conv2d(1, 1, 3).double()), (1, 8, 8))


def test_all_tensors_that_are_returned_are_looked_at_except_integers():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())

        def forward(self, x):
            exact = x.mean((2, 3))
            return {"exact": exact, "plain": self.plain(x), "label": exact.argmax(1)}

    assert failure(Two(), (1, 9, 9)).splitlines()[0] == "not equivariant under C4: (output)[plain] breaks"


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        (strided(), (8, 8), "images_or_shape: .* found \\(8, 8\\)"),
        (strided(), (1, 0, 8), "images_or_shape"),
        (strided(), torch.zeros(2, 1, 8, 8, dtype=torch.long), "images: "),
        (strided(), iter([torch.randn(2, 1, 8, 8)]), "gone through several times"),
        (strided(), (3, 9, 9), "LiftingConv2d"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(2)), (1, 9, 9), r"\(output\): .* fields="),
        (nn.Linear(3, 2), (1, 8, 8), "model: "),
    ],
)
def test_what_cannot_be_used_is_an_error_of_one_line(model, given, named):
    with pytest.raises(EqvizError, match=named) as caught:
        assert_equivariant(model, given)
    assert "\n" not in str(caught.value)


def test_an_unknown_group_and_an_unknown_layer():
    with pytest.raises(EqvizError, match="group: "):
        assert_equivariant(strided(), (1, 9, 9), "p5")
    with pytest.raises(EqvizError, match="fields: "):
        assert_equivariant(strided(), (1, 9, 9), fields={"head": "image"})


@pytest.mark.parametrize("size", [8, 9])
def test_nothing_is_left_behind(size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Sequential(strided(), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    model[0][2].eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    if size == 9:
        assert_equivariant(model, (1, size, size))
    else:
        assert "D1" not in failure(model, (1, size, size))
    assert torch.equal(state, torch.random.get_rng_state())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None and p.dtype == torch.float32 for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    assert list(tmp_path.iterdir()) == []


def test_it_loads_nothing_of_the_report_stack():
    code = """
import sys, eqviz.testing
print([m for m in ("matplotlib", "seaborn", "sklearn", "captum", "lightning", "click", "eqviz.plots", "eqviz.report",
                   "eqviz.studies", "eqviz.models") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
