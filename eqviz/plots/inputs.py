"""What a plot accepts: a table with its columns and at least one row; one value where a figure can show only one."""

from collections.abc import Sequence

import pandas as pd

from eqviz import tables
from eqviz.errors import EqvizError


def accepted(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """A copy of `table` in the form of the schema `name`; the caller's table is left as it was.

    Raises EqvizError when columns are missing or there are no rows.

    >>> accepted(tables.empty("spectrum_summary"), "spectrum_summary")
    Traceback (most recent call last):
    eqviz.errors.EqvizError: table spectrum_summary: expected at least one row; found none; analyse a run first
    """
    if len(table) == 0:
        raise EqvizError(f"table {name}", expected="at least one row", found="none", fix="analyse a run first")
    return tables.conform(table, name)


def kept(table: pd.DataFrame, rows: "pd.Series[bool]", name: str, wanted: str) -> pd.DataFrame:
    """The rows of `table` where `rows` holds. Raises EqvizError, saying what was `wanted`, when none is left."""
    left = table[rows.astype(bool)].reset_index(drop=True)
    if len(left) == 0:
        raise EqvizError(
            f"table {name}", expected=wanted, found=f"none in {len(table)} rows", fix="choose other rows or runs"
        )
    return left


def single(table: pd.DataFrame, columns: Sequence[str], name: str) -> None:
    """Check that each of `columns` has one value. Raises EqvizError that names the values.

    >>> single(pd.DataFrame({"mask": ["none", "disc"]}), ["mask"], "accuracy_summary")
    Traceback (most recent call last):
    eqviz.errors.EqvizError: table accuracy_summary: expected one value of mask; found none, disc; select one of them
    """
    for column in columns:
        values = table[column].unique()
        if len(values) > 1:
            raise EqvizError(
                f"table {name}",
                expected=f"one value of {column}",
                found=", ".join(str(value) for value in values),
                fix="select one of them",
            )


def one_row_each(table: pd.DataFrame, keys: Sequence[str], name: str) -> None:
    """Check that no two rows share `keys`, as rows of two epochs or two groups would. Raises EqvizError."""
    twice = table[table.duplicated(list(keys))]
    if len(twice):
        first = ", ".join(f"{key} {twice.iloc[0][key]}" for key in keys)
        raise EqvizError(
            f"table {name}",
            expected=f"one row for each {', '.join(keys)}",
            found=f"more for {first}",
            fix="select one group and one epoch",
        )
