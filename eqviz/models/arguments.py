"""What the arguments of layers and networks may be, checked before anything is built."""

from collections.abc import Iterable

from eqviz.errors import EqvizError

LARGEST = 10**6


def whole_number(about: str, value: int, *, least: int = 1) -> int:
    """`value`, a whole number from `least` to one million.

    Raises EqvizError for anything else.

    >>> whole_number("channels", 10)
    10
    >>> whole_number("channels", -1)
    Traceback (most recent call last):
    eqviz.errors.EqvizError: channels: expected a whole number from 1 to 1000000; found -1; change it
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise EqvizError(
            about, expected=f"a whole number from {least} to {LARGEST}", found=brief(value), fix="change it"
        )
    return value


def probability(about: str, value: float) -> float:
    """`value`, a number from 0 up to, not including, 1.

    Raises EqvizError for anything else.

    >>> probability("dropout", 0.3)
    0.3
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise EqvizError(about, expected="a number in [0, 1)", found=brief(value), fix="change it")
    return float(value)


def one_of(about: str, value: str, allowed: Iterable[str]) -> str:
    """`value`, one of the names that are allowed.

    Raises EqvizError for anything else.

    >>> one_of("separable", "gc", ("", "g", "gc"))
    'gc'
    >>> one_of("separable", "c", ("", "g", "gc"))
    Traceback (most recent call last):
    eqviz.errors.EqvizError: separable: expected '' or g or gc; found 'c'; change it
    """
    names = tuple(allowed)
    if value not in names:
        expected = " or ".join(name or "''" for name in names)
        raise EqvizError(about, expected=expected, found=brief(value), fix="change it")
    return value


def brief(value: object) -> str:
    """`value` as Python writes it, cut off after 40 characters.

    >>> brief("x" * 100)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."
    """
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= 40 else text[:40] + "..."
