"""The sampling grid: middles of windows, pixels left out, and the moved copy moved back where it came from."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from eqviz.errors import EqvizError
from eqviz.groups.group import group
from eqviz.groups.subsampling import fits, windows
from eqviz.plots.sampled_grid import SampledGrid, cut_off, middles
from eqviz.plots.sampling import sampling_grid

D4 = group("D4").elements


def grid(size, kernel, stride, padding=0, element=D4[1], image=None):
    height, width = size if isinstance(size, tuple) else (size, size)
    upright = tuple(windows(length, kernel, stride, padding, padding) for length in (height, width))
    moved = upright[::-1] if element.transposes else upright
    return SampledGrid(
        "title",
        ["line"],
        (height, width),
        upright,
        moved,
        str(element),
        element.quarter_turns,
        element.reflected,
        image,
    )


def pairs(points):
    return {tuple(point) for point in points.tolist()}


def line(ax, label):
    (found,) = [one for one in ax.lines if one.get_label() == label]
    return {(y, x) for x, y in zip(found.get_xdata(), found.get_ydata(), strict=True)}


@pytest.mark.parametrize("element", D4, ids=str)
def test_moving_back_undoes_the_move(element):
    """Reference: carry the number of every pixel along with the image itself."""
    numbers = np.arange(3 * 5).reshape(3, 5)
    moved = np.rot90(numbers, element.quarter_turns)
    moved = moved[::-1] if element.reflected else moved
    one = grid((3, 5), 1, 1, element=element)
    assert one.moved_size == moved.shape
    back = one.back(np.argwhere(moved >= 0).astype(float)).astype(int)
    assert [numbers[y, x] for y, x in back] == moved.ravel().tolist()


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 3, 0), (5, 2, 1), (7, 2, 3)])
@pytest.mark.parametrize("size", range(7, 14))
def test_the_turned_grid_lies_on_the_first_exactly_where_the_layer_fits(size, kernel, stride, padding):
    one = grid(size, kernel, stride, padding)
    upright, moved = pairs(middles(one.upright)), pairs(one.back(middles(one.moved)))
    assert (upright == moved) == fits(size, kernel, stride, padding, padding)


def test_a_misfit_keeps_the_transpose():
    one = grid(15, 2, 2, element=D4[5])
    assert pairs(middles(one.upright)) == pairs(one.back(middles(one.moved)))


def test_middles_may_lie_in_the_padding_and_windows_outside_are_left_out():
    axis = windows(4, 3, 2, 2, 2)
    assert axis[0].tolist() == [-1, -1, 0]
    assert pairs(middles((axis, axis))) >= {(-1.0, -1.0), (1.0, 1.0), (3.0, 3.0)}
    assert pairs(middles((np.array([[-1, -1], [0, 1]]),) * 2)) == {(0.5, 0.5)}


def test_pixels_left_over_are_hatched_on_both_copies():
    made = sampling_grid([grid(15, 2, 2)])
    said, upright, moved, both = made.axes
    hatched = [
        [(p.get_y() + 0.5, p.get_x() + 0.5) for p in ax.patches if p.get_gid() == "cut off"]
        for ax in (upright, moved, both)
    ]
    left = pairs(cut_off((15, 15), (windows(15, 2, 2),) * 2))
    assert left == {(14.0, float(n)) for n in range(15)} | {(float(n), 14.0) for n in range(15)}
    assert set(hatched[0]) == set(hatched[1]) == left
    assert len(hatched[2]) == 2 * 29
    assert {(float(n), 0.0) for n in range(15)} <= set(hatched[2])
    assert "title" in [text.get_text() for text in said.texts]


@pytest.mark.parametrize(("size", "left"), [(8, 15), (9, 0)])
def test_pixels_between_windows_are_not_cut_off(size, left):
    assert len(cut_off((size, size), (windows(size, 1, 2),) * 2)) == left
    _, upright, *_ = sampling_grid([grid(size, 1, 2)]).axes
    assert len([patch for patch in upright.patches if patch.get_gid() == "cut off"]) == left


@pytest.mark.parametrize(("size", "together"), [(15, False), (16, True), (17, False)])
def test_rings_and_dots_are_the_numbers(size, together):
    _, upright, moved, both = sampling_grid([grid(size, 2, 2)]).axes
    wanted = {(2 * y + 0.5, 2 * x + 0.5) for y in range(size // 2) for x in range(size // 2)}
    assert line(upright, "upright") == line(moved, "moved") == line(both, "upright") == wanted
    assert (line(both, "moved") == wanted) is together


def test_long_axes_show_both_ends():
    _, upright, _, both = sampling_grid([grid(224, 7, 2, 3)]).axes
    ends = line(upright, "upright")
    assert (0.0, 0.0) in ends
    assert len(ends) == 10 * 10
    assert [label.get_text() for label in upright.get_xticklabels()] == ["0", "223"]
    assert not line(both, "upright") & line(both, "moved")


def test_the_image_lies_underneath_and_turns_with_the_grid():
    image = np.arange(12.0).reshape(3, 4)
    _, upright, moved, _ = sampling_grid([grid((3, 4), 2, 2, image=image)]).axes
    shown = [ax.images[0].get_array() for ax in (upright, moved)]
    np.testing.assert_allclose(shown[1], np.rot90(shown[0]))
    assert shown[0].min() >= 0.7


def test_a_figure_of_many_rows_draws_without_warnings():
    rows = [grid(n, 2, 2) for n in (8, 9)] + [grid((8, 13), 3, 2, 1), grid(50, 3, 2, 1, element=D4[6])]
    made = sampling_grid(rows)
    FigureCanvasAgg(made).draw()
    assert len(made.axes) == 4 * 4


def test_what_is_no_grid_is_refused_in_one_line():
    with pytest.raises(EqvizError, match="at least one SampledGrid"):
        sampling_grid([])
    with pytest.raises(EqvizError, match=r"image of title: expected shape \(8, 8\)"):
        grid(8, 2, 2, image=np.zeros((3, 3)))
    lists = windows(9, 2, 1), windows(9, 2, 1)
    with pytest.raises(EqvizError, match="-1 to 7"):
        SampledGrid("title", [], (8, 8), lists, lists)
    nothing = (np.zeros((0, 3), dtype=np.int64),) * 2
    with pytest.raises(EqvizError, match="reading list of title"):
        SampledGrid("title", [], (8, 8), nothing, nothing)
