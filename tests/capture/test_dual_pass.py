"""What the pass with dual numbers hands on: every call and output, spacings and field types followed through."""

import torch
from torch import nn
from torch.nn import functional as F

from eqviz.capture.dual_pass import NO_DERIVATIVE, run_duals, smooth_disc
from eqviz.fields.derivatives import derivative_matrix
from eqviz.fields.field_types import Image, Regular, declare
from eqviz.fields.generators import generate
from eqviz.groups.group import group
from eqviz.models.convolutions import LiftingConv2d

KINDS = ("convolution", "activation", "pooling", "linear", "block", "other", "output", "dropout")


def duals(model, images, names=("translation x",), fields=None, batch_size=10**6, layers="*"):
    found = {}
    run_duals(model, images, group("C4"), layers, fields or {}, batch_size, names, KINDS, False,
              lambda key, info, parts: found.setdefault(tuple(key), []).append((info, parts)))  # fmt: skip
    return found


class Head(nn.Module):
    """Gives two tensors and a number; takes its input by name."""

    def forward(self, *, maps):
        return {"maps": maps * 2, "pooled": maps.mean((-2, -1)), "places": maps.argmax(-1)}


class Tail(nn.Module):
    kind = "output"

    def __init__(self):
        super().__init__()
        self.act, self.head = nn.Tanh(), Head()

    def forward(self, x):
        return self.head(maps=self.act(self.act(x)))


def test_second_calls_keywords_and_several_outputs():
    images = torch.randn(2, 1, 5, 6)
    found = duals(Tail(), images)
    assert list(found)[:4] == [("act", 0), ("act", 1), ("head[maps]", 0), ("head[pooled]", 0)]
    assert ("head[places]", 0) not in found
    ((_, second),) = found["act", 1]
    h = images.tanh()
    tangent = generate(h, Image(), "translation x")
    torch.testing.assert_close(second.features, h.tanh())
    torch.testing.assert_close(second.alone[0, 0], (1 - h.tanh() ** 2) * tangent)
    ((_, pooled),) = found["head[pooled]", 0]
    torch.testing.assert_close(pooled.alone[0, 0], generate(h.tanh(), Image(), "translation x").mean((-2, -1)))
    assert not pooled.mapped
    assert pooled.expected.eq(0).all()


def test_orders_transformations_and_batches_stand_in_their_places():
    model, images = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False)).double(), torch.randn(5, 1, 6, 6).double()
    names = ("scale", "rotation", "translation y")
    ((_, whole),) = duals(model, images, names)["0", 0]
    assert whole.moved.shape == whole.expected.shape == whole.alone.shape == (2, 3, 5, 2, 6, 6)
    weight = model[0].weight.detach().view(1, 2, 1, 1)
    for row, order in enumerate((4, 2)):
        for place, name in enumerate(names):
            torch.testing.assert_close(whole.moved[row, place], generate(images, Image(), name, order=order) * weight)
    parts = [found for _, found in duals(model, images, names, batch_size=12)["0", 0]]
    assert [len(part.features) for part in parts] == [2, 2, 1]
    torch.testing.assert_close(torch.cat([part.moved for part in parts], dim=2), whole.moved)


class Shapes(nn.Module):
    """A dropout that declares nothing passes on the type of its input; a sum made outside any layer has none."""

    def __init__(self):
        super().__init__()
        self.lift, self.drop = LiftingConv2d("C4", 1, 1, 3, stride=2, padding=1), nn.Dropout()
        self.turned = declare(nn.Tanh(), "regular(C4)")
        self.flat = declare(nn.Flatten(1, 2), "regular(C4, flattened)")
        self.unknown, self.summed = nn.Softmax(2), declare(nn.Tanh(), "regular(C4)")

    def forward(self, x):
        y = self.drop(self.lift(x))
        return self.flat(self.summed(self.unknown(self.turned(y)) + y))


def test_types_and_spacings_are_followed():
    model, images = Shapes().double(), torch.randn(2, 1, 9, 9, dtype=torch.float64)
    found = duals(model, images, ("rotation",))
    with torch.no_grad():
        h = model.lift(images)
    ((info, turned),) = found["turned", 0]
    assert (info.field, info.field_source, info.depth) == ("regular(C4)", "declared", 2)
    tangent = generate(h, Regular(group("C4")), "rotation", (2.0, 2.0))
    torch.testing.assert_close(turned.alone[0, 0], (1 - h.tanh() ** 2) * tangent)
    assert ("unknown", 0) not in found
    assert ("drop", 0) not in found  # by its shape nobody can tell
    ((_, summed),) = found["summed", 0]
    assert summed.alone is None
    assert summed.note == "no local error: the field type of its input is not known"
    ((_, flat),) = found["flat", 0]
    torch.testing.assert_close(flat.expected[0, 0], summed.expected[0, 0].flatten(1, 2))


def test_a_block_has_the_spacing_of_the_maps_within():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.short = nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 3, 2)

        def forward(self, x):
            return self.conv(x) + self.short(x)

    ((info, block),) = duals(nn.Sequential(Block()).double(), torch.randn(2, 1, 10, 10).double())["0", 0]
    # 10 pixels without padding leave 4 that lie 2 apart; by the ratio of sizes it would be 2.5
    D = torch.tensor(derivative_matrix(4, 4))
    torch.testing.assert_close(block.expected[0, 0], -block.features @ D.T / 2)
    assert info.kind == "block"
    torch.testing.assert_close(block.alone, block.moved)


class Leaning(nn.Module):
    """A layer that only runs inside its network."""

    def __init__(self, owner):
        super().__init__()
        self.owner = [owner]

    def forward(self, x):
        self.owner[0].pop()
        return F.relu(x)


class Fixed(nn.Module):
    def forward(self, x):
        return torch.ones_like(x.detach())


def test_layers_that_cannot_run_alone_or_do_not_depend_on_the_image_say_so():
    calls = [None]
    model = nn.Sequential(Leaning(calls), Fixed())
    found = duals(model, torch.randn(2, 1, 4, 4))
    ((_, leaning),) = found["0", 0]
    assert leaning.alone is None
    assert leaning.note == "no local error: it does not run by itself"
    ((_, fixed),) = found["1", 0]
    assert fixed.note == NO_DERIVATIVE
    assert fixed.moved.eq(0).all()


def test_the_window_is_one_inside_and_zero_at_the_corners():
    window = smooth_disc(12, 16)
    assert window[6, 8] == 1
    assert window[0, 0] == window[0, -1] == window[6, 0] == 0
    assert torch.equal(window, window.flip(0))
    assert torch.equal(window, window.flip(1))
    assert (window[6, 8:].diff() <= 0).all()


class Attending(nn.Module):
    """Attention over the pixels, of torch's own layer, whose fused kernels have no derivative."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).mT
        return self.attention(tokens, tokens, tokens)[0].mean(1)


def test_attention_has_a_derivative_and_the_fast_path_is_as_before():
    model, images = Attending().double(), torch.randn(2, 2, 4, 4).double()
    before = torch.backends.mha.get_fastpath_enabled()
    ((_, output),) = duals(model, images)["(output)", 0]
    assert torch.backends.mha.get_fastpath_enabled() is before
    D = torch.tensor(derivative_matrix(4, 4))
    step = 1e-5  # central differences in float64: an error of about step^2
    shifted = [model(images + sign * step * -(images @ D.T)) for sign in (1, -1)]
    torch.testing.assert_close(output.moved[0, 0], (shifted[0] - shifted[1]) / (2 * step), rtol=1e-6, atol=1e-9)
