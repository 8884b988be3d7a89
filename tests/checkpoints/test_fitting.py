"""Weights of a file made to fit a model: what is unwrapped, what is converted, what is refused and how it is told."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eqviz.checkpoints.fitting import Reading, fit_state
from eqviz.checkpoints.names import renamed
from eqviz.checkpoints.reading import read_checkpoint
from eqviz.errors import EqvizError
from tests.checkpoints.files import write
from tests.checkpoints.networks import Net, checkpoint, fitted, of_dtype, same, under, weights

WRAPPINGS = ("", "module.", "_orig_mod.", "model.", "net.", "backbone.", "anything.at_all.", "_forward_module.")


@pytest.mark.parametrize("outer", WRAPPINGS)
@pytest.mark.parametrize("inner", WRAPPINGS)
def test_wrappers_in_any_order_are_taken_off(state, wanted, outer, inner):
    assert same(fitted(under(outer + inner, state), wanted), state)


def test_wrappers_around_parts(state, wanted):
    within = {name.replace("conv1.", "conv1._orig_mod.").replace("fc.", "fc.module."): it for name, it in state.items()}
    assert same(fitted(under("module.", within), wanted), state)


def test_a_model_that_has_a_module_of_that_name():
    state = {"module.weight": torch.ones(2), "model.bias": torch.ones(1)}
    assert same(fitted(under("module.", state), state), state)
    assert same(fitted(state, state), state)


BESIDE = {
    "criterion.weight": torch.ones(10), "loss.net.0.weight": torch.ones(2, 2), "train_acc.tp": torch.ones(()),
    "model.n_averaged": torch.tensor(3), "n_averaged": torch.tensor(3), "model.total_ops": torch.ones(1),
    "model.conv1.total_params": torch.ones(1), "model._extra_state": torch.ones(1),
    "val_metrics.auroc.x": torch.ones(3),
}  # fmt: skip


def test_what_lies_beside_the_network_is_left_out(state, wanted):
    assert same(fitted({**BESIDE, **under("model.", state)}, wanted), state)
    averages = under("ema_model.module.", weights(1))
    assert same(fitted({**averages, **under("model.", state), **BESIDE}, wanted), state)


def test_other_tensors_beside_the_network_are_not(state, wanted, refused):
    found = {**under("model.", state), "head.weight": torch.ones(2), "head.bias": torch.ones(2)}
    message = refused("unexpected: head.weight, head.bias", fitted, found, wanted)
    assert message.endswith('if the model does without them: ignore = ["head.*"] in eqviz.toml')
    assert same(fitted(found, wanted, Reading(ignore=("head.*",))), state)


@pytest.mark.parametrize("glob", ["model.old.*", "module.model.old.*", "*[[]4]*", "model.old.norm_[4].weight"])
def test_globs_and_names_of_what_is_ignored(state, wanted, glob):
    found = {**under("module.model.", state), "module.model.old.norm_[4].weight": torch.ones(2)}
    assert same(fitted(found, wanted, Reading(ignore=("nothing", glob))), state)


def test_a_counter_that_the_model_does_without(state):
    found = {**state, "bn1.num_batches_tracked": torch.tensor(9)}
    needed = {name: value for name, value in state.items() if name != "bn1.num_batches_tracked"}
    assert same(fitted(found, needed), needed)


def test_counters_of_old_files_are_zero(state, wanted):
    old = {name: value for name, value in state.items() if "num_batches" not in name}
    found = fitted(old, wanted)
    assert found["bn1.num_batches_tracked"].equal(torch.tensor(0))
    assert list(found) == list(wanted)


def test_without_statistics_the_counter_is_missing_too(state, wanted, refused):
    bare = {name: value for name, value in state.items() if not name.startswith("bn1.")}
    refused("missing: bn1.weight .2,., bn1.bias .2,., bn1.running_mean .2,. and 2 more", fitted, bare, wanted)


def test_two_networks_in_one_are_a_choice(state, wanted, refused):
    found = {**under("student.", state), **under("teacher.", weights(1))}
    refused("several, under 'student.', 'teacher.'; leave the others out: ignore", fitted, found, wanted)
    assert same(fitted(found, wanted, Reading(ignore=("teacher.*",))), state)
    assert same(fitted({**under("a.", state), **under("b.", state)}, wanted), state)


def test_shapes_decide_between_two_networks(state, wanted):
    found = {**under("wide.", Net(3).state_dict()), **under("net.", state)}
    assert same(fitted(found, wanted, Reading(ignore=("wide.*",))), state)


def test_renames_after_the_wrappers(state, wanted):
    found = {
        f"module.model.{name.replace('conv', 'features.').replace('fc', 'head.0')}": it for name, it in state.items()
    }
    rename = {"features.1": "conv1", "features.2.": "conv2.", "head.0.": "fc."}
    assert same(fitted(found, wanted, Reading(rename=rename)), state)
    whole = {f"module.model.{old}": new for old, new in rename.items()} | {"module.model": ""}
    assert same(fitted(found, wanted, Reading(rename=whole)), state)


def test_a_prefix_may_be_added(state, wanted):
    inner = {name.removeprefix("conv1."): value for name, value in state.items() if name.startswith("conv1.")}
    needed = {name: wanted[name] for name in wanted if name.startswith("conv1.")}
    assert set(fitted(inner, needed, Reading(rename={"": "conv1."}))) == set(needed)


def test_a_rename_ends_where_a_part_of_the_name_does():
    rename = {"layer1": "a", "layer1.0.": "b.", "": "c."}
    names = ("layer1.x", "layer1.0.x", "layer10.x", "layer1", "x")
    assert [renamed(name, rename) for name in names] == ["a.x", "b.x", "c.layer10.x", "a", "c.x"]
    assert renamed("encoder.x", {"encoder": ""}) == "x"


def test_what_the_model_recomputes(state, wanted, refused):
    found = {**under("model.", state), "model.conv1.filter": torch.ones(7)}
    refused("unexpected: model.conv1.filter", fitted, found, wanted)
    assert same(fitted(found, wanted, derived=("conv1.filter",)), state)
    more = {**wanted, "conv1.filter": torch.ones(9)}
    assert same(fitted(found, more, derived=("conv1.filter",)), state)
    assert same(fitted(under("model.", state), more, derived={"conv1.filter"}), state)


def test_the_best_of_several_places(state, wanted):
    both = checkpoint(other=Net(3).state_dict(), G=under("module.", state), model_ema=weights(1))
    assert same(fit_state(both, wanted, "net"), state)
    assert same(fit_state(both, wanted, "net", Reading("ema")), weights(1))
    assert same(fit_state(both, wanted, "net", Reading("G")), state)


def test_a_place_that_is_not_there_or_does_not_fit(state, wanted, refused):
    both = checkpoint(other=Net(3).state_dict(), G=state)
    refused("weights at 'D'; found them at 'other', 'G'", fit_state, both, wanted, "net", Reading("D"))
    refused(
        "in other: of another shape: conv1.weight .3, 1, 3, 3. for .2, 1",
        fit_state,
        both,
        wanted,
        "net",
        Reading("other"),
    )
    refused("none of the|G: missing", fit_state, checkpoint(G={"a": torch.ones(1)}, D={}), wanted, "net")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
def test_numbers_become_the_model_s(state, wanted, dtype):
    found = fitted(of_dtype(state, dtype), wanted)
    assert [value.dtype for value in found.values()] == [value.dtype for value in wanted.values()]
    assert found["fc.weight"].equal(state["fc.weight"].to(dtype).float())


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_whole_numbers_stay_the_same(state, wanted, dtype):
    found = fitted({**state, "bn1.num_batches_tracked": torch.tensor(200, dtype=dtype)}, wanted)
    assert found["bn1.num_batches_tracked"].equal(torch.tensor(200))


def test_tensors_are_the_model_s_own(wanted):
    big = torch.rand(100).requires_grad_()
    found = fitted(
        {"a": big[:6].view(2, 3).t(), "b": nn.Parameter(big[:6]), "c": torch.ones(1).expand(4), "d": big[:6]},
        {"a": torch.empty(3, 2), "b": torch.empty(6), "c": torch.empty(4), "d": torch.empty(6)},
    )
    assert all(value.is_contiguous() and not value.requires_grad for value in found.values())
    assert all(value.untyped_storage().nbytes() == 4 * value.numel() for value in found.values())
    assert len({value.data_ptr() for value in found.values()}) == 4
    assert {type(value) for value in found.values()} == {torch.Tensor}
    found["b"].zero_()
    assert found["d"].equal(big[:6].detach())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.bfloat16])
def test_weights_that_are_not_finite(state, wanted, refused, bad, dtype):
    broken = state["fc.weight"].clone().to(dtype)
    broken[2, 1] = bad
    refused("finite weights; found NaN or infinity in fc.weight", fitted, {**state, "fc.weight": broken}, wanted)


def test_numbers_that_the_model_cannot_hold(state, wanted, refused):
    large = state["fc.bias"].double() * 1e300
    refused("too large ones in fc.bias .torch.float64", fitted, {**state, "fc.bias": large}, wanted)
    half = {"w": torch.empty(2, dtype=torch.float16)}
    refused("too large ones in w", fitted, {"w": torch.full((2,), 1e6)}, half)
    refused("too large ones in w", fitted, {"w": torch.tensor(300)}, {"w": torch.tensor(3, dtype=torch.uint8)})


@pytest.mark.filterwarnings("ignore:.*quantiz", "ignore:.*[Ss]parse")  # torch's, on odd tensors
def test_other_kinds_of_tensors(state, wanted, refused):
    eye = torch.ones(10, 3)
    kinds = {
        "sparse": eye.to_sparse(), "without values": torch.ones(10, 3, device="meta"), "int64": eye.long(),
        "bool": eye.bool(), "complex64": eye.to(torch.complex64),
        "quantised": torch.quantize_per_tensor(eye, 0.1, 0, torch.qint8),
    }  # fmt: skip
    for words, value in kinds.items():
        refused(rf"others in fc.weight \({words}\)", fitted, {**state, "fc.weight": value}, wanted)
    number = {**state, "bn1.num_batches_tracked": torch.tensor(3.0)}
    refused(r"others in bn1.num_batches_tracked \(float32\)", fitted, number, wanted)


def test_names_that_move_the_cursor_are_shown_plainly(wanted, refused):
    assert "\x1b" not in refused("unexpected", fitted, {"a\x1b[2J\n": torch.ones(2)}, wanted)


def test_a_model_without_weights(refused):
    assert fitted({}, {}) == {}
    refused("unexpected: a", fitted, {"a": torch.ones(1)}, {})


def test_from_a_lightning_file_with_everything_in_it(tmp_path, state, wanted):
    content = {
        "state_dict": {**under("model._orig_mod.", of_dtype(state, torch.float16)), **BESIDE},
        "hyper_parameters": {"width": 2}, "epoch": 3, "optimizer_states": [{"state": {}, "param_groups": []}],
    }  # fmt: skip
    read = read_checkpoint(write(tmp_path / "last.ckpt", content))
    found = fit_state(read, wanted, "net")
    Net().load_state_dict(found, strict=True)
    assert found["fc.weight"].equal(state["fc.weight"].half().float())


NAMES = st.lists(st.sampled_from(["a", "b", "module", "conv", "0", ""]), min_size=1, max_size=4).map(".".join)
STATES = st.dictionaries(NAMES, st.sampled_from([(), (1,), (2,), (2, 1)]), max_size=6)


@given(
    found=STATES, needed=STATES, rename=st.dictionaries(NAMES, NAMES, max_size=2), ignore=st.lists(NAMES, max_size=1)
)
@settings(max_examples=60, deadline=None)
def test_any_names_give_the_weights_or_one_line(found, needed, rename, ignore):
    tensors = {name: torch.full(shape, float(i)) for i, (name, shape) in enumerate(found.items())}
    wanted = {name: torch.empty(shape) for name, shape in needed.items()}
    try:
        state = fitted(tensors, wanted, Reading(rename=rename, ignore=tuple(ignore)))
    except EqvizError:
        return
    assert {name: tuple(value.shape) for name, value in state.items()} == needed
    sources = [float(value.flatten()[0]) for value in state.values()]
    assert len(set(sources)) == len(sources)
