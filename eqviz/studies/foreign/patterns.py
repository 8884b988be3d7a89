"""Patterns of file names, such as `p4_seed{seed}_epoch{epoch}.pth.tar`: which files are meant, and what they say.

They come from files of strangers, so they are no regular expressions, which can be made to run for ever: matching takes
at most (pieces x length of the path)² steps.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

from eqviz.errors import EqvizError

NUMBERS = ("seed", "epoch", "size", "step")
"""Placeholders that stand for digits (a size may be HxW); all others stand for any text within one folder."""

_PIECE = re.compile(r"\{([^{}]*)\}|(\*)|([^{}*]+)|([{}])")
_LONGEST, _MOST = 400, 40
_COUNTER = re.compile(
    r"[-_. ]*(?:(?:epochs?|steps?|iters?|iterations?)|(?:(?:val|valid|train|test)[-_]?)?(?:acc|accuracy|loss|error)"
    r"|(?<![A-Za-z])(?:ep|e|it))?[-_=. ]*$",
    re.IGNORECASE,
)
"""A word that says what the number after it counts or measures, and what joins it to its neighbours."""

_SIZE = re.compile(r"[0-9]+(?:x[0-9]+)?")
_DIGITS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class FilePattern:
    """A path below the folder of checkpoints, with placeholders `{name}` and `*`, neither of which goes over a `/`.

    `{seed}`, `{epoch}`, `{size}` and `{step}` are whole numbers, as long as they can be; other names and `*` are text,
    as short as it can be. Raises EqvizError for names that are no words or stand twice, for stray braces, and for
    patterns that are empty, absolute, lead out of the folder, or are too long.

    >>> FilePattern("p4_seed{seed}/*_{epoch}.pt").match("p4_seed3/net_25.pt")
    {'seed': '3', '*1': 'net', 'epoch': '25'}
    >>> FilePattern("p4_{epoch}.pt").match("p4_last.pt") is None
    True
    """

    text: str
    about: str = "files"

    def __post_init__(self) -> None:
        parts = self.text.split("/")
        if not self.text or len(self.text) > _LONGEST or self.text.startswith(("/", "~")) or {"..", "."} & {*parts}:
            self._refuse(f"a path below the folder of at most {_LONGEST} letters, without '..'")
        names = [name for name, _ in self._pieces if not name.startswith("*")]
        if any(stray for *_, stray in _PIECE.findall(self.text)) or not all(name.isidentifier() for name in names):
            self._refuse("placeholders such as {seed}, {epoch}, {size}, {label}, and * for any text")
        if len(set(names)) < len(names) or len(self._pieces) > _MOST:
            self._refuse(f"every placeholder once, and at most {_MOST} of them")

    @cached_property
    def _tokens(self) -> list[tuple[str, str]]:
        """Pieces in order: ("", text) as it is written, or (name of a placeholder, "")."""
        found, stars = [], 0
        for name, star, text, _ in _PIECE.findall(self.text):
            stars += bool(star)
            found.append(("", text) if text else (f"*{stars}" if star else name, ""))
        return found

    @property
    def _pieces(self) -> list[tuple[str, str]]:
        return [token for token in self._tokens if not token[1]]

    @property
    def names(self) -> tuple[str, ...]:
        """Its placeholders, `*1`, `*2` and so on for stars."""
        return tuple(name for name, _ in self._pieces)

    def match(self, path: str) -> dict[str, str] | None:
        """What the placeholders stand for in `path`, which is written with `/`; None if it does not match."""
        if not path.startswith(self._tokens[0][1]) or not path.endswith(self._tokens[-1][1]):
            return None  # most files of a large folder end here
        dead: set[tuple[int, int]] = set()

        def rest(place: int, start: int) -> dict[str, str] | None:
            if place == len(self._tokens):
                return {} if start == len(path) else None
            if (place, start) in dead:
                return None
            name, text = self._tokens[place]
            for end in _ends(name, text, path, start):
                found = rest(place + 1, end)
                if found is not None:
                    return {name: path[start:end], **found} if name else found
            dead.add((place, start))
            return None

        return rest(0, 0)

    def without(self, names: Collection[str], path: str) -> str:
        """`path` without what these placeholders stand for, and without words such as `_epoch` before it.

        >>> FilePattern("a/p4_epoch{epoch}.pt").without(["epoch"], "a/p4_epoch25.pt")
        'a/p4.pt'
        """
        found = self.match(path)
        if found is None or not {*names} & {*found}:
            return path
        kept = ""
        for token, text in self._tokens:
            kept = _COUNTER.sub("", kept) if token in names else kept + (text or found[token])
        return kept.lstrip("/")

    def _refuse(self, expected: str) -> None:
        raise EqvizError(self.about, expected=expected, found=repr(self.text[:80]), fix="correct the pattern")


def _ends(name: str, text: str, path: str, start: int) -> Iterator[int]:
    """Where a piece that starts at `start` may end: the likeliest first."""
    if not name:
        if path.startswith(text, start):
            yield start + len(text)
        return
    if name in NUMBERS:
        whole = _SIZE if name == "size" else _DIGITS
        number = whole.match(path, start)
        ends = range(number.end() if number else start, start, -1)
        yield from (end for end in ends if whole.fullmatch(path, start, end))
        return
    slash = path.find("/", start)
    yield from range(start + (not name.startswith("*")), (len(path) if slash < 0 else slash) + 1)
