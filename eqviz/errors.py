"""Errors a person can cause, each a single line that says what to do.

The command line prints the message of an :class:`EqvizError` on one line and ends with exit status 2;
from Python it is an ordinary exception (a ``ValueError``).
"""

from functools import partial
from typing import Any


def one_line(text: str) -> str:
    r"""`text` in one line; what no terminal should be sent (escape sequences, halves of characters) is spelt out.

    >>> print(one_line("a\nb \x1b[2J"))
    a b \x1b[2J
    """
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    r"""`text` with everything that is no printing character spelt out, line ends among them.

    >>> print(printable("a\nb"))
    a\nb
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def told(error: BaseException, longest: int = 300) -> str:
    """An error of other people's code in a line: its type and its words, of which there may be none or a million.

    >>> told(ValueError("a bad value"))
    'ValueError: a bad value'
    """
    try:
        words = str(error)
    except Exception:  # an error whose text cannot be made must not hide that there was one
        words = ""
    return f"{type(error).__name__}: {one_line(words[:longest]) or 'no message'}"


class EqvizError(ValueError):
    """Something the user gave cannot be used.

    The message is always one line: what it is about, what was expected, what was found, what to do.

    >>> print(EqvizError("layers", expected="a layer name or glob", found="'cnov*'", fix="try 'conv*'"))
    layers: expected a layer name or glob; found 'cnov*'; try 'conv*'
    """

    def __init__(self, about: str, *, expected: str, found: str, fix: str) -> None:
        self.about = about
        self.expected = expected
        self.found = found
        self.fix = fix
        super().__init__(one_line(f"{about}: expected {expected}; found {found}; {fix}"))

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickles: processes that measure hand their errors on."""
        return partial(type(self), expected=self.expected, found=self.found, fix=self.fix), (self.about,)


class NoAnswerError(EqvizError):
    """Nothing is wrong, but what was asked has no answer for these networks, such as the accuracy of an embedding."""
