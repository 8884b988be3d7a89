"""Field types: how a group acts on the activations of a layer.

A field type is an immutable value with one method, `act`. A module declares the type of its output in an attribute
`field_type` (see :func:`declare`) or, as those of e2cnn and escnn do, in `out_type`; everything else in eqviz asks for
nothing more.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from eqviz.errors import EqvizError
from eqviz.fields.base import FieldType as FieldType
from eqviz.fields.geometric_tensors import is_library_type
from eqviz.fields.grid_action import act_on_maps
from eqviz.fields.steerable import Steerable
from eqviz.fields.steerable_reading import steerable
from eqviz.groups.group import Element, Group, group
from eqviz.groups.irreps import fibre_permutation

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@final
@dataclass(frozen=True)
class Invariant(FieldType):
    """Nothing moves: class scores, pooled features."""

    @property
    def name(self) -> str:
        return "invariant"

    def act(self, features: Tensor, element: Element) -> Tensor:
        del element
        return features

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) >= 1

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (1,) * len(shape)


@final
@dataclass(frozen=True)
class Image(FieldType):
    """Only pixels move: `(batch, ..., height, width)`, the trivial representation on the fibre."""

    @property
    def name(self) -> str:
        return "image"

    def act(self, features: Tensor, element: Element) -> Tensor:
        return act_on_maps(features, element)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) >= 3

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (*(1,) * (len(shape) - 2), *shape[-2:])


@final
@dataclass(frozen=True)
class Regular(FieldType):
    """Pixels move and the group axis is permuted: (g f)(u) = f(g^-1 u).

    Layouts: `(batch, channel, |G|, height, width)` and, without space, `(batch, channel, |G|)`; `flattened`:
    `(batch, channel*|G|, height, width)` and `(batch, channel*|G|)`, the group axis running fastest.

    Networks that were not written for eqviz may have the axis otherwise. `reversed`: entry u belongs to the element
    u^-1, so that (g f)(u) = f(u g); for C4 that is the axis counted clockwise. `group_first`: the group axis comes
    before the channels, `(batch, |G|, channel, ...)`, and runs slowest when flattened.

    >>> Regular(group("C4")).act(torch.tensor([[[1, 2, 3, 4]]]), group("C4").elements[1]).tolist()
    [[[4, 1, 2, 3]]]
    >>> field_type("regular(C4, reversed)").act(torch.tensor([[[1, 2, 3, 4]]]), group("C4").elements[1]).tolist()
    [[[2, 3, 4, 1]]]
    """

    group: Group
    flattened: bool = False
    reversed: bool = False
    group_first: bool = False

    @property
    def name(self) -> str:
        chosen = zip(_OPTIONS, (self.flattened, self.reversed, self.group_first), strict=True)
        return f"regular({', '.join([str(self.group), *(option for option, holds in chosen if holds)])})"

    def act(self, features: Tensor, element: Element) -> Tensor:
        if self.flattened:
            return self._act(self._unflattened(features), element).flatten(1, 2)
        return self._act(features, element)

    def _unflattened(self, features: Tensor) -> Tensor:
        order = self.group.order
        channels = features.shape[1] // order
        axes = (order, channels) if self.group_first else (channels, order)
        return features.reshape(len(features), *axes, *features.shape[2:])

    def _act(self, features: Tensor, element: Element) -> Tensor:
        moved = act_on_maps(features, element) if features.dim() == 5 else features
        if element == self.group.elements[0]:
            return moved
        source = list(_permutation(self.group, element, self.reversed))
        return moved[:, source] if self.group_first else moved[:, :, source]

    def fits(self, shape: tuple[int, ...]) -> bool:
        if self.flattened:
            return len(shape) in (2, 4) and shape[1] % self.group.order == 0
        return len(shape) in (3, 5) and shape[1 if self.group_first else 2] == self.group.order

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        if self.group_first:
            return (1, *shape[1:])
        return (1, self.group.order, *shape[2:]) if self.flattened else (1, 1, *shape[2:])

    def represents(self, element: Element) -> bool:
        return element in self.group


_OPTIONS = ("flattened", "reversed", "group first")


@lru_cache(maxsize=1024)
def _permutation(group: Group, element: Element, reverse: bool) -> tuple[int, ...]:
    """`out[u] = in[permutation[u]]`: u from g^-1 u, or from u g where entry u belongs to u^-1."""
    g = group.index(element)
    return tuple(int(u) for u in group.cayley[:, g]) if reverse else fibre_permutation(group, g)


@final
@dataclass(frozen=True, eq=False)
class Vector(FieldType):
    """A representation by a user's own matrices, `(|G|, d, d)`, on the channel axis of `(batch, d)` or `(batch, d,
    height, width)`.

    The matrices must be orthogonal and multiply as the group does (to 1e-6); EqvizError otherwise.
    """

    group: Group
    matrices: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        matrices = np.asarray(self.matrices, dtype=np.float64)
        object.__setattr__(self, "matrices", matrices)
        order = self.group.order
        if matrices.ndim != 3 or len(matrices) != order or matrices.shape[1] != matrices.shape[2]:
            self._refuse(f"matrices of shape ({order}, d, d)", f"shape {matrices.shape}")
        gram = matrices @ matrices.transpose(0, 2, 1)
        if not np.allclose(gram, np.eye(matrices.shape[1]), atol=1e-6):
            self._refuse("orthogonal matrices", "some that are not")
        products = np.einsum("gij,hjk->ghik", matrices, matrices)
        if not np.allclose(products, matrices[self.group.cayley], atol=1e-6):
            self._refuse(f"matrices that multiply as {self.group} does", "a product that differs")

    def _refuse(self, expected: str, found: str) -> None:
        raise EqvizError(f"vector field of {self.group}", expected=expected, found=found, fix="check the matrices")

    @property
    def name(self) -> str:
        return f"vector({self.group}, {self.matrices.shape[1]})"

    def act(self, features: Tensor, element: Element) -> Tensor:
        matrix = torch.as_tensor(self.matrices[self.group.index(element)], dtype=features.dtype, device=features.device)
        moved = act_on_maps(features, element) if features.dim() == 4 else features
        return torch.einsum("ij,bj...->bi...", matrix, moved)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) in (2, 4) and shape[1] == self.matrices.shape[1]

    def represents(self, element: Element) -> bool:
        return element in self.group


@final
@dataclass(frozen=True)
class Tokens(FieldType):
    """Patches of an image as a sequence, row by row, after `first` tokens that stay: `(batch, token, channel)`.

    The tokens that stay come first, such as a class token. Elements that transpose act where the grid is square.

    >>> field_type("tokens(2, 2, class token)").act(torch.arange(5.0).view(1, 5, 1), group("C4").elements[1]).flatten()
    tensor([0., 2., 4., 1., 3.])
    """

    height: int
    width: int
    first: int = 0

    @property
    def name(self) -> str:
        others = {0: "", 1: ", class token"}.get(self.first, f", {self.first} class tokens")
        return f"tokens({self.height}, {self.width}{others})"

    def act(self, features: Tensor, element: Element) -> Tensor:
        kept, patches = features[:, : self.first], features[:, self.first :]
        maps = patches.transpose(1, 2).reshape(len(features), -1, self.height, self.width)
        return torch.cat([kept, act_on_maps(maps, element).flatten(2).transpose(1, 2)], 1)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[1] == self.first + self.height * self.width

    def channel_shape(self, shape: tuple[int, ...]) -> tuple[int, ...] | None:
        return (1, *shape[1:])

    def represents(self, element: Element) -> bool:
        return self.height == self.width or (element.on_grid and not element.transposes)


def square_tokens(shape: tuple[int, ...]) -> tuple[Tokens, ...]:
    """Types of tokens of a square grid, without or with a class token, that activations of this shape could have.

    >>> [str(field) for field in square_tokens((2, 197, 8))], square_tokens((2, 48, 8))
    (['tokens(14, 14, class token)'], ())
    """
    if len(shape) != 3:
        return ()
    sides = {first: math.isqrt(max(0, shape[1] - first)) for first in (0, 1)}
    return tuple(Tokens(side, side, first) for first, side in sides.items() if side > 1 and side**2 + first == shape[1])


def field_type(name: object) -> FieldType:
    """The field type of that name: image, invariant, regular(G), and regular(G, flattened, reversed, group first) with
    any of these options (see :class:`Regular`); tokens(H, W), with `class token` or `2 class tokens` where there are
    some before those of the grid of H rows and W columns. A field type of e2cnn or escnn becomes eqviz's own.

    >>> field_type("regular(p4m)").name, field_type("regular(C4, reversed, flattened)").name
    ('regular(D4)', 'regular(C4, flattened, reversed)')
    """
    if isinstance(name, FieldType):
        return name
    if is_library_type(name):
        return steerable(name)
    text = name if isinstance(name, str) else ""
    if text.strip() in ("image", "invariant"):
        return Image() if text.strip() == "image" else Invariant()
    tokens = _TOKENS.fullmatch(text)
    if tokens:
        height, width, one, several = tokens.groups()
        return Tokens(int(height), int(width), 1 if one else int(several or 0))
    regular = re.fullmatch(r"\s*regular\(([^,]+)((?:,[a-z ]+)*)\)\s*", text)
    options = [option.strip() for option in regular.group(2).split(",")[1:]] if regular else []
    if regular and set(options) <= set(_OPTIONS) and len(options) == len(set(options)):
        return Regular(group(regular.group(1)), *(option in options for option in _OPTIONS))
    raise EqvizError(
        "field type", found=" ".join(repr(name).split())[:80], fix="choose one of these, with the group in place of G",
        expected="image, invariant, regular(G) or regular(G, flattened), with reversed or group first where it is so, "
        "or tokens(H, W) or tokens(H, W, class token)",
    )  # fmt: skip


_COUNT = r"\s*([1-9]\d{0,3})"
_TOKENS = re.compile(rf"\s*tokens\({_COUNT}\s*,{_COUNT}\s*(?:,\s*(?:(class token)|{_COUNT} class tokens)\s*)?\)\s*")


def declare(module: AnyModule, field: object, *, by_glob: bool = False) -> AnyModule:
    """Say of which field type the output of `module` is, as :func:`field_type` takes it; returns the module.

    `by_glob`: said of many layers at once, so it counts only where it fits what a layer gives out.

    >>> declare(nn.ReLU(), "regular(C4)").field_type.name
    'regular(C4)'
    """
    module.field_type = field_type(field)  # type: ignore[assignment]  # a plain attribute, not a parameter or module
    module.field_type_by_glob = by_glob  # type: ignore[assignment]  # the same
    return module


def declared(module: nn.Module) -> FieldType | None:
    """The field type that `module` declares for its output, or None.

    The type of a network over the trivial group says nothing of rotations and reflections, and counts as none; so does
    a type of a steerable library that eqviz cannot read.
    """
    found = getattr(module, "field_type", None)
    if isinstance(found, FieldType):
        return found
    own = getattr(module, "out_type", None)
    try:
        return telling(steerable(own)) if is_library_type(own) else None
    except EqvizError:
        return None


def telling(field: Steerable) -> Steerable | None:
    """The type itself, if it says of more elements than the identity how they act."""
    return None if field.group is not None and field.group.order == 1 else field


def declared_by_glob(module: nn.Module) -> bool:
    """Whether the field type of `module` was declared of many layers at once: it counts where it fits."""
    return getattr(module, "field_type_by_glob", False) is True


def counts_where_it_fits(module: nn.Module) -> bool:
    """Whether the field type of `module` counts only for outputs that it fits.

    So it is with one declared of many layers at once, and with what a steerable library's module calls its type.
    """
    return declared_by_glob(module) or not isinstance(getattr(module, "field_type", None), FieldType)
