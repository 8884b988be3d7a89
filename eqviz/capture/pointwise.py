"""Field types through operations that are no layers but act on every entry by itself: functional rectifiers, sums."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from eqviz.capture.field_following import FieldFollower
from eqviz.fields.layer_calls import tensors_in

_NAMES = (
    "relu relu6 elu selu celu gelu silu mish leaky_relu rrelu hardtanh hardswish hardsigmoid sigmoid logsigmoid "
    "softplus softsign softshrink hardshrink tanhshrink threshold tanh abs neg exp log sqrt square pow clamp clip add "
    "radd iadd sub rsub isub mul rmul imul div truediv itruediv maximum minimum dropout alpha_dropout "
    "feature_alpha_dropout clone contiguous detach rpow rdiv rtruediv reciprocal"
)
_POINTWISE = frozenset(_NAMES.split())
"""Names of torch's functions and of operators, without underscores around them; `add_` and `__add__` are `add`."""


class PointwiseFollowing(TorchFunctionMode):
    """While this lasts, the result of a pointwise operation has the type of the tensors that went in, if they share it.

    Only tensors that hold the `stacked` images count; others (weights, numbers) are constants. Where types or shapes
    differ, or a type is not known, the result is of no known type, also when it overwrites a tensor.
    """

    def __init__(self, follower: FieldFollower, stacked: int) -> None:
        super().__init__()
        self._follower = follower
        self._stacked = stacked

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and remember the type of what a pointwise one gives."""
        del types
        keywords = kwargs or {}
        if self._follower.paused or getattr(func, "__name__", "").strip("_") not in _POINTWISE:
            return func(*args, **keywords)
        known = [(tensor, self._follower.field_of(tensor)) for _, tensor in tensors_in((args, keywords))]
        result = func(*args, **keywords)  # may overwrite one of them
        if isinstance(result, Tensor):
            # what has fewer axes is laid along the last ones: its first axis is not the batch
            stacked = [pair for pair in known if pair[0].dim() == result.dim() and len(pair[0]) == self._stacked]
            if stacked:
                alike = all(tensor.shape == result.shape and field == stacked[0][1] for tensor, field in stacked)
                self._follower.remember(result, stacked[0][1] if alike else None)
        return result
