"""TOML read strictly: every key is asked for by type and range, and a key that nobody asked for is an error."""

import difflib
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing

Number = int | float

_LARGEST_FILE = 2**20
"""Bytes: nothing eqviz reads as TOML is anywhere near this."""

_MOST_DOTS = 300
"""In one line: tomllib takes time by the square of the parts of a key, hours for a key that fills a file."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class TomlTable:
    """One table of a TOML file, read key by key.

    Every reader raises EqvizError, naming the file and the key, for a missing key, a wrong type or a value out of range;
    :meth:`finish` raises it for the keys that were never read.

    >>> table = TomlTable({"epochs": 3}, "a.toml")
    >>> table.whole("epochs", 1, 100)
    3
    >>> TomlTable({"epoch": 3}, "a.toml").whole("epochs", 1, 100)
    Traceback (most recent call last):
    eqviz.errors.EqvizError: a.toml: epochs: expected a whole number from 1 to 100; found no such key; add it (did you mean it by 'epoch'?)
    """  # noqa: E501  # what the doctest prints cannot be broken

    def __init__(self, values: Mapping[str, Any], file: str, path: str = "") -> None:
        self.values = values
        self.file = file
        self.path = path
        self._asked: dict[str, None] = {}

    def about(self, key: str = "") -> str:
        """File and key, as errors name them."""
        where = ".".join(part for part in (self.path, key) if part)
        return f"{self.file}: {where}" if where else self.file

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        self._asked[key] = None
        return key in self.values

    def refuse(self, key: str, expected: str, found: str | None = None, fix: str = "correct the file") -> EqvizError:
        """The error for a value that is not as expected."""
        return EqvizError(self.about(key), expected=expected, found=found or short(self.values.get(key)), fix=fix)

    def raw(self, key: str, expected: str = "a value") -> Any:
        """The value as it is, of whatever type."""
        if self.has(key):
            return self.values[key]
        unread = [name for name in self.values if name not in self._asked]
        near = difflib.get_close_matches(key, unread, n=1)
        fix = f"add it (did you mean it by {near[0]!r}?)" if near else "add it"
        raise EqvizError(self.about(key), expected=expected, found="no such key", fix=fix)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number from `low` to `high`; required unless it has a default."""
        found = self.maybe_whole(key, low, high)
        if found is not None:
            return found
        expected = f"a whole number from {low} to {high}"
        return int(self.raw(key, expected)) if default is None else default

    def maybe_whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`, or None where the key is missing."""
        if not self.has(key):
            return None
        if not is_whole(self.values[key], low, high):
            raise self.refuse(key, f"a whole number from {low} to {high}")
        return int(self.values[key])

    def wholes(self, key: str, low: int, high: int, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A list of different whole numbers, each from `low` to `high`."""
        expected = f"a list of different whole numbers from {low} to {high}"
        if default is not None and not self.has(key):
            return tuple(default)
        found = self.raw(key, expected)
        if not isinstance(found, list) or not all(is_whole(value, low, high) for value in found):
            raise self.refuse(key, expected)
        if len(set(found)) != len(found):
            raise self.refuse(key, expected, f"{short(found)}, with a number twice")
        return tuple(found)

    def number(self, key: str, low: Number, high: Number, default: Number | None = None) -> float:
        """A finite number from `low` to `high`."""
        expected = f"a number from {low:g} to {high:g}"
        if default is not None and not self.has(key):
            return float(default)
        found = self.raw(key, expected)
        if not is_number(found, low, high):
            raise self.refuse(key, expected)
        return float(found)

    def numbers(self, key: str, low: Number, high: Number) -> tuple[float, ...]:
        """A list of one or more finite numbers, each from `low` to `high`."""
        expected = f"a list of numbers from {low:g} to {high:g}"
        found = self.raw(key, expected)
        if not isinstance(found, list) or not found or not all(is_number(value, low, high) for value in found):
            raise self.refuse(key, expected)
        return tuple(float(value) for value in found)

    def text(self, key: str, default: str | None = None, *, longest: int = 4096) -> str:
        """Text without control characters but line ends and tabs; only a default may be empty."""
        if default is not None and not self.has(key):
            return default
        found = self.raw(key, "text")
        if not isinstance(found, str) or not found.strip() or len(found) > longest or _CONTROL.search(found):
            raise self.refuse(key, f"text of 1 to {longest} characters, none of them control characters")
        return found

    def texts(self, key: str, default: Sequence[str]) -> tuple[str, ...]:
        """A list of different texts, each of at most 100 characters."""
        if not self.has(key):
            return tuple(default)
        found = self.values[key]
        texts = isinstance(found, list) and all(isinstance(text, str) and 0 < len(text) <= 100 for text in found)
        if not texts or not found or len(set(found)) != len(found):
            raise self.refuse(key, "a list of different names")
        return tuple(found)

    def choice(self, key: str, options: Sequence[str], default: str | None = None) -> str:
        """One of the given words."""
        if default is not None and not self.has(key):
            return default
        found = self.raw(key, f"one of {', '.join(options)}")
        if found not in options:
            raise self.refuse(key, f"one of {', '.join(options)}", fix=did_you_mean(found, options))
        return str(found)

    def flag(self, key: str, default: bool) -> bool:
        """`true` or `false`."""
        found = self.values[key] if self.has(key) else default
        if not isinstance(found, bool):
            raise self.refuse(key, "true or false")
        return found

    def table(self, key: str, *, optional: bool = False) -> "TomlTable":
        """The table under `key`; an empty one for an optional table that is missing."""
        found = self.raw(key, "a table") if not optional or self.has(key) else {}
        if not isinstance(found, dict):
            raise self.refuse(key, "a table")
        return TomlTable(found, self.file, f"{self.path}.{key}" if self.path else key)

    def tables(self, key: str) -> tuple["TomlTable", ...]:
        """The list of tables under `key`, `[[key]]`."""
        found = self.raw(key, f"one or more tables [[{key}]]")
        if not isinstance(found, list) or not found or not all(isinstance(item, dict) for item in found):
            raise self.refuse(key, f"one or more tables [[{key}]]")
        return tuple(TomlTable(item, self.file, f"{self.path}{key}[{place}]") for place, item in enumerate(found, 1))

    def finish(self) -> None:
        """Raise EqvizError for the first key that nothing asked for, with the key it may have been meant for."""
        for key in self.values:
            if key not in self._asked:
                raise EqvizError(
                    self.about(), expected=f"only the keys {', '.join(self._asked)}", found=f"{short(key)}",
                    fix=did_you_mean(key, list(self._asked)),
                )  # fmt: skip


def is_whole(value: object, low: int, high: int) -> bool:
    """Whether `value` is an int, and no bool, from `low` to `high`."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_number(value: object, low: Number, high: Number) -> bool:
    """Whether `value` is a finite int or float, and no bool, from `low` to `high`."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def did_you_mean(found: object, options: Sequence[str]) -> str:
    """What to do about an unknown word: its nearest match, or to choose.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    "did you mean 'epochs'?"
    """
    near = difflib.get_close_matches(str(found), options, n=1)
    return f"did you mean {near[0]!r}?" if near else "remove or correct it"


def short(value: object) -> str:
    """`value` as it is written, cut after 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of thousands of digits
        text = "an enormous number"
    return text if len(text) <= 60 else text[:60] + "..."


def read_toml(path: Path) -> dict[str, Any]:
    """The contents of TOML of at most 1 MiB. Raises EqvizError if it is missing, no file, too large or broken."""
    try:
        if not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            raise EqvizError(str(path), expected="a TOML file", found="a pipe or device", fix="remove it")
        if path.stat().st_size > _LARGEST_FILE:
            raise EqvizError(str(path), expected="TOML of at most 1 MiB", found="a larger file", fix="check the file")
        text = path.read_text(encoding="utf-8")
        if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
            raise EqvizError(
                str(path), expected="TOML", found=f"a line with more than {_MOST_DOTS} dots", fix="correct the file"
            )
        return tomllib.loads(text)
    except OSError as error:
        raise EqvizError(
            str(path), expected="a TOML file", found=error.strerror or str(error), fix="check the path"
        ) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, EqvizError):
            raise
        why = "tables nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise EqvizError(str(path), expected="TOML", found=why, fix="correct the file") from None


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write TOML beside `path` and move it into place."""
    with replacing(path) as beside:
        beside.write_text(tomli_w.dumps(values), encoding="utf-8")
