"""Names of tensors in a file and in a model: wrappers taken off, prefixes found, renames applied."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from eqviz.checkpoints.contents import is_average

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of tensors by name."""

WRAPPERS = frozenset(
    {
        "module",  # DataParallel, DistributedDataParallel, AveragedModel
        "_orig_mod",  # torch.compile
        "_forward_module",  # Lightning Fabric
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
    }
)
"""Parts of names that a wrapper around a network, or around a module in it, puts in."""

_BESIDE = {
    "criterion", "loss", "losses", "metric", "metrics", "acc", "accuracy", "auroc", "confmat", "confusion",
}  # fmt: skip
"""Words in the names of what a training module holds beside its network, and the network does without."""

_COUNTERS = {"n_averaged", "total_ops", "total_params"}
"""Buffers that averaging and profilers leave in a network."""


@dataclass(frozen=True)
class Match:
    """Which tensors of a file are which of a model's: `names`, the file's by the model's.

    `prefix` was taken off the names in the file; `unexpected` are those that the model does not have, each with what it
    is without wrappers; `left_out` are those that it does without (counters, losses, metrics, what was to be ignored).
    `equals` are other prefixes with which as much is found, in other tensors.
    """

    names: Mapping[str, str]
    prefix: str
    unexpected: Mapping[str, str]
    left_out: tuple[str, ...]
    equals: tuple["Match", ...] = ()


def match_names(
    found: Shapes, wanted: Shapes, rename: Mapping[str, str], ignore: Sequence[str], derived: Collection[str] = ()
) -> Match:
    """The names in a file matched with a model's.

    Wrappers and one prefix that names have in common are taken off, whichever lets most tensors be found by name and
    shape; then the longest fitting prefix in `rename` is replaced. The shortest prefix counts where several do as well.

    >>> found = {"model.conv.weight": (2, 1, 3, 3), "criterion.weight": (10,)}
    >>> match = match_names(found, {"conv.weight": (2, 1, 3, 3)}, {}, ())
    >>> match.names, match.prefix, match.left_out
    ({'conv.weight': 'model.conv.weight'}, 'model.', ('criterion.weight',))
    """
    bare = {name: _unwrapped(name) for name in found}
    kept = [name for name in found if not any(_is_meant(one, glob) for one in (name, bare[name]) for glob in ignore)]
    readings = [{name: name for name in kept}]
    if len({bare[name] for name in kept}) == len(kept) and any(bare[name] != name for name in kept):
        readings.append({name: bare[name] for name in kept})
    scored = [
        (score, -number, prefix)
        for number, reading in enumerate(readings)
        for prefix, score in _scores(reading, found, wanted, rename).items()
    ]
    if not scored:
        return Match({}, "", {name: bare[name] for name in kept}, tuple(name for name in found if name not in kept))
    scored.sort(key=lambda one: one[:2], reverse=True)  # equals stay in the order of the file
    matches = [
        _matched(readings[-number], prefix, found, wanted, rename, derived)
        for score, number, prefix in scored
        if score[:4] == scored[0][0][:4]
    ]
    first = matches[0]
    others = [one for one in matches[1:] if set(one.names.values()).isdisjoint(first.names.values())]
    return Match(first.names, first.prefix, first.unexpected, first.left_out, tuple(others))


def renamed(name: str, rename: Mapping[str, str]) -> str:
    """`name` with its longest prefix in `rename` replaced; prefixes end where a part of the name does.

    >>> renamed("encoder.conv1.weight", {"encoder": "", "": "x"}), renamed("conv10.bias", {"conv1": "c"})
    ('conv1.weight', 'conv10.bias')
    """
    for old in sorted(rename, key=len, reverse=True):
        if not name.startswith(old):
            continue
        rest = name[len(old) :]
        if not old or old.endswith(".") or not rest or rest.startswith("."):
            new = rename[old]
            return f"{new}{rest}" if new else rest.lstrip(".")
    return name


def _is_meant(name: str, glob: str) -> bool:
    return name == glob or fnmatchcase(name, glob)  # brackets are in names too


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS) or name


def _prefixes(name: str) -> Iterator[str]:
    """No prefix, "a." and "a.b." of "a.b.c"."""
    yield ""
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()]


_Score = tuple[int, int, bool, bool, int]
"""Tensors found by name and shape, by name; whether renames did any of it; no averages; the shorter the better."""


def _scores(reading: Mapping[str, str], found: Shapes, wanted: Shapes, rename: Mapping[str, str]) -> dict[str, _Score]:
    """For every prefix with which something is found, how much."""
    scores: dict[str, _Score] = {}
    for name, bare in reading.items():
        for prefix in _prefixes(bare):
            rest = bare[len(prefix) :]
            new = renamed(rest, rename)
            if new in wanted:
                fits, hits, did, *_ = scores.get(prefix, (0, 0, False, False, 0))
                fits += wanted[new] == found[name]
                scores[prefix] = (fits, hits + 1, did or new != rest, not is_average(prefix), -prefix.count("."))
    return scores


def _matched(
    reading: Mapping[str, str],
    prefix: str,
    found: Shapes,
    wanted: Shapes,
    rename: Mapping[str, str],
    derived: Collection[str],
) -> Match:
    names: dict[str, str] = {}
    unexpected: dict[str, str] = {}
    left_out = [name for name in found if name not in reading]
    for name, bare in reading.items():
        inside = bare.startswith(prefix)
        rest = renamed(bare[len(prefix) :], rename) if inside else bare
        if inside and rest in wanted and rest not in names:
            names[rest] = name
        elif (inside and rest in derived) or _is_beside(rest, wanted, inside=inside):
            left_out.append(name)
        else:
            unexpected[name] = bare
    return Match(names, prefix, unexpected, tuple(left_out))


def _is_beside(name: str, wanted: Shapes, *, inside: bool) -> bool:
    """Whether the network does without it: counters, losses, metrics; averages of it, where it is not taken of them."""
    first, last = name.split(".")[0], name.rsplit(".", 1)[-1]
    if last in _COUNTERS or last == "_extra_state":
        return True
    if last == "num_batches_tracked" and name.removesuffix(last) + "running_mean" in wanted:
        return True
    return not _BESIDE.isdisjoint(first.lower().split("_")) or (not inside and is_average(first))
