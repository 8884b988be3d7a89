"""Building networks of other people's: whatever goes wrong in them is told in a line."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from eqviz.errors import EqvizError, told
from eqviz.models.arguments import brief

if TYPE_CHECKING:
    from torch import nn

_OLD_NUMPY = ("tostring", "Unable to avoid copy")
"""What e2cnn 0.2.3 stumbles over: it was written for numpy before 2, and these words say so."""

_OLD_TORCH = "masked_fill_ only supports boolean masks"
"""What its irreps of groups with reflections stumble over: they were written for a torch with masks of bytes."""


def construct(about: str, constructor: Callable[..., Any], arguments: Mapping[str, object]) -> "nn.Module":
    """The network that `constructor` makes of these keyword arguments, with whatever weights it draws.

    Raises EqvizError for arguments it does not take or lacks, for anything it raises, and for what is no network;
    `about` is what the error calls it.

    >>> from torch import nn
    >>> construct("model mine", nn.Linear, {"in_features": 2, "out_features": 3}).weight.shape
    torch.Size([3, 2])
    >>> construct("model mine", nn.Linear, {"in_features": 2, "classes": 3})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    eqviz.errors.EqvizError: model mine: expected in_features, out_features, ...; found 'classes'; leave it out
    """
    from torch import nn

    check_arguments(about, constructor, arguments)
    try:
        made = constructor(**arguments)
    except EqvizError:
        raise
    except (Exception, SystemExit) as error:
        raise EqvizError(
            about, expected="a network that can be built with these arguments",
            found=told(error), fix=_advice(error),
        ) from error  # fmt: skip
    if isinstance(made, nn.Module):
        _refuse_lazy(about, made)
        return made
    raise EqvizError(
        about, expected="a torch.nn.Module", found=f"a value of type {type(made).__name__}",
        fix="name the class, or the function that builds the model",
    )  # fmt: skip


def _refuse_lazy(about: str, model: "nn.Module") -> None:
    from torch.nn.parameter import is_lazy

    lazy = [name for name, value in (*model.named_parameters(), *model.named_buffers()) if is_lazy(value)]
    if lazy:
        raise EqvizError(
            about, expected="weights that have shapes", found=f"lazy ones: {', '.join(lazy[:3])}",
            fix="name a function that builds the model and runs it once on an image",
        )  # fmt: skip


def check_arguments(about: str, constructor: Callable[..., Any], arguments: Mapping[str, object]) -> None:
    """Raise EqvizError for keyword arguments that `constructor` does not take, or lacks, by its signature."""
    try:
        parameters = inspect.signature(constructor).parameters
    except (TypeError, ValueError):
        return  # it does not say what it takes; calling it will
    kinds = inspect.Parameter
    takes = [key for key, value in parameters.items() if value.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    expected = ", ".join(takes) or "no arguments"
    unknown = [key for key in arguments if key not in takes]
    if unknown and not any(value.kind is kinds.VAR_KEYWORD for value in parameters.values()):
        near = difflib.get_close_matches(unknown[0], takes, n=1)
        fix = f"did you mean {near[0]}?" if near else "leave it out"
        raise EqvizError(about, expected=expected, found=brief(", ".join(unknown)), fix=fix)
    missing = [key for key in takes if parameters[key].default is kinds.empty and key not in arguments]
    if missing:
        raise EqvizError(about, expected=expected, found=f"no {', '.join(missing)}", fix="give it")


def _advice(error: BaseException) -> str:
    if any(words in told(error) for words in _OLD_NUMPY):
        return "e2cnn 0.2.3 needs numpy before 2: install 'eqviz[steerable]' in an environment of its own"
    if _OLD_TORCH in told(error):
        return "e2cnn 0.2.3 cannot build these irreps with this torch: use regular fields, or an older torch"
    return "check the arguments, or mend the model"
