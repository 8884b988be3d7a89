"""Probes of toys that hold the element or the class in a known component, of exact and of broken networks."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eqviz.analysis.probes import probes, probes_summary, split_by_floor
from eqviz.errors import EqvizError
from eqviz.fields.field_types import declare, field_type
from eqviz.models.convolutions import GroupConv2d, LiftingConv2d
from eqviz.models.pooling import CosetMaxPool, GlobalAveragePool
from eqviz.tables import RUN_KEYS, columns

KEYS = ["target", "frame", "component"]


class Corners(nn.Module):
    """What stands in the four corners (times `strength`), and the mean of the image with its square: `(B, 6)`."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corners = images[:, 0][:, [0, 0, -1, -1], [0, -1, -1, 0]]
        mean = images.mean((1, 2, 3))[:, None]
        return torch.cat([self.strength * corners, mean, mean**2], dim=1)


class Alternating(nn.Module):
    """The mean brightness times (1, -1, 1, -1) on the group axis, whatever way the image is turned: `(B, 1, 4)`."""

    field_type = field_type("regular(C4)")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=images.dtype)
        return images.mean((1, 2, 3))[:, None, None] * signs


def test_of_images_of_one_class_no_class_is_read():
    images, labels = pictures()
    found = probes(Corners(), images, np.zeros_like(labels), "C4")
    assert found["target"].unique().tolist() == ["element"]
    both = probes(Corners(), images, labels, "C4")
    assert both["target"].unique().tolist() == ["element", "class"]


def pictures(count=20, size=(6, 6), classes=2):
    """Noise with a bright corner up left, longer than high; the brightness of everything tells the class."""
    generator = torch.Generator().manual_seed(3)
    labels = np.arange(count) % classes
    images = (
        0.1 * torch.rand(count, 1, *size, generator=generator) + torch.from_numpy(labels).float()[:, None, None, None]
    )
    images[:, :, 0, :2] += 3.0
    return images, labels


def group_network(G, field):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(
            LiftingConv2d(G, 1, 2, 3, padding=1),
            declare(nn.ReLU(), field),
            declare(GroupConv2d(G, 2, 2, 3, stride=2, padding=1), field),
            declare(GlobalAveragePool(), field),
            CosetMaxPool(),
        )


def accuracies(table, layer="(output)"):
    return table[table["layer"] == layer].set_index(KEYS)["accuracy"]


def test_columns_and_rows_are_those_of_the_table():
    images, labels = pictures()
    found = probes(nn.Conv2d(1, 2, 3), images, labels, "C4")
    assert tuple(found.columns) == columns("probes")[len(RUN_KEYS) :]
    assert not found.duplicated(["layer", "call", *KEYS]).any()
    assert len(found) == 2 * 2 * 3
    assert found[["chance", "n", "folds"]].drop_duplicates().to_numpy().tolist() == [[0.25, 20, 5], [0.5, 20, 5]]


def test_features_that_hold_the_element_are_read_from_the_breaking_component_and_the_class_from_the_symmetric_one():
    images, labels = pictures()
    found = probes(Corners(), images, labels, "C4")
    read = accuracies(found)
    for frame in ("aligned", "moved"):  # of invariant type: nothing moves
        assert read["element", frame, "full"] == read["element", frame, "breaking"] == 1.0
        assert read["element", frame, "symmetric"] == 0.25
        assert read["class", frame, "full"] == read["class", frame, "symmetric"] == 1.0
        assert read["class", frame, "breaking"] == pytest.approx(0.5)
    read_all = found[(found["accuracy"] == 1.0)]
    assert read_all["p_value"].tolist() == pytest.approx([1 / 21] * 8)
    assert not found["at_floor"].any()


def test_a_class_that_only_the_breaking_component_holds():
    images, labels = pictures()
    found = probes(Alternating(), images, labels, "C4")
    read = accuracies(found)
    assert read["class", "moved", "breaking"] == read["class", "moved", "full"] == 1.0
    # the sign of the features alternates over the orbit, so a linear reader cannot use their size
    assert read["class", "aligned", "breaking"] == read["class", "aligned", "full"] == pytest.approx(0.5)
    floor = found.set_index(KEYS)["at_floor"]
    assert floor.xs("symmetric", level="component").all()
    assert not floor.drop("symmetric", level="component").any()


@pytest.mark.parametrize(("strength", "holds"), [(1e-2, True), (1e-9, False), (0.0, False)])
def test_patterns_below_the_rounding_error_are_not_read(strength, holds):
    images, labels = pictures()
    found = probes(Corners(strength), images, labels, "C4")
    asked = found.query("target == 'element' and frame == 'aligned'").set_index("component")
    assert (asked.loc["breaking", "accuracy"], asked.loc["full", "accuracy"]) == ((1.0, 1.0) if holds else (0.25, 0.25))
    assert asked["at_floor"].to_dict() == {"full": False, "symmetric": False, "breaking": not holds}
    assert (asked.loc["breaking", "p_value"] == 1.0) is not holds


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("G", "chance"), [("C4", 0.25), ("D4", 0.125)])
def test_exact_networks_are_at_chance_and_broken_ones_above_it(G, chance, dtype):
    network = group_network(G, f"regular({G})").to(dtype)
    exact = probes(network, pictures(size=(9, 9))[0].to(dtype), pictures()[1], G)
    aligned = exact[(exact["target"] == "element") & (exact["frame"] == "aligned")]
    assert (aligned["accuracy"] == chance).all()
    assert (aligned["p_value"] == 1).all()
    assert exact.loc[exact["component"] == "breaking", "at_floor"].all()
    invariant = exact[(exact["layer"] == "4") & (exact["target"] == "element")]
    assert (invariant["accuracy"] == chance).all()
    moved = exact[(exact["layer"] == "2") & (exact["frame"] == "moved")].set_index(KEYS)["accuracy"]
    assert moved["element", "moved", "full"] > 2 * chance  # orientation shows in features that move

    broken = probes(network, pictures(size=(10, 10))[0].to(dtype), pictures()[1], G)
    rows = broken[(broken["layer"] == "4") & (broken["target"] == "element") & (broken["component"] == "breaking")]
    assert (rows["accuracy"] > 2 * chance).all()
    assert (rows["p_value"] < 0.05).all()


def test_the_three_parts_always_add_up():
    aligned = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    parts, empty = split_by_floor(aligned, 1e-12)
    torch.testing.assert_close(parts["full"], aligned.double())
    torch.testing.assert_close(parts["symmetric"] + parts["breaking"], parts["full"])
    assert not any(empty.values())
    parts, empty = split_by_floor(torch.zeros(4, 3, 5), float("nan"))
    assert all(empty.values())
    assert not parts["full"].any()


def test_maps_that_are_not_square_have_no_moved_frame_where_height_and_width_are_exchanged():
    images, labels = pictures(size=(6, 8))
    model = nn.Conv2d(1, 2, 3)
    assert set(probes(model, images, labels, "C4")["frame"]) == {"aligned"}
    assert set(probes(model, images, labels, "D2")["frame"]) == {"aligned", "moved"}
    assert set(probes(model, images, labels, "C4", frames=("aligned",))["frame"]) == {"aligned"}


def test_elements_that_interpolate_are_left_out_and_layers_can_be_chosen():
    images, labels = pictures()
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    found = probes(model, images, labels, "C8", layers="1")
    assert found["layer"].unique().tolist() == ["1"]
    assert found.loc[found["target"] == "element", "chance"].unique().tolist() == [0.25]


def test_progress_grows_to_one_and_the_model_is_left_as_it_was():
    images, labels = pictures()
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Dropout(0.5)).train()
    told = []
    first = probes(model, images, labels, "C4", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
    assert all(module.training and not module._forward_hooks for module in model.modules())
    pd.testing.assert_frame_equal(first, probes(model, images, labels, "C4"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(3, dtype=int)}, "labels: expected one for each of 20 images; found 3"),
        ({"group": "C3"}, "group: expected at least two elements on the pixel grid, to tell apart; found C3"),
        ({"folds": 21}, "folds: "),
        ({"permutations": 0}, "permutations: expected at least 1"),
        ({"frames": ("turned",)}, "frames: expected one or both of aligned, moved; found turned"),
        ({"layers": "1"}, "layers: expected at least one of kind convolution"),
        ({"layers": "cnov"}, "layers: "),
    ],
)
def test_errors_say_what_to_do(change, message):
    images, labels = pictures()
    given = {"labels": labels, "group": "C4"} | change
    with pytest.raises(EqvizError, match=f"^{message}"):
        probes(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), images, **given)


def test_over_seeds():
    row = dict.fromkeys(columns("probes"), 0) | {"model": "p4cnn", "layer": "pool", "target": "element", "chance": 0.25}
    seeds = [
        row | {"run": "a", "seed": 0, "accuracy": 0.5, "p_value": 0.04, "baseline_high": 0.3, "at_floor": False},
        row | {"run": "b", "seed": 1, "accuracy": 0.25, "p_value": 0.5, "baseline_high": 0.4, "at_floor": True},
    ]
    (found,) = probes_summary(pd.DataFrame(seeds)).to_dict("records")
    assert [found[name] for name in ("accuracy", "lowest", "highest")] == [0.375, 0.25, 0.5]
    assert [found[name] for name in ("baseline_high", "at_floor", "n_above", "n_seeds")] == [0.4, False, 1, 2]
