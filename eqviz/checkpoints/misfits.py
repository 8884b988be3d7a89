"""Why weights do not fit a model, in words: what is missing, what is there instead, and what would mend it."""

import difflib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from eqviz.checkpoints.names import Match, Shapes
from eqviz.checkpoints.wording import NAMED, shown, some

_MOST_PREFIXES = 4
_MOST_ALIKE = 64
"""Tensors whose names end alike; where there are more, the ending says nothing."""

_SPLIT = {
    re.compile(r"\.parametrizations\.\w+\.original"): "torch.nn.utils.parametrize.remove_parametrizations",
    re.compile(r"\w+_[gv]$"): "torch.nn.utils.remove_weight_norm",
    re.compile(r"\w+_mask$"): "torch.nn.utils.prune.remove",
    re.compile(r"\w+_(u|orig)$"): "torch.nn.utils.remove_spectral_norm",
}
"""Endings of weights that are kept as the parts they are made of, and what puts them together."""


def misfit(found: Shapes, match: Match, wanted: Shapes) -> tuple[str, str]:
    """(what is missing, unexpected and of another shape, at most three each; what to do), or two empty texts if all
    fits. `found` are the shapes in the file, `wanted` those of the model.
    """
    missing = {name: shape for name, shape in wanted.items() if name not in match.names}
    other = [name for name, its in match.names.items() if name in wanted and found[its] != wanted[name]]
    spare = {name: found[name] for name in match.unexpected}
    first = [_with_nearest(name, missing[name], spare) for name in list(missing)[:NAMED]]
    lists = {
        "missing": first + list(missing)[NAMED:],
        "unexpected": [shown(name) for name in spare],
        "of another shape": [
            f"{shown(match.names[name])} {found[match.names[name]]} for {wanted[name]}" for name in other
        ],
    }
    words = "; ".join(f"{kind}: {some(entries)}" for kind, entries in lists.items() if entries)
    if not words:
        return "", ""
    bare = {name: found[its] for its, name in match.unexpected.items()}
    renames = {} if other or not missing else _renames(missing, bare, match.prefix)
    return words, _fix(renames, spare, nothing_else=not missing and not other)


def explaining_prefixes(missing: Shapes, spare: Shapes, most: int = _MOST_PREFIXES) -> dict[str, str]:
    """At most `most` prefixes of the file's names with the model's instead of them, which explain all that is missing;
    none if there are no such.

    >>> explaining_prefixes({"conv.weight": (2, 1)}, {"net.conv.weight": (2, 1), "other": (1,)})
    {'net.': ''}
    """
    ending = defaultdict(list)
    for name in spare:
        for start in _starts(name):
            ending[name[start:]].append(name)
    explained: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, shape in missing.items():
        for start in _starts(name):
            alike = ending.get(name[start:], [])
            for other in alike if len(alike) <= _MOST_ALIKE else ():
                if spare[other] == shape:
                    explained[other[: len(other) - len(name) + start], name[:start]].add(name)
    prefixes: dict[str, str] = {}
    left = set(missing)
    while left and explained and len(prefixes) < most:
        old, new = max(explained, key=lambda pair: (len(explained[pair] & left), -len(pair[0]) - len(pair[1])))
        if old in prefixes or not explained[old, new] & left:
            return {}
        prefixes[old] = new
        left -= explained.pop((old, new))
    return {} if left else prefixes


def _starts(name: str) -> list[int]:
    """Where the parts of a name start."""
    return [0, *(dot.end() for dot in re.finditer(r"\.", name))]


def _with_nearest(name: str, shape: tuple[int, ...], spare: Shapes) -> str:
    words = f"{shown(name)} {shape}"
    if near := _nearest(name, [one for one, its in spare.items() if its == shape]):
        return f"{words} (the file has {shown(near)} of that shape)"
    squeezed = [one for one, its in spare.items() if _without_ones(its) == _without_ones(shape) != ()]
    if near := _nearest(name, squeezed):
        return f"{words} (the file has {shown(near)} {spare[near]}, the same but for axes of length 1)"
    return words


def _nearest(name: str, others: Sequence[str]) -> str:
    """The name most like `name`: by its last part first."""
    last = name.rsplit(".", 1)[-1]
    return max(
        others[:1000],
        key=lambda one: (one.rsplit(".", 1)[-1] == last, difflib.SequenceMatcher(None, name, one).ratio()),
        default="",
    )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _renames(missing: Shapes, spare: Shapes, prefix: str) -> dict[str, str]:
    """What would lead from the file's names, without wrappers, to all that is missing."""
    prefixes = explaining_prefixes(missing, spare)
    if all(old.startswith(prefix) for old in prefixes):
        return {old.removeprefix(prefix): new for old, new in prefixes.items()}
    return {prefix: "", **prefixes}


def _fix(renames: Mapping[str, str], spare: Shapes, *, nothing_else: bool) -> str:
    for ending, function in _SPLIT.items():
        if not nothing_else and any(ending.search(name) for name in spare):
            return f"weights are kept in parts: put them together before saving ({function})"
    if renames:
        entries = ", ".join(f'"{shown(old)}" = "{shown(new)}"' for old, new in renames.items())
        return f"try rename = {{ {entries} }} in eqviz.toml"
    if nothing_else:
        tops = list(dict.fromkeys(re.sub(r"\..*", ".*", name) for name in spare))
        entries = ", ".join(f'"{shown(top)}"' for top in tops[:NAMED])
        return f"if the model does without them: ignore = [{entries}{', ...' if tops[NAMED:] else ''}] in eqviz.toml"
    return "check model and arguments; rename and ignore in eqviz.toml say which tensor is which"
