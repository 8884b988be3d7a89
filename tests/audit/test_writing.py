"""Activations written into memory, part by part: what is said of it against brute force."""

import pytest
import torch

from eqviz.audit.auditing import examine
from eqviz.groups.group import group
from tests.audit.measuring import measure
from tests.audit.steps import Call


def tiled(x):
    out = torch.empty_like(x)
    out[:, 2:] = x[:, 2:].relu()
    out[:, :2] = x[:, :2] * 2
    return out


def listed(x):
    out = torch.empty(x.shape, dtype=x.dtype)
    out[:, torch.tensor([0, 2])] = x[:, 1:3]
    out[:, [3, 1]] = x[:, torch.tensor([0, 3])].tanh()
    return out


def one_by_one(x):
    out = x.new_zeros(x.shape)
    for channel in range(x.shape[1]):
        out[:, channel] = x[:, channel].sigmoid()
    return out


def beside_zeros(x):
    out = torch.zeros(len(x), 6, *x.shape[2:], dtype=x.dtype)
    out[:, 1:5] = x
    return out


def beside_numbers(x):
    out = torch.ones(len(x), 6, *x.shape[2:], dtype=x.dtype)
    out[:, 5] = 3
    out[:, 1:5] = x
    return out


def beside_a_slope(x):
    out = torch.zeros(len(x), 5, *x.shape[2:], dtype=x.dtype)
    out[:, 4] = torch.linspace(-1, 1, x.shape[-1], dtype=x.dtype)
    out[:, :4] = x
    return out


def beside_a_bowl(x):
    rows, columns = (torch.linspace(-1, 1, n, dtype=x.dtype) for n in x.shape[-2:])
    out = torch.zeros(len(x), 5, *x.shape[2:], dtype=x.dtype)
    out[:, 4] = rows[:, None] ** 2 + columns**2
    out[:, :4] = x
    return out


def padded_by_hand(x):
    out = torch.zeros(len(x), 4, x.shape[2] + 2, x.shape[3] + 2, dtype=x.dtype)
    out[..., 1:-1, 1:-1] = x
    return out


def padded_unevenly(x):
    out = torch.zeros(len(x), 4, x.shape[2] + 1, x.shape[3] + 1, dtype=x.dtype)
    out[..., 1:, 1:] = x
    return out


def stretched(x):
    out = torch.zeros(len(x), 4, 2 * x.shape[2] - 1, 2 * x.shape[3] - 1, dtype=x.dtype)
    out[..., ::2, ::2] = x
    return out


def stretched_unevenly(x):
    out = torch.zeros(len(x), 4, 2 * x.shape[2], 2 * x.shape[3], dtype=x.dtype)
    out[..., ::2, ::2] = x
    return out


def row_of_zeros(x):
    out = x.clone()
    out[..., 0, :] = 0
    return out


def frame_of_zeros(x):
    out = x.clone()
    out[..., [0, -1], :] = 0
    out[..., [0, -1]] = 0
    return out


def over_each_other(x):
    out = torch.empty_like(x)
    out[:, :3] = x[:, :3].roll(1, -1)
    out[:, 1:] = x[:, 1:]
    out[:, :2] = x[:, :2]
    return out


def over_each_other_and_broken(x):
    out = torch.empty_like(x)
    out[:, :3] = x[:, :3].roll(1, -1)
    out[:, 1:] = x[:, 1:]
    return out


def halves(x):
    out = torch.empty_like(x)
    middle = x.shape[-1] // 2
    out[..., :middle] = x[..., :middle]
    out[..., middle:] = x[..., middle:]
    return out


def halves_exchanged(x):
    out = torch.empty_like(x)
    middle = x.shape[-1] // 2
    out[..., middle:] = x[..., : x.shape[-1] - middle]
    out[..., :middle] = x[..., x.shape[-1] - middle :]
    return out


def read_between(x):
    out = torch.zeros_like(x)
    out[:, :2] = x[:, :2]
    total = out.sum(1, keepdim=True)
    out[:, 2:] = x[:, 2:].roll(1, -1)
    return total + out


def read_between_and_whole(x):
    out = torch.zeros_like(x)
    out[:, :2] = x[:, :2]
    total = out.sum(1, keepdim=True)
    out[:, 2:] = x[:, 2:].relu()
    return total + out


def view_taken_before(x):
    out = torch.zeros_like(x)
    part = out[:, :2]
    out[:, :2] = x[:, :2].roll(1, -1)
    return part.relu()


def accumulated(x):
    total = torch.zeros(x.shape, dtype=x.dtype)
    for _ in range(2):
        total += x.tanh()
    return total


def accumulated_with_a_shift(x):
    total = torch.zeros(x.shape, dtype=x.dtype)
    for shift in range(2):
        total += x.roll(shift, -1)
    return total


def changed_after_being_written(x):
    out = torch.zeros_like(x)
    out[:, :2] = x[:, :2]
    out[:, 1:3] += x[:, 1:3].roll(1, -2)
    return out


def part_in_place(x):
    x = x.clone()
    x[:, :2] = x[:, :2].flip(1).relu()
    return x


def part_in_place_and_shifted(x):
    x = x.clone()
    x[:, :2] = x[:, :2].roll(1, -1)
    return x


def source_changed_afterwards(x):
    source, out = x.clone(), torch.empty_like(x)
    out[:] = source
    source += torch.linspace(0, 1, x.shape[-1], dtype=x.dtype)
    return out


def written_through_a_transpose(x):
    out = torch.empty_like(x)
    out.transpose(-1, -2)[:] = x
    return out


def masked(x):
    y = x.clone()
    y[x <= 0.1] = 0.0
    return y


def images_one_by_one(x):
    out = torch.empty_like(x)
    for number in range(len(x)):
        out[number] = x[number].roll(1, -1)
    return out


def through_another_view(x):
    out = torch.zeros_like(x)
    out.view(len(x), 2, 2, *x.shape[2:])[:, 0] = x[:, :2].roll(1, -1)
    return out


def through_flat_memory(x):
    out = torch.zeros_like(x)
    out.view(-1)[:100] = x.flatten()[:100]
    return out


def constants_in_the_middle(x):
    x = x.clone()
    x[..., 2:-2, 2:-2] = torch.ones(2, 1, dtype=x.dtype)[:1]
    return x


def tiled_channels(x):
    return x.repeat(1, 2, 1, 1).relu_()


def a_view_beside(x):
    x = x.clone()
    first, last = x[..., :-1], x[..., 1:]
    first.mul_(2)
    return last


FOLLOWED = {
    "channels repeated": tiled_channels,
    "parts that tile": tiled, "lists of parts": listed, "channels one by one": one_by_one,
    "beside zeros": beside_zeros, "beside numbers": beside_numbers, "beside a slope": beside_a_slope,
    "beside a bowl": beside_a_bowl, "a pad by hand": padded_by_hand, "an uneven pad by hand": padded_unevenly,
    "zeros between": stretched, "zeros between and after": stretched_unevenly, "a row of zeros": row_of_zeros,
    "a frame of zeros": frame_of_zeros, "over each other": over_each_other,
    "over each other and broken": over_each_other_and_broken, "two halves": halves,
    "halves exchanged": halves_exchanged, "read between": read_between,
    "read between and whole": read_between_and_whole, "a view taken before": view_taken_before,
    "accumulated": accumulated, "accumulated with a shift": accumulated_with_a_shift,
    "changed after being written": changed_after_being_written, "a part in place": part_in_place,
    "a part in place, shifted": part_in_place_and_shifted, "a source changed afterwards": source_changed_afterwards,
    "through a transpose": written_through_a_transpose, "masked": masked,
}  # fmt: skip
NOT_FOLLOWED = {
    "constants in the middle": constants_in_the_middle, "a view beside what was changed": a_view_beside,
    "images one by one": images_one_by_one, "through another view": through_another_view,
    "through flat memory": through_flat_memory,
}  # fmt: skip


ON_SQUARES = ("through a transpose", "a source changed afterwards", "beside a bowl")
"""What runs on squares alone, or has constants of another size on the transposed image, which are not compared."""


@pytest.mark.parametrize("name", FOLLOWED)
@pytest.mark.parametrize("size", [(8, 8), (6, 8)])
def test_what_is_written_is_predicted_as_measured(name, size):
    if size[0] != size[1] and name in ON_SQUARES:
        return
    network = Call(FOLLOWED[name])
    measured = measure([network], 4, size, group("D4"), count=8)
    found = examine(network, size, "D4", channels=4)
    rows = [(row.op, row.exact, row.surviving, row.why) for row in found.operations]
    assert not measured.unclear
    assert found.exact is measured.exact, rows
    assert frozenset(found.surviving.elements) == measured.surviving, rows
    shapes = examine(network, size, "D4", channels=4, values=False)
    assert frozenset(shapes.surviving.elements) <= measured.surviving


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_what_is_not_followed_says_why(name):
    network = Call(NOT_FOLLOWED[name])
    for values in (True, False):
        found = examine(network, 8, "D4", channels=4, values=values)
        assert found.exact is None
        assert "not followed" in found.first_fault.why
