"""Reading lists against torch: what a convolution, a pool and an adaptive pool really read, for every small case."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eqviz.groups.subsampling import OUTSIDE, adaptive_windows, fits, leftover, transposed_windows, windows

LENGTHS = range(1, 14)
WINDOWS = [
    (kernel, stride, dilation) for kernel, stride, dilation in product(range(1, 6), range(1, 5), range(1, 4))
]  # fmt: skip


def ramp(length):
    """Positions 1 to length along an axis, so that 0 is what padding brings."""
    return torch.arange(1.0, length + 1, dtype=torch.float64).reshape(1, 1, 1, length)


def read_by_unfold(length, kernel, stride, before, after, dilation):
    padded = F.pad(ramp(length), (before, after))
    columns = F.unfold(padded, (1, kernel), (1, dilation), 0, (1, stride))
    return columns[0].T.long().numpy() - 1


@pytest.mark.parametrize(("kernel", "stride", "dilation"), WINDOWS)
def test_windows_read_what_unfold_reads(kernel, stride, dilation):
    for length, before, after in product(LENGTHS, range(4), range(4)):
        found = windows(length, kernel, stride, before, after, dilation)
        if length + before + after < dilation * (kernel - 1) + 1:
            assert found.shape == (0, kernel)
        else:
            assert (found == read_by_unfold(length, kernel, stride, before, after, dilation)).all()


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_read_what_pools_read(ceil):
    """Maxima over a rising and a falling ramp are the last and the first position that a window reads inside."""
    for (kernel, stride, dilation), length in product(WINDOWS, LENGTHS):
        for padding in range(kernel // 2 + 1):
            found = windows(length, kernel, stride, padding, padding, dilation, ceil=ceil)
            arguments = ((1, kernel), (1, stride), (0, padding), (1, dilation), ceil)
            try:
                last = F.max_pool2d(ramp(length), *arguments).flatten().clamp(min=0) - 1  # -inf: reads nothing inside
            except RuntimeError:  # no position is left
                assert len(found) == 0
                continue
            falling = F.max_pool2d(ramp(length).flip(-1), *arguments).flatten()
            inside = [[p for p in row if p != OUTSIDE] for row in found.tolist()]
            assert [max(row, default=OUTSIDE) for row in inside] == last.tolist()
            assert [length - min(row) if row else -np.inf for row in inside] == falling.tolist()


def test_windows_count_positions_as_average_pools_do():
    for kernel, stride, length in product(range(1, 6), range(1, 5), LENGTHS):
        for padding, ceil in product(range(kernel // 2 + 1), (False, True)):
            lists = windows(length, kernel, stride, padding, padding, ceil=ceil).tolist()
            if not lists:
                continue
            arguments = ((1, kernel), (1, stride), (0, padding), ceil)
            pooled = F.avg_pool2d(ramp(length), *arguments, count_include_pad=False).flatten()
            inside = [[p + 1 for p in row if p != OUTSIDE] for row in lists]
            means = [np.mean(row) if row else 0 for row in inside]
            assert means == pytest.approx(pooled.tolist(), rel=1e-12)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), WINDOWS)
def test_transposed_windows_read_what_transposed_convolutions_read(kernel, stride, dilation):
    """Each tap alone, as a filter with a single 1, brings one input position to every output position."""
    for length, padding in product(range(1, 8), range(3)):
        for extra in range(max(stride, dilation)):
            count = (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1
            if count < 1:
                continue
            taps = torch.eye(kernel, dtype=torch.float64).reshape(1, kernel, 1, kernel)
            read = F.conv_transpose2d(ramp(length), taps, None, (1, stride), (0, padding), (0, extra), 1, (1, dilation))
            expected = read[0, :, 0].T.long().numpy() - 1
            assert (transposed_windows(length, kernel, stride, padding, extra, dilation) == expected).all()


def test_adaptive_windows_read_what_adaptive_pools_read():
    for length, positions in product(range(1, 25), range(1, 25)):
        size = (1, positions)
        last = F.adaptive_max_pool2d(ramp(length), size).flatten()
        first = length + 1 - F.adaptive_max_pool2d(ramp(length).flip(-1), size).flatten()
        found = adaptive_windows(length, positions)
        assert [end for _, end in found] == last.tolist()
        assert [start + 1 for start, _ in found] == first.tolist()
        means = [(start + 1 + end) / 2 for start, end in found]
        assert means == pytest.approx(F.adaptive_avg_pool2d(ramp(length), size).flatten().tolist(), rel=1e-12)


def test_adaptive_windows_are_symmetric():
    for length, positions in product(range(1, 40), repeat=2):
        found = adaptive_windows(length, positions)
        assert found == tuple((length - end, length - start) for start, end in reversed(found))


def mirrored(lists, length):
    """The reading lists of the reversed axis: output positions and input positions run backwards, taps too."""
    return np.where(lists == OUTSIDE, OUTSIDE, length - 1 - lists)[::-1, ::-1]


@pytest.mark.parametrize(("kernel", "stride", "dilation"), WINDOWS)
def test_the_closed_form_is_the_symmetry_of_the_reading_list(kernel, stride, dilation):
    """For lengths above 2, wherever every window reads something inside the input."""
    for length, before, after in product(range(3, 30), range(3), range(3)):
        found = windows(length, kernel, stride, before, after, dilation)
        if len(found) and (found != OUTSIDE).any(axis=1).all():
            symmetric = np.array_equal(found, mirrored(found, length))
            assert fits(length, kernel, stride, before, after, dilation) == symmetric, (length, before, after)


def test_leftover_is_what_no_window_reaches():
    for (kernel, stride, dilation), length in product(WINDOWS, LENGTHS):
        for before, after in product(range(3), range(3)):
            padded = length + before + after
            if padded < dilation * (kernel - 1) + 1:
                continue
            last = windows(padded, kernel, stride, dilation=dilation)[-1, -1]
            assert leftover(length, kernel, stride, before, after, dilation) == padded - 1 - last


@pytest.mark.parametrize(
    ("length", "arguments", "fitting"),
    [
        (28, (2, 2), True), (27, (2, 2), False), (29, (2, 2), False),
        (33, (3, 2, 1, 1), True), (32, (3, 2, 1, 1), False), (31, (3, 2, 0, 1), True), (32, (3, 2, 0, 1), False),
        (8, (2, 1, 0, 1), False), (9, (1, 2), True), (8, (1, 2), False),
    ],
)  # fmt: skip
def test_one_pixel_decides(length, arguments, fitting):
    assert fits(length, *arguments) == fitting
