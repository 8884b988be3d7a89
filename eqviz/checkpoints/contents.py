"""What is in a loaded checkpoint: state dicts wherever they lie, hyperparameters, the epoch."""

import argparse
import itertools
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor, nn

from eqviz.checkpoints.pickle_names import Attributes

Content = Any
"""What torch.load gives: dictionaries, lists, tensors and plain values within each other, also in circles."""

_PREFERRED = (
    "", "state_dict", "model", "model_state_dict", "model_state", "net", "net_state_dict", "network", "weights",
    "params", "module", "backbone", "encoder",
)  # fmt: skip
_SETTINGS = ("hyper_parameters", "hyperparameters", "hparams", "args", "config", "cfg", "opt", "options")
_NO_SETTINGS = {*_SETTINGS, "format", "epoch"}
_AVERAGES = {"ema", "shadow", "swa", "averaged", "averaging", "avg"}
_NO_NETWORKS = re.compile(r"optim|sched|scaler|^amp$|^loops$|^rng|_rng", re.IGNORECASE)
_DEPTH = 8
_MOST_ITEMS = 1000
_MOST_VALUES = 10_000
_MOST_LOOKED_AT = 1_000_000
_LONGEST = 10_000


def find_states(content: Content) -> dict[str, dict[str, Tensor]]:
    """Every state dict in `content` by its place, the keys and indices that lead there with dots between them.

    A state dict is a mapping from names to tensors, among them one of real numbers with an axis; plain values in it are
    left out. States of optimisers, schedulers and most callbacks are none. Best first: what the file itself is,
    then places with a usual name, then others, averages of weights (EMA, SWA) last.

    >>> import torch
    >>> state = {"weight": torch.ones(2)}
    >>> list(find_states({"ema": {"shadow": dict(state)}, "epoch": 3, "state_dict": dict(state)}))
    ['state_dict', 'ema.shadow']
    """
    found: dict[str, dict[str, Tensor]] = {}
    seen: set[int] = set()
    left = [_MOST_LOOKED_AT]
    level: list[tuple[tuple[str, ...], Content]] = [((), content)]
    for _ in range(_DEPTH):
        deeper: list[tuple[tuple[str, ...], Content]] = []
        for place, value in level:
            if id(value) in seen or _is_of_optimiser(value):
                continue
            seen.add(id(value))
            value = value.state_dict() if isinstance(value, nn.Module) else value
            if _is_state(value, left):
                if "callbacks" in place and not is_average(".".join(place)):
                    continue  # a callback's own numbers, but for those that average weights
                tensors = {name: tensor for name, tensor in value.items() if isinstance(tensor, Tensor)}
                found.setdefault(".".join(place), tensors)
            else:
                deeper += [((*place, key), inner) for key, inner in _inner(value)]
        level = deeper
    order = sorted(enumerate(found), key=lambda item: (*_rank(item[1]), item[0]))
    return {place: found[place] for _, place in order}


def is_average(place: str) -> bool:
    """Whether that is the place of averaged weights (EMA, SWA), by its words.

    >>> is_average("state_dict_ema"), is_average("ema.shadow"), is_average("schema")
    (True, True, False)
    """
    return not _AVERAGES.isdisjoint(re.split(r"[^a-z]+", place.lower()))


def hyperparameters(content: Content, *, all_else: bool = False) -> dict[str, Any]:
    """The plain settings of the training that `content` says, of all its tables of settings; the first counts.

    With `all_else`, what lies beside the tables counts as settings too, after them.

    >>> hyperparameters({"hyper_parameters": {"channels": 10, "loss": None}, "args": {"lr": 0.1, "channels": 3}})
    {'channels': 10, 'lr': 0.1}
    """
    if not isinstance(content, Mapping):
        return {}
    left = [_MOST_VALUES]
    tables = [_plain(content.get(key), _DEPTH, left) for key in _SETTINGS]
    if all_else:
        tables.append(_plain({key: content[key] for key in content if key not in _NO_SETTINGS}, _DEPTH, left))
    found: dict[str, Any] = {}
    for table in tables:
        for key, value in table.items() if isinstance(table, dict) else ():
            found.setdefault(key, value)
    return found


def epoch(content: Content) -> int | None:
    """The epoch that `content` says it was written at; None if it says none.

    >>> epoch({"epoch": 25}), epoch({"epoch": "last"})
    (25, None)
    """
    value = content.get("epoch") if isinstance(content, Mapping) else None
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_floating_point() and not value.is_complex():
        value = int(value.item())
    return value if type(value) is int and 0 <= value < 10**9 else None


def _holds_no_network(key: str) -> bool:
    return key in _SETTINGS or _NO_NETWORKS.search(key) is not None


def _is_of_optimiser(value: Content) -> bool:
    return isinstance(value, Mapping) and "param_groups" in value and "state" in value


def _is_state(value: Content, left: list[int]) -> bool:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    tensors = [item for item in value.values() if isinstance(item, Tensor)]
    if not any((item.is_floating_point() or item.is_complex()) and item.dim() for item in tensors):
        return False
    others = [
        item
        for name, item in value.items()
        if not isinstance(item, Tensor) and not name.endswith("_extra_state") and not _holds_no_network(name)
    ]
    return not _hold_tensors(others, left)


def _hold_tensors(values: Sequence[Content], left: list[int]) -> bool:
    """Whether tensors lie within containers, near their surface; `left` is how many more values are looked at."""
    level = list(values)
    for _ in range(3):
        deeper: list[Content] = []
        for value in level:
            if isinstance(value, Tensor | nn.Module):
                return True
            items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
            deeper += itertools.islice(items, min(_MOST_ITEMS, left[0]))
        left[0] = max(0, left[0] - len(deeper))
        level = deeper
    return any(isinstance(value, Tensor | nn.Module) for value in level)


def _inner(value: Content) -> Iterator[tuple[str, Content]]:
    """The containers in a container, with their keys; not those whose name says that they hold no network."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items() if isinstance(key, str | int)]
    elif isinstance(value, list | tuple):
        items = [(str(index), item) for index, item in enumerate(value[:_MOST_ITEMS])]
    else:
        items = []
    for key, item in items:
        if isinstance(item, Mapping | list | tuple | nn.Module) and not _holds_no_network(key):
            yield key, item


def _rank(place: str) -> tuple[bool, int, int]:
    known = _PREFERRED.index(place) if place in _PREFERRED else len(_PREFERRED)
    return is_average(place), known, place.count(".")


def _plain(value: Content, depth: int, left: list[int]) -> Any:
    """`value` where it is plain, without what is not; None if nothing is left. `left` is how many more are taken."""
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        return None
    value = _as_plain(value)
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _printable(value) if len(value) <= _LONGEST else None
    if isinstance(value, Mapping) and len(value) <= _MOST_ITEMS:
        kept = {_printable(str(key)): _plain(item, depth - 1, left) for key, item in value.items() if _is_key(key)}
        return {key: item for key, item in kept.items() if item is not None}
    if isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        items = [_plain(item, depth - 1, left) for item in value]
        return [item for item in items if item is not None]
    return None


def _as_plain(value: Content) -> Content:
    """Options, paths and NumPy's numbers as what they say; the real ones come from files that were converted."""
    if isinstance(value, Attributes):
        return value.values
    if isinstance(value, argparse.Namespace | types.SimpleNamespace):
        return vars(value)
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, PurePath) else value


def _is_key(key: object) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and len(key) <= _LONGEST)


def _printable(text: str) -> str:
    """`text` without halves of characters (surrogates), which no file takes."""
    return text.encode("utf-8", "replace").decode()
