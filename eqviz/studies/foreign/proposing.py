"""A proposal for the `eqviz.toml` of a folder: what its checkpoints say, what follows, and what is only a guess."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eqviz.data.images import CHANNELS
from eqviz.errors import EqvizError
from eqviz.studies.finding import DEPTH, records
from eqviz.studies.foreign.circumstances import KNOWN
from eqviz.studies.foreign.described_runs import checkpoint_files, stem
from eqviz.studies.foreign.grouping import group_files
from eqviz.studies.foreign.looking import Looker, printable
from eqviz.studies.foreign.merging import Group
from eqviz.studies.foreign.naming import UNTRAINED, words
from eqviz.studies.foreign.networks import Found, Given, NotFound, constructor_of, find_network
from eqviz.studies.foreign.placeholders import SEED_KEYS
from eqviz.studies.foreign.proposals import Asked, Entry, Proposal, Table
from eqviz.studies.foreign.surroundings import Surroundings, surroundings_of
from eqviz.studies.run_folders import existing_folder
from eqviz.studies.settings import MOST_EPOCHS, MOST_SEED


def propose(folder: str | Path, asked: Asked | None = None, tell: Callable[[str], None] | None = None) -> Proposal:
    """What an `eqviz.toml` could say of the checkpoints in a folder and the folders in it.

    A few files of each pattern are opened; `tell` is told which. Raises EqvizError for a folder without checkpoints
    that can be read, with what was looked for, and for what is asked for and cannot be.
    """
    asked = asked or Asked()
    root = existing_folder(Path(folder))
    if asked.model:
        constructor_of(asked.model)
    own, described = records(root)
    elsewhere = [*own, *(path.parent for path in described if path.parent != root)]
    paths = checkpoint_files(root, DEPTH, elsewhere)
    looker = Looker(root, tell)
    groups, left_out = group_files(paths, looker)
    if not groups:
        raise _nothing(root, paths, left_out, len(own))
    networks: dict[object, Found | NotFound] = {}
    tables = [_table(group, looker, asked, networks) for group in groups]
    return Proposal(root, tuple(_told_apart(tables, groups)), dict(sorted(left_out.items())))


def _nothing(root: Path, paths: Sequence[str], left_out: Mapping[str, str], own: int) -> EqvizError:
    if own and not paths:
        return EqvizError(
            str(root), expected="checkpoints that eqviz did not write", found=f"only {own} runs that it did",
            fix="they need no description: see `eqviz runs`",
        )  # fmt: skip
    looked = f"checkpoints (.pt, .pth, .pth.tar, .ckpt, .safetensors, .bin) in it or in folders below it, {DEPTH} deep"
    if not paths:
        return EqvizError(
            str(root), expected=looked, found="none" if any(root.iterdir()) else "an empty folder",
            fix="give the folder that holds them",
        )  # fmt: skip
    path, why = next(iter(sorted(left_out.items())))
    return EqvizError(
        str(root), expected="a checkpoint that can be described",
        found=f"{len(paths)} that cannot; {printable(path)}: {why}", fix="mend or convert the files",
    )  # fmt: skip


def _table(group: Group, looker: Looker, asked: Asked, networks: dict[object, Found | NotFound]) -> Table:
    """The table of a group; `networks` are those found so far, by what they were found by."""
    size = None if asked.input_size is None else asked.input_size[0]
    said = {key: value for key, value in group.look.hyperparameters.items() if key not in SEED_KEYS}
    key = (group.look.architecture, group.look.places, repr(said))
    if key not in networks:
        given = Given(asked.model, asked.constructor, asked.arguments, size)
        networks[key] = find_network(looker.checkpoint(group.look.path), group.look, given)
    found = networks[key]
    around = surroundings_of(group, found.network if isinstance(found, Found) else None, asked)
    entries = (
        Entry("files", group.pattern.text, f"{len(group.files)} files" if len(group.files) > 1 else ""),
        *_network(found, asked.arguments),
        *_measured_with(around),
        *_counts(group),
        *_weights(found, group.look.places),
        *_output(around),
        *_data(around, asked.data_root),
    )
    notes = [*(f"guessed: {guess}" for guess in group.guesses), *_counted_from_0(group)]
    if around.size_in_names and asked.input_size is not None:
        notes.append("the input size that was given does not count here: {size} in the file names does")
    missing = found if isinstance(found, NotFound) else None
    return Table(group.files, entries, around.fields, tuple(notes), around.undecided, missing)


def _counted_from_0(group: Group) -> list[str]:
    """A warning where epoch 0 is no untrained network, because it took steps."""
    if not {"epoch", "step"} <= {*group.pattern.names}:
        return []
    said = [group.pattern.match(path) or {} for path in group.files]
    if any(int(one["epoch"]) == 0 and int(one["step"]) > 0 for one in said if one):
        return ["epochs count from 0 here: what figures over training show as untrained has had one epoch"]
    return []


def _network(found: Found | NotFound, given: Mapping[str, Any]) -> list[Entry]:
    if isinstance(found, NotFound):
        tried = f"tried {', '.join(found.tried)}" if found.tried else "no network of eqviz's comes near"
        nearest = f"; nearest is {found.nearest}" if found.nearest else ""
        told = f"to be filled in, or name the module that has it with --import: {tried}{nearest}"
        return [Entry("model", "...", told, hint=True), *([Entry("arguments", dict(given))] if given else [])]
    entries = [Entry("model", found.model, found.why)]
    return [*entries, Entry("arguments", found.arguments)] if found.arguments else entries


def _measured_with(around: Surroundings) -> list[Entry]:
    entries = []
    if not around.size_in_names:
        height, width = around.size.value
        value = height if height == width else [height, width]
        entries.append(Entry("input_size", value, around.size.why, around.size.guessed))
    return [*entries, Entry("group", around.group.value, around.group.why, around.group.guessed)]


def _counts(group: Group) -> list[Entry]:
    """Seed and epoch, where they are in no placeholder."""
    names, settings = group.pattern.names, group.look.hyperparameters
    entries = []
    if "seed" not in names:
        said = next((settings[key] for key in SEED_KEYS if _is_whole(settings.get(key), MOST_SEED)), None)
        if "seed" in group.values and int(group.values["seed"][:9]) <= MOST_SEED:
            entries.append(Entry("seed", int(group.values["seed"][:9]), "in the file name"))
        elif said is not None:
            entries.append(Entry("seed", said, "in the file"))
    if "epoch" not in names:
        named = [word for word in words(stem(group.pattern.text)) if word in UNTRAINED]
        if named:
            entries.append(Entry("epoch", 0, f"{named[0]!r} in the file name", guessed=True))
        elif "epoch" in group.values and int(group.values["epoch"][:9]) <= MOST_EPOCHS:
            entries.append(Entry("epoch", int(group.values["epoch"][:9]), "in the file name"))
        elif _is_whole(group.look.epoch, MOST_EPOCHS) and group.look.epoch:
            of = "the file" if len(group.files) == 1 else printable(group.look.path)
            entries.append(Entry("epoch", group.look.epoch, f"by {of}"))
    return entries


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _weights(found: Found | NotFound, places: Sequence[str]) -> list[Entry]:
    """Which state dict of several, and prefixes of names that differ from the model's."""
    if isinstance(found, NotFound):
        return []
    entries = []
    if len(places) > 1:
        others = ", ".join(repr(place) for place in places if place != found.place)
        told = f"the file has weights at {others} too"
        entries.append(Entry("weights", found.place or "...", told, hint=not found.place))
    if found.rename:
        entries.append(Entry("rename", dict(found.rename), "names in the file to names in the model"))
    return entries


def _output(around: Surroundings) -> list[Entry]:
    if around.output is None or around.output.item is None:
        return []
    found = around.output
    return [Entry("output", found.item, f"one of {', '.join(found.items)}", not found.sure)]


def _data(around: Surroundings, root: str | None) -> list[Entry]:
    data: dict[str, Any] = {"source": around.data.value}
    known = KNOWN.get(around.data.value)
    why = [around.data.why, around.labels.why]
    if root is not None:
        data["root"] = str(Path(root).expanduser().resolve())
    if (known is None or known.channels != around.channels) and around.channels in CHANNELS:
        data["channels"] = around.channels
    elif around.channels not in CHANNELS:
        why.append(f"the network takes {around.channels} channels: give images (.npz) that have as many")
    if not around.labels.value:
        data["labels"] = False
    mean, std = around.normalisation.value
    normalisation = Entry(
        "normalisation", {"mean": mean, "std": std}, around.normalisation.why, around.normalisation.guessed
    )
    return [Entry("data", data, "; ".join(filter(None, why)), around.data.guessed), normalisation]


def _told_apart(tables: Sequence[Table], groups: Sequence[Group]) -> list[Table]:
    """The tables, with a label for each of those that would be taken for more seeds of one network."""
    keys = [_network_key(table) for table in tables]
    often = Counter(keys)
    common = {
        key: set.intersection(*(_literals(group) for group, other in zip(groups, keys, strict=True) if other == key))
        for key in often
    }
    found = []
    for table, group, key in zip(tables, groups, keys, strict=True):
        if often[key] > 1 and table.missing is None and "label" not in group.pattern.names:
            found.append(_labelled(table, [word for word in _parts(group) if word not in common[key]]))
        else:
            found.append(table)
    return found


def _network_key(table: Table) -> str:
    named = ("model", "arguments", "input_size", "weights")
    return json.dumps({key: value for key, value in table.values.items() if key in named}, sort_keys=True, default=str)


def _parts(group: Group) -> list[str]:
    """The words and literal numbers of a pattern, in their order, without the ending."""
    return re.findall(r"[A-Za-z0-9]+", re.sub(r"[A-Za-z]*[-_=]?(?:\{[^}]*\}|\*)", " ", stem(group.pattern.text)))


def _literals(group: Group) -> set[str]:
    return {*_parts(group)}


def _labelled(table: Table, parts: Sequence[str]) -> Table:
    model = str(table.values.get("model", ""))
    label = " ".join(filter(None, [model, *parts]))[:100]
    place = next(place for place, entry in enumerate(table.entries) if entry.key == "group") + 1
    entry = Entry("label", label or "network", "its name in tables and legends; one label for two tables joins them")
    return replace(table, entries=(*table.entries[:place], entry, *table.entries[place:]))
