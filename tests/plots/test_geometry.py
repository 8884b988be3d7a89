"""Figures of representations: what is drawn is what the tables say, for one network and many, shallow and deep."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from eqviz import plots
from eqviz.errors import EqvizError
from eqviz.plots.cka import cka_by_layer, twin_cka_by_layer
from eqviz.plots.labels import networks
from eqviz.plots.orbit_plane import orbits_in_plane
from eqviz.plots.orientation_selectivity import selectivity_by_layer
from eqviz.tables import SCHEMAS

FIGURES = {
    orbits_in_plane: "orbit_plane", cka_by_layer: "cka_summary", twin_cka_by_layer: "twin_cka_summary",
    selectivity_by_layer: "orientation_selectivity_summary",
}  # fmt: skip
DEEP = tuple(f"stage{s}.{b}.conv{c}" for s in (1, 2, 3) for b in range(7) for c in (1, 2))
ELEMENTS = {
    "C4": ("identity", "rotation 90", "rotation 180", "rotation 270"),
    "D4": (
        "identity", "rotation 90", "rotation 180", "rotation 270", "flip up-down", "transpose", "flip left-right",
        "anti-transpose",
    ),
}  # fmt: skip


def plane_table(synthetic, group="C4", classes=3, seeds=2, **chosen):
    """Orbits of two images of each class around its own place; exact networks have no spread."""
    rows, random = [], np.random.default_rng(0)
    for keys, value in synthetic.layer_rows(group=group, layers=("conv1", "conv2", "pool", "conv7"), **chosen):
        for seed in range(seeds):
            points = [(image, g) for image in range(2 * classes) for g in ELEMENTS[group]]
            run = {"run": f"{keys['model']}-{keys['input_size']}-{seed}", "seed": seed, "n": 2 * classes}
            run |= {"orbit_spread": value, "explained_first": 0.5, "explained_second": 0.25}
            for image, g in points:
                x, y = np.array([image / 4 - 0.7, image % 3]) + value * random.normal(size=2)
                rows.append(
                    keys | run | {"image": image, "label": str(image % classes), "element": g, "first": x, "second": y}
                )
    return pd.DataFrame(rows)


def cka_table(synthetic, **chosen):
    table = synthetic.equivariance(**chosen)
    mean = 1 - table["breaking_fraction"]
    return table.assign(cka=mean, lowest=mean - 0.01, highest=np.minimum(mean + 0.01, 1), cka_biased=1.0)


def twin_table(synthetic, **chosen):
    """Every network beside the P4 CNN at 16 pixels, that one beside another seed of itself."""
    table = cka_table(synthetic, **chosen).assign(other_model="p4cnn", other_input_size=16)
    return table.assign(n_pairs=np.where(table["input_size"] == 16, 1, 2)).drop(columns="n_seeds")


def content_table(synthetic, irreps=("A", "B", "E"), **chosen):
    table = synthetic.spectrum(irreps=irreps, **chosen)
    share = np.tile(np.linspace(1, 2, len(irreps)) / np.linspace(1, 2, len(irreps)).sum(), len(table) // len(irreps))
    return table.assign(energy=share, lowest=share - 0.05, highest=share + 0.05)


MAKERS = {
    orbits_in_plane: plane_table, cka_by_layer: cka_table, twin_cka_by_layer: twin_table,
    selectivity_by_layer: content_table,
}  # fmt: skip


def drawn(made):
    """The Figure of a Figure or Axes, laid out."""
    root = made if isinstance(made, Figure) else made.get_figure()
    FigureCanvasAgg(root).draw()
    return root


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return found


def words(legend):
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize("figure", FIGURES)
def test_tables_without_rows_or_columns_and_mixed_epochs_are_refused(figure, synthetic):
    table = MAKERS[figure](synthetic)
    with pytest.raises(EqvizError, match="at least one row"):
        figure(table.iloc[:0])
    with pytest.raises(EqvizError, match="without depth"):
        figure(table.drop(columns="depth"))
    with pytest.raises(EqvizError, match="one row for each"):
        figure(pd.concat([table, table.assign(epoch=7)]))


@pytest.mark.parametrize("figure", FIGURES)
def test_figures_are_public_leave_their_table_alone_and_fill_its_schema(figure, synthetic):
    table = MAKERS[figure](synthetic)
    before = table.copy()
    assert getattr(plots, figure.__name__) is figure
    figure(table)
    pd.testing.assert_frame_equal(table, before)
    assert set(SCHEMAS[FIGURES[figure]]) <= set(table.columns)


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize(
    "chosen", [{"models": (("p4cnn", 15),)}, {}, {"models": tuple(("p4cnn", n) for n in range(6))}]
)
def test_nothing_lies_outside_the_figure(figure, chosen, synthetic):
    root = drawn(figure(MAKERS[figure](synthetic, **chosen)))
    width, height = root.canvas.get_width_height()
    legends = [*root.legends, *(ax.get_legend() for ax in root.axes if ax.get_legend())]
    assert legends
    for thing in [*legends, *(ax.title for ax in root.axes), *(ax._left_title for ax in root.axes)]:
        box = thing.get_window_extent()
        assert box.x0 >= -1
        assert box.y0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1


@pytest.mark.parametrize("figure", [cka_by_layer, twin_cka_by_layer, selectivity_by_layer])
def test_names_of_forty_layers_do_not_overlap(figure, synthetic):
    root = drawn(figure(MAKERS[figure](synthetic, models=(("p4cnn", 15),), layers=DEEP)))
    boxes = [label.get_window_extent() for label in root.axes[0].get_xticklabels()]
    assert len(boxes) > 5
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_points_of_the_plane_are_those_of_the_table(group, synthetic):
    table = plane_table(synthetic, group)
    made = orbits_in_plane(table)
    for ax, network in zip(made.axes, networks(table), strict=True):
        rows = network.rows(table)
        own = rows[(rows["seed"] == 0) & (rows["layer"] == "conv7")]
        upright = own[own["element"] == "identity"]
        places = [one.get_xydata()[0] for one in ax.lines if one.get_label() == "upright"]
        np.testing.assert_allclose(places, upright[["first", "second"]])
        moved = np.concatenate([one.get_xydata() for one in ax.lines if one.get_label() == "moved"])
        np.testing.assert_allclose(moved, own.loc[own["element"] != "identity", ["first", "second"]])
        outlines = [patch for patch in ax.patches if isinstance(patch, Polygon) and not patch.get_fill()]
        assert len(outlines) == 6
        np.testing.assert_allclose(outlines[0].get_xy()[:-1], own.loc[own["image"] == 0, ["first", "second"]])
        assert ax.get_aspect() == 1
        assert ax.get_xlim() == made.axes[0].get_xlim() == ax.get_ylim()
        assert ax.get_xlabel() == "first component (50%)"


def test_classes_differ_by_colour_and_marker_and_are_named(synthetic):
    made = orbits_in_plane(plane_table(synthetic, classes=7))
    looks = {(to_hex(one.get_color()), one.get_marker()) for one in made.axes[0].lines if one.get_label() == "upright"}
    assert len(looks) == len({marker for _, marker in looks}) == 7
    assert words(made.legends[0]) == [*(f"class {n}" for n in range(7)), "upright", "its moved copies"]


def test_the_spread_is_told_above_the_panel(synthetic):
    table = plane_table(synthetic)
    made = orbits_in_plane(table, layer="pool")
    told = [ax.texts[0].get_text() for ax in made.axes]
    assert told[0] == "9.0% of variance within orbits"
    assert told[1] == "5.0e-15 of variance within orbits"
    assert [ax.get_title(loc="left").split(": ")[1] for ax in made.axes] == ["pool"] * 4
    none = orbits_in_plane(table.assign(orbit_spread=0.0))
    assert none.axes[0].texts[0].get_text() == "0.0% of variance within orbits"
    with pytest.raises(EqvizError, match="rows of the layer conv9"):
        orbits_in_plane(table, layer="conv9")
    with pytest.raises(EqvizError, match="features differ"):
        orbits_in_plane(table.assign(first=np.nan))


def test_lines_are_the_similarities_of_the_table(synthetic):
    table = cka_table(synthetic)
    ax = cka_by_layer(table)
    for network in networks(table):
        own = network.rows(table)
        np.testing.assert_allclose(line(ax, network.label).get_ydata(), own["cka"])
        assert line(ax, network.label).get_color() == network.colour
        (bars,) = [one for one in ax.collections if to_hex(one.get_colors()[0]).upper() == network.colour]
        ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
        np.testing.assert_allclose(ends, own[["lowest", "highest"]])
    assert ax.get_ylim()[0] <= table["lowest"].min()
    assert "range over 4 seeds" in words(ax.get_legend())
    assert not any("range" in word for word in words(cka_by_layer(cka_table(synthetic, seeds=1)).get_legend()))


@pytest.mark.parametrize(("lowest", "bottom"), [(0.995, 0.9), (0.63, 0.6), (0.3, 0.0), (-0.04, -0.1)])
def test_the_scale_reaches_below_every_value_and_up_to_one(lowest, bottom, synthetic):
    table = cka_table(synthetic).assign(cka=1.0, highest=1.0)
    ax = cka_by_layer(table.assign(lowest=lowest))
    assert ax.get_ylim()[0] == pytest.approx(bottom)
    ticks = ax.get_yticks()
    assert ticks[-1] == 1
    assert 3 <= len(ticks) <= 8
    assert bottom <= ticks[0] < ax.get_ylim()[1]


def test_layers_without_a_value_are_left_out(synthetic):
    table = cka_table(synthetic)
    ax = cka_by_layer(table.assign(cka=table["cka"].where(table["layer"] != "fc")))
    assert "fc" not in [label.get_text() for label in ax.get_xticklabels()]
    with pytest.raises(EqvizError, match="a layer with a CKA"):
        cka_by_layer(table.assign(cka=np.nan))


def test_pairs_are_named_and_two_seeds_of_one_network_look_different(synthetic):
    ax = twin_cka_by_layer(twin_table(synthetic))
    labels = ["P4 CNN, 15 px and 16 px", "P4 CNN, 16 px, two seeds", "P4 CNN, 17 px and 16 px"]
    labels.append("Z2 CNN, 16 px and P4 CNN, 16 px")
    assert words(ax.get_legend()) == [*labels, "range over up to 2 pairs of runs"]
    twins, seeds = line(ax, labels[0]), line(ax, labels[1])
    assert to_hex(seeds.get_markerfacecolor()) == "#ffffff"
    assert to_hex(twins.get_markerfacecolor()) == twins.get_color().lower()
    assert seeds.get_linewidth() < twins.get_linewidth()
    handle = dict(zip(words(ax.get_legend()), ax.get_legend().legend_handles, strict=True))[labels[1]]
    assert to_hex(handle.get_markerfacecolor()) == "#ffffff"


@pytest.mark.parametrize(("group", "irreps"), [("C4", ("A", "B", "E")), ("D4", ("A1", "A2", "B1", "B2", "E"))])
def test_stacks_are_the_energies_and_reach_one(group, irreps, synthetic):
    table = content_table(synthetic, irreps, group=group)
    made = selectivity_by_layer(table)
    ax, own = made.axes[0], networks(table)[0].rows(table)
    tops = {}
    for container in ax.containers:
        rows = own[own["irrep"] == container.get_label()]
        np.testing.assert_allclose([bar.get_height() for bar in container], rows["energy"])
        tops = [bar.get_y() + bar.get_height() for bar in container]
    assert [container.get_label() for container in ax.containers] == [*irreps[1:], irreps[0]]
    np.testing.assert_allclose(tops, 1)
    looks = {(to_hex(c[0].get_facecolor()), c[0].get_hatch()) for c in ax.containers}
    assert len(looks) == len(irreps)
    told = words(made.legends[0])
    assert f"{irreps[0]}: isotropic, same in every orientation" in told
    assert not any("broken" in word or "survive" in word for word in told)
    assert ax.get_ylim() == (0, 1)


def test_bars_of_the_selectivity_run_from_the_lowest_to_the_highest_seed(synthetic):
    table = content_table(synthetic)
    (bars,) = selectivity_by_layer(table).axes[0].collections
    isotropic = networks(table)[0].rows(table).query("irrep == 'A'")
    ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
    np.testing.assert_allclose(ends, 1 - isotropic[["highest", "lowest"]])
    single = selectivity_by_layer(content_table(synthetic, seeds=1))
    assert not single.axes[0].collections
    assert not any("range" in word for word in words(single.legends[0]))


def test_fibres_without_an_isotropic_part_are_refused_and_other_groups_are_drawn(synthetic):
    table = content_table(synthetic)
    with pytest.raises(EqvizError, match="A1 or A"):
        selectivity_by_layer(table[table["irrep"] != "A"])
    with pytest.raises(EqvizError, match="fibre energies"):
        selectivity_by_layer(table.assign(energy=np.nan))
    made = selectivity_by_layer(content_table(synthetic, ("A", "B", "E1", "E2", "E3"), group="C8"))
    assert words(made.legends[0])[:4] == ["B", "E1", "E2", "E3"]
