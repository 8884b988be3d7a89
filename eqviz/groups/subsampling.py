"""The subsampling law: what every output position of a windowed operation reads along one axis.

A reading list is an array (positions, taps) of input positions, `OUTSIDE` where a tap falls beyond the input. An
operation keeps the reflection of its axis exactly when reversing the axis maps the list onto itself; the same lists on
both axes are what it takes to keep the transpose as well. Nothing here knows tensors.

Source: Edixhoven, Lengyel & van Gemert 2023, Using and Abusing Equivariance, section 3.
"""

import numpy as np

from eqviz.groups.group import Integers

OUTSIDE = -1


def windows(
    length: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1, *, ceil: bool = False
) -> Integers:
    """Reading list (positions, kernel) of a convolution or pool on an axis of `length`, padded `before` and `after`.

    With `ceil` a last window that starts inside the input or the padding before it is kept although it sticks out.
    No position is left (an empty list) where the kernel is longer than the padded axis.

    >>> windows(5, 3, stride=2, before=1, after=1).tolist()
    [[-1, 0, 1], [1, 2, 3], [3, 4, -1]]
    """
    room = length + before + after - dilation * (kernel - 1) - 1
    if room < 0 and not ceil:
        return np.zeros((0, kernel), dtype=np.int64)
    count = -(-room // stride) + 1 if ceil else room // stride + 1
    if ceil and (count - 1) * stride >= length + before:
        count -= 1
    starts = np.arange(max(count, 0), dtype=np.int64) * stride - before
    return _inside(starts[:, None] + dilation * np.arange(kernel, dtype=np.int64), length)


def transposed_windows(
    length: int, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> Integers:
    """Reading list (positions, kernel) of a transposed convolution: the input position that each tap brings, if any.

    >>> transposed_windows(2, 2, stride=2).tolist()
    [[0, -1], [-1, 0], [1, -1], [-1, 1]]
    """
    count = (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1
    reached = np.arange(max(count, 0), dtype=np.int64)[:, None] + padding - dilation * np.arange(kernel, dtype=np.int64)
    sources = np.where(reached % stride == 0, reached // stride, OUTSIDE)
    return _inside(sources, length)


def adaptive_windows(length: int, positions: int) -> tuple[tuple[int, int], ...]:
    """First and one past the last input position of every output position of an adaptive pool.

    >>> adaptive_windows(5, 3)
    ((0, 2), (1, 4), (3, 5))
    """
    return tuple((i * length // positions, -(-(i + 1) * length // positions)) for i in range(positions))


def leftover(length: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> int:
    """How many positions at the end of the padded axis no window reaches.

    >>> leftover(27, 2, 2), leftover(28, 2, 2), leftover(32, 3, 2, 1, 1)
    (1, 0, 1)
    """
    return (length + before + after - dilation * (kernel - 1) - 1) % stride


def fits(length: int, kernel: int, stride: int = 1, before: int = 0, after: int = 0, dilation: int = 1) -> bool:
    """Whether a convolution keeps the reflection of this axis, in closed form, for a length above 2.

    What is left over at the end must be what the padding has more there: with even padding, nothing.

    >>> fits(33, 3, 2, 1, 1), fits(32, 3, 2, 1, 1), fits(33, 3, 2, 0, 1)
    (True, False, True)
    """
    return leftover(length, kernel, stride, before, after, dilation) == after - before


def _inside(positions: Integers, length: int) -> Integers:
    return np.where((positions >= 0) & (positions < length), positions, OUTSIDE).astype(np.int64)
