"""From what was followed to what survives: which elements of the group every operation and every layer keeps."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from eqviz.audit.actions import Moves, moves
from eqviz.audit.values import Record, Snapshot, Space, Value
from eqviz.groups.group import Group

Answer = bool | None
Answers = dict[int, Answer]


def keeps(how: Moves, upright: Space, moved: Space | None) -> Answer:
    """Whether a tensor with these rows and columns moves as the image does.

    `moved` is the same tensor in the pass on an image with its axes exchanged: the same space for square images and
    for groups that do not exchange the axes, None if there is no such pass. An element has to keep both.
    """
    if not how.swaps:
        return all(
            (space.rows.symmetric or not how.rows_reversed) and (space.columns.symmetric or not how.columns_reversed)
            for space in (upright, moved) if space is not None
        )  # fmt: skip
    if moved is None:
        return None
    return all(
        line.mirrored == source.plain[::-1] if reverse else line.plain == source.plain
        for line, source, reverse in (
            (moved.rows, upright.columns, how.rows_reversed),
            (moved.columns, upright.rows, how.columns_reversed),
        )
    )


def worst(answers: Iterable[Answer]) -> Answer:
    """False if one is, else None if one is, else True."""
    found = list(answers)
    return False if False in found else (None if None in found else True)


def worded(answer: Answer) -> str:
    """yes, no or unknown."""
    return {True: "yes", False: "no", None: "unknown"}[answer]


def surviving(group: Group, answers: Answers) -> Group:
    """The largest subgroup all of whose elements certainly survive."""
    kept = {0} | {g for g, answer in answers.items() if answer is True}
    return next(H for H in reversed(group.subgroups) if set(group.members(H)) <= kept)


@dataclass(frozen=True)
class Judgement:
    """What one operation does: for every element but the identity, whether grid and fibre keep it."""

    grid: Answers
    fibre: Answers

    @property
    def whole(self) -> Answers:
        """Both together."""
        return {g: worst((self.grid[g], self.fibre[g])) for g in self.grid}


def judge_records(group: Group, upright: Sequence[Record], moved: Sequence[Record | None]) -> tuple[Judgement, ...]:
    """Every operation by itself, those that wait for each other judged together.

    `moved` holds the same operations in the pass on an image with its axes exchanged, None where there is none.
    Where a chain of pads, crops, slices and operations on one axis keeps an element in the end, all of it does. Where
    it does not, the operation is at fault after which it was never kept again; the others are judged alone.
    """
    how = {g: moves(group.elements[g]) for g in range(1, group.order)}

    def after(number: int, g: int) -> Answer:
        other = moved[number]
        return keeps(how[g], upright[number].after, None if other is None else other.after)

    def alone(number: int, g: int) -> Answer:
        other = moved[number]
        return keeps(how[g], upright[number].alone, None if other is None else other.alone)

    continued = {link for record in upright for link in record.chain[:-1]}
    grid: list[Answers] = [dict.fromkeys(how, True) for _ in upright]
    for number, record in enumerate(upright):
        if number in continued:
            continue
        for g in how:
            for link, answer in _blamed(record.chain, g, after, alone).items():
                grid[link][g] = worst((grid[link][g], answer))
    return tuple(_judgement(record, answers) for record, answers in zip(upright, grid, strict=True))


def _blamed(
    chain: Sequence[int], g: int, after: Callable[[int, int], Answer], alone: Callable[[int, int], Answer]
) -> Answers:
    answers = {link: after(link, g) for link in chain}
    if answers[chain[-1]] is not False:
        return dict.fromkeys(chain, answers[chain[-1]])
    kept = [place for place, link in enumerate(chain) if answers[link] is not False]
    fault = kept[-1] + 1 if kept else 0
    return {
        link: True if place < fault else (False if place == fault else alone(link, g))
        for place, link in enumerate(chain)
    }


def _judgement(record: Record, grid: Answers) -> Judgement:
    fibre: Answers = {}
    for g in grid:
        if record.grid_unknown:
            grid[g] = None
        elif g in record.grid_lost:
            grid[g] = None if record.guessed else False
        lost = None if record.guessed else False
        fibre[g] = lost if g in record.fibre_lost else (None if g in record.fibre_unknown else True)
    return Judgement(grid, fibre)


def partners(upright: Sequence[Record], moved: Sequence[Record]) -> list[Record | None]:
    """For every operation of one pass the same operation of another, None where the two differ."""
    by_serial: dict[tuple[int, str], list[Record]] = {}
    for record in moved:
        by_serial.setdefault((record.serial, record.op), []).append(record)
    counts = Counter((record.serial, record.op) for record in upright)
    found: list[Record | None] = []
    for record in upright:
        key = (record.serial, record.op)
        same = by_serial.get(key, [])
        found.append(same.pop(0) if len(same) == counts[key] else None)
        counts[key] -= 1
    return found


def _fibre(value: Value, other: Value | None, g: int) -> Answer:
    """Whether the fibre keeps an element, in both passes and in the same way."""
    both = [value] if other is None else [value, other]
    if any(g in each.fibre_lost for each in both):
        return False
    alike = all(np.array_equal(each.actions[g], value.actions[g]) for each in both)
    return None if any(g in each.fibre_unknown for each in both) or not alike else True


def judge_output(group: Group, upright: Snapshot, moved: Snapshot | None, *, comparable: bool = True) -> Judgement:
    """What of the symmetry is left in the output of a layer, everything before it included.

    Where the two passes did different operations they are not `comparable`: then an element that exchanges the axes
    is not judged, but the others still have to be kept by both.
    """
    value = upright.value
    if value is None:  # it does not depend on the image
        return Judgement(dict.fromkeys(range(1, group.order), True), dict.fromkeys(range(1, group.order), True))
    other = None if moved is None or moved.value is None else moved.value
    grid: Answers = {}
    fibre: Answers = {}
    for g in range(1, group.order):
        how = moves(group.elements[g])
        found = keeps(how, value.total, None if other is None else other.total)
        found = None if how.swaps and not comparable else found
        lost = g in value.grid_lost or (other is not None and g in other.grid_lost)
        unknown = value.grid_unknown or (other is not None and other.grid_unknown)
        grid[g] = None if unknown else (False if lost else found)
        fibre[g] = None if unknown else _fibre(value, other, g)
    return Judgement(grid, fibre)
