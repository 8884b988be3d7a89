"""Which networks differ, in letters: a compact display of all pairwise comparisons.

H. Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", Journal of Computational and
Graphical Statistics 13 (2004).
"""

import string
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from eqviz.analysis.comparisons import comparisons
from eqviz.analysis.network_values import named_accuracies
from eqviz.tables import COMPARISON_KEYS, MODEL_KEYS, conform, empty

ALPHA = 0.05
FEWEST_FOR_LETTERS = 3
"""With two seeds no difference short of a gulf is significant, and everything would share its letter."""

_PARTS = {"group": "group", "epoch": "number of epochs", "data": "data set", "regime": "regime"}
"""What letters are given within, where a table has several."""

Place = tuple[str, str]


def significance(accuracy: pd.DataFrame, compared: pd.DataFrame | None = None, *, alpha: float = ALPHA) -> pd.DataFrame:
    """The table `significance`: mean and spread of every network and named metric, with letters.

    `compared` is the table `comparisons` of the table `accuracy`, made here where it is not given. Networks of one
    metric share a letter exactly if their `p_welch_holm` is not below `alpha` (or missing); letters go from the highest
    mean down, and there are none for fewer than three seeds. `mean` and `std` (ddof 1) are fractions, `text` gives
    them in %: `98.7 ± 0.2 ab`.
    """
    pairs = comparisons(accuracy) if compared is None else compared
    values = named_accuracies(accuracy)
    rows: list[dict[str, object]] = []
    for keys, family in values.groupby([*COMPARISON_KEYS, "metric"], sort=False, observed=True, dropna=False):
        shared = dict(zip([*COMPARISON_KEYS, "metric"], keys, strict=True))
        same = pairs[list(shared)].eq(pd.Series(shared)).all(axis=1)
        rows += _rows(shared, family, pairs[same], alpha)
    return conform(pd.DataFrame(rows), "significance") if rows else empty("significance")


def significance_by_metric(significance: pd.DataFrame) -> pd.DataFrame:
    """One row a network, one column a metric, as text: for print. Keys are those of a summary, MODEL_KEYS."""
    metrics = list(dict.fromkeys(significance["metric"]))
    wide = significance.pivot_table(
        index=list(MODEL_KEYS), columns="metric", values="text", aggfunc="first", sort=False, observed=True
    )
    return wide.reindex(columns=metrics).reset_index().rename_axis(columns=None)


def significance_caption(significance: pd.DataFrame, *, alpha: float = ALPHA) -> str:
    """What stands in a table of `significance`, in words: the seeds, the test, its correction and the letters.

    >>> row = dict(model="p4cnn", input_size=16, group="C4", epoch=9, data="digits", regime="upright", std=0.01)
    >>> row |= dict(metric="accuracy at 0 degrees", mean=0.9, n_seeds=2, letters="", text="90.0 ± 1.0")
    >>> significance_caption(pd.DataFrame([row])).split(". ")[0]
    'Accuracy in %, mean ± standard deviation over 2 seeds'
    """
    counts = significance["n_seeds"].astype(int)
    few, most = int(counts.min()), int(counts.max())
    seeds = f"{few} to {most}" if few < most else f"{most}"
    parts = [_PARTS[key] for key in COMPARISON_KEYS if len(set(significance[key])) > 1]
    column = " and a ".join(["Within a column", *parts])
    pairs = f"all pairs of the column{' there' if parts else ''}"
    words = f"Accuracy in %, mean ± standard deviation over {seeds} seed{'s' if most > 1 else ''}."
    if few < FEWEST_FOR_LETTERS:
        unmarked = "are not compared" if most < FEWEST_FOR_LETTERS else "have no letter"
        words += f" Networks with fewer than {FEWEST_FOR_LETTERS} seeds {unmarked}."
    if most >= FEWEST_FOR_LETTERS:
        words += (
            f" {column}, networks that share a letter do not differ significantly (two-sided Welch t test over seeds,"
            f" p-values adjusted by Holm's method over {pairs}, level {alpha:g})."
            " Sharing a letter is not evidence of equality."
        )
    return words


def letters(order: Sequence[Place], different: Iterable[Collection[Place]]) -> dict[Place, str]:
    """Letters for the members of `order`, so that two share one exactly if they are not a pair in `different`.

    Start with one column that holds all. For every pair that differs, a column with both becomes two, each without one
    of them (insert); columns within another are dropped (absorb). Columns get their letters by their first member.

    >>> letters([("a", ""), ("b", ""), ("c", "")], [{("a", ""), ("c", "")}])
    {('a', ''): 'a', ('b', ''): 'ab', ('c', ''): 'b'}
    """
    columns = [frozenset(order)] if order else []
    for pair in different:
        split = [column - {member} for column in columns if column.issuperset(pair) for member in pair]
        columns = [column for column in columns if not column.issuperset(pair)]
        for column in split:
            if not any(column <= other for other in columns):
                columns = [other for other in columns if not other < column] + [column]
    ranked = sorted(columns, key=lambda column: [place for place, name in enumerate(order) if name in column])
    return {name: "".join(_letter(n) for n, column in enumerate(ranked) if name in column) for name in order}


def _letter(place: int) -> str:
    known = string.ascii_lowercase + string.ascii_uppercase
    return known[place] if place < len(known) else f"({place + 1})"


def _rows(
    shared: dict[str, object], family: pd.DataFrame, compared: pd.DataFrame, alpha: float
) -> list[dict[str, object]]:
    by = family.groupby(["model", "input_size"], sort=False, observed=True)["value"]
    found = by.agg(["mean", "std", "count"]).reset_index()
    places = [_place(*pair) for pair in zip(found["model"], found["input_size"], strict=True)]
    ranked = sorted(zip(places, found["mean"], found["count"], strict=True), key=lambda one: -one[1])
    lettered = letters([place for place, _, n in ranked if n >= FEWEST_FOR_LETTERS], _different(compared, alpha))
    rows = []
    for place, row in zip(places, found.to_dict("records"), strict=True):
        network = {"model": row["model"], "input_size": row["input_size"]}
        given = lettered.get(place, "")
        measured = {"mean": row["mean"], "std": row["std"], "n_seeds": row["count"], "letters": given}
        rows.append({**shared, **network, **measured, "text": _text(row["mean"], row["std"], given)})
    return rows


def _different(compared: pd.DataFrame, alpha: float) -> list[frozenset[Place]]:
    """The pairs of networks that differ significantly, both with enough seeds for letters."""
    seeds = compared[["n_a", "n_b"]].min(axis=1)
    tested = compared[(seeds >= FEWEST_FOR_LETTERS) & (compared["p_welch_holm"].astype(float) < alpha)]
    columns = ("model_a", "input_size_a", "model_b", "input_size_b")
    return [
        frozenset((_place(a, size_a), _place(b, size_b)))
        for a, size_a, b, size_b in zip(*(tested[name] for name in columns), strict=True)
    ]


def _place(model: object, size: object) -> Place:
    return str(model), str(size)


def _text(mean: float, std: float, letters: str) -> str:
    spread = "" if pd.isna(std) else f" ± {100 * std:.1f}"
    return f"{100 * mean:.1f}{spread} {letters}".rstrip()
