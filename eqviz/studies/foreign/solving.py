"""Numbers that a constructor takes, such as a width, solved from the shapes of weights.

The network is built without memory, once as it is and once for every number with a prime in its place: a length that
changed and that the prime divides is that number times what is left.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch

from eqviz.checkpoints.names import Shapes, match_names
from eqviz.errors import EqvizError
from eqviz.models.construction import construct
from eqviz.studies.streams import own_randomness

_PRIMES = (101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157)
"""Large enough to be no length by chance, small enough for a depth."""

_ANOTHER = 163
_DIVISIBLE = 24
"""Where a prime does not do, because heads or groups have to divide the number: a multiple that they divide."""


_COUNTS = re.compile(r"depth|layers|levels|stages|blocks|repeats|seed", re.IGNORECASE)
"""Words in names of numbers that are no length of any tensor; a hundred of what they count would take long to build."""


def solve_numbers(constructor: Callable[..., Any], arguments: Mapping[str, Any], shapes: Shapes) -> dict[str, int]:
    """Whole numbers among the arguments of `constructor` that lengths in `shapes` speak for, beside `arguments`.

    >>> from torch import nn
    >>> solve_numbers(nn.Linear, {}, {"weight": (5, 3), "bias": (5,)})
    {'in_features': 3, 'out_features': 5}
    """
    unknown = [key for key, parameter in _numbers(constructor).items() if key not in arguments]
    primes = dict(zip(unknown, _PRIMES, strict=False))
    required = {key: prime for key, prime in primes.items() if _numbers(constructor)[key].default is _NONE}
    usual = _built(constructor, {**required, **arguments})
    if usual is None:
        return {}
    found: dict[str, int] = {}
    for key, prime in primes.items():
        other = _ANOTHER if key in required else prime
        for value in (other, _DIVISIBLE * other):
            changed = _built(constructor, {**required, **arguments, key: value})
            votes = Counter() if changed is None else _votes(usual, changed, shapes, value)
            if votes:
                found[key] = votes.most_common(1)[0][0]
            if changed is not None:
                break
    return found


_NONE = inspect.Parameter.empty


def _numbers(constructor: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters that are whole numbers by their default; or that are required and say nothing else."""
    try:
        parameters = inspect.signature(constructor).parameters
    except (TypeError, ValueError):
        return {}
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        key: parameter for key, parameter in parameters.items() if parameter.kind in named and _is_number(parameter)
    }


def _is_number(parameter: inspect.Parameter) -> bool:
    if parameter.default is _NONE:
        return parameter.annotation in (int, "int", _NONE)
    return type(parameter.default) is int


def _built(constructor: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of the network's tensors; None where it cannot be built so."""
    try:
        with own_randomness(), torch.device("meta"):
            state = construct("", constructor, arguments).state_dict()
    except EqvizError:
        return None
    return {name: tuple(value.shape) for name, value in state.items()}


def _votes(usual: Shapes, changed: Shapes, shapes: Shapes, value: int) -> Counter[int]:
    """What each length that follows the number says of it."""
    votes: Counter[int] = Counter()
    for name, there in match_names(shapes, changed, {}, ()).names.items():
        before, after, given = usual.get(name, ()), changed[name], shapes[there]
        if not len(before) == len(after) == len(given):
            continue
        for old, new, length in zip(before, after, given, strict=True):
            times, rest = divmod(new, value)
            if new != old and not rest and length and not length % times:
                votes[length // times] += 1
    return votes
