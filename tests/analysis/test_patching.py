"""Patched networks whose accuracy is known by hand, and a brute force that runs one element and image at a time."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from eqviz.analysis.patched_sums import PatchedSums
from eqviz.analysis.patching import SCALES, patching
from eqviz.capture.orbit_capture import capture
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare
from eqviz.groups.group import group
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.registry import build_model
from eqviz.tables import RUN_KEYS, columns


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2308)
        yield


class Corner(nn.Module):
    """The upper left pixel and 0, as two scores: the symmetric part is the mean of the four corners."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], torch.zeros(len(x))], dim=1)


def corners(level=0.0):
    """Two images of class 0, +3 in the upper left and -1 in the other corners, and two of class 1, with signs turned.

    `level` is added to all pixels; without it the symmetric part is exactly 0.
    """
    image = torch.tensor([[3.0, -1.0], [-1.0, -1.0]])
    images = torch.stack([image, image, -image, -image])[:, None] + level
    return images, np.array([0, 0, 1, 1])


def at(table, layer, scale):
    (row,) = table[(table["layer"] == layer) & (table["scale"] == scale)].to_dict("records")
    return row


def test_a_decision_that_rests_wholly_on_what_is_broken():
    images, labels = corners()
    table = patching(nn.Sequential(Corner()), images, labels, "C4", scales=(-1, 0, 2), kinds=["other", "output"])
    accuracies = {
        scale: (row["accuracy_upright"], row["accuracy_rotated"], row["accuracy_orbit"], row["consistency"])
        for scale in (-1.0, 0.0, 1.0, 2.0)
        for row in [at(table, "0", scale)]
    }
    # upright the sign of the corner is the class, in every other pose its opposite; without it both scores are 0
    assert accuracies == {
        -1.0: (0.0, 1.0, 0.75, 0.0), 0.0: (0.5, 0.5, 0.5, 1.0), 1.0: (1.0, 0.0, 0.25, 0.0), 2.0: (1.0, 0.0, 0.25, 0.0)
    }  # fmt: skip
    assert [at(table, "0", scale)["gain_rotated"] for scale in (0.0, 1.0)] == [0.5, 0.0]
    assert [at(table, "0", scale)["gain_upright"] for scale in (0.0, 1.0)] == [-0.5, 0.0]
    assert at(table, "0", 2.0)["output_breaking"] == 1.0  # the mean of the scores is 0
    assert np.isnan(at(table, "0", 0.0)["output_breaking"])  # all scores are 0
    assert (table["cut"].all(), set(table["n"]), set(table["layer"])) == (True, {4}, {"0", "(output)"})


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_in_closed_form(scale):
    images, labels = corners(level=1.0)
    table = patching(nn.Sequential(Corner()), images, labels, "C4", layers="(output)", scales=[scale])
    row = at(table, "(output)", scale)
    # first score: 1 + 3s and three times 1 - s for class 0, 1 - 3s and three times 1 + s for class 1; the second is 0
    assert row["accuracy_upright"] == ((1 + 3 * scale >= 0) + (1 - 3 * scale < 0)) / 2
    assert row["accuracy_rotated"] == ((1 - scale >= 0) + (1 + scale < 0)) / 2
    assert row["consistency"] == ((scale <= 1) + (1 - 3 * scale >= 0)) / 2
    assert row["output_breaking"] == pytest.approx(12 * scale**2 / (4 + 12 * scale**2))


class Around(nn.Module):
    """The corner through a branch, times two, and the corner itself around it."""

    def __init__(self):
        super().__init__()
        self.branch = Corner()
        self.around = Corner()

    def forward(self, x):
        return 2 * self.branch(x) + self.around(x)


def test_a_branch_is_patched_but_is_no_cut():
    images, labels = corners()
    table = patching(Around(), images, labels, "C4", scales=[0], kinds=["other", "output", "block"])
    assert table.groupby("layer", sort=False)["cut"].all().to_dict() == {
        "branch": False, "around": False, "(output)": True
    }  # fmt: skip
    # what goes around the branch still breaks, and decides; at the output nothing is left
    assert at(table, "branch", 0.0)["accuracy_upright"] == 1.0
    assert at(table, "branch", 0.0)["consistency"] == 0.0
    assert at(table, "(output)", 0.0)["accuracy_upright"] == 0.5


def p4(size, dtype=torch.float32):
    """A P4 CNN with fresh weights whose scores are centred, so that it predicts many classes; images and labels."""
    model, images = build_model("p4cnn", channels=3).to(dtype).eval(), torch.randn(12, 1, size, size)
    with torch.no_grad():
        model.fc.bias.sub_(model(images.to(dtype)).mean(0))
        labels = model(images.to(dtype)).argmax(1).numpy()
    labels[::3] = (labels[::3] + 1) % 10
    assert len(set(labels)) > 2
    return model, images, labels


@pytest.mark.parametrize(("dtype", "floor"), [(torch.float32, 1e-10), (torch.float64, 1e-26)])
def test_an_exact_tail_makes_the_output_invariant_to_rounding(dtype, floor):
    # floors: rounding of seven layers is 1e-13 and 1e-31 in energy, times what is lost where features nearly cancel
    table = patching(
        *p4(9, dtype), "p4", layers="conv2,pool,conv3,conv7,fc", scales=[0], kinds=["convolution", "pooling"]
    )
    broken = table.set_index(["layer", "scale"])["output_breaking"]
    assert table["cut"].all()
    for layer in ("pool", "conv3", "conv7"):
        assert broken[layer, 0.0] < floor < 1e-6 < broken[layer, 1.0]
        assert at(table, layer, 0.0)["consistency"] == 1.0
    assert broken["conv2", 0.0] > 1e-6  # before the pool nothing is broken yet, and the pool breaks it


def test_an_exact_network_does_not_change():
    table = patching(*p4(8), "p4", scales=[0, 2])
    assert set(table["kind"]) <= {"convolution", "pooling", "linear", "output"}
    assert (table[["gain_upright", "gain_rotated"]] == 0).all(axis=None)
    assert (table["consistency"] == 1).all()
    assert table["output_breaking"].max() < 1e-10


def test_scale_1_is_the_network_bit_for_bit():
    model, images, labels = p4(9)
    table = patching(model, images, labels, "p4", layers="pool", scales=[])
    with torch.no_grad():
        turned = model(torch.cat([torch.rot90(images, r, (-2, -1)) for r in range(4)]))
    scores = turned.reshape(4, len(images), -1).double().numpy()
    hits, predicted = (scores.argmax(-1) == labels).mean(1), scores.argmax(-1)
    row = at(table, "pool", 1.0)
    assert len(table) == 1
    assert (row["accuracy_upright"], row["accuracy_rotated"]) == (hits[0], hits[1:].mean())
    assert 0 < row["consistency"] == (predicted == predicted[0]).all(0).mean() < 1
    assert row["output_breaking"] == PatchedSums.of(scores, labels).values()["output_breaking"]
    measured = capture(model, images, "p4", layers="(output)").equivariance()["breaking_fraction"][0]
    assert row["output_breaking"] == pytest.approx(measured, rel=1e-6)  # summed in float32 there


def test_at_the_output_it_is_the_average_of_the_scores():
    model, images, labels = p4(9, torch.float64)
    table = patching(model, images, labels, "p4", layers="(output)", scales=[0])
    with torch.no_grad():
        scores = torch.stack([model(torch.rot90(images.double(), r, (-2, -1))) for r in range(4)]).mean(0)
    row = at(table, "(output)", 0.0)
    assert row["accuracy_upright"] == row["accuracy_rotated"] == (scores.argmax(1).numpy() == labels).mean()
    assert (row["consistency"], row["output_breaking"]) == (1.0, 0.0)


def brute(head, tail, images, G, fibre, scale, move_orbit):
    """Scores (element, image, class) with the head's aligned orbit scaled, one element at a time."""
    aligned = move_orbit(head, images, G, fibre)
    symmetric = aligned.mean(0)
    scores = []
    for g, element in enumerate(group(G).elements):
        features = torch.from_numpy(symmetric + scale * (aligned[g] - symmetric))
        moved = features if fibre is None else features[:, :, _sources(fibre, element)]
        turned = torch.rot90(moved, element.quarter_turns, (-2, -1))
        turned = turned.flip(-2) if element.reflected else turned
        with torch.no_grad():
            scores.append(tail(turned).numpy())
    return np.stack(scores)


def _sources(fibre, element):
    H = group(fibre)
    return [H.index(element.inverse * h) for h in H.elements]


def aligned_by_hand(network, images, G, fibre):
    found = []
    for element in group(G).elements:
        moved = torch.rot90(images, element.quarter_turns, (-2, -1))
        moved = moved.flip(-2) if element.reflected else moved
        with torch.no_grad():
            output = network(moved)
        back = output.flip(-2) if element.reflected else output
        back = torch.rot90(back, -element.quarter_turns, (-2, -1))
        if fibre is not None:
            H = group(fibre)
            back = back[:, :, [H.index(element * h) for h in H.elements]]
        found.append(back.numpy())
    return np.stack(found)


class Head(nn.Module):
    """The mean over space and group axis to three scores."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x):
        return self.linear(torch.relu(x).flatten(2).mean(-1))


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(
    ("head", "tail", "shape", "fibre"),
    [
        (
            [LiftingConv2d("p4m", 1, 3, 3, padding=1), declare(GroupConv2d("p4m", 3, 3, 3, stride=2), "regular(D4)")],
            [GroupConv2d("p4m", 3, 3, 3, stride=2, padding=1), Head()],
            (8, 8),
            "D4",
        ),
        ([nn.Conv2d(1, 3, 3, stride=2)], [nn.Conv2d(3, 3, 3, padding=1), Head()], (8, 11), None),
    ],
    ids=["p4m", "oblong"],
)
def test_against_brute_force_over_d4(head, tail, shape, fibre, scale):
    front, back = nn.Sequential(*head).double(), nn.Sequential(*tail).double()
    model = nn.Sequential(front, back)
    images, labels = torch.randn(10, 1, *shape, dtype=torch.float64), np.arange(10) % 3
    name = f"0.{len(head) - 1}"
    table = patching(model, images, labels, "D4", layers=name, scales=[scale], kinds=["convolution"], batch_size=24)
    scores = brute(front, back, images, "D4", fibre, scale, aligned_by_hand)
    hits = (scores.argmax(-1) == labels).mean(1)
    row = at(table, name, scale)
    assert (row["accuracy_upright"], row["n"]) == (hits[0], 10)
    assert row["accuracy_rotated"] == pytest.approx(hits[1:].mean())
    assert row["consistency"] == np.mean((scores.argmax(-1) == scores[0].argmax(-1)).all(0))
    centred = scores - scores.mean(0)
    # the pooled mean of few features nearly cancels: 1e-30 of energy is lost against the norms
    assert row["output_breaking"] == pytest.approx((centred**2).sum() / (scores**2).sum(), rel=1e-9, abs=1e-28)


class KeepsSize(nn.Module):
    """As a sequence of its two parts, but the size of the batch is taken from the images."""

    def __init__(self, front, back):
        super().__init__()
        self.front, self.back = front, back

    def forward(self, x):
        return self.back(self.front(x).reshape(len(x), 4, 9))


def test_a_model_that_keeps_the_number_of_images_for_later_gives_the_same():
    front, back = nn.Conv2d(1, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    short, whole = nn.Sequential(front, nn.Flatten(2), back), KeepsSize(front, back)
    images, labels = torch.randn(20, 1, 5, 5), np.arange(20) % 3
    first = patching(short, images, labels, "C4", layers="0")
    second = patching(whole, images, labels, "C4", layers="front")
    assert first["cut"].all()
    assert second["cut"].all()
    assert first.drop(columns="layer").equals(second.drop(columns="layer"))


def test_batches_do_not_matter():
    model, images, labels = p4(9, torch.float64)
    whole = patching(model, images, labels, "p4", layers="pool,fc,(output)", batch_size=64)
    split = patching(model, images, labels, "p4", layers="pool,fc,(output)", batch_size=20)
    breaking = whole.pop("output_breaking"), split.pop("output_breaking")
    assert whole.equals(split)
    np.testing.assert_allclose(*breaking, rtol=1e-10, atol=1e-28)  # sums in another order


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 4, 8]), st.integers(2, 12), st.data())
def test_merged_sums_are_those_of_the_whole(seed, order, count, data):
    rng = np.random.default_rng(seed)
    scores, labels = rng.normal(size=(order, count, 3)), rng.integers(0, 3, count)
    cut = data.draw(st.integers(1, count - 1))
    whole = PatchedSums.of(scores, labels).values()
    merged = PatchedSums.of(scores[:, :cut], labels[:cut]) + PatchedSums.of(scores[:, cut:], labels[cut:])
    for name, value in merged.values().items():
        assert value == pytest.approx(whole[name], rel=1e-12, nan_ok=True), name


def test_the_trivial_group_has_no_other_element():
    images, labels = corners()
    row = at(patching(nn.Sequential(Corner()), images, labels, "C1", layers="(output)"), "(output)", 0.0)
    assert np.isnan(row["accuracy_rotated"])
    assert np.isnan(row["gain_rotated"])
    assert (row["accuracy_upright"], row["consistency"], row["output_breaking"]) == (1.0, 1.0, 0.0)


def test_elements_that_interpolate_are_left_out():
    images, labels = corners()
    model = nn.Sequential(Corner())
    assert patching(model, images, labels, "C8", layers="(output)").equals(
        patching(model, images, labels, "C4", layers="(output)")
    )


def test_every_call_of_a_layer_has_rows():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return self.layer(torch.relu(self.layer(x))).flatten(1)

    table = patching(Twice(), torch.randn(4, 1, 3, 3), np.arange(4), "C4", scales=[0])
    assert table[["layer", "call", "scale"]].values.tolist() == [
        ["layer", 0, 0.0], ["layer", 0, 1.0], ["layer", 1, 0.0], ["layer", 1, 1.0], ["(output)", 0, 0.0],
        ["(output)", 0, 1.0],
    ]  # fmt: skip
    assert table["cut"].all()


def test_a_layer_that_does_not_run_in_every_batch_is_left_out():
    class Moody(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.often = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            x = self.always(x)
            return (self.often(x) if len(x) in (1, 8, 16) else x).flatten(1)

    # batches of four images, and of one; runs to find the cuts are of eight images and of one
    table = patching(Moody(), torch.randn(5, 1, 3, 3), np.arange(5), "C4", batch_size=16, scales=[0])
    assert table["layer"].unique().tolist() == ["always", "(output)"]
    assert set(table["n"]) == {5}


def test_the_columns_and_progress():
    told = []
    table = patching(*p4(9), "p4", layers="conv1,pool", scales=[0, 2], batch_size=16, progress=told.append)
    assert set(table.columns) == set(columns("patching")) - set(RUN_KEYS)
    assert (told == sorted(told), told[-1]) == (True, 1.0)
    assert len(told) == 3 * 2 * 2  # batches of four images, layers, other scales
    assert table.loc[table["layer"] == "pool", "subsamples"].all()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"labels": np.zeros(3, dtype=int)}, "labels: expected one for each of 4 images; found 3"),
        ({"labels": np.array([0, 0, 1, -1])}, "labels: expected class numbers from 0 on; found -1"),
        ({"labels": np.array([0, 0, 1, 7])}, r"model output: expected class scores of shape \(16, 8 or more\)"),
        ({"scales": [0.0, float("nan")]}, "scales: expected finite numbers"),
        ({"scales": [True]}, "scales: expected finite numbers"),
        ({"layers": "nothing"}, "layers: expected names or globs"),
        ({"kinds": ["convolution"]}, "layers: expected at least one layer that can be patched, of kind convolution"),
        ({"group": "C5x"}, "group"),
    ],
)
def test_errors(changed, words):
    images, labels = corners()
    given = {"labels": labels, "group": "C4", **changed}
    with pytest.raises(EqvizError, match=words) as caught:
        patching(nn.Sequential(Corner()), images, **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("runs", [0, 1, 4, 6])
def test_the_model_is_left_as_it_was_also_when_it_raises(runs):
    class Tires(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.left = nn.Conv2d(1, 2, 2), runs

        def forward(self, x):
            if self.left == 0:
                raise RuntimeError("tired")
            self.left -= 1
            return self.conv(x).flatten(1)

    model = Tires().train()
    images, labels = corners()
    with pytest.raises(EqvizError, match="tired"):
        patching(model, images, labels, "C4")
    assert [len(module._forward_hooks) for module in model.modules()] == [0, 0]
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


class Gate(nn.Module):
    """A way around the convolution that opens for few images."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, x):
        gate = torch.relu(x.amax((1, 2, 3)) - 30)
        return self.conv(x).mean((2, 3)) + 5 * gate[:, None] * torch.eye(3)[0]


@pytest.mark.parametrize("opened", [[8, 12], [40]])
def test_a_way_around_that_few_images_take_is_theirs_alone(opened):
    model, images = Gate(), torch.randn(48, 1, 5, 5)
    images[opened, 0, 2, 2] = 40.0
    with torch.no_grad():
        labels = model(images).argmax(1).numpy()
    tables = [patching(model, images, labels, "C4", layers="conv", batch_size=size) for size in (4, 64, 192)]
    for table in tables:
        # the gate is the same for every element, and moves the opened images to class 0 whatever the layer gives
        assert table.drop(columns="cut").round(9).equals(tables[0].drop(columns="cut").round(9))
    assert at(tables[2], "conv", 0.0)["cut"] == (opened == [40])  # beyond the images that cuts are looked for on
