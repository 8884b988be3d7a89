"""Names out of files, as errors show them."""

from collections.abc import Sequence

NAMED = 3
"""How many names of each kind an error lists."""


def some(entries: Sequence[str]) -> str:
    """The first three, and how many more there are.

    >>> some(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    return ", ".join(entries[:NAMED]) + (f" and {len(entries) - NAMED} more" if len(entries) > NAMED else "")


def shown(name: str) -> str:
    """A name out of a file, fit for an error: short, without signs that move the cursor."""
    return name[:80] if name.isprintable() else ascii(name[:80])
