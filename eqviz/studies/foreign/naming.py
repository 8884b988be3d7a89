"""What the names of checkpoint files say: numbers, and the words by which these are seeds, epochs and sizes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

SPECIAL = frozenset(
    {
        "best", "last", "final", "latest", "ema", "swa", "averaged", "average", "avg", "teacher", "student", "init",
        "initial", "untrained", "pretrained",
    }
)  # fmt: skip
"""Words that say which of the checkpoints of one training it is: such files are networks of their own."""

UNTRAINED = frozenset({"init", "initial", "untrained"})

GENERIC = frozenset(
    {
        "", "checkpoint", "checkpoints", "ckpt", "ckpts", "chkpt", "cp", "model", "models", "net", "network", "weights",
        "weight", "state", "snapshot", "params", "save", "saved", "pytorch",
    }
)  # fmt: skip
"""Words that say nothing of a number after them: what a training saves again and again is counted by epochs."""

SMALLEST_SIZE, LARGEST_SIZE = 6, 1024
"""Pixels that a number in a name is believed to mean."""

_NUMBER = re.compile(r"[0-9]+\.[0-9]+(?![0-9])|[0-9]+x[0-9]+(?![0-9])|[0-9]+")
_HASH = re.compile(r"(?<![A-Za-z0-9])(?=[0-9-]*[a-f])(?=[a-f-]*[0-9])[0-9a-f]{7,}(?:-[0-9a-f]{4,})*(?![A-Za-z0-9])")
"""Names that programs make up, in which digits are no numbers."""

_WORD_BEFORE = re.compile(r"([A-Za-z]+)[-_=. ]{0,2}$")
_CAMEL = re.compile(r"[A-Z]?[a-z]+$|[A-Z]+$")
_PIXELS = re.compile(r"[-_ ]?(?:px|pix|pixels?)(?![A-Za-z])", re.IGNORECASE)
_OTHER_SIZE = re.compile(
    r"(?:batch|kernel|patch|hidden|pool|filter|window|train|data|dataset|sample|samples|embed|step)[-_ ]?size$",
    re.IGNORECASE,
)
_KINDS = {
    "seed": ("seed", "run", "trial", "fold", "rep", "repeat", "repetition", "version", "rng", "member"),
    "epoch": ("epoch", "epochs"),
    "step": ("step", "steps", "iter", "iters", "iteration", "iterations"),
    "size": ("size", "resolution", "px", "pixels", "imgsize", "imsize", "inputsize"),
    "metric": ("acc", "accuracy", "loss", "err", "error", "auc", "score"),
}
_SHORT = {"s": "seed", "e": "epoch", "ep": "epoch", "it": "step", "n": "maybe size", "img": "size"}
"""Words that count only where they stand alone."""


@dataclass(frozen=True)
class Number:
    """A number in a path: as it is written, and what it is by the word beside it.

    `kind` is seed, epoch, step, size, metric, "maybe size" or "" where nothing says it; `word` is the word before it
    or before the number before, in small letters; `alone` says that no letters stand beside it.
    """

    text: str
    kind: str
    word: str
    alone: bool = False

    @property
    def as_size(self) -> bool:
        """Whether it could be the side of an image, in pixels."""
        sides = self.text.split("x")
        return all(side.isdigit() and SMALLEST_SIZE <= int(side[:9]) <= LARGEST_SIZE for side in sides)


@dataclass(frozen=True)
class Name:
    """A path below the folder in pieces: `texts[0]`, `numbers[0]`, `texts[1]`, and so on, ending with a text."""

    path: str
    texts: tuple[str, ...]
    numbers: tuple[Number, ...]

    @cached_property
    def special(self) -> tuple[str, ...]:
        """Words such as best, last and ema in it."""
        found = (word for text in self.texts for word in words(text))
        return tuple(dict.fromkeys(word for word in found if word in SPECIAL))


def read_name(path: str) -> Name:
    """The pieces of a path.

    >>> [(number.text, number.kind) for number in read_name("p4_28px_seed3_e25.pt").numbers]
    [('4', ''), ('28', 'size'), ('3', 'seed'), ('25', 'epoch')]
    >>> [(number.text, number.kind) for number in read_name("e2cnn_n28.pt").numbers]
    [('2', ''), ('28', 'maybe size')]
    """
    texts: list[str] = []
    numbers: list[Number] = []
    start = 0
    hashes = [found.span() for found in _HASH.finditer(path)]
    for found in _NUMBER.finditer(path):
        if any(first <= found.start() < last for first, last in hashes):
            continue
        before = path[start : found.start()]
        number = _number(found.group(), before, path[found.end() :], bool(numbers))
        if not number.word and numbers and "/" not in before:
            number = replace(number, word=numbers[-1].word)
        numbers.append(number)
        texts.append(before)
        start = found.end()
    return Name(path, (*texts, path[start:]), tuple(numbers))


def words(text: str) -> Iterator[str]:
    """The words in a text, in small letters.

    >>> list(words("runs/modelBest_ema"))
    ['runs', 'model', 'best', 'ema']
    """
    for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", text):
        yield part.lower()


def _number(text: str, before: str, after: str, follows_number: bool) -> Number:
    lone = not before[-1:].isalpha() and not after[:1].isalpha()
    found = _WORD_BEFORE.search(before.rpartition("/")[2])
    if found is None:
        return Number(text, _kind_by_form(text, after), "", lone)
    whole = found.group(1)
    camel = _CAMEL.search(whole)
    word = (camel.group() if camel else whole).lower()
    within = after[:1].isalpha()  # not the e of e2cnn
    single = not within and not (follows_number and found.start() == 0 and "/" not in before)  # nor that of 1e-3
    kind = _kind_by_form(text, after) or _kind_by_word(before, whole.lower(), word, single)
    return Number(text, kind, word, lone)


def _kind_by_form(text: str, after: str) -> str:
    if "." in text:
        return "metric"
    return "size" if "x" in text or _PIXELS.match(after) else ""


def _kind_by_word(before: str, whole: str, word: str, single: bool) -> str:
    if word == "size" and _OTHER_SIZE.search(before.rstrip("-_=. ")):
        return ""
    for kind, known in _KINDS.items():
        if word in known or whole in known:
            return kind
    return _SHORT.get(whole, "") if single else ""
