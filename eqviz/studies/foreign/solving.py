"""Numbers that a constructor takes, such as a width, solved from the shapes of weights.

The network is built as it is, and again for every number with another in its place. A length that changed follows that
number; it is taken to do so in proportion, and the most lengths that agree decide.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from eqviz.checkpoints.names import Shapes, match_names
from eqviz.errors import EqvizError
from eqviz.models.construction import construct
from eqviz.studies.streams import own_randomness

_ON_META, _IN_MEMORY = ((101, 2424), (5, 12)), ((3, 4), (5, 8))
"""For numbers that are required, and for changes: values to build with; the second of each where the first does not do,
because heads or groups have to divide it. Without memory they may be large, and hardly a length by chance.
"""

_COUNTS = re.compile(r"depth|layers|levels|stages|blocks|repeats|seed", re.IGNORECASE)
"""Words in names of numbers that are no length of any tensor; a hundred of what they count would take long to build."""


def solve_numbers(constructor: Callable[..., Any], arguments: Mapping[str, Any], shapes: Shapes) -> dict[str, int]:
    """Whole numbers among the arguments of `constructor` that lengths in `shapes` speak for, beside `arguments`.

    >>> from torch import nn
    >>> solve_numbers(nn.Linear, {}, {"weight": (5, 3), "bias": (5,)})
    {'in_features': 3, 'out_features': 5}
    """
    unknown = {key: parameter for key, parameter in _numbers(constructor).items() if key not in arguments}
    for device, (values, others) in (("meta", _ON_META), ("cpu", _IN_MEMORY)):
        build = partial(_built, constructor, device)
        for value in others:
            required = {key: value for key, parameter in unknown.items() if parameter.default is _NONE}
            usual = build({**required, **arguments})
            if usual is not None:
                base = {**required, **arguments}
                starts = {key: required.get(key, parameter.default) for key, parameter in unknown.items()}
                found = {key: _solved(build, base, usual, key, start, values, shapes) for key, start in starts.items()}
                return {key: value for key, value in found.items() if value is not None}
    return {}


def _solved(
    build: Callable[[dict[str, Any]], Shapes | None], base: Mapping[str, Any], usual: Shapes, key: str, start: int,
    values: Sequence[int], shapes: Shapes,
) -> int | None:  # fmt: skip
    for value in values:
        changed = build({**base, key: value}) if value != start else None
        if changed is not None:
            votes = _votes(usual, changed, shapes, start, value)
            return votes.most_common(1)[0][0] if votes else None
    return None


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


def _built(constructor: Callable[..., Any], device: str, arguments: dict[str, Any]) -> Shapes | None:
    """Names and shapes of the network's tensors; None where it cannot be built so."""
    try:
        with own_randomness(), torch.device(device):
            state = construct("", constructor, arguments).state_dict()
    except EqvizError:
        return None
    return {name: tuple(value.shape) for name, value in state.items()}


def _votes(usual: Shapes, changed: Shapes, shapes: Shapes, start: int, value: int) -> Counter[int]:
    """What each length that follows the number says of it."""
    votes: Counter[int] = Counter()
    for name, there in match_names(shapes, changed, {}, ()).names.items():
        before, after, given = usual.get(name, ()), changed[name], shapes[there]
        if not len(before) == len(after) == len(given):
            continue
        for old, new, length in zip(before, after, given, strict=True):
            if new != old:
                steps, rest = divmod((length - old) * (value - start), new - old)
                votes[start + steps] += not rest and start + steps > 0
    return +votes
