"""A layer's output replaced, and cuts of the graph whose answer is known by looking at the network."""

from collections import namedtuple
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from eqviz.capture.patching import CUT_IMAGES, find_cuts, run_patched
from eqviz.errors import EqvizError
from eqviz.fields.layer_calls import OUTPUT, LayerCall

YES, NO = True, False


class Residual(nn.Module):
    """stem, then block = relu(x + conv(x)), then a linear head; `gate` scales what goes around the branch."""

    class Block(nn.Module):
        def __init__(self, gate):
            super().__init__()
            self.branch = nn.Conv2d(2, 2, 3, padding=1)
            self.gate = gate

        def forward(self, x):
            return torch.relu(self.gate * x + self.branch(x))

    def __init__(self, gate=1.0):
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, padding=1)
        self.block = self.Block(gate)
        self.head = nn.Linear(2, 3)

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean((-2, -1)))


class Twice(nn.Module):
    """One layer called twice; with `around`, its input goes past the second call."""

    def __init__(self, around):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.around = around

    def forward(self, x):
        first = self.layer(x.mean((1, 2)))
        return self.layer(first) + first if self.around else self.layer(first)


Pair = namedtuple("Pair", "first second")


class Gives(nn.Module):
    """Wraps twice and four times the input in a container; the model adds both."""

    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(2 * x, 4 * x)


class Adds(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.inner = Gives(wrap)

    def forward(self, x):
        parts = self.inner(x)
        return sum(parts.values() if isinstance(parts, Mapping) else parts)


def call(layer, number=0):
    return LayerCall(layer, number)


def test_its_own_output_changes_nothing_bit_for_bit():
    model, images = Residual(), torch.randn(3, 1, 6, 6)
    with torch.no_grad():
        features = model.stem(images)
        assert torch.equal(run_patched(model, images, call("stem"), features), model(images))


def test_the_rest_of_the_network_runs_on_the_replacement():
    model = Residual()
    replacement = torch.randn(3, 2, 6, 6)
    with torch.no_grad():
        wanted = model.head(model.block(replacement).mean((-2, -1)))
    assert torch.equal(run_patched(model, torch.randn(3, 1, 6, 6), call("stem"), replacement), wanted)
    output = torch.randn(3, 3)
    assert torch.equal(run_patched(model, torch.randn(3, 1, 6, 6), call(OUTPUT), output), output)


def test_layers_that_work_in_place_leave_the_replacement_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    replacement = torch.tensor([[-1.0, 2.0]])
    assert run_patched(model, torch.ones(1, 2), call("0"), replacement).tolist() == [[0.0, 2.0]]
    assert replacement.tolist() == [[-1.0, 2.0]]


@pytest.mark.parametrize("number", [0, 1])
def test_only_that_call_is_replaced(number):
    model, images = Twice(around=False), torch.randn(2, 4, 4, 3)
    replacement = torch.randn(2, 3)
    with torch.no_grad():
        wanted = model.layer(replacement) if number == 0 else replacement
    assert torch.equal(run_patched(model, images, call("layer", number), replacement), wanted)


@pytest.mark.parametrize(
    ("wrap", "item"),
    [
        (lambda a, b: (a, b), "[1]"),
        (lambda a, b: [a, b], "[1]"),
        (Pair, "[1]"),
        (lambda a, b: {"a": a, "b": b}, "[b]"),
        (lambda a, b: {0: a, 1: b}, "[1]"),
    ],
)
def test_items_of_containers(wrap, item):
    images = torch.ones(1, 1, 1, 1)
    replaced = run_patched(Adds(wrap), images, call(f"inner{item}"), torch.full((1, 1, 1, 1), 10.0))
    assert replaced.item() == 12  # 2 x stays, 4 x is replaced


def test_a_replacement_may_be_of_another_batch():
    model, replacement = Residual(), torch.randn(5, 2, 6, 6)
    assert len(run_patched(model, torch.randn(1, 1, 6, 6), call("stem"), replacement)) == 5


class Stubborn(dict):
    def __init__(self, pair):
        super().__init__(a=pair[0], b=pair[1])


@pytest.mark.parametrize(
    ("model", "key", "replacement", "words"),
    [
        (Residual(), call("stam"), torch.zeros(2, 2, 6, 6), "layer: expected the name .* near names are stem"),
        (
            Residual(),
            call("stem", 1),
            torch.zeros(2, 2, 6, 6),
            "layer stem: expected a tensor from its call 1.*1 calls",
        ),
        (Residual(), call("stem[0]"), torch.zeros(2, 2, 6, 6), r"layer stem\[0\]: expected a tensor from its call 0"),
        (Residual(), call("stem"), torch.zeros(2, 2, 5, 6), r"expected a replacement for .*\(2, 2, 6, 6\).*2, 5, 6"),
        (Residual(), call("stem"), torch.zeros(2, 2, 6, 6).double(), "float32.*float64"),
        (
            Adds(lambda a, b: Stubborn((a, b))),
            call("inner[a]"),
            torch.zeros(2, 1, 6, 6),
            r"layer inner\[a\]: .*Stubborn",
        ),
    ],
)
def test_errors_are_one_line(model, key, replacement, words):
    with pytest.raises(EqvizError, match=words) as caught:
        run_patched(model, torch.randn(2, 1, 6, 6), key, replacement)
    assert "\n" not in str(caught.value)


class Fragile(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.drop, self.fails = nn.Conv2d(1, 1, 3), nn.Dropout(0.5), True
        self.seen = []

    def forward(self, x):
        self.seen.append((self.training, torch.is_grad_enabled()))
        x = self.drop(self.conv(x))
        if self.fails:
            raise RuntimeError("no way")
        return x


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails):
    model = Fragile().train()
    model.drop.eval()
    model.fails = fails
    images = torch.rand(2, 1, 5, 5)
    random = torch.get_rng_state()
    for run in (
        lambda: run_patched(model, images, call("conv"), torch.zeros(2, 1, 3, 3)),
        lambda: find_cuts(model, images, [call("conv")]),
    ):
        if fails:
            with pytest.raises(EqvizError, match="no way"):
                run()
        else:
            run()
        assert torch.equal(torch.get_rng_state(), random)
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0, 0]
    assert (model.training, model.conv.training, model.drop.training) == (True, True, False)
    assert set(model.seen) == {(False, False)}
    assert torch.is_grad_enabled()


def test_a_branch_is_no_cut_and_the_sum_of_its_block_is_one():
    keys = [call(name) for name in ("stem", "block", "block.branch", "head", OUTPUT)]
    found = find_cuts(Residual(), torch.randn(4, 1, 6, 6), keys)
    assert found == {key: NO if key.layer == "block.branch" else YES for key in keys}
    assert list(found) == keys


def test_a_dead_way_around_is_not_seen():
    assert find_cuts(Residual(gate=0.0), torch.randn(4, 1, 6, 6), [call("block.branch")]) == {call("block.branch"): YES}
    assert find_cuts(Residual(gate=1e-3), torch.randn(4, 1, 6, 6), [call("block.branch")]) == {call("block.branch"): NO}


@pytest.mark.parametrize(("around", "second"), [(False, YES), (True, NO)])
def test_every_call_by_itself(around, second):
    images = torch.randn(4, 5, 5, 3)
    found = find_cuts(Twice(around), images, [call("layer", 0), call("layer", 1)])
    assert found == {call("layer", 0): YES, call("layer", 1): second}


def test_one_item_of_two_is_no_cut():
    assert find_cuts(Adds(Pair), torch.randn(2, 1, 4, 4), [call("inner[0]")]) == {call("inner[0]"): NO}


class KeepsSize(nn.Module):
    """Takes the size of its batch before the layer and uses it after."""

    def __init__(self, how):
        super().__init__()
        self.conv, self.how = nn.Conv2d(1, 2, 3), how

    def forward(self, x):
        size = len(x)
        x = self.conv(x)
        return x.reshape(size, -1) if self.how == "reshapes" else x.reshape(size, 2, 9).sum(-1)


@pytest.mark.parametrize("how", ["reshapes", "raises"])
def test_a_model_that_keeps_the_size_of_its_batch(how):
    assert find_cuts(KeepsSize(how), torch.randn(3, 1, 5, 5), [call("conv")]) == {call("conv"): YES}


class InPlace(nn.Module):
    """Drops what its layer returns and goes on with the input that the layer changed."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.conv(x)
        self.relu(x)
        return x


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.conv(x) + torch.rand(1)


@pytest.mark.parametrize(("model", "layer"), [(InPlace(), "relu"), (Noisy(), "conv")])
def test_no_cut_where_the_replacement_is_dropped_or_the_model_not_deterministic(model, layer):
    with torch.random.fork_rng(devices=[]):
        assert find_cuts(model, torch.randn(2, 1, 5, 5), [call(layer)]) == {call(layer): NO}


@pytest.mark.parametrize("images", [torch.randn(1, 1, 6, 6), torch.ones(3, 1, 6, 6), torch.randn(2, 1, 6, 9)])
def test_single_constant_and_oblong_images_do(images):
    found = find_cuts(Residual(), images, [call("stem"), call("block.branch")])
    assert found == {call("stem"): YES, call("block.branch"): NO}


def test_a_few_images_are_looked_at():
    model = Residual()
    sizes = []
    model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    find_cuts(model, torch.randn(50, 1, 6, 6), [call("stem")])
    assert set(sizes) == {2 * CUT_IMAGES}


def test_a_call_that_never_happens():
    with pytest.raises(EqvizError, match="layer stem: expected a tensor from its call 3; found none"):
        find_cuts(Residual(), torch.randn(2, 1, 6, 6), [call("stem", 3)])
    with pytest.raises(EqvizError, match="near names"):
        find_cuts(Residual(), torch.randn(2, 1, 6, 6), [call("nothing")])
