"""A model is left as it was, whatever happens; its weights decide where and how it runs."""

import threading

import pytest
import torch
from torch import nn

from eqviz.capture.decomposition import decompose
from eqviz.capture.hooks import full_precision
from eqviz.capture.orbit_capture import capture
from eqviz.capture.precision import rounding_energy
from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import placement, tensors_in


class Fragile(nn.Module):
    """Convolution, batch norm, dropout; raises where it is told to."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.drop = nn.Dropout(0.5)
        self.fails = False
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x):
        self.seen.append((self.drop.training, torch.is_grad_enabled()))
        x = self.norm(self.conv(x))
        if self.fails:
            raise RuntimeError("no\nway")
        return self.drop(x)


def stop(done: int) -> None:
    raise KeyboardInterrupt(done)


def hooks(model):
    return [len(module._forward_hooks) for module in model.modules()]


RUNS = {
    "capture": lambda model, images: capture(model, images, "C4"),
    "per_sample": lambda model, images: capture(model, images, "C4", per_sample=True),
    "decompose": lambda model, images: decompose(model, images, "conv", "C4"),
    "rounding": rounding_energy,
    "progress": lambda model, images: capture(model, images, "C4", progress=stop),
    "fields": lambda model, images: capture(model, images, "C4", fields={"norm": "regular(D4)"}),
    "layers": lambda model, images: capture(model, images, "C4", layers="nothing"),
    "images": lambda model, images: capture(model, iter([images, images[0]]), "C4"),
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("run", RUNS)
def test_nothing_is_left_behind(run, fails):
    model, images = Fragile(), torch.rand(3, 1, 6, 6)
    model.train()
    model.norm.eval()  # a mixture, as in fine-tuning
    model.fails = fails
    model.conv.register_forward_hook(lambda *_: None)  # the user's own hook stays
    state = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    before, random = hooks(model), torch.get_rng_state()
    expected = {"progress": KeyboardInterrupt, "fields": EqvizError, "layers": EqvizError, "images": EqvizError}
    error = EqvizError if fails else expected.get(run)
    if error is None:
        RUNS[run](model, images)
    else:
        with pytest.raises(error):
            RUNS[run](model, images)
    assert hooks(model) == before
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert all(p.grad is None for p in model.parameters())
    assert set(model.seen) <= {(False, False)}  # it ran in evaluation mode and without gradients
    assert model.seen or run in ("layers", "rounding")  # rounding: it may fail in the copy first


def test_grad_mode_off_stays_off():
    with torch.no_grad():
        capture(Fragile(), torch.rand(2, 1, 6, 6), "C4")
        assert not torch.is_grad_enabled()


def test_what_a_model_raises_is_one_line_with_the_last_layer():
    model = Fragile()
    model.fails = True
    with pytest.raises(EqvizError, match=r"RuntimeError: no way .last layer that ran: norm") as caught:
        capture(model, torch.rand(3, 1, 6, 6), "C4")
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(EqvizError, match=r"shape \(12, 3, 6, 6\).*last layer that ran: none") as caught:
        capture(Fragile(), torch.rand(3, 3, 6, 6), "C4")
    assert "\n" not in str(caught.value)


def test_batch_norm_uses_its_running_statistics():
    model = nn.BatchNorm2d(1)
    model.running_mean.fill_(1.0)
    images = torch.full((2, 1, 4, 4), 1.0)
    assert capture(model.train(), images, "C4").equivariance()["note"][0].startswith("dead")


def test_placement():
    assert placement(nn.ReLU()) == (torch.device("cpu"), torch.float32)
    assert placement(nn.Conv2d(1, 1, 1).double()) == (torch.device("cpu"), torch.float64)
    fixed = nn.Module()
    fixed.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    assert placement(fixed)[1] == torch.float32
    fixed.register_buffer("filter", torch.zeros(1, dtype=torch.float64))
    assert placement(fixed)[1] == torch.float64  # no parameter says otherwise
    fixed.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    assert placement(fixed)[1] == torch.float32


def test_weights_of_several_dtypes_or_devices_are_refused_in_one_line():
    mixed = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1).double())
    spread = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1, device="meta"))
    for model, found in ((mixed, "torch.float32 on cpu, torch.float64 on cpu"), (spread, "torch.float32 on meta")):
        with pytest.raises(EqvizError, match=f"one dtype on one device; found .*{found}") as caught:
            capture(model, torch.rand(1, 1, 4, 4), "C4")
        assert "\n" not in str(caught.value)


def test_autocast_and_tf32_are_off_inside_and_as_before_outside():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((torch.is_autocast_enabled("cpu"), torch.backends.cudnn.allow_tf32, (x @ x).dtype))
            return x

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        capture(Spy(), torch.rand(1, 1, 4, 4), "C4")
        assert torch.is_autocast_enabled("cpu")
    assert seen == [(False, False, torch.float32)]
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before
    with pytest.raises(ZeroDivisionError), full_precision():
        _ = 1 / 0
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_low_matmul_precision_is_off_inside_and_as_before_outside():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append(torch.get_float32_matmul_precision())
            return x

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")  # bfloat16 products
        capture(Spy(), torch.rand(1, 1, 4, 4), "C4")
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]


def test_threads_in_full_precision_at_once_leave_the_settings_as_they_were():
    before, inside = torch.backends.cudnn.allow_tf32, threading.Barrier(2)
    seen = []

    def first():
        with full_precision():
            inside.wait()
            inside.wait()  # until the other is in as well
        seen.append(torch.backends.cudnn.allow_tf32)
        inside.wait()

    thread = threading.Thread(target=first)
    torch.backends.cudnn.allow_tf32 = True
    try:
        thread.start()
        inside.wait()
        with full_precision():
            inside.wait()
            inside.wait()  # until the other is out
            seen.append(torch.backends.cudnn.allow_tf32)
        thread.join()
        assert seen == [False, False]
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="this torch has the older settings only")
def test_settings_of_precision_that_torch_cannot_read_are_refused_in_one_line():
    model, convolutions, recurrent = nn.Conv2d(1, 1, 1), torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = True
        convolutions.fp32_precision = "ieee"
        with pytest.raises(EqvizError, match="float32 precision: expected") as caught:
            capture(model, torch.rand(1, 1, 4, 4), "C4")
        assert "\n" not in str(caught.value)
    finally:
        convolutions.fp32_precision = recurrent.fp32_precision = "tf32"
        torch.backends.cudnn.allow_tf32 = before
    assert hooks(model) == [0]
    assert capture(model, torch.rand(1, 1, 4, 4), "C4").images == 1


def test_tensors_in_nested_outputs():
    a, b, c = torch.zeros(1), torch.zeros(2), torch.zeros(3)
    assert [(suffix, len(t)) for suffix, t in tensors_in({"x": [a, (b, None)], 3: c, "y": "text"})] == [
        ("[x][0]", 1), ("[x][1][0]", 2), ("[3]", 3),
    ]  # fmt: skip
    assert list(tensors_in(None)) == []
