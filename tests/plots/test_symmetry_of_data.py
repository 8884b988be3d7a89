from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz import tables
from eqviz.errors import EqvizError
from eqviz.plots.labels import networks
from eqviz.plots.symmetry_of_data import data_symmetry, symmetry_match

ELEMENTS = ("random", "rotation 90", "rotation 180", "rotation 270")


def keys(model="p4cnn", size=16, regime="upright"):
    return {"model": model, "input_size": size, "group": "C4", "epoch": 5, "data": "digits", "regime": regime}


def auc(label, element):
    value = {"random": 0.87, "rotation 180": 0.95}.get(element, 1.0)
    return value - (0.1 if label == "8" and element == "rotation 180" else 0.0)


def summary(sizes=(16,), labels=("", "3", "8"), elements=ELEMENTS, **changes):
    return pd.DataFrame(
        keys(size=size)
        | {"label": label, "element": element, "auc": auc(label, element), "low": auc(label, element) - 0.02}
        | {"high": min(1.0, auc(label, element) + 0.02), "interval": "95% interval over images", "n": 100}
        | {"highest": 0.875 if element == "random" else 1.0, "chance": 0.5, "n_seeds": 2}
        | changes
        for size in sizes
        for label in labels
        for element in elements
    )


def match(regimes=(("upright", 0.87),)):
    return pd.DataFrame(
        keys(model, size, regime)
        | {"run": f"{model}-{size}-{regime}-{seed}", "seed": seed, "auc": value, "low": value - 0.02}
        | {"high": value + 0.02, "highest": 0.875, "breaking_fraction": breaking * (1 + seed), "floor": 1e-14}
        | {"map_layer": "conv7", "map_breaking_fraction": breaking, "map_floor": 1e-14}
        | {"accuracy_upright": 0.99, "accuracy_rotated": 0.7}
        for model, size, breaking in (("p4cnn", 15, 0.1), ("p4cnn", 16, 5e-15), ("p4cnn", 18, 0.0), ("z2cnn", 16, 0.4))
        for regime, value in regimes
        for seed in (0, 1)
    )


def lines(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


def drawn(made):
    FigureCanvasAgg(made).draw()
    return made


def test_values_and_intervals_of_every_class_and_element():
    left, right = drawn(data_symmetry(summary())).axes
    (classes,) = lines(left, "AUC")
    assert classes.get_ydata().tolist() == [0.87] * 3
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["all", "3", "8"]
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["90°", "180°", "270°"]
    assert [line.get_ydata()[0] for line in lines(right, "AUC")] == [1.0, 0.95, 1.0]
    bars = np.array([path.vertices[:, 1] for path in left.collections[0].get_paths()])
    np.testing.assert_allclose(bars, [[0.85, 0.89]] * 3)


def test_chance_and_the_highest_value_are_lines_in_both_panels():
    for ax, highest in zip(data_symmetry(summary()).axes, (0.875, 1.0), strict=True):
        (chance,), (most,) = lines(ax, "chance"), lines(ax, "highest")
        assert (chance.get_ydata()[0], most.get_ydata()[0]) == (0.5, highest)
        low, high = ax.get_ylim()
        assert low < 0.5
        assert high > 1.0


def test_a_class_that_lies_apart_is_named():
    _, right = data_symmetry(summary()).axes
    assert [text.get_text() for text in right.texts] == ["8"]
    assert right.texts[0].xy[1] == pytest.approx(0.85)


def test_every_size_is_a_data_set_of_its_own_and_networks_of_one_size_share_theirs():
    three = drawn(data_symmetry(summary((15, 16, 17))))
    assert len(lines(three.axes[0], "AUC")) == 3
    assert {line.get_marker() for line in lines(three.axes[0], "AUC")} == {"o", "s", "^"}
    words = [text.get_text() for text in three.legends[0].get_texts()]
    assert words[:3] == ["images of 15 px", "images of 16 px", "images of 17 px"]
    shared = data_symmetry(pd.concat([summary(), summary(model="z2cnn")]))
    assert len(lines(shared.axes[0], "AUC")) == 1


def test_values_below_chance_are_in_the_picture():
    for ax in data_symmetry(summary(low=0.3)).axes:
        assert ax.get_ylim()[0] < 0.3


def test_classes_without_a_value_are_left_out():
    table = summary()
    table.loc[table["label"] == "3", "auc"] = np.nan
    left, _ = drawn(data_symmetry(table)).axes
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["all", "8"]
    with pytest.raises(EqvizError, match="a value of auc"):
        data_symmetry(summary(auc=np.nan))


@pytest.mark.parametrize(("labels", "elements"), [(("",), ("random",)), (("",), ELEMENTS), (("a",), ELEMENTS)])
def test_parts_of_the_table_draw_without_warnings(labels, elements):
    drawn(data_symmetry(summary(labels=labels, elements=elements)))


def test_a_hundred_classes_and_eight_elements_stay_readable():
    names = ("", *(f"a long name {n}" for n in range(100)))
    elements = (*ELEMENTS, "flip up-down", "transpose", "flip left-right", "anti-transpose")
    for ax in drawn(data_symmetry(summary(labels=names, elements=elements))).axes:
        boxes = [text.get_window_extent() for text in ax.get_xticklabels()]
        assert all(a.x1 <= b.x0 for a, b in pairwise(boxes))


def test_the_legend_lies_within_the_figure():
    for made in (data_symmetry(summary((15, 16, 17))), data_symmetry(summary())):
        drawn(made)
        assert made.legends[0].get_window_extent().x1 <= made.bbox.x1


def test_one_marker_a_run_at_its_auc_and_breaking():
    ax = drawn(symmetry_match(match()).figure).axes[0]
    for network in networks(match()):
        rows = network.rows(match())
        some = rows[rows["breaking_fraction"] > 0]
        (dots,) = lines(ax, network.label)
        assert dots.get_xdata().tolist() == some["auc"].tolist()
        assert dots.get_ydata().tolist() == some["breaking_fraction"].tolist()
        assert dots.get_color() == network.colour
    (zero,) = lines(ax, "P4 CNN, 18 px: exactly 0")
    assert set(zero.get_ydata()) == {ax.get_ylim()[0]}
    assert ax.get_yscale() == "log"
    (rounding,) = [patch for patch in ax.patches if patch.get_gid() == "rounding"]
    assert rounding.get_y() + rounding.get_height() == pytest.approx(1e-14)


def test_several_data_are_named_above_everything():
    regimes = (("upright", 0.87), ("uniform", 0.51), ("N(45, 20)", 0.8))
    ax = drawn(symmetry_match(match(regimes)).figure).axes[0]
    names = {text.get_text(): text for text in ax.texts if text.get_gid() == "data"}
    assert set(names) == {"upright", "uniform", "N(45, 20)"}
    boxes = [text.get_window_extent() for text in names.values()]
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[place + 1 :])
    highest = ax.transData.transform((0.5, 0.8))[1]
    assert min(box.y0 for box in boxes) > highest
    assert not symmetry_match(match()).texts


def test_styles_given_are_used_and_legends_can_be_left_out():
    styled = networks(match())
    ax = symmetry_match(match()[lambda rows: rows["model"] == "z2cnn"], networks=styled, legend=False)
    assert ax.get_legend() is None
    assert lines(ax, "Z2 CNN, 16 px")[0].get_color() == styled[-1].colour


def test_what_cannot_be_drawn_is_said():
    for draw, table, name in ((data_symmetry, summary(), "data_symmetry_summary"), (symmetry_match, match(), None)):
        name = name or "symmetry_match"
        for wrong in (tables.empty(name), table.drop(columns="regime")):
            with pytest.raises(EqvizError, match=f"^table {name}: [^\n]*$"):
                draw(wrong)
        with pytest.raises(EqvizError, match="one epoch"):
            draw(pd.concat([table, table.assign(epoch=9)]))
    with pytest.raises(EqvizError, match="a run with an AUC"):
        symmetry_match(match().assign(auc=np.nan))


def test_tables_stay_as_they_were():
    for draw, table in ((data_symmetry, summary()), (symmetry_match, match())):
        before = table.copy(deep=True)
        draw(table)
        pd.testing.assert_frame_equal(table, before)
