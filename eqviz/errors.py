"""Errors a person can cause, each a single line that says what to do.

The command line prints the message of an :class:`EqvizError` on one line and ends with exit status 2;
from Python it is an ordinary exception (a ``ValueError``).
"""


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
        message = f"{about}: expected {expected}; found {found}; {fix}"
        super().__init__(" ".join(message.split()))


class NoAnswerError(EqvizError):
    """Nothing is wrong, but what was asked has no answer for these networks, such as the accuracy of an embedding."""
