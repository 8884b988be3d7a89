"""A model whose input is padded or resized first."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eqviz.audit.auditing import examine
from eqviz.audit.fixes import fitted_input, fitting_size
from eqviz.fields.field_types import declare
from eqviz.fields.grid_action import act_on_grid
from eqviz.groups.group import group

D4 = group("D4").elements


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("pad", (7, 7), (9, 9)), ("pad", (6, 8), (8, 10)), ("resize", (7, 7), (8, 8)), ("resize", (9, 9), (5, 5)),
        ("resize", (7, 9), (10, 12)),
    ],
)  # fmt: skip
def test_bringing_to_a_size_commutes_with_the_group(kind, before, after):
    images = torch.rand(2, 3, *before, dtype=torch.float64)
    for element in D4:
        swapped = after[::-1] if element.transposes else after
        first = fitted_input(nn.Identity(), kind, after)(act_on_grid(images, element))
        then = act_on_grid(fitted_input(nn.Identity(), kind, after)(images), element)
        torch.testing.assert_close(first, then)
        assert first.shape[-2:] == swapped


def test_an_odd_pad_puts_the_extra_pixel_last():
    padded = fitted_input(nn.Identity(), "pad", (3, 4))(torch.ones(1, 1, 2, 2))
    assert padded[0, 0].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert torch.equal(padded, F.pad(torch.ones(1, 1, 2, 2), (1, 1, 0, 1)))


def test_a_pad_never_cuts():
    with pytest.raises(ValueError, match="larger than"):
        fitted_input(nn.Identity(), "pad", (4, 4))(torch.ones(1, 1, 5, 4))


def test_the_declared_field_type_is_passed_on():
    model = declare(nn.Identity(), "image")
    assert fitted_input(model, "pad", (4, 4)).field_type.name == "image"
    assert not hasattr(fitted_input(nn.Identity(), "pad", (4, 4)), "field_type")


@pytest.mark.parametrize(
    ("kind", "size", "below", "above", "safe", "expected"),
    [
        ("resize", (32, 32), 25, 33, 0, (33, 33)), ("resize", (30, 30), 29, 33, 0, (29, 29)),
        ("resize", (27, 27), 26, 28, 0, (28, 28)), ("resize", (27, 27), None, None, 0, None),
        ("resize", (27, 27), 20, None, 0, (20, 20)), ("pad", (28, 28), 26, 30, 0, (30, 30)),
        ("pad", (27, 27), 24, 30, 3, (33, 33)), ("pad", (27, 27), 26, 28, 2, (28, 28)),
        ("pad", (9, 9), 8, None, 2, None),
        ("pad", (40, 40), 39, 57, 57, (57, 57)),
    ],
)  # fmt: skip
def test_the_size_to_choose(kind, size, below, above, safe, expected):
    near = [None if side is None else (side, side) for side in (below, above)]
    assert fitting_size(kind, size, *near, lambda pair: all(side % safe == 0 for side in pair)) == expected


def test_sides_grow_by_themselves_where_they_differ():
    assert fitting_size("pad", (6, 9), None, (7, 9), lambda pair: pair == (6, 13)) == (6, 13)
    assert fitting_size("resize", (6, 9), (4, 9), (7, 10), lambda pair: False) == (7, 10)


def test_the_audit_of_a_model_that_is_mended():
    pool = nn.MaxPool2d(2)
    assert examine(pool, 27, "D4", channels=1).exact is False
    assert examine(fitted_input(pool, "resize", (28, 28)), 27, "D4", channels=1).exact is True
    assert examine(fitted_input(pool, "resize", (26, 26)), 27, "D4", channels=1).exact is True
    assert examine(fitted_input(nn.MaxPool2d(4), "pad", (28, 28)), 26, "D4", channels=1).exact is True
    assert examine(fitted_input(nn.AvgPool2d(2), "pad", (28, 28)), 27, "D4", channels=1).exact is not True
