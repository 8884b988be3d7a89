"""From names that are alike to one pattern: which numbers in them become {seed}, {epoch}, {size} or {label}."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from eqviz.errors import EqvizError
from eqviz.studies.foreign.looking import Look
from eqviz.studies.foreign.naming import GENERIC, Name, Number
from eqviz.studies.foreign.patterns import FilePattern

SEED_KEYS = ("seed", "random_seed", "manual_seed", "rng_seed")
SIZE_KEYS = (
    "input_size", "img_size", "image_size", "imgsize", "imsize", "resolution", "size", "crop_size", "res",
    "input_shape", "image_shape", "img_dim", "image_dim",
)  # fmt: skip
"""Settings of trainings that are the side of an image, the likeliest first."""


@dataclass(frozen=True)
class Choice:
    """The pattern of some files, and what in it is no more than a guess, in words."""

    pattern: FilePattern
    guesses: tuple[str, ...] = ()


def choose(names: Sequence[Name], fixed: Collection[int], looks: Iterable[Look]) -> Choice | None:
    """The pattern of names that differ in nothing but their numbers; those at the places `fixed` stay as they are.

    `looks` are what was seen in some of the files. None where no pattern tells what the names say.
    """
    chosen: dict[int, str] = {}
    guesses: list[str] = []
    columns = [[name.numbers[place] for name in names] for place in range(len(names[0].numbers))]
    left = [place for place in range(len(columns)) if place not in fixed]
    for kind in ("epoch", "seed", "size", "step", "metric", "maybe size", ""):
        found = sorted((place for place in left if columns[place][0].kind == kind), key=lambda at: _rank(columns[at]))
        for place in found:
            wanted, guess = _placeholder(columns[place], kind, chosen.values(), _evidence(names, place, looks))
            if wanted:
                chosen[place] = wanted
                guesses += [guess] if guess else []
    text = _written(names[0], chosen)
    try:
        pattern = FilePattern(text)
    except EqvizError:
        return None
    numbers = {place: name for place, name in chosen.items() if name in ("seed", "epoch", "size")}
    for name in names:
        found_in = pattern.match(name.path)
        if found_in is None or any(found_in[key] != name.numbers[place].text for place, key in numbers.items()):
            return None
    return Choice(pattern, tuple(guesses))


def _rank(column: Sequence[Number]) -> tuple[bool, bool]:
    """Of several numbers of one kind: the one whose word is the kind itself comes first, then one that varies."""
    return column[0].word.rstrip("s") != column[0].kind, not _varies(column)


def _varies(column: Sequence[Number]) -> bool:
    return any(number.text != column[0].text for number in column)


def _placeholder(column: Sequence[Number], kind: str, taken: Collection[str], evidence: str) -> tuple[str, str]:
    """The placeholder for a number, "" for none, and what is guessed about it."""
    first, varies = column[0], _varies(column)
    sizes = all(number.as_size for number in column)
    if kind == "metric":
        return "*" if varies else "", ""
    if kind == "step" and "epoch" in taken:
        return _free("step", taken) if varies or "step" not in taken else "", ""
    if kind == "step":
        return "epoch", f"{{epoch}} counts steps, by the word {first.word!r} in the names"
    if kind in ("seed", "epoch") and kind not in taken:
        sure = first.word.rstrip("s") == kind
        return kind, "" if sure else f"{{{kind}}} is the number after {first.word!r} in the names"
    if kind in ("size", "maybe size") and sizes and "size" not in taken:
        return "size", "" if kind == "size" else f"{{size}} is the number after {first.word!r} in the names"
    if not varies:
        return "", ""
    if kind in ("seed", "epoch"):
        return _free(first.word, taken), ""  # a second number of its kind: it tells runs apart
    return _unnamed(first, sizes, taken, evidence)


def _unnamed(first: Number, sizes: bool, taken: Collection[str], evidence: str) -> tuple[str, str]:
    """The placeholder for a number that varies and of which the name does not say what it is."""
    if evidence and evidence not in taken:
        return evidence, ""
    whole = first.text.isdigit()
    if whole and first.word in GENERIC and "epoch" not in taken:
        return "epoch", "{epoch} is the number in the names, which do not say what it counts"
    if whole and first.alone and sizes and "size" not in taken:
        return "size", "{size} is the number in the names: files that differ in it have weights of the same shapes"
    if "label" not in taken:
        return "label", ""
    return _free(first.word or "other", taken), ""


def _free(word: str, taken: Collection[str]) -> str:
    word = word if word.isidentifier() else "other"
    return next(name for name in (word, *(f"{word}_{place}" for place in range(2, 50))) if name not in taken)


def _evidence(names: Sequence[Name], place: int, looks: Iterable[Look]) -> str:
    """What a number is by the files: the epoch, seed or size that at least two different ones say."""
    written = {name.path: name.numbers[place].text for name in names}
    pairs = [(int(written[look.path][:9]), look) for look in looks if written.get(look.path, "").isdigit()]
    if len({number for number, _ in pairs}) < 2:
        return ""
    if all(look.epoch is not None and number - look.epoch in (0, 1) for number, look in pairs):
        return "epoch"
    for kind, keys in (("seed", SEED_KEYS), ("size", SIZE_KEYS)):
        if all(any(look.hyperparameters.get(key) == number for key in keys) for number, look in pairs):
            return kind
    return ""


def _written(name: Name, chosen: dict[int, str]) -> str:
    """The pattern; a {label} takes in the letters on both sides of its number, which say what it is."""
    texts = list(name.texts)
    for place, placeholder in chosen.items():
        if placeholder == "label":
            before = re.sub(r"[A-Za-z]+$", "", texts[place])
            texts[place] = before if before or not place else texts[place]
            texts[place + 1] = re.sub(r"^[A-Za-z]+(?=[^A-Za-z])", "", texts[place + 1])
    pieces = [texts[0]]
    for place, number in enumerate(name.numbers):
        placeholder = chosen.get(place, "")
        pieces += [number.text if not placeholder else "*" if placeholder == "*" else f"{{{placeholder}}}"]
        pieces += [texts[place + 1]]
    return "".join(pieces)
