import importlib
import pkgutil
import subprocess
import sys

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import eqviz.plots
from eqviz import tables
from eqviz.errors import EqvizError
from eqviz.plots import theme


@pytest.mark.parametrize("name", sorted(eqviz.plots.REGISTRY))
def test_every_registered_name_loads_and_has_a_docstring(name):
    assert getattr(eqviz.plots, name).__doc__
    assert name in dir(eqviz.plots)


def test_no_registered_name_hides_a_module():
    modules = {module.name for module in pkgutil.iter_modules(eqviz.plots.__path__)}
    assert not modules & set(eqviz.plots.REGISTRY)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(AttributeError, match="breaking_by_layer"):
        eqviz.plots.nothing  # noqa: B018  # it is the access that raises


def test_plots_import_neither_torch_nor_pyplot_and_change_no_setting():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams); import eqviz.plots as plots;"
        "[getattr(plots, name) for name in plots.REGISTRY];"
        "assert 'torch' not in sys.modules and 'matplotlib.pyplot' not in sys.modules;"
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_theme_ends_with_its_block():
    before = dict(mpl.rcParams)
    with theme.theme():
        assert mpl.rcParams["svg.fonttype"] == "path"
        assert mpl.rcParams["svg.hashsalt"] == "eqviz"
        assert mpl.rcParams["savefig.dpi"] == 200
    assert dict(mpl.rcParams) == before


def test_figure_has_its_size_and_small_text_even_when_drawn_outside_the_theme():
    made, axes = theme.figure(theme.ONE_COLUMN_MM, 50, rows=2, columns=2)
    assert isinstance(made, Figure)
    assert len(axes) == 4
    assert made.get_size_inches() * 25.4 == pytest.approx([85, 50])
    FigureCanvasAgg(made).draw()
    assert {label.get_fontsize() for ax in axes for label in ax.get_xticklabels()} == {theme.SMALL_PT}


PLOTS = {
    "accuracy_over_rotation": "accuracy_summary",
    "accuracy_polar": "accuracy_summary",
    "accuracy_overview": "accuracy_overview",
    "breaking_by_layer": "equivariance_summary",
    "isotypic_spectrum": "spectrum_summary",
    "surviving_subgroups": "subgroups_summary",
    "exactness_by_size": "exactness",
    "predicted_and_measured": "verdict",
}


@pytest.fixture
def made_tables(
    accuracy_table, overview_table, equivariance_table, spectrum_table, subgroups_table, exactness_table, verdict_table
):
    return {
        "accuracy_summary": accuracy_table, "accuracy_overview": overview_table,
        "equivariance_summary": equivariance_table, "spectrum_summary": spectrum_table,
        "subgroups_summary": subgroups_table, "exactness": exactness_table, "verdict": verdict_table,
    }  # fmt: skip


def draw(name, table, **options):
    return getattr(importlib.import_module("eqviz.plots"), name)(table, **options)


@pytest.mark.parametrize(("name", "table"), PLOTS.items())
def test_empty_and_incomplete_tables_end_in_one_line(name, table, made_tables):
    for wrong in (tables.empty(table), made_tables[table].drop(columns="regime")):
        with pytest.raises(EqvizError, match=f"^table {table}: [^\n]*$"):
            draw(name, wrong)


@pytest.mark.parametrize(("name", "table"), PLOTS.items())
def test_a_second_epoch_is_refused(name, table, made_tables):
    twice = pd.concat([made_tables[table], made_tables[table].assign(epoch=0)])
    with pytest.raises(EqvizError, match="one epoch"):
        draw(name, twice)


@pytest.mark.parametrize(("name", "table"), PLOTS.items())
def test_tables_stay_as_they_were_and_pyplot_knows_nothing(name, table, made_tables):
    import matplotlib.pyplot as plt

    before = made_tables[table].copy(deep=True)
    draw(name, made_tables[table])
    pd.testing.assert_frame_equal(made_tables[table], before)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(("name", "table"), PLOTS.items())
def test_one_network_draws_without_warnings(name, table, made_tables):
    one = made_tables[table]
    drawn = draw(name, one[(one["model"] == "p4cnn") & (one["input_size"] == 15)])
    FigureCanvasAgg(drawn if isinstance(drawn, Figure) else drawn.figure).draw()


@pytest.mark.parametrize(("name", "table"), [item for item in PLOTS.items() if item[0] != "exactness_by_size"])
def test_a_network_without_a_style_is_named(name, table, made_tables):
    table = made_tables[table]
    styles = eqviz.plots.networks(table[table["model"] == "p4cnn"])
    with pytest.raises(EqvizError, match="Z2 CNN, 16 px"):
        draw(name, table, networks=styles)
