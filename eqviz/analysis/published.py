"""Published accuracies beside our own: read from a file, with intervals from their spread, and compared."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from eqviz.analysis.network_values import runs_of
from eqviz.analysis.summaries import CONFIDENCE, interval_over_seeds
from eqviz.errors import EqvizError
from eqviz.tables import MODEL_KEYS, concatenate

COLUMNS = ("model", "input_size", "regime", "metric", "mean", "std", "n_seeds", "source")
"""What a file of published numbers holds: mean and std (ddof 1) are fractions, over `n_seeds` seeds."""

MEAN_OF_36 = "mean of 36 angles"
"""The mean over 0, 10, ..., 350 degrees: exact and interpolated angles together, as it was published."""

_ANGLES = frozenset(float(angle) for angle in range(0, 360, 10))
_ANGLE = re.compile(r"(\d{1,3}(?:\.\d+)?)°")
_SIZE = re.compile(r"\d{1,5}(x\d{1,5})?")
_SHOWN = 40
"""Characters of a wrong value that an error shows."""


def read_published(path: str | Path) -> pd.DataFrame:
    """A file of published numbers as a table with `COLUMNS`, and `low`, `high`: the 95% t interval of each mean.

    It is a csv file with exactly these columns: a row a network (`model`, `input_size`), `regime`, `metric` (an angle
    such as `90°`, or `mean of 36 angles`) and number of seeds. Raises EqvizError for a file that is not there, for
    other columns, values that are missing or cannot be, and for rows that say the same thing twice.
    """
    try:
        header, *rows = csv.reader(Path(path).read_text(encoding="utf-8-sig").splitlines(), strict=True)
    except (OSError, ValueError, csv.Error) as error:  # ValueError: no text, or nothing at all
        found = error.strerror if isinstance(error, OSError) else str(error)
        raise _refused(path, "a csv file of published numbers", found or type(error).__name__) from None
    if header != list(COLUMNS):
        raise _refused(path, f"the columns {', '.join(COLUMNS)}", ", ".join(header)[:200])
    for place, row in enumerate(rows, start=1):
        wrong = _wrong(row)
        if wrong is not None:
            raise _refused(f"{path}, row {place}", *wrong)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if table.empty:
        raise _refused(path, "at least one row", "none")
    read = table.astype({"mean": float, "std": float, "n_seeds": int})
    keys = ["model", "input_size", "regime", "metric", "n_seeds"]
    twice = read[read.duplicated(keys)]
    if len(twice):
        raise _refused(path, "each number once", f"more of {', '.join(map(str, twice.iloc[0][keys]))}")
    low, high = published_interval(read["mean"], read["std"], read["n_seeds"])
    return read.assign(low=low, high=high)


def published_interval(
    mean: "pd.Series[float]", std: "pd.Series[float]", n_seeds: "pd.Series[int]"
) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Low and high of the 95% t interval of means, from the standard deviations (ddof 1) over so many seeds.

    mean +- t std / sqrt(n), with Student's t on n - 1 degrees of freedom.

    >>> low, high = published_interval(pd.Series([0.9861]), pd.Series([0.0008]), pd.Series([10]))
    >>> [round(float(bound[0]), 4) for bound in (low, high)]
    [0.9855, 0.9867]
    """
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n_seeds - 1) * std / np.sqrt(n_seeds)
    return mean - half, mean + half


def published_comparison(accuracy: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """The table `published_comparison`: our means over seeds beside published ones, a row a network and metric.

    Takes the table `accuracy` and what :func:`read_published` gives; networks are matched by model, input size and
    regime. `low` and `high` are ours (as in a summary over seeds, missing for one seed), `published_low` and
    `published_high` the published 95% interval; `difference` is ours minus published, `within` whether our mean lies
    inside the published interval. `mean of 36 angles` mixes exact and interpolated angles, which no other table does:
    it is there to be compared, where all 36 were measured. Rows of reflected images are left out.
    Raises EqvizError where nothing can be compared.

    >>> run = dict(run="a", model="p4cnn", input_size=28, group="C4", seed=0, epoch=9, data="mnist", regime="upright")
    >>> row = dict(run, angle=90.0, reflected=False, grid=True, mask=False, fill=0.0, accuracy=0.975)
    >>> known = dict(model="p4cnn", input_size="28", regime="upright", metric="90°", mean=0.9756, std=0.0019)
    >>> known |= dict(n_seeds=10, source="a paper", low=0.9742, high=0.977)
    >>> published_comparison(pd.DataFrame([row]), pd.DataFrame([known]))[["metric", "within"]].to_numpy().tolist()
    [['90°', True]]
    """
    values = pd.DataFrame(_metrics(accuracy, set(published["metric"])), columns=[*MODEL_KEYS, "metric", "value"])
    rows: list[dict[str, object]] = []
    for keys, part in values.groupby([*MODEL_KEYS, "metric"], sort=False, observed=True, dropna=False):
        ours = dict(zip([*MODEL_KEYS, "metric"], keys, strict=True))
        same = published["input_size"].astype(str) == str(ours["input_size"])
        for name in ("model", "regime", "metric"):
            same &= published[name].astype(str) == str(ours[name])
        rows += [{**ours, **_compared(part["value"], theirs)} for theirs in published[same].to_dict("records")]
    if not rows:
        networks = accuracy[["model", "input_size", "regime"]].drop_duplicates().astype(str)
        raise EqvizError(
            "published_comparison", expected="networks of which the file of published numbers tells",
            found=f"only {'; '.join(networks.agg(', '.join, axis=1))}"[:200], fix="give another file with --published",
        )  # fmt: skip
    return concatenate([pd.DataFrame(rows)], "published_comparison")


def _compared(values: "pd.Series[float]", theirs: Mapping[object, object]) -> dict[str, object]:
    low, high, _ = interval_over_seeds(np.asarray(values, dtype=np.float64))
    mean = float(values.mean())
    ours = {"mean": mean, "std": float(values.std(ddof=1)), "low": low, "high": high, "n_seeds": len(values)}
    named = {f"published_{name}": theirs[name] for name in ("mean", "std", "low", "high", "n_seeds")}
    bottom, known, top = (float(str(theirs[name])) for name in ("low", "mean", "high"))
    return {
        **ours, **named, "difference": mean - known, "within": bottom <= mean <= top, "source": theirs["source"],
    }  # fmt: skip


def _metrics(accuracy: pd.DataFrame, wanted: set[str]) -> Iterator[dict[str, object]]:
    """MODEL_KEYS, `metric` and `value` of every run: the angles that are wanted, and the mean over all 36."""
    for run, part in runs_of(accuracy[~accuracy["reflected"].astype(bool)]):
        keys = {name: run[name] for name in MODEL_KEYS}
        at = dict(zip(part["angle"].astype(float), part["accuracy"].astype(float), strict=True))
        for angle, value in at.items():
            if f"{angle:g}°" in wanted:
                yield {**keys, "metric": f"{angle:g}°", "value": value}
        if MEAN_OF_36 in wanted and at.keys() >= _ANGLES:
            yield {**keys, "metric": MEAN_OF_36, "value": float(np.mean([at[angle] for angle in sorted(_ANGLES)]))}


def _wrong(values: Sequence[str]) -> tuple[str, str] | None:
    """What was expected and what was found, for the first value of a row that cannot be; None if all can."""
    if len(values) != len(COLUMNS):
        return f"{len(COLUMNS)} values", str(len(values))
    row = dict(zip(COLUMNS, values, strict=True))
    empty = [name for name in COLUMNS if not row[name].strip()]
    if empty:
        return "a value in every column", f"no {', '.join(empty)}"
    angle = _ANGLE.fullmatch(row["metric"])
    usual = angle is not None and float(angle[1]) < 360 and f"{float(angle[1]):g}°" == row["metric"]
    if row["metric"] != MEAN_OF_36 and not usual:
        return f"an angle such as 90°, or {MEAN_OF_36}", f"metric {row['metric'][:_SHOWN]!r}"
    if not _SIZE.fullmatch(row["input_size"]):
        return "an input size such as 28 or 28x32", repr(row["input_size"][:_SHOWN])
    seeds = row["n_seeds"]
    if not seeds.isdecimal() or len(seeds) > 7 or not 2 <= int(seeds) <= 10**6:
        return "n_seeds, a whole number of at least 2", repr(seeds[:_SHOWN])
    for name in ("mean", "std"):
        try:
            possible = 0 <= float(row[name]) <= 1
        except ValueError:
            possible = False
        if not possible:
            return f"{name}, a fraction from 0 to 1", repr(row[name][:_SHOWN])
    return None


def _refused(about: str | Path, expected: str, found: str) -> EqvizError:
    return EqvizError(str(about), expected=expected, found=found, fix="give another file with --published, or mend it")
