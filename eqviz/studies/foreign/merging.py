"""Groups of checkpoints, each with its pattern; those of one network that differ in a word become one."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eqviz.errors import EqvizError
from eqviz.studies.foreign.described_runs import stem
from eqviz.studies.foreign.looking import Look
from eqviz.studies.foreign.naming import SPECIAL, words
from eqviz.studies.foreign.patterns import FilePattern

_STRAYS = 10
"""How many times more files a pattern must explain than it matches by chance."""

_SEPARATORS = re.compile(r"([-_/.=+ ]+)")
_DATA_WORDS = frozenset({"mnist", "cifar", "imagenet", "pcam", "flowers", "digits", "fashion", "fmnist", "svhn"})


@dataclass(frozen=True)
class Group:
    """Files of one network that one pattern matches, and no other file.

    `look` is what one of them says; `values` are seed, epoch and size where they stand in the names but not in a
    placeholder; `guesses` what in the pattern is no more than a guess.
    """

    pattern: FilePattern
    files: tuple[str, ...]
    look: Look
    values: Mapping[str, str] = field(default_factory=dict)
    guesses: tuple[str, ...] = ()
    special: tuple[str, ...] = ()


def merged(groups: Sequence[Group], paths: Sequence[str]) -> list[Group]:
    """Groups of one network whose patterns differ in one word become one, with that word as its {label}."""
    left = list(groups)
    buckets: dict[object, list[Group]] = defaultdict(list)
    for group in groups:
        for place, parts in _with_a_hole(group):
            buckets[group.look.architecture, place, parts].append(group)
    for (_, place, parts), alike in sorted(buckets.items(), key=lambda item: -len(item[1])):  # type: ignore[misc]  # keys as made above
        members = [group for group in alike if id(group) in {*map(id, left)}]
        if len(members) < 2:
            continue
        text = "".join((*parts[:place], "{label}", *parts[place + 1 :]))
        members = _with_strays(text, members, left)
        one = _as_one(text, members, paths)
        if one is not None:
            left = [group for group in left if not any(group is member for member in members)] + [one]
    return left


def _with_a_hole(group: Group) -> Iterable[tuple[int, tuple[str, ...]]]:
    """The pieces of a pattern with one word taken out, for each word that may be a label, and its place."""
    if group.special or group.values or "label" in group.pattern.names:
        return
    body = stem(group.pattern.text)
    pieces = (*_SEPARATORS.split(body), group.pattern.text[len(body) :])
    for place in range(0, len(pieces) - 1, 2):
        word = pieces[place]
        known = SPECIAL | _DATA_WORDS
        if word and not re.search(r"[{}*]", word) and not any(part in known for part in words(word)):
            yield place, (*pieces[:place], "", *pieces[place + 1 :])


def _with_strays(text: str, members: list[Group], groups: Sequence[Group]) -> list[Group]:
    """The members, and few other files of the same network that this pattern matches too, such as numbers by chance."""
    try:
        pattern = FilePattern(text)
    except EqvizError:
        return members
    rest = [
        group for group in groups
        if group.look.architecture == members[0].look.architecture and not group.special and not group.values
        and not any(group is member for member in members)
        and all(pattern.match(path) is not None for path in group.files)
    ]  # fmt: skip
    few = sum(len(group.files) for group in rest) * _STRAYS <= sum(len(group.files) for group in members)
    return [*members, *rest] if few else members


def _as_one(text: str, members: Sequence[Group], paths: Sequence[str]) -> Group | None:
    """The group of all members, if this pattern matches their files and no other, and says the same of them."""
    try:
        pattern = FilePattern(text)
    except EqvizError:
        return None
    files = tuple(path for group in members for path in group.files)
    if {path for path in paths if pattern.match(path) is not None} - {*files}:
        return None
    for group in members:
        for path in group.files:
            ours, theirs = pattern.match(path), group.pattern.match(path) or {}
            if ours is None or any(ours.get(name, value) != value for name, value in theirs.items()):
                return None
    told = dict.fromkeys(guess for group in members for guess in group.guesses)
    guesses = tuple(guess for guess in told if any(guess.startswith(f"{{{name}}}") for name in pattern.names))
    return replace(members[0], pattern=pattern, files=tuple(sorted(files)), guesses=guesses)
