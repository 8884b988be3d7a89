"""What every row and every column of a tensor is made of, as numbers that are equal when the making is equal.

All operations that a convolutional network applies to space treat rows and columns one by one: what stands at (i, j) is
a function of the expression of row i and of the expression of column j. So each axis is followed by itself: a line
holds one expression for every position, twice: for the image as it is, and for the image with this axis reversed, in
which every filter tap changes places with its mirror image. The reflection of the axis survives exactly when the
second line is the first one reversed; the transpose survives when rows and columns have the same line.

Expressions are interned: equal structure, equal number. Sums and maxima over the same positions are equal however they
were put together, which is what lets misfits that compensate cancel.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from eqviz.groups.group import Integers
from eqviz.groups.subsampling import OUTSIDE

Weights = Sequence[tuple[int, Fraction]]

LAID_OUT = -1
"""Stands for the operation where windows are only laid out: no weights tell one layout from another."""


@dataclass(frozen=True)
class Line:
    """One axis of a tensor: the expression at every position, and at every position when the axis is reversed."""

    plain: tuple[int, ...]
    mirrored: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.plain)

    @property
    def symmetric(self) -> bool:
        """Whether the reflection of this axis survives."""
        return self.plain == self.mirrored[::-1]

    def take(self, positions: Iterable[int]) -> "Line":
        """Some positions only, in this order."""
        chosen = list(positions)
        return Line(tuple(self.plain[p] for p in chosen), tuple(self.mirrored[p] for p in chosen))

    @property
    def constant(self) -> bool:
        """Whether all positions are the same, however the axis lies."""
        return len(set(self.plain) | set(self.mirrored)) <= 1


class Expressions:
    """Numbers of expressions, shared by both axes and by all tensors of one audit."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._keys: list[Hashable] = []
        self._known: dict[Hashable, Line] = {}
        self.zero = self.of(("constant", 0.0))

    def of(self, key: Hashable) -> int:
        """The number of an expression."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self._keys)
            self._keys.append(key)
        return found

    def constant(self, value: float) -> int:
        """The same number everywhere, such as a pad puts in."""
        return self.of(("constant", float(value) + 0.0))

    def fresh(self, length: int) -> Line:
        """An axis of which nothing is known but that it is symmetric: the input's, or a new start."""
        plain = tuple(self.of(("position", p)) for p in range(length))
        return Line(plain, plain[::-1])

    def _both(self, name: Hashable, line: Line, make: Callable[[tuple[int, ...], bool], Iterable[int]]) -> Line:
        known = (name, line.plain, line.mirrored)
        if known not in self._known:
            self._known[known] = Line(tuple(make(line.plain, False)), tuple(make(line.mirrored, True)))
        return self._known[known]

    def taps(self, line: Line, reads: Integers, operation: int, *, even: bool = False) -> Line:
        """A window with a weight of its own for every tap, on the reading list `reads` (positions, taps).

        With `even` a tap and its mirror image weigh the same.
        """
        last = reads.shape[1] - 1
        if last == 0 and (reads != OUTSIDE).all():
            return line.take(reads[:, 0].tolist())
        rows = reads.tolist()

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            for row in rows:
                parts = [
                    (min(tap, last - tap) if even else (last - tap if mirrored else tap), sequence[p])
                    for tap, p in enumerate(row) if p != OUTSIDE and sequence[p] != self.zero
                ]  # fmt: skip
                yield self.of(("taps", operation, tuple(sorted(parts))))

        return self._both(("taps", operation, reads.tobytes(), reads.shape, even), line, make)

    def spread(self, line: Line, factor: int, operation: int, *, laid_out: bool = False) -> Line:
        """Every position laid out as `factor` positions.

        With `laid_out` these are the positions of windows: of one that nothing was done to they are what it read.
        """
        if factor == 1:
            return line
        last = factor - 1

        def of(tap: int, number: int) -> int:
            key = self._keys[number]
            if laid_out and isinstance(key, tuple) and key[:2] == ("taps", LAID_OUT):
                return next((inner for place, inner in key[2] if place == tap), self.zero)
            return self.of(("spread", operation, tap, number))

        plain = tuple(of(tap, n) for n in line.plain for tap in range(factor))
        return Line(plain, tuple(of(last - tap, n) for n in line.mirrored for tap in range(factor)))

    def maximum(self, line: Line, groups: Sequence[Sequence[int]], stage: int) -> Line:
        """The maximum over a set of positions, for every output position."""

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            del mirrored
            for positions in groups:
                members: set[int] = set()
                for p in positions:
                    members |= self._members(sequence[p], stage)
                yield members.pop() if len(members) == 1 else self.of(("maximum", stage, frozenset(members)))

        return self._both(("maximum", stage, tuple(map(tuple, groups))), line, make)

    def _members(self, number: int, stage: int) -> frozenset[int]:
        key = self._keys[number]
        if isinstance(key, tuple) and key[0] == "maximum" and key[1] == stage:
            members: frozenset[int] = key[2]
            return members
        return frozenset((number,))

    def weighted(self, line: Line, weights: Sequence[Weights], stage: int) -> Line:
        """A fixed weighted sum of positions, for every output position: means, interpolation."""

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            del mirrored
            for terms in weights:
                total: dict[int, Fraction] = {}
                for p, weight in terms:
                    for number, inner in self._terms(sequence[p], stage):
                        total[number] = total.get(number, Fraction(0)) + weight * inner
                total.pop(self.zero, None)
                parts = frozenset((number, weight) for number, weight in total.items() if weight)
                alone = next(iter(parts)) if len(parts) == 1 else None
                yield alone[0] if alone is not None and alone[1] == 1 else self.of(("weighted", stage, parts))

        return self._both(("weighted", stage, tuple(map(tuple, weights))), line, make)

    def _terms(self, number: int, stage: int) -> Iterable[tuple[int, Fraction]]:
        key = self._keys[number]
        if isinstance(key, tuple) and key[0] == "weighted" and key[1] == stage:
            terms: frozenset[tuple[int, Fraction]] = key[2]
            return terms
        return ((number, Fraction(1)),)

    def placed(self, line: Line, operation: int) -> Line:
        """Every position joined with its place, as something that varies over space leaves it."""
        last = len(line) - 1

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            for place, number in enumerate(sequence):
                yield self.of(("placed", operation, last - place if mirrored else place, number))

        return self._both(("placed", operation), line, make)

    def joined(self, line: Line, operation: Hashable) -> Line:
        """One position that sees all of the axis, every place by its own weight."""
        last = len(line) - 1

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            parts = [(last - place if mirrored else place, number) for place, number in enumerate(sequence)]
            return (self.of(("joined", operation, tuple(sorted(parts)))),)

        return self._both(("joined", operation), line, make)

    def gathered(self, line: Line, operation: Hashable) -> Line:
        """One position that sees all of the axis, whatever the order."""

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            del mirrored
            return (self.of(("gathered", operation, tuple(sorted(sequence)))),)

        return self._both(("gathered", operation), line, make)

    def informed(self, line: Line, operation: Hashable) -> Line:
        """Every position joined with all of the axis, whatever its order: a normalisation over space."""

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            del mirrored
            all_of_it = self.of(("gathered", operation, tuple(sorted(sequence))))
            return (self.of(("informed", operation, number, all_of_it)) for number in sequence)

        return self._both(("informed", operation), line, make)

    def marked(self, line: Line, operation: Hashable) -> Line:
        """Every position after something was done to it that the other axis has to have done to it too."""

        def make(sequence: tuple[int, ...], mirrored: bool) -> Iterable[int]:
            del mirrored
            return (self.of(("marked", operation, number)) for number in sequence)

        return self._both(("marked", operation), line, make)

    def paired(self, one: Line, other: Line, operation: int) -> Line:
        """Two tensors put together position by position; an axis of length 1 goes with every position."""

        def together(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
            length = max(len(a), len(b))
            a, b = (side if len(side) == length else side * length for side in (a, b))
            return tuple(x if x == y else self.of(("paired", operation, x, y)) for x, y in zip(a, b, strict=True))

        return Line(together(one.plain, other.plain), together(one.mirrored, other.mirrored))

    def constants(self, line: Line, change: Callable[[float | None, int], int]) -> Line:
        """The line with every constant in it replaced: `change` gets its value, None if that is not known."""
        found = {number for number in (*line.plain, *line.mirrored) if self._is_constant(number)}
        if not found:
            return line
        new = {number: change(self._value(number), number) for number in found}
        return Line(tuple(new.get(n, n) for n in line.plain), tuple(new.get(n, n) for n in line.mirrored))

    def _is_constant(self, number: int) -> bool:
        key = self._keys[number]
        return isinstance(key, tuple) and key[0] == "constant"

    def _value(self, number: int) -> float | None:
        key = self._keys[number]
        return key[1] if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], float) else None

    def unknown_constant(self, operation: int, number: int) -> int:
        """A constant of a value that is not known: what `operation` makes of the constant `number`."""
        return self.of(("constant", operation, number))
