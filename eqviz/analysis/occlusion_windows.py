"""Windows that an element of the grid group maps onto windows: otherwise occlusion itself would break the symmetry."""

from dataclasses import dataclass

from eqviz.errors import EqvizError


@dataclass(frozen=True)
class Windows:
    """Height and width of the windows and of the steps between them, in pixels.

    Along an axis of n pixels they are mapped onto themselves by a reversal when (n - window) mod stride is 0.
    """

    size: tuple[int, int]
    stride: tuple[int, int]

    @property
    def transposed(self) -> "Windows":
        """The same windows on an image whose height and width changed places."""
        return Windows((self.size[1], self.size[0]), (self.stride[1], self.stride[0]))


def fitting_windows(height: int, width: int, window: int | None = None, stride: int | None = None) -> Windows:
    """Windows that fit an image: those given, or about a quarter of an axis wide with half of that between them.

    A given window or stride holds for both axes. Raises EqvizError where it leaves pixels over, for a window that is
    larger than the image, and for a stride that jumps over pixels.

    >>> fitting_windows(16, 17)
    Windows(size=(4, 5), stride=(2, 2))
    >>> fitting_windows(16, 16, window=3, stride=2)
    Traceback (most recent call last):
    eqviz.errors.EqvizError: occlusion: expected (16 - window) a multiple of the stride, so that windows end with the \
image; found window 3, stride 2; leave them out, or take window 4, stride 2
    """
    axes = [_along(length, window, stride) for length in (height, width)]
    return Windows((axes[0][0], axes[1][0]), (axes[0][1], axes[1][1]))


def _along(length: int, window: int | None, stride: int | None) -> tuple[int, int]:
    """The window and stride that fit an axis and are nearest to a quarter and an eighth of it."""
    fits = [
        (w, s)
        for w in ([window] if window is not None else range(1, length + 1))
        for s in ([stride] if stride is not None else range(1, w + 1))
        if 1 <= s <= w <= length and (length - w) % s == 0
    ]
    if not fits:
        nearest = _along(length, None, None)
        given = [f"{name} {value}" for name, value in (("window", window), ("stride", stride)) if value is not None]
        raise EqvizError(
            "occlusion", expected=f"({length} - window) a multiple of the stride, so that windows end with the image",
            found=", ".join(given), fix=f"leave them out, or take window {nearest[0]}, stride {nearest[1]}",
        )  # fmt: skip
    return min(fits, key=lambda pair: (abs(pair[0] - length / 4) + abs(pair[1] - length / 8), pair))
