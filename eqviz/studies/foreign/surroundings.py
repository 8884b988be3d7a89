"""What a network is measured with: channels, input size, group, the output that counts, field types, data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from eqviz.analysis.field_inference import fields_from, infer_fields
from eqviz.audit.auditing import image_channels
from eqviz.errors import EqvizError
from eqviz.fields.geometric_tensors import is_steerable_module
from eqviz.groups.group import group as named_group
from eqviz.studies.adapters import Adapter
from eqviz.studies.foreign.circumstances import KNOWN, USUAL_SIZES, Because, Size, data_of, normalisation_of, said_size
from eqviz.studies.foreign.looking import Look
from eqviz.studies.foreign.merging import Group
from eqviz.studies.foreign.naming import read_name
from eqviz.studies.foreign.networks import first_channels, last_classes
from eqviz.studies.foreign.proposals import Asked, Entry
from eqviz.studies.foreign.trials import Output, sizes_that_run, try_size
from eqviz.studies.sizes import parse_size
from eqviz.studies.targets import own_group
from eqviz.tables import format_size

_OTHER_SIZES = range(4, 130)
_PATIENCE = 5.0
"""Seconds of trying unusual sizes, where a network runs at no usual one."""

_MOST_NAMES = 20


@dataclass(frozen=True)
class Surroundings:
    """What a network is measured with.

    `size` is that of one of the files, `output` None where nothing could be run; `fields` were found by evidence, and
    `undecided` says in words for which layers there is none.
    """

    channels: int
    size: Because[Size]
    size_in_names: bool
    group: Because[str]
    output: Output | None
    data: Because[str]
    labels: Because[bool]
    normalisation: Because[tuple[list[float], list[float]]]
    fields: tuple[Entry, ...] = ()
    undecided: tuple[str, ...] = ()


def surroundings_of(group: Group, network: nn.Module | None, asked: Asked) -> Surroundings:
    """What the network of a group of files is measured with; `network` None where none is known."""
    look = group.look
    data = data_of(asked.data, look.hyperparameters, group.files[:_MOST_NAMES])
    channels = _channels(network, look)
    in_names = "size" in group.pattern.names
    size = _size(group, network, channels, data, asked.input_size)
    output = None if network is None else try_size(network, channels, size.value, last_classes(look.shapes))
    if isinstance(output, str):
        size = Because(size.value, f"{size.why}; on zeros the network fails: {output}", guessed=True)
    known = output if isinstance(output, Output) else None
    under = _group(network, asked.group)
    fields: tuple[Entry, ...] = ()
    undecided: tuple[str, ...] = ()
    if network is not None and known is not None and asked.infer_fields:
        fields, undecided = _fields(Adapter(output=known.item).apply(network), channels, size.value, under.value)
    return Surroundings(
        channels, size, in_names, under, known, data, _labels(data, known),
        normalisation_of(data, channels, look.hyperparameters), fields, undecided,
    )  # fmt: skip


def _channels(network: nn.Module | None, look: Look) -> int:
    """Channels of the images: of the first filter, or of the first steerable layer."""
    by_shape = first_channels(look.shapes)
    if network is None:
        return by_shape or 1
    steerable = next((module for module in network.modules() if is_steerable_module(module)), None)
    return image_channels(network) if steerable is None else int(steerable.in_type.size)  # type: ignore[arg-type]  # a library's


def _group(network: nn.Module | None, asked: str | None) -> Because[str]:
    if asked is not None:
        return Because(named_group(asked).name, "as given")
    try:
        found = "C4" if network is None else own_group(network)
    except EqvizError as error:  # a field type of a library's that eqviz cannot read
        return Because("C4", f"quarter turns; {error}", guessed=True)
    return Because(found, "quarter turns" if found == "C4" else "declared by its layers")


def _size(
    group: Group, network: nn.Module | None, channels: int, data: Because[str], asked: Size | None
) -> Because[Size]:
    values = group.pattern.match(group.look.path) or {}
    if "size" in values:
        return Because(parse_size(values["size"], group.look.path), "in the file names")
    if asked is not None:
        return Because(asked, "as given")
    if "size" in group.values:
        return Because(parse_size(group.values["size"]), "in the file name")
    said = said_size(group.look.hyperparameters)
    return said or _tried_size(group, network, channels, data)


def _tried_size(group: Group, network: nn.Module | None, channels: int, data: Because[str]) -> Because[Size]:
    """An input size by trying: numbers in the names, that of the data, usual ones, and in need any other."""
    numbers = [number for number in read_name(group.pattern.text).numbers if number.alone and number.as_size]
    named = [parse_size(number.text) for number in numbers]
    own = [(KNOWN[data.value].size,) * 2] if data.value in KNOWN and not data.guessed else []
    usual = [(size, size) for size in sorted(USUAL_SIZES, key=lambda size: (size == 28) == (channels != 1))]
    order = list(dict.fromkeys([*named, *own, *usual]))
    runs = order if network is None else sizes_that_run(network, channels, order, enough=2)
    if network is not None and not runs:
        return _unusual_size(network, channels, order)
    if network is not None and len(runs) == 1:
        return Because(runs[0], f"the only one of {_list(order)} at which it runs")
    words = dict.fromkeys(named, "the number in the names") | dict.fromkeys(own, f"that of {data.value}")
    if runs[0] in words:
        return Because(runs[0], words[runs[0]], guessed=True)
    if network is None:
        return Because(runs[0], "nothing says it", guessed=True)
    return Because(runs[0], f"nothing says it; it runs at {_list(runs[1:])} as well", guessed=True)


def _unusual_size(network: nn.Module, channels: int, tried: Sequence[Size]) -> Because[Size]:
    start = time.monotonic()
    for size in _OTHER_SIZES:
        if isinstance(try_size(network, channels, (size, size)), Output):
            return Because((size, size), f"the smallest at which it runs; it does not at {_list(tried)}", guessed=True)
        if time.monotonic() - start > _PATIENCE:
            break
    return Because(tried[0], "nothing says it, and the network runs at no size that was tried", guessed=True)


def _list(sizes: Sequence[Size]) -> str:
    return ", ".join(str(format_size(size)) for size in sizes)


def _labels(data: Because[str], output: Output | None) -> Because[bool]:
    """Whether the accuracy on these data means anything."""
    known = KNOWN.get(data.value)
    if output is not None and output.is_map:
        return Because(False, "the output is a map, which has no single class")
    if data.guessed:
        return Because(False, "", guessed=True)
    if known is not None and output is not None and output.classes != known.classes:
        return Because(False, f"{output.classes} outputs, {known.classes} classes")
    return Because(True, "")


def _fields(network: nn.Module, channels: int, size: Size, group: str) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Field types by evidence; and in words which layers are undecided."""
    try:
        table = infer_fields(network, size, named_group(group).exact_subgroup, channels=channels)
    except EqvizError as error:
        return (), (f"no field types were found: {error}",)
    chosen = fields_from(table)
    first = table.drop_duplicates("layer")
    entries: list[Entry] = []
    undecided: dict[str, list[str]] = {}
    for place in range(len(first)):
        row = first.iloc[place]
        layer, why = str(row["layer"]), str(row["why"])
        if layer not in chosen:
            undecided.setdefault(why.partition(":")[0], []).append(layer)
            continue
        if row["next_field"]:
            why = f"defect {row['defect']:.1e}, next is {row['next_field']} with {row['next_defect']:.1e}"
        entries.append(Entry(layer, chosen[layer], why))
    return tuple(entries), tuple(f"undecided, {why}: {', '.join(layers)}" for why, layers in undecided.items())
