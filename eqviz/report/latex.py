"""Tables as LaTeX that compiles: escaped text, bold cells, heads of several columns; in the style of booktabs."""

import re
from collections.abc import Callable, Collection

import pandas as pd

LONG = 50
"""Rows from which on a table may break across pages (longtable)."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"\textpm{}", "×": r"\texttimes{}", "°": r"\textdegree{}", "−": r"\textminus{}",
    "→": r"\textrightarrow{}", "⁻": r"\textsuperscript{--}", "¹": r"\textonesuperior{}", "²": r"\texttwosuperior{}",
    "·": r"\textperiodcentered{}", "…": r"\ldots{}", "–": "--", "≤": r"\ensuremath{\leq}", "≥": r"\ensuremath{\geq}",
    "ρ": r"\ensuremath{\rho}", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""What means something else to LaTeX, or nothing to pdflatex without further packages. Brackets: after a line break
they would be read as its length."""

_LETTERS = str.maketrans(_SPECIAL)


def escaped(text: str) -> str:
    r"""The text as LaTeX writes it.

    >>> escaped("97.5 ± 0.3% of a_b"), escaped("[72.1, 74.3]")
    ('97.5 \\textpm{} 0.3\\% of a\\_b', '{[}72.1, 74.3{]}')
    """
    return text.translate(_LETTERS)


def latex_table(table: pd.DataFrame, caption: str = "", bold: Collection[tuple[int, int]] = ()) -> str:
    r"""A table of texts as LaTeX; needs booktabs, and longtable for more than 50 rows.

    Columns with two levels of names get a head over those that share the first. `bold` are places (row, column) of
    cells, counted from 0.

    >>> print(latex_table(pd.DataFrame({"a_b": ["1%"]}), bold=[(0, 0)]))
    \begin{tabular}{l}
    \toprule
    a\_b \\
    \midrule
    \textbf{1\%} \\
    \bottomrule
    \end{tabular}
    <BLANKLINE>
    """
    cells = marked(table.map(escaped), bold, lambda text: rf"\textbf{{{text}}}")
    several = table.columns.nlevels > 1
    if several:
        cells.columns = pd.MultiIndex.from_tuples([tuple(map(escaped, name)) for name in table.columns])
    else:
        cells.columns = pd.Index([escaped(str(name)) for name in table.columns], dtype=object)
    long = len(table) > LONG
    # pandas sets one row with all that is around it; it would take a millisecond a row
    text = str(
        cells.iloc[:1].to_latex(
            index=False, escape=False, longtable=long, caption=escaped(caption) or None, multicolumn_format="c",
            column_format="l" * len(table.columns),
        )
    )  # fmt: skip
    lines = [f"{' & '.join(row)} \\\\\n" for row in cells.itertuples(index=False, name=None)]
    head, rule, rest = text.rpartition("\\endlastfoot\n" if long else "\\midrule\n")
    text = "".join((head, rule, *lines, rest.removeprefix("".join(lines[:1]))))
    return _ruled(text, table.columns) if several else text


def marked(cells: pd.DataFrame, places: Collection[tuple[int, int]], mark: Callable[[str], str]) -> pd.DataFrame:
    """A table of texts with those at the places (row, column) marked.

    >>> marked(pd.DataFrame({"a": ["x", "y"]}), [(1, 0)], str.upper)["a"].tolist()
    ['x', 'Y']
    """
    texts = cells.to_numpy(dtype=object).copy()
    for place in places:
        texts[place] = mark(str(texts[place]))
    return pd.DataFrame(texts, columns=cells.columns, dtype=object)


def _ruled(text: str, columns: pd.Index) -> str:
    """Thin rules under the heads of several columns."""
    top = [str(name[0]) for name in columns]
    starts = [place for place in range(len(top)) if place == 0 or top[place] != top[place - 1]]
    ends = [*starts[1:], len(top)]
    rules = " ".join(rf"\cmidrule(lr){{{a + 1}-{b}}}" for a, b in zip(starts, ends, strict=True) if top[a])
    return re.sub(r"(\\toprule\n[^\n]*\\\\\n)", lambda found: found[1] + rules + "\n", text)
