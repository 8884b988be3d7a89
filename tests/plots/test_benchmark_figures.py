"""Benchmarks as dots, and accuracy over the number of training images."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz import tables
from eqviz.errors import EqvizError
from eqviz.plots.benchmark_dots import benchmarks
from eqviz.plots.labels import networks
from eqviz.plots.panels import lettered, short_name, trained_on
from eqviz.plots.theme import figure
from eqviz.plots.training_images import accuracy_by_training_images

NETWORKS = (
    ("p4resnet44", 33, "C4", "yes", 0.9, 0.9), ("p4resnet44", 32, "C4", "no", 0.92, 0.5),
    ("p4mresnet44", 33, "D4", "yes", 0.91, 0.91), ("z2resnet44", 32, "C4", "no", 0.93, 0.4),
)  # fmt: skip
CASES = (("cifar10", "upright"), ("cifar10", "upright, quarter turns"), ("data/cells.npz", "upright"))
COUNTS = (100, 500, 600, 10_000)


def table(cases=CASES, seeds=3, **changes):
    rows = []
    for model, size, group, exact, upright, rotated in NETWORKS:
        for data, regime in cases:
            row = {"model": model, "input_size": size, "group": group, "epoch": 9, "data": data, "regime": regime}
            reflected = rotated if group == "D4" else np.nan
            row |= {"exact": exact, "parameters": 100, "n_seeds": seeds, "interval": "95% t interval over seeds"}
            for metric, mean in (("upright", upright), ("rotated", rotated), ("reflected", reflected)):
                half = 0.02 if seeds > 1 else np.nan
                row |= {f"accuracy_{metric}": mean, f"{metric}_low": mean - half, f"{metric}_high": mean + half}
            rows.append(row | changes)
    return pd.DataFrame(rows)


def by_images(cases=CASES[:1], seeds=3, **changes):
    rows = []
    for model, size, group, _, upright, rotated in NETWORKS:
        for data, regime in cases:
            for count in COUNTS:
                for metric, mean in (("upright", upright), ("rotated", rotated)):
                    row = {"model": model, "input_size": size, "group": group, "epoch": 9, "data": data}
                    row |= {"regime": regime, "train_images": count, "metric": metric, "mean": mean * (1 - 10 / count)}
                    half = 0.02 if seeds > 1 else np.nan
                    row |= {"std": half, "low": row["mean"] - half, "high": row["mean"] + half, "n_seeds": seeds}
                    rows.append(row | {"interval": "95% t interval over seeds"} | changes)
    return pd.DataFrame(rows)


def drawn(made):
    FigureCanvasAgg(made).draw()
    return made


def line(ax, label):
    return [one for one in ax.lines if one.get_label() == label]


def words(made):
    return [text.get_text() for text in made.legends[0].get_texts()]


def test_a_panel_a_data_set_and_regime_and_a_row_a_network():
    made = drawn(benchmarks(table()))
    titles = [ax.get_title(loc="left") for ax in made.axes[:3]]
    assert [title.split("  ")[1].replace("\n", ", ") for title in titles] == [
        "cifar10, trained: upright", "cifar10, trained: upright, quarter turns", "cells.npz, trained: upright",
    ]  # fmt: skip
    styled = networks(table())
    assert [label.get_text() for label in made.axes[0].get_yticklabels()] == [network.label for network in styled]
    for ax in made.axes[:3]:
        for place, network in enumerate(styled):
            own = network.rows(table()).iloc[0]
            for metric, face in (("upright", network.colour), ("rotated", "white")):
                (dot,) = line(ax, f"{network.label}: {metric}")
                assert dot.get_xdata() == pytest.approx([100 * own[f"accuracy_{metric}"]])
                assert list(dot.get_ydata()) == [place]
                assert dot.get_markerfacecolor() == face
                assert dot.get_marker() not in "x+1" or metric == "upright"
            assert len(line(ax, f"{network.label}: reflected")) == (network.model == "p4mresnet44")


def test_exact_networks_are_in_bold_and_the_legend_says_so():
    made = drawn(benchmarks(table(CASES[:1])))
    assert [label.get_fontweight() for label in made.axes[0].get_yticklabels()] == [
        "bold" if network.input_size == 33 else "normal" for network in networks(table())
    ]
    assert words(made) == [
        "tested upright", "mean of the quarter turns", "mirrored, mean of the quarter turns",
        "95% t interval over seeds, 3 seeds", "bold: exact",
    ]  # fmt: skip
    plain = benchmarks(table(CASES[:1], seeds=1).query("model == 'z2resnet44'"))
    assert words(plain) == ["tested upright", "mean of the quarter turns"]


def test_panels_that_are_not_needed_are_off_and_everything_lies_within_the_figure():
    made = drawn(benchmarks(table((*CASES, ("mnist", "uniform")))))
    assert [ax.axison for ax in made.axes] == [True] * 4 + [False] * 2
    for ax in made.axes[:4]:
        assert ax.get_tightbbox().x1 <= made.bbox.x1 + 1  # a point for rounding
        low, high = ax.get_xlim()
        assert low <= 38
        assert high > 100
    assert made.legends[0].get_window_extent().x1 <= made.bbox.x1


def test_accuracy_over_the_number_of_training_images():
    rows = by_images()
    made = drawn(accuracy_by_training_images(rows.sample(frac=1, random_state=0)))
    upright, rotated = made.axes
    assert (upright.get_xscale(), upright.get_ylabel(), rotated.get_xlabel()) == (
        "log",
        "accuracy (%)",
        "training images",
    )
    for ax, metric in ((upright, "upright"), (rotated, "rotated")):
        for network in networks(rows):
            own = network.rows(rows[rows["metric"] == metric])
            (found,) = line(ax, network.label)
            assert found.get_xdata().tolist() == list(COUNTS)
            np.testing.assert_allclose(found.get_ydata(), 100 * own["mean"])
            (band,) = [one for one in ax.collections if one.get_label() == f"{network.label}: interval"]
            assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(100 * own["high"].max())
        ticks = [label.get_text() for label in ax.get_xticklabels()]
        assert {"100", "10,000"} <= set(ticks) <= {"100", "500", "600", "10,000"}
        boxes = sorted((label.get_window_extent() for label in ax.get_xticklabels()), key=lambda box: box.x0)
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))
    assert words(made)[-1] == "95% t interval over seeds, 3 seeds"
    assert "interval" not in words(accuracy_by_training_images(by_images(seeds=1)))[-1]


def test_a_metric_that_few_networks_have_takes_no_more_room():
    rows = by_images()
    mirrored = networks(rows)[0].rows(rows[rows["metric"] == "rotated"]).assign(metric="reflected")
    made = drawn(accuracy_by_training_images(pd.concat([rows, mirrored.tail(1)])))
    widths = [ax.get_position().width for ax in made.axes]
    assert min(widths) > 0.2  # of the figure: three panels beside each other
    for ax, following in pairwise(made.axes):
        assert ax._left_title.get_window_extent().x1 < following.get_window_extent().x0


def test_several_data_sets_have_a_row_each_and_unknown_numbers_are_left_out():
    made = drawn(accuracy_by_training_images(by_images(CASES)))
    assert len(made.axes) == 6
    assert "cells.npz" in made.axes[5].get_title(loc="left")
    unknown = by_images().assign(train_images=pd.array([pd.NA] * len(by_images()), dtype="Int64"))
    with pytest.raises(EqvizError, match="a number of training images"):
        accuracy_by_training_images(unknown)
    both = accuracy_by_training_images(pd.concat([by_images(), unknown]))
    assert line(both.axes[0], networks(by_images())[0].label)[0].get_xdata().tolist() == list(COUNTS)


@pytest.mark.parametrize(
    ("plot", "name", "made"),
    [(benchmarks, "benchmarks", table), (accuracy_by_training_images, "accuracy_by_images", by_images)],
)
def test_what_cannot_be_drawn_is_said(plot, name, made):
    for wrong in (tables.empty(name), made().drop(columns="regime")):
        with pytest.raises(EqvizError, match=rf"^table {name}: [^\n]*$"):
            plot(wrong)
    with pytest.raises(EqvizError, match="one row for each"):
        plot(pd.concat([made(), made(epoch=4)]))
    before = made()
    again = before.copy(deep=True)
    plot(again)
    pd.testing.assert_frame_equal(before, again)


def test_panels_are_lettered_and_a_dollar_is_no_formula():
    made, axes = figure(85, 40, columns=2)
    lettered(axes[0], 1, "a$b$")
    lettered(axes[1], 26, "x")
    drawn(made)
    assert axes[0].get_title(loc="left") == r"$\mathbf{b}$  a\$b\$"
    assert axes[1].get_title(loc="left") == r"$\mathbf{27}$  x"


def test_names_of_data_are_short_and_titles_share_their_lines():
    assert [short_name(name) for name in ("mnist", "a/b.npz", "a\\b.npz", "/data/", "/")] == [
        "mnist", "b.npz", "b.npz", "data", "/",
    ]  # fmt: skip
    narrow = figure(40, 40)[1][0]
    places = [("cifar10", "upright"), ("cifar10", "N(45, 20), quarter turns, 500 images")]
    assert all("\n" in title for title in trained_on(narrow, places).values())
    assert trained_on(figure(178, 40)[1][0], places[:1]) == {places[0]: "cifar10, trained: upright"}
