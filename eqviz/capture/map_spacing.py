"""How far apart the pixels of a feature map lie in the input image, followed through a forward pass."""

from typing import Any

from torch import nn

from eqviz.fields.generators import Spacing

Size = tuple[int, int]


class MapSpacing:
    """The spacing of maps, by their size: that of the latest map of this size which a layer gave out.

    A layer with a stride multiplies the spacing of its input by it (divides, if it is a transposed convolution): the
    ratio of map sizes is another number wherever a kernel has no padding or a stride leaves rows over. Any other layer
    keeps the spacing of its input if it keeps its size, and has that of an earlier map of its output's size otherwise,
    as a residual block does; where there is none (adaptive pooling, resizing), the ratio of sizes has to do.

    >>> spacing = MapSpacing((16, 16))
    >>> spacing.after(nn.Conv2d(1, 1, 3, stride=2), (16, 16), (7, 7))
    (2.0, 2.0)
    >>> spacing.of((7, 7)), spacing.after(nn.AdaptiveAvgPool2d(4), (16, 16), (4, 4))
    ((2.0, 2.0), (4.0, 4.0))
    """

    def __init__(self, image: Size) -> None:
        self._image = image
        self._known: dict[Size, Spacing] = {image: (1.0, 1.0)}

    def of(self, size: Size) -> Spacing:
        """The spacing of a map of this size; by the ratio of sizes for one that no layer gave out."""
        return self._known.get(size) or _scaled((1.0, 1.0), _ratio(self._image, size))

    def after(self, module: nn.Module, source: Size | None, size: Size) -> Spacing:
        """The spacing of the map of this size that a layer made of one of size `source`, from now on of that size."""
        stride = _stride(module)
        if source is None or (stride is None and source != size and size in self._known):
            found = self.of(size)
        elif stride is not None:
            found = _scaled(self.of(source), stride)
        else:
            found = _scaled(self.of(source), _ratio(source, size))
        self._known[size] = found
        return found


def _ratio(source: Size, size: Size) -> Spacing:
    return source[0] / size[0], source[1] / size[1]


def _scaled(spacing: Spacing, factor: Spacing) -> Spacing:
    return spacing[0] * factor[0], spacing[1] * factor[1]


def _stride(module: nn.Module) -> Spacing | None:
    """What a layer says of its stride along rows and columns; the inverse for a transposed convolution."""
    stride: Any = getattr(module, "stride", None)
    axes = (stride,) if isinstance(stride, int) else stride
    if not isinstance(axes, tuple) or not axes or not all(isinstance(step, int) and step > 0 for step in axes):
        return None
    rows, columns = float(axes[-2 if len(axes) > 1 else -1]), float(axes[-1])
    return (1 / rows, 1 / columns) if getattr(module, "transposed", False) else (rows, columns)
