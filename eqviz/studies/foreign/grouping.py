"""Checkpoints in groups, each of one network and one pattern of names, as few as explain the files."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from eqviz.errors import EqvizError
from eqviz.studies.foreign.looking import Look, Looker
from eqviz.studies.foreign.merging import Group, merged
from eqviz.studies.foreign.naming import Name, read_name
from eqviz.studies.foreign.patterns import NUMBERS, FilePattern
from eqviz.studies.foreign.placeholders import choose
from eqviz.studies.toml_tables import TomlTable

MOST_GROUPS = 100
_MOST_OPENED = 300
"""Kinds of names: those that differ in nothing but numbers are of one kind."""

_MANY, _SAMPLE, _EACH, _ALONE = 24, 5, 40, 30
"""Of more than so many files that differ in unknown numbers only a sample of so many is opened, unless these differ;
how many are opened of a pattern whose files differ within; how many are described one by one where no pattern tells
them apart."""

_NOT_OPENED = "not opened"
_TOO_MANY = f"{_NOT_OPENED}: too many different networks of like names"

LeftOut = dict[str, str]
"""Files that no group has, and why."""


def group_files(paths: Sequence[str], looker: Looker) -> tuple[tuple[Group, ...], LeftOut]:
    """The groups of these files, in the order of their first files, and the files left out.

    Files that cannot be read do not keep a pattern from matching them.
    """
    left_out: LeftOut = {}
    alike: dict[tuple[str, ...], list[Name]] = defaultdict(list)
    for path in paths:
        if _can_be_pattern(path):
            name = read_name(path)
            alike[name.texts].append(name)
        else:
            left_out[path] = "no pattern can be made of such a name; rename the file"
    groups: list[Group] = []
    bundles = sorted(alike.values(), key=len, reverse=True)  # stable
    for names in bundles[:_MOST_OPENED]:
        groups += _groups(names, looker, left_out)
    for names in bundles[_MOST_OPENED:]:
        left_out |= dict.fromkeys(_paths(names), f"{_NOT_OPENED}: names of more than {_MOST_OPENED} kinds")
    left_out |= {path: why for path, why in looker.failed.items() if path not in left_out}
    readable = [path for path in paths if path not in left_out]
    groups = _disjoint(merged(groups, readable), readable, left_out)
    groups = sorted(_with_unopened(groups, left_out), key=lambda group: group.files[0])
    for group in groups[MOST_GROUPS:]:
        left_out |= dict.fromkeys(group.files, f"of more than {MOST_GROUPS} patterns")
    return tuple(groups[:MOST_GROUPS]), left_out


def _can_be_pattern(path: str) -> bool:
    try:
        path.encode()
        return not FilePattern(TomlTable({"files": path}, "").text("files")).names
    except (EqvizError, UnicodeEncodeError):
        return False


def _groups(names: Sequence[Name], looker: Looker, left_out: LeftOut) -> list[Group]:
    """The groups of names that differ in nothing but their numbers."""
    networks = _by_network(names, looker, left_out)
    telling = _telling(list(networks.values())) if len(networks) > 1 else None
    groups: list[Group] = []
    for alike in networks.values():
        seen = [look for look in (looker.seen(name.path) for name in alike) if look is not None]
        parts: dict[str, list[Name]] = defaultdict(list)
        for name in alike:
            parts["" if telling is None else name.numbers[telling].text].append(name)
        for part in parts.values():
            own = {name.path for name in part}
            looks = [look for look in seen if look.path in own]
            look = (looks or seen)[0]
            apart = len(networks) > 1 and telling is None
            groups += _alone(part, look, left_out) if apart else _of_part(part, look, looks, telling, left_out)
    return groups


def _of_part(
    names: Sequence[Name], look: Look, looks: Sequence[Look], telling: int | None, left_out: LeftOut
) -> list[Group]:
    fixed = () if telling is None else (telling,)
    choice = choose(names, fixed, looks)
    if choice is None:
        return _alone(names, look, left_out)
    values = _values(names[0], fixed)
    return [Group(choice.pattern, _paths(names), look, values, choice.guesses, names[0].special)]


def _alone(names: Sequence[Name], look: Look, left_out: LeftOut) -> list[Group]:
    """A group for every file."""
    left_out |= dict.fromkeys(_paths(names[_ALONE:]), "no pattern tells it from checkpoints of other networks")
    return [
        Group(FilePattern(name.path), (name.path,), look, _values(name, range(len(name.numbers))), (), name.special)
        for name in names[:_ALONE]
    ]


def _values(name: Name, places: Iterable[int]) -> dict[str, str]:
    """Seed, epoch and size in the numbers at these places of a name."""
    found: dict[str, str] = {}
    for number in (name.numbers[place] for place in places):
        kind = "size" if number.kind == "maybe size" else number.kind
        if kind in ("seed", "epoch", "size") and (kind != "size" or number.as_size):
            found.setdefault(kind, number.text)
    return found


def _paths(names: Iterable[Name]) -> tuple[str, ...]:
    return tuple(name.path for name in names)


def _by_network(
    names: Sequence[Name], looker: Looker, left_out: LeftOut
) -> dict[frozenset[tuple[str, tuple[int, ...]]], list[Name]]:
    """The names by the names and shapes of their tensors; those of files that were not opened go with their like."""
    bundles: dict[tuple[str, ...], list[Name]] = defaultdict(list)
    for name in names:
        bundles[tuple(number.text for number in name.numbers if number.kind in _UNSETTLED)].append(name)
    found: dict[frozenset[tuple[str, tuple[int, ...]]], list[Name]] = defaultdict(list)
    ordered = list(bundles.values())
    step = len(ordered) // _SAMPLE
    chosen = ordered if len(ordered) <= _MANY else [*ordered[::step], ordered[-1]]
    kinds = {look.architecture for bundle in chosen for look in _ends(bundle, looker)}
    if len(kinds) == 1:
        found[kinds.pop()] = [name for name in names if name.path not in looker.failed]
    if len(kinds) <= 1:
        unread = [name.path for name in names if not kinds and not found and name.path not in looker.failed]
        left_out |= dict.fromkeys(unread, f"{_NOT_OPENED}: others of such names cannot be read")
        return found
    for bundle in ordered[: _MANY * _EACH]:
        ends = {look.architecture for look in _ends(bundle, looker)}
        if len(ends) == 1:
            found[ends.pop()] += [name for name in bundle if name.path not in looker.failed]
        elif ends:
            for name in bundle[:_EACH]:
                look = looker.look(name.path)
                if look is not None:
                    found[look.architecture].append(name)
            left_out |= dict.fromkeys(_paths(bundle[_EACH:]), _TOO_MANY)
    rest = [name.path for bundle in ordered[_MANY * _EACH :] for name in bundle]
    left_out |= dict.fromkeys(rest, _TOO_MANY)
    return found


_UNSETTLED = frozenset({"", "size", "maybe size"})
"""Kinds of numbers that may tell one network from another."""


def _ends(bundle: Sequence[Name], looker: Looker) -> list[Look]:
    """What the first and the last file say that can be read, looking at four at most."""
    ordered = sorted(bundle, key=lambda name: [(len(number.text), number.text) for number in name.numbers])
    looks = []
    for ends in (ordered[:2], ordered[:-3:-1]):
        looks += [next((look for look in (looker.look(name.path) for name in ends) if look is not None), None)]
    return [look for look in looks if look is not None]


def _telling(networks: Sequence[Sequence[Name]]) -> int | None:
    """The place of a number that tells these networks apart; of several the one that says least otherwise."""
    fit = []
    for place, number in enumerate(networks[0][0].numbers):
        values = [{name.numbers[place].text for name in names} for names in networks]
        if sum(map(len, values)) == len(set().union(*values)):
            fit.append(((number.kind not in _UNSETTLED, number.kind != ""), place))
    return min(fit)[1] if fit else None


def _disjoint(groups: Sequence[Group], paths: Sequence[str], left_out: LeftOut) -> list[Group]:
    """The groups, those by the single file whose patterns match files of other groups too."""
    found: list[Group] = []
    for group in groups:
        own = {*group.files}
        # numbers alone match no file but those of names that are alike, which are told apart already
        if {*group.pattern.names} <= {*NUMBERS} or all(path in own for path in _reach(group, paths)):
            found.append(group)
        else:
            found += _alone([read_name(path) for path in group.files], group.look, left_out)
    return found


def _with_unopened(groups: Sequence[Group], left_out: LeftOut) -> list[Group]:
    """The groups, with files that were not opened but that their patterns match."""
    unopened = [path for path, why in left_out.items() if why.startswith(_NOT_OPENED)]
    found = []
    for group in groups:
        more = [path for path in _reach(group, unopened) if left_out.pop(path, None)]
        found.append(replace(group, files=tuple(sorted((*group.files, *more)))) if more else group)
    return found


def _reach(group: Group, paths: Sequence[str]) -> Iterable[str]:
    return (path for path in paths if group.pattern.match(path) is not None)
