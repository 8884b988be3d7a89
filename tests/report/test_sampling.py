"""Sampling grids of a report: read from the audit, one for each operation and size."""

import pandas as pd
import pytest

from eqviz.errors import EqvizError
from eqviz.groups.subsampling import windows
from eqviz.plots.audited_sampling import Sampling, first_subsampling
from eqviz.report.sampling import sampled_grids
from eqviz.report.sections import Tables, sections


def row(**changed):
    plain = {"op": "conv2d", "size": "33", "kernel": "3", "stride": "2", "padding": "1", "dilation": "1"}
    return plain | {"layer": "conv", "leftover": "0"} | changed


@pytest.mark.parametrize(
    ("changed", "size", "rows", "columns"),
    [
        ({}, (33, 33), windows(33, 3, 2, 1, 1), windows(33, 3, 2, 1, 1)),
        ({"size": "8x13", "kernel": "3x1", "padding": "1x0"}, (8, 13), windows(8, 3, 2, 1, 1), windows(13, 1, 2)),
        ({"padding": "0,1", "stride": "2x1"}, (33, 33), windows(33, 3, 2, 0, 1), windows(33, 3, 1, 0, 1)),
        ({"padding": "0,1x2", "dilation": "2"}, (33, 33), windows(33, 3, 2, 0, 1, 2), windows(33, 3, 2, 2, 2, 2)),
        ({"padding": "", "dilation": ""}, (33, 33), windows(33, 3, 2), windows(33, 3, 2)),
    ],
)
def test_an_operation_is_read_from_its_row(changed, size, rows, columns):
    found = Sampling.read(row(**changed))
    assert found.size == size
    for own, wanted in zip(found.lists(size), (rows, columns), strict=True):
        assert own.tolist() == wanted.tolist()


def test_the_first_operation_that_takes_steps_is_chosen():
    table = pd.DataFrame(
        [
            row(layer="a", stride="1"),
            row(layer="b", op="mean", stride="", kernel="", size=""),
            row(layer="c", op="slice", stride="2"),
            row(layer="d", op="max_pool2d", kernel="2", padding="0"),
            row(layer="e"),
        ]
    )
    sampling, found = first_subsampling(table)
    assert (found["layer"], sampling.op, sampling.ceil) == ("d", "max_pool2d", False)
    assert first_subsampling(table[:3]) is None


@pytest.mark.parametrize(("following", "rounded"), [("17", True), ("16", False), ("", False)])
def test_a_pool_that_rounds_up_is_known_by_what_follows(following, rounded):
    table = pd.DataFrame([row(op="max_pool2d", kernel="2", padding="0"), row(size=following)])
    sampling, _ = first_subsampling(table)
    assert sampling.ceil is rounded
    assert len(sampling.lists((33, 33))[0]) == (17 if rounded else 16)


def test_one_grid_for_each_input_size(runs):
    (section,) = sections(Tables(runs))
    eight, nine = sampled_grids(section)
    assert (eight.title, nine.title) == ("8 px", "9 px")
    assert eight.lines[0] == "P4 CNN, Z2 CNN"
    assert (eight.size, nine.size) == ((8, 8), (9, 9))
    assert eight.lines[-2:] == ["left over: nothing", "fits: keeps C4"]
    assert nine.lines[-2:] == ["left over: 1 row and 1 column", "breaks: nothing survives"]
    assert (eight.element, eight.turns, eight.reflected) == ("rotation 90", 1, False)
    assert eight.image.shape == (8, 8)


def test_networks_that_were_not_traced_have_no_grid(runs, monkeypatch):
    (section,) = sections(Tables(runs))
    monkeypatch.setattr(type(section), "predicted", lambda self, name: runs.table(name).iloc[:0])
    with pytest.raises(EqvizError, match="none that was traced"):
        sampled_grids(section)
