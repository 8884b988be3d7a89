"""Tensors that carry their field type: what the layers of steerable libraries (e2cnn, escnn) take and give.

Neither library is imported. A geometric tensor is whatever has a `tensor` of torch and a `type` with `representations`;
a library's field type is whatever has `representations`, a `gspace` and a `size`.
"""

import copy
from typing import Any

from torch import Tensor


def is_geometric(value: object) -> bool:
    """Whether this is a tensor together with its field type.

    >>> import torch
    >>> is_geometric(torch.zeros(2))
    False
    """
    if isinstance(value, Tensor) or not isinstance(getattr(value, "tensor", None), Tensor):
        return False
    return is_library_type(getattr(value, "type", None))


def is_library_type(value: object) -> bool:
    """Whether this is a field type of a steerable library.

    >>> is_library_type("regular(C4)")
    False
    """
    return all(hasattr(value, name) for name in ("representations", "gspace", "size"))


def tensor_of(value: Any) -> Tensor | None:
    """The tensor that this is or holds, or None.

    >>> tensor_of("a text") is None
    True
    """
    if isinstance(value, Tensor):
        return value
    return value.tensor if is_geometric(value) else None


def with_tensor(value: Any, tensor: Tensor) -> Any:
    """A geometric tensor of the same type, and with whatever else it holds, on another tensor."""
    other = copy.copy(value)
    other.tensor = tensor
    return other


def is_steerable_module(module: object) -> bool:
    """Whether this is a module of a steerable library, or one of a user's own that names its types as these do.

    >>> from torch import nn
    >>> is_steerable_module(nn.ReLU())
    False
    """
    return all(is_library_type(getattr(module, name, None)) for name in ("in_type", "out_type"))
