"""Which of eqviz's networks a state dict belongs to, told by the names and shapes of its tensors alone.

No network says how its arguments become shapes. So each is built once without memory, with a different large prime for
every number it takes: a length that a prime divides is that argument times what is left, any other is always the same.
"""

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch

from eqviz.errors import EqvizError
from eqviz.models.lookup import load
from eqviz.models.registry import MODELS
from eqviz.models.resnet import HEADS
from eqviz.models.separable import SEPARABLE

Shapes = Mapping[str, tuple[int, ...]]
Words = tuple[tuple[str, str], ...]

LEAST_ALIKE, MOST_NEAR = 0.5, 3
"""Networks with a smaller share of tensors in common are not worth telling, nor are more than so many."""

_CHOICES = {"head": HEADS, "separable": tuple(SEPARABLE)}
"""Arguments that are words, and what they may be."""

_PRIMES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061)
_OPTIONAL = "num_batches_tracked"  # old files and some frameworks do without


@dataclass(frozen=True)
class Recognised:
    """A network that has these tensors: build it with `build_model(model, **arguments)`.

    `score` is the share of tensors that fit, of those in the file or the network: 1 if all do. `why` is for people.
    """

    model: str
    arguments: dict[str, object]
    score: float
    why: str


@dataclass(frozen=True)
class _Number:
    """An argument that is a number, or one of several numbers."""

    argument: str
    position: int | None = None


_Axis = int | tuple[_Number, int]  # always that long, or so many times a number
_Blueprint = Mapping[str, tuple[_Axis, ...]]


def recognise(shapes: Shapes) -> tuple[Recognised, ...]:
    """The networks of eqviz that have tensors of these names and shapes, with the arguments they follow from.

    Names as in a state dict, without the prefixes of wrappers; those of `num_batches_tracked` may be missing. Numbers
    are always among the arguments, words only where they are not the default. What has no tensors, such as pools and
    dropout, cannot be told: networks that differ in nothing else come one after another, in the order of the registry.
    If no network fits, up to three that come near, best first, with what differs; empty if none does.

    >>> from eqviz.models.registry import build_model
    >>> network = build_model("p4conv", channels=3)
    >>> found = recognise({name: tuple(value.shape) for name, value in network.state_dict().items()})
    >>> found[0].model, found[0].arguments
    ('p4conv', {'in_channels': 1, 'classes': 2, 'channels': 3})
    >>> print(found[0].why)
    all 4 tensors fit; as they do in p4mconv, which differs in what has no tensors
    """
    given = {name: tuple(shape) for name, shape in shapes.items() if not name.endswith(_OPTIONAL)}
    own = [name for name, target in MODELS.items() if target.startswith("eqviz.")]
    found = [best for model in own if (best := _best(model, given)) is not None]
    exact = [one for one in found if one.score == 1 and _really_has(one, given)]
    if not exact:
        near = (one for one in found if LEAST_ALIKE <= one.score < 1)
        return tuple(sorted(near, key=lambda one: -one.score)[:MOST_NEAR])
    return tuple(
        Recognised(
            one.model, one.arguments, 1.0, _explain(len(given), [other.model for other in exact if other != one])
        )
        for one in exact
    )


def _explain(count: int, others: list[str]) -> str:
    same = f"; as they do in {', '.join(others)}, which differs in what has no tensors" if others else ""
    return f"all {count} tensors fit{same}"


def _best(model: str, given: Shapes) -> Recognised | None:
    """The best fit of this network over its words; the first of equals, the defaults before all others."""
    usual, *others = _words(model)
    if _alike(_blueprint(model, usual), given) < LEAST_ALIKE:
        return None
    fits = [fit for words in (usual, *others) if (fit := _fit(model, words, given)) is not None]
    return max(fits, key=lambda fit: fit.score, default=None)


def _fit(model: str, words: Words, given: Shapes) -> Recognised | None:
    """The network with these words, and with the numbers that most of the given lengths speak for."""
    blueprint = _blueprint(model, words)
    numbers = _read(blueprint, given)
    needed = {axis[0] for axes in blueprint.values() for axis in axes if isinstance(axis, tuple)}
    if needed - numbers.keys():
        return None
    expected = {name: tuple(_length(axis, numbers) for axis in axes) for name, axes in blueprint.items()}
    same = sum(given.get(name) == shape for name, shape in expected.items())
    arguments = _arguments(model, numbers) | {
        key: word for key, word in words if word != _parameters(model)[key].default
    }
    return Recognised(model, arguments, same / len({*expected, *given}), _differences(expected, given))


def _read(blueprint: _Blueprint, given: Shapes) -> dict[_Number, int]:
    """Every number, by majority: each length that follows from it has a vote."""
    votes: dict[_Number, Counter[int]] = {}
    for name, axes in blueprint.items():
        if name not in given or len(axes) != len(given[name]):
            continue
        for axis, length in zip(axes, given[name], strict=True):
            if isinstance(axis, tuple) and length > 0 and length % axis[1] == 0:
                votes.setdefault(axis[0], Counter())[length // axis[1]] += 1
    return {number: count.most_common(1)[0][0] for number, count in votes.items()}


def _length(axis: _Axis, numbers: Mapping[_Number, int]) -> int:
    return axis if isinstance(axis, int) else axis[1] * numbers[axis[0]]


def _alike(blueprint: _Blueprint, given: Shapes) -> float:
    """The share of tensors whose name, number of axes and lengths that never change are the same."""
    alike = sum(
        len(axes) == len(given[name])
        and all(isinstance(axis, tuple) or axis == length for axis, length in zip(axes, given[name], strict=True))
        for name, axes in blueprint.items() if name in given
    )  # fmt: skip
    return alike / len({*blueprint, *given})


def _differences(expected: Shapes, given: Shapes) -> str:
    other = [
        f"{name} is {given[name]}, not {shape}{_hint(given[name], shape)}"
        for name, shape in expected.items() if given.get(name, shape) != shape
    ]  # fmt: skip
    missing = [f"no {name}" for name in expected if name not in given]
    more = [f"{name} is more than it has" for name in given if name not in expected]
    return "; ".join(part for kind in (other, missing, more) for part in _first(kind))


def _hint(given: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What a linear layer with 4 or 8 times the numbers may be about."""
    flattened = (
        len(given) == len(expected) == 2 and given[0] == expected[0] and given[1] in {4 * expected[1], 8 * expected[1]}
    )
    return ": is the group axis flattened before it?" if flattened else ""


def _first(differences: list[str], most: int = 2) -> list[str]:
    rest = len(differences) - most
    return differences[:most] + ([f"and {rest} more like it"] if rest > 0 else [])


def _really_has(found: Recognised, given: Shapes) -> bool:
    """Whether the network, built with these arguments, has these tensors."""
    try:
        return _shapes(found.model, found.arguments) == given
    except EqvizError:  # a number it refuses
        return False


def _shapes(model: str, arguments: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the network's tensors, without allocating any."""
    with torch.device("meta"):
        state = load(MODELS[model])(**arguments).state_dict()
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(_OPTIONAL)}


@lru_cache(maxsize=256)
def _blueprint(model: str, words: Words) -> _Blueprint:
    """How long each axis of each tensor is, in terms of the network's numbers."""
    numbers = dict(zip(_numbers(model), _PRIMES, strict=False))
    shapes = _shapes(model, _arguments(model, numbers) | dict(words))
    return {name: tuple(_axis(length, numbers) for length in shape) for name, shape in shapes.items()}


def _axis(length: int, numbers: Mapping[_Number, int]) -> _Axis:
    return next(((number, length // prime) for number, prime in numbers.items() if length % prime == 0), length)


def _parameters(model: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(load(MODELS[model])).parameters


def _numbers(model: str) -> Iterator[_Number]:
    """What the network takes in whole numbers: by their defaults, one number or several."""
    for name, parameter in _parameters(model).items():
        if isinstance(parameter.default, tuple):
            yield from (_Number(name, position) for position in range(len(parameter.default)))
        elif isinstance(parameter.default, int):
            yield _Number(name)


def _arguments(model: str, numbers: Mapping[_Number, int]) -> dict[str, object]:
    """The numbers as keyword arguments, in the order of the constructor's."""
    arguments: dict[str, object] = {}
    for number in _numbers(model):
        if number.position is None and number in numbers:
            arguments[number.argument] = numbers[number]
        elif number in numbers:
            arguments[number.argument] = (*arguments.get(number.argument, ()), numbers[number])  # type: ignore[misc]  # a tuple so far
    return arguments


def _words(model: str) -> tuple[Words, ...]:
    """All combinations of the words it takes, the defaults first."""
    taken = [name for name in _parameters(model) if name in _CHOICES]
    usual = [_parameters(model)[name].default for name in taken]
    options = [
        sorted(_CHOICES[name], key=lambda word: word != default) for name, default in zip(taken, usual, strict=True)
    ]
    return tuple(tuple(zip(taken, words, strict=True)) for words in product(*options))
