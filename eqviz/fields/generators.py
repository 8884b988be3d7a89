"""How continuous rotation, translation and scaling act on fields: the derivative of the action at the identity.

A one-parameter group T_t moves pictures, and with them the fields that a network makes of them. Its generator is
X f = d/dt at t = 0 of T_t f: a first-order differential operator on the pixels and, where a rotation turns the fibre
too, an antisymmetric matrix on the fibre.
"""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from eqviz.errors import EqvizError
from eqviz.fields.derivatives import Order, gradient
from eqviz.fields.field_types import FieldType, Image, Invariant, Regular, Vector
from eqviz.fields.steerable import Steerable
from eqviz.groups.group import Element, Group

UNITS = {"rotation": "radian", "translation x": "pixel", "translation y": "pixel", "scale": "log scale"}
"""The transformations and the unit of their parameter t.

rotation       counter-clockwise about the centre of the map, t in radians
translation x  to the right, translation y: upwards, t in pixels of the input image
scale          enlarged about the centre of the map by exp(t)
"""

Spacing = tuple[float, float]
"""How far neighbouring rows, and neighbouring columns, of a map lie apart, in pixels of the input image."""


def generate(
    features: Float[Tensor, "batch ..."],
    field: FieldType,
    transformation: str,
    spacing: Spacing = (1.0, 1.0),
    order: Order = 4,
) -> Float[Tensor, "batch ..."]:
    """X f for features of a field type, (batch, ...), and one of the transformations in `UNITS`.

    With x to the right and y upwards from the centre of the map, in pixels of the input image,

        rotation       X f =  y df/dx - x df/dy, and the fibre turned by :func:`fibre_generator`
        translation x  X f = -df/dx;  translation y: -df/dy
        scale          X f = -x df/dx - y df/dy

    Features that have no map (pooled ones) keep still under translation and scale; those of type `invariant` always.
    Derivatives are central differences (:func:`eqviz.fields.derivatives.derivative_matrix`). The centre is that of the
    map itself, also where a stride that leaves rows over has put it half a pixel beside that of the image: such a layer
    does not keep rotations, and is not to be called exact. Raises EqvizError for a type whose fibre it does not know.

    >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    >>> generate(ramp, Image(), "rotation")[0, 0, :, 0].tolist()
    [1.5, 0.5, -0.5, -1.5]
    """
    moved = torch.zeros_like(features)
    if has_map(field, features.dim()):
        downwards, rightwards = gradient(features, order)
        along_rows, along_columns = _velocities(features, transformation, spacing)
        moved = along_columns * rightwards + along_rows * downwards
    if transformation == "rotation":
        fibre = fibre_generator(field)
        if fibre is not None:
            moved = moved + _on_fibre(fibre, features, field)
    return moved


def has_map(field: FieldType, dimensions: int) -> bool:
    """Whether features of this type and number of axes have rows and columns.

    >>> from eqviz.groups.group import group
    >>> has_map(Image(), 4), has_map(Invariant(), 4), has_map(Regular(group("C4")), 3)
    (True, False, False)
    """
    if isinstance(field, Regular):
        return dimensions == (4 if field.flattened else 5)
    return isinstance(field, Image) or (dimensions == 4 and not isinstance(field, Invariant))


def _velocities(maps: Tensor, transformation: str, spacing: Spacing) -> tuple[Tensor | float, Tensor | float]:
    """The weights of the derivatives downwards and to the right, by pixel of the map; they broadcast."""
    height, width = maps.shape[-2:]
    rows, columns = spacing
    down = (torch.arange(height, dtype=maps.dtype, device=maps.device) - (height - 1) / 2)[:, None] * rows
    right = (torch.arange(width, dtype=maps.dtype, device=maps.device) - (width - 1) / 2)[None, :] * columns
    if transformation == "rotation":
        return right / rows, -down / columns
    if transformation == "scale":
        return -down / rows, -right / columns
    return (0.0, -1 / columns) if transformation == "translation x" else (1 / rows, 0.0)


@lru_cache(maxsize=64)
def fibre_generator(field: FieldType) -> npt.NDArray[np.float64] | None:
    """The antisymmetric matrix by which a continuous rotation turns the fibre of a type, per radian; None for no fibre.

    The smallest rotation of the type's group, by a = 2 pi / N, acts on the fibre by an orthogonal matrix P with
    P^N = 1, whose eigenvalues are exp(i k a). The one-parameter group of the lowest frequencies, |k| < N/2, has

        X = log(P) / a = sum_r c_r P^r,  c_r = 2/N sum_{0 < k < N/2} k sin(k r a)

    and exp(a X) = P: trigonometric interpolation between the rotations of the group. On the Nyquist component
    (eigenvalue -1, k = N/2) a single real number would have to turn into its negative without passing through others:
    X is 0 there, as the derivative of trigonometric interpolation is at its nodes. A steerable field of SO(2) or O(2)
    has a generator of its own, and needs no interpolation.
    Source: Trefethen 2000, Spectral Methods in MATLAB, chapter 3.
    Raises EqvizError for a type whose fibre is not known.

    >>> from eqviz.groups.group import group
    >>> fibre_generator(Regular(group("C4")))[0].round(12).tolist()  # (f[u-1] - f[u+1]) / 2
    [0.0, -0.5, 0.0, 0.5]
    """
    if isinstance(field, Steerable) and field.group is None:
        return None if field.still else field.fibre_generator
    group = getattr(field, "group", None)
    if isinstance(field, Image | Invariant) or (isinstance(group, Group) and group.rotations == 1):
        return None
    if not isinstance(field, Regular | Vector | Steerable) or group is None:
        raise EqvizError(
            "field type", expected="image, invariant, regular(G) or a vector field, whose fibre is known",
            found=str(field), fix="leave the transformation `rotation` out for this layer",
        )  # fmt: skip
    N = group.rotations
    P = _fibre_matrix(field, group.elements[1])
    frequencies = np.arange(1, (N + 1) // 2)
    X, power = np.zeros_like(P), np.eye(len(P))
    for r in range(N):
        X += 2 / N * float(np.sum(frequencies * np.sin(2 * math.pi * frequencies * r / N))) * power
        power = P @ power
    X = np.asarray((X - X.T) / 2)  # antisymmetric already, up to rounding
    X.flags.writeable = False
    return X


def _fibre_matrix(field: Regular | Vector | Steerable, element: Element) -> npt.NDArray[np.float64]:
    if isinstance(field, Steerable):
        return field.fibre_matrix(element)
    if isinstance(field, Vector):
        return np.asarray(field.matrices[field.group.index(element)])
    basis = torch.eye(field.group.order, dtype=torch.float64)[:, None]
    return np.asarray(Regular(field.group, reversed=field.reversed).act(basis, element)[:, 0].numpy().T)


def _on_fibre(matrix: npt.NDArray[np.float64], features: Tensor, field: FieldType) -> Tensor:
    turn = torch.tensor(matrix, dtype=features.dtype, device=features.device)
    if not isinstance(field, Regular):
        return _along(turn, features, 1)
    axis = 1 if field.group_first else 2
    if not field.flattened:
        return _along(turn, features, axis)
    order = field.group.order
    channels = features.shape[1] // order
    apart = (order, channels) if field.group_first else (channels, order)
    unflattened = features.reshape(len(features), *apart, *features.shape[2:])
    return _along(turn, unflattened, axis).reshape(features.shape)


def _along(matrix: Tensor, features: Tensor, axis: int) -> Tensor:
    turned: Tensor = torch.tensordot(features, matrix, dims=([axis], [1]))
    return turned.movedim(-1, axis)
