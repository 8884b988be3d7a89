"""Tables as files: csv with every digit, or as many as asked for; Markdown and LaTeX for reading."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd

from eqviz.analysis.significance import significance_by_metric, significance_caption
from eqviz.errors import EqvizError
from eqviz.plots.labels import network_label
from eqviz.plots.regimes import in_order
from eqviz.report.latex import latex_table, marked
from eqviz.tables import COMPARISON_KEYS, MODEL_KEYS

MEASURED = (
    "runs", "networks", "accuracy", "accuracy_classes", "accuracy_summary", "accuracy_overview", "equivariance",
    "equivariance_elements", "equivariance_summary", "skipped_layers", "spectrum", "spectrum_summary", "subgroups",
    "subgroups_summary", "audit", "verdict", "exactness", "benchmarks", "accuracy_by_images",
)  # fmt: skip
"""Tables of the networks, their symmetry and their accuracy: always written."""

IN_DEPTH = (
    "local_defect", "local_defect_summary", "patching", "patching_summary", "upright_gain", "function_split",
    "function_split_summary", "probes", "probes_summary", "attribution", "attribution_summary", "breaking_attribution",
    "lie_derivative", "lie_derivative_summary", "learned_action", "learned_action_summary", "orbit_plane", "cka",
    "cka_summary", "twin_cka", "twin_cka_summary", "stage_errors", "stage_errors_summary", "orientation_selectivity",
    "orientation_selectivity_summary",
    "data_symmetry", "data_symmetry_summary", "symmetry_match", "training_summary", "learning_curves", "feature_maps",
    "published_comparison", "comparisons", "significance", "findings",
)  # fmt: skip
"""Tables of the analyses in depth: causes, consequences and evidence. They can be chosen one by one."""

TABLES = (*MEASURED, *IN_DEPTH)
"""The tables a report writes; beside them `accuracy_table`, `benchmark_table` and
`significance_table`, as a paper prints them."""


def chosen_tables(only: Sequence[str]) -> tuple[str, ...]:
    """Names of the tables to make: `only`, or all. Raises EqvizError for a name that is not a table.

    >>> chosen_tables(["patching", "runs"])
    ('runs', 'patching')
    """
    unknown = [name for name in only if name not in TABLES]
    if unknown:
        raise EqvizError(
            "tables", expected=f"among {', '.join(TABLES)}", found=", ".join(unknown), fix="see `eqviz list analyses`"
        )
    return tuple(name for name in TABLES if not only or name in only)


def accuracy_table(overview: pd.DataFrame) -> pd.DataFrame:
    """Upright and rotated accuracy as a paper prints it: a row a network, a column a metric, `98.7 [98.1, 99.3]` in %.

    In brackets the interval over seeds, where there is more than one.
    """
    labels = [network_label(model, size) for model, size in zip(overview["model"], overview["input_size"], strict=True)]
    rows = overview.assign(
        network=labels,
        shown=[_shown(*row) for row in zip(overview["mean"], overview["low"], overview["high"], strict=True)],
    )
    keys = [key for key in MODEL_KEYS if key not in ("model", "input_size")]
    wide: pd.DataFrame = rows.pivot_table(
        index=["network", *keys], columns="metric", values="shown", aggfunc="first", sort=False
    )
    wide = wide.reset_index()
    wide.columns.name = None
    return wide


def _shown(mean: float, low: float, high: float) -> str:
    interval = "" if pd.isna(low) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * mean:.1f}{interval}"


def significance_table(significance: pd.DataFrame) -> pd.DataFrame:
    """What differs between networks as a paper prints it: a row a network, a column a metric, `98.7 ± 0.2 ab` in %.

    Columns of keys are those in which rows differ, such as the regime; `.attrs["caption"]` says the others, what the
    metrics are, what the letters mean, by which test and over how many seeds.
    """
    wide = significance_by_metric(significance)
    labels = [network_label(model, size) for model, size in zip(wide["model"], wide["input_size"], strict=True)]
    telling = [key for key in COMPARISON_KEYS if len(set(wide[key])) > 1]
    orders = {key: list(dict.fromkeys(wide[key])) for key in telling} | {"regime": in_order(wide["regime"])}
    keys = wide[telling].to_dict("records")
    places = [[orders[key].index(row[key]) for key in telling] for row in keys]
    together = sorted(range(len(wide)), key=places.__getitem__)  # networks that are compared
    wide = wide.assign(network=labels).iloc[together]
    same = [f"{key} {wide[key].iloc[0]}" for key in COMPARISON_KEYS if key not in telling]
    metrics = [name for name in wide.columns if name not in (*MODEL_KEYS, "network")]
    table = wide[[*telling, "network", *metrics]].rename(columns=METRIC_NAMES).reset_index(drop=True)
    words = [significance_caption(significance), METRIC_WORDS, f"Of all rows: {', '.join(same)}." if same else ""]
    table.attrs["caption"] = " ".join(filter(None, words))
    return table


METRIC_NAMES = {
    **{f"accuracy at {angle} degrees": f"{angle}°" for angle in (0, 90, 180, 270)},
    "accuracy, mean over the quarter turns": "mean, exact",
    "accuracy, mean over interpolated angles": "mean, interpolated",
}
"""Short heads for the metrics of the table `significance`."""

METRIC_WORDS = (
    "Columns are rotations of the input; mean, exact: over the four quarter turns, which only move pixels; mean, "
    "interpolated: over all other angles."
)
"""What these heads mean."""


def to_csv(table: pd.DataFrame, digits: int | None = None) -> str:
    """Comma-separated values; numbers with every digit, or rounded to so many significant `digits`.

    >>> to_csv(pd.DataFrame({"n": [1234567], "accuracy": [2 / 3]}), digits=4).splitlines()
    ['n,accuracy', '1234567,0.6667']
    """
    rounded = None if digits is None else f"%.{digits}g"
    return str(_with_plain_names(table).to_csv(index=False, float_format=rounded))


def to_markdown(table: pd.DataFrame) -> str:
    """A Markdown table, numbers with four significant digits."""
    escaped = readable(_with_plain_names(table)).map(lambda text: text.replace("|", "\\|"))
    escaped = marked(escaped, _bold(table), lambda text: f"**{text}**")
    caption = f"\n{_caption(table)}\n" if _caption(table) else ""
    return str(escaped.to_markdown(index=False, disable_numparse=True)) + "\n" + caption


def to_latex(table: pd.DataFrame) -> str:
    """A LaTeX table in booktabs style (a longtable if it has many rows); needs the packages booktabs and longtable."""
    return latex_table(readable(table), _caption(table), _bold(table))


def _caption(table: pd.DataFrame) -> str:
    """What a table says of itself, if it does."""
    return str(table.attrs.get("caption", ""))


def _bold(table: pd.DataFrame) -> tuple[tuple[int, int], ...]:
    """Places (row, column) of the best values of a table, if it says which they are."""
    return tuple(table.attrs.get("bold", ()))


def _with_plain_names(table: pd.DataFrame) -> pd.DataFrame:
    """The table with one level of names of columns: `a: b` of two."""
    if table.columns.nlevels == 1:
        return table
    return table.set_axis([": ".join(filter(None, name)) for name in table.columns], axis=1)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text for reading: numbers with four significant digits, yes and no, nothing where nothing is."""
    return pd.DataFrame({name: [_cell(value) for value in table[name]] for name in table.columns}, dtype=object)


def _cell(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and pd.isna(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return {"True": "yes", "False": "no"}.get(str(value), str(value))


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}


def check_formats(formats: Sequence[str], known: Iterable[str] = FORMATS, of: str = "table") -> tuple[str, ...]:
    """The formats, each once. Raises EqvizError for one that is not known.

    >>> check_formats(["csv", "tex", "csv"])
    ('csv', 'tex')
    """
    unknown = [name for name in formats if name not in known]
    if unknown:
        raise EqvizError(
            f"{of} format", expected=f"among {', '.join(known)}", found=", ".join(unknown), fix="choose one of these"
        )
    return tuple(dict.fromkeys(formats))


def render(table: pd.DataFrame, formats: Sequence[str], digits: int | None = None) -> dict[str, str]:
    """The text of a table in each format, by file ending; csv with so many significant `digits`, all if None.

    Raises EqvizError for an unknown format.
    """
    makers: dict[str, Callable[[pd.DataFrame], str]] = {**FORMATS, "csv": partial(to_csv, digits=digits)}
    return {name: makers[name](table) for name in check_formats(formats)}
