"""What it means that a layer holds energy in an irrep: which symmetry is lost, which is kept."""

import pandas as pd

from eqviz.errors import EqvizError

TRIVIAL = ("A1", "A")
"""The symmetric part is called A1 in groups with reflections, A in those without."""

_MEANINGS: dict[str, dict[str, str]] = {
    "C2": {"A": "symmetric", "B": "changes sign under 180°"},
    "C4": {"A": "symmetric", "B": "changes sign under 90°, symmetric under 180°", "E": "even 180° is broken"},
    "D1": {"A1": "symmetric", "A2": "changes sign under the reflection"},
    "D2": {
        "A1": "symmetric",
        "A2": "if alone, 180° survives",
        "B1": "if alone, only the group's first reflection survives",
        "B2": "if alone, only the group's second reflection survives",
    },
    "D4": {
        "A1": "symmetric",
        "A2": "if alone, the rotations survive",
        "B1": "if alone, D2 (axes) survives",
        "B2": "if alone, D2 (diagonals) survives",
        "E": "even 180° is broken",
    },
}

_SAME_GROUP = {"p4": "C4", "p4m": "D4"}


def meaning(group: str, irrep: str) -> str:
    """What energy in `irrep` says, or '' where it is not known. `p4` and `p4m` count as C4 and D4.

    >>> meaning("p4m", "A2"), meaning("C8", "E2")
    ('if alone, the rotations survive', '')
    """
    point_group = _SAME_GROUP.get(group, group).split("(")[0]
    return _MEANINGS.get(point_group, {}).get(irrep, "")


def breaking_irreps(table: pd.DataFrame) -> tuple[str, ...]:
    """The irreps of a spectrum table without the trivial one, in the order of the table.

    Raises EqvizError when no trivial irrep is among them: then nothing says which part is symmetric.

    >>> breaking_irreps(pd.DataFrame({"irrep": ["A", "B", "E", "A", "B", "E"]}))
    ('B', 'E')
    """
    names = [str(name) for name in table["irrep"].unique()]
    trivial = next((name for name in TRIVIAL if name in names), None)
    if trivial is None:
        raise EqvizError(
            "table spectrum_summary", expected="the symmetric part, irrep A1 or A", found=", ".join(names),
            fix="keep the rows of all irreps",
        )  # fmt: skip
    return tuple(name for name in names if name != trivial)
