"""Which network the weights of a file belong to: eqviz's own by shapes, others by building them and trying."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from eqviz.checkpoints.fitting import Reading, fit_state
from eqviz.checkpoints.misfits import explaining_prefixes
from eqviz.checkpoints.names import match_names
from eqviz.checkpoints.reading import Checkpoint
from eqviz.errors import EqvizError
from eqviz.models.construction import construct
from eqviz.models.fetching import fetches
from eqviz.models.lookup import constructors, load, offered_modules
from eqviz.models.recognition import recognise
from eqviz.models.registry import build_model, find_model, unknown_model
from eqviz.studies.foreign.looking import Look, Shapes
from eqviz.studies.foreign.placeholders import SIZE_KEYS
from eqviz.studies.foreign.solving import solve_numbers
from eqviz.studies.settings import read_arguments
from eqviz.studies.streams import own_randomness
from eqviz.studies.toml_tables import TomlTable

Constructor = Callable[..., Any]

_MODEL_KEYS = ("model", "model_name", "arch", "architecture", "net", "network", "backbone")
_IN_CHANNELS = ("in_channels", "in_chans", "input_channels", "n_channels", "channels_in", "in_ch", "in_planes")
_CLASSES = ("classes", "num_classes", "n_classes", "nb_classes", "num_outputs", "n_outputs", "out_classes")
_DOES_MORE = re.compile(
    r"train|load|verb|log|print|save|debug|progress|compile|cuda|gpu|device|init|path|dir$|file|url|ckpt|checkpoint"
    r"|weights|resume|restore|state$|state_dict|fetch|hub|remote|repo|root|folder|cache|pickle",
    re.IGNORECASE,
)
_MOST_FLAGS = 4
_MOST_TRIED = 60
"""Networks of modules that are built in search of one that fits."""


@dataclass(frozen=True)
class Given:
    """What the user says of the networks: the model's name or constructor, keyword arguments, an input size."""

    model: str = ""
    constructor: Constructor | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    size: int | None = None


@dataclass(frozen=True)
class Found:
    """A network with the weights of a file in it, in eval mode; `why` says how it was found.

    `place` is that of the state dict that fits, `rename` prefixes of names that had to be changed.
    """

    model: str
    arguments: dict[str, Any]
    network: nn.Module
    why: str
    place: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NotFound:
    """No network has these weights: `tried` are the names of those that were built or compared, `nearest` says of one
    of them what does not fit.
    """

    tried: tuple[str, ...]
    nearest: str


@dataclass(frozen=True)
class _Candidate:
    name: str
    arguments: Iterable[dict[str, Any]]
    why: str
    constructor: Constructor | None = None


def find_network(checkpoint: Checkpoint, look: Look, given: Given) -> Found | NotFound:
    """The network that the weights of `checkpoint` fit: what the user named; else eqviz's own, told by their shapes;
    else what the settings in the file name; else any that the imported modules have.
    """
    tried: dict[str, tuple[int, str]] = {}
    for candidate in _candidates(look, given):
        for arguments in candidate.arguments:
            try:
                found, matched = _fitted(checkpoint, candidate, arguments)
            except EqvizError as error:
                told = " ".join(f"{candidate.name}: {error.found}; {error.fix}".split())
                tried.setdefault(candidate.name, (0, told))
                continue
            if isinstance(found, Found):
                return found
            if matched >= tried.get(candidate.name, (0, ""))[0]:
                tried[candidate.name] = (matched, found)
            if not matched:
                break  # not one name in common: no number will mend that
    near = [] if given.model or given.constructor else recognise(look.shapes)
    alike = {one.model: f"{one.model}: {one.why}" for one in near}
    best = max(tried.values(), key=lambda pair: pair[0], default=(0, ""))
    nearest = best[1] if best[0] or not alike else next(iter(alike.values()))
    return NotFound((*dict.fromkeys([*tried, *alike]),), nearest)


def _candidates(look: Look, given: Given) -> Iterator[_Candidate]:
    if given.constructor is not None:
        name = str(getattr(given.constructor, "__name__", type(given.constructor).__name__))
        yield _Candidate(name, _arguments(given.constructor, look, given), "as given", given.constructor)
        return
    if given.model:
        exact = [one for one in recognise(look.shapes) if one.score == 1 and one.model == given.model]
        ready = [{**_plain(one.arguments), **given.arguments} for one in exact]
        yield _Candidate(given.model, ready or _arguments(constructor_of(given.model), look, given), "as given")
        return
    named = _named(look)
    exact = [one for one in recognise(look.shapes) if one.score == 1]
    for one in sorted(exact, key=lambda one: one.model not in named):
        yield _Candidate(one.model, [{**_plain(one.arguments), **given.arguments}], f"recognised: {one.why}")
    for name in named:
        yield _Candidate(name, _arguments(constructor_of(name), look, given), "named in the file, and the weights fit")
    for name in _imported(look)[:_MOST_TRIED]:
        yield _Candidate(name, _arguments(constructor_of(name), look, given), "the weights fit")


def constructor_of(name: str) -> Constructor:
    """What builds the model of that name. Raises EqvizError for a name that nothing is known by."""
    where = find_model(name)
    if where is None:
        raise unknown_model("--model", name)
    return load(where)


def _named(look: Look) -> list[str]:
    """Known models that the settings in the file name."""
    values = (look.hyperparameters.get(key) for key in _MODEL_KEYS)
    return [value for value in values if isinstance(value, str) and value and find_model(value) is not None]


def _imported(look: Look) -> list[str]:
    """Models of the imported modules, those first whose names are in the file's name, then those defined last."""
    names = [name for module in offered_modules() for name in constructors(module)]
    return sorted(dict.fromkeys(reversed(names)), key=lambda name: name.lower() not in look.path.lower())


def _fitted(checkpoint: Checkpoint, candidate: _Candidate, arguments: dict[str, Any]) -> tuple[Found | str, int]:
    """The network with the weights; or what does not fit, in words, and how many tensors do.

    Raises EqvizError for a network that cannot be built.
    """
    with own_randomness():
        if candidate.constructor is None:
            network = build_model(candidate.name, **arguments)
        else:
            network = construct(f"model {candidate.name}", candidate.constructor, arguments)
    wanted = network.train().state_dict()
    derived = {*network.eval().state_dict()} - {*wanted}
    network.train()
    shapes = {name: tuple(value.shape) for name, value in wanted.items()}
    words, matched = "it has no weights", 0
    for place, state in checkpoint.states.items() if wanted else ():
        found = {name: tuple(value.shape) for name, value in state.items()}
        match = match_names(found, shapes, {}, (), derived)
        missing = {name: shape for name, shape in shapes.items() if name not in match.names}
        renames = explaining_prefixes(missing, {name: found[name] for name in match.unexpected}) if missing else {}
        for rename in [{}, renames] if renames else [{}]:
            reading = Reading(place=place, rename=rename)
            try:
                state_dict = fit_state(checkpoint, wanted, candidate.name, reading, derived=derived)
            except EqvizError as error:
                if len(match.names) >= matched:
                    words, matched = f"{candidate.name}: {error.found}", len(match.names)
                continue
            network.load_state_dict(state_dict)
            return Found(candidate.name, arguments, network.eval(), candidate.why, place, rename), len(shapes)
    return words, matched


def _arguments(constructor: Constructor, look: Look, given: Given) -> Iterator[dict[str, Any]]:
    """Keyword arguments to try: settings in the file that the constructor takes, and what the shapes say.

    What the user gives counts in any case; what shapes say fills in what is required first, then what has a usual name,
    then whatever number can be solved for, and last with one switch the other way.
    """
    taken = _parameters(constructor)
    settings = {key: value for key, value in look.hyperparameters.items() if key in taken and _only_builds(key, value)}
    settings = {**_plain(settings), **given.arguments}
    shaped = {key: value for key, value in _of_shapes(look.shapes, given.size).items() if key in taken}
    required = {key: value for key, value in shaped.items() if taken[key].default is inspect.Parameter.empty}
    variants = [{**required, **settings}, {**shaped, **settings}, {**settings, **shaped, **given.arguments}]
    yield from (variant for place, variant in enumerate(variants) if variant not in variants[:place])
    yield {**settings, **_plain(solve_numbers(constructor, settings, look.shapes))}
    for flag in _flags(taken, settings):
        switched = {**settings, flag: not taken[flag].default}
        yield switched
        yield {**switched, **_plain(solve_numbers(constructor, switched, look.shapes))}


def _flags(taken: Mapping[str, inspect.Parameter], settings: Mapping[str, Any]) -> list[str]:
    """The first few switches of a constructor whose names do not sound as if they did more than build."""
    flags = [key for key, parameter in taken.items() if isinstance(parameter.default, bool) and key not in settings]
    return [key for key in flags if _only_builds(key)][:_MOST_FLAGS]


def _only_builds(key: str, value: object = None) -> bool:
    """Whether an argument of that name and value sounds as if it did no more than build: it names no file or address.

    It comes out of a file of somebody's, and must not make a constructor fetch or load anything.
    """
    return not _DOES_MORE.search(key) and not fetches(key, value)


def _parameters(constructor: Constructor) -> Mapping[str, inspect.Parameter]:
    try:
        found = inspect.signature(constructor).parameters
    except (TypeError, ValueError):
        return {}
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
    return {name: parameter for name, parameter in found.items() if parameter.kind not in variadic}


def _of_shapes(shapes: Shapes, size: int | None) -> dict[str, Any]:
    """Arguments by the names that they usually have, with the numbers that the first and the last filter speak for."""
    found: dict[str, Any] = {}
    channels, classes = first_channels(shapes), last_classes(shapes)
    if channels is not None:
        found |= dict.fromkeys(_IN_CHANNELS, channels)
    if classes is not None:
        found |= dict.fromkeys(_CLASSES, classes)
    return found if size is None else found | dict.fromkeys(SIZE_KEYS, size)


def first_channels(shapes: Shapes) -> int | None:
    """Channels of the images that a network takes, by its first filter; None where it has none.

    >>> first_channels({"stem.weight": (8, 3, 5, 5), "fc.weight": (10, 8)})
    3
    """
    return next((shape[1] for shape in shapes.values() if len(shape) in (4, 5)), None)


def last_classes(shapes: Shapes) -> int | None:
    """How many numbers a network gives out for an image, by its last filter or matrix; None where it has none.

    >>> last_classes({"stem.weight": (8, 3, 5, 5), "fc.weight": (10, 8)})
    10
    """
    return next((shape[0] for shape in reversed(shapes.values()) if len(shape) in (2, 4, 5)), None)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those values that an eqviz.toml can hold as arguments, tuples as lists."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        listed = list(value) if isinstance(value, tuple) else value
        try:
            found |= read_arguments(TomlTable({key: listed}, "arguments"))
        except EqvizError:
            continue
    return found
