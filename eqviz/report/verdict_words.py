"""Prediction and measurement side by side, for a terminal."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from eqviz.studies.target_audits import Measurement, TargetAudit
from eqviz.studies.targets import Target

_STYLES = {"yes": "green", "no": "red"}


def measurement_words(measured: Measurement) -> str:
    """On what was measured, with which result, and how far prediction and measurement agree."""
    table = measured.table
    agrees = table["agrees"].astype(str)
    result = {True: "exact", False: "approximate", None: "undecided"}[measured.exact]
    told = f"{result} on {measured.images} {measured.source}, by the breaking fraction in float32 and float64; "
    compared = int((agrees != "").sum())
    told += f"predicted and measured agree in {int((agrees == 'yes').sum())} of {compared} comparisons"
    told = told if compared else told.partition(";")[0]
    if measured.disagreements:
        told += f", {len(measured.disagreements)} DISAGREE"
    reasons = {"no prediction": table.attrs["not_predicted"], "no untrained twin": table.attrs["no_twin"]}
    return "; ".join([told, *(f"{what}: {why}" for what, why in reasons.items() if why)])


def disagreements_in_words(one: TargetAudit) -> list[str]:
    """One line for every layer in which prediction and measurement contradict each other."""
    lines = () if one.measured is None else one.measured.disagreements
    return [f"{one.target.name}: {line}" for line in lines]


def plain_table() -> Table:
    """An empty table with a line under its headings and nothing else drawn."""
    return Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))


def measurement_table(one: TargetAudit, measured: Measurement, everything: bool = False) -> Table:
    """Prediction and measurement by layer: those around the first break, the output and every contradiction; or all."""
    table = plain_table()
    table.add_column("layer", overflow="fold")
    for heading in ("weights", "predicted", "measured", "float32", "float64", "survives", "agrees"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    names = _weights(one.target)
    rows = measured.table if everything else measured.table[_telling(measured.table)]
    for row in rows.to_dict("records"):
        agrees, weights = str(row["agrees"]), str(row["weights"])
        table.add_row(
            Text(str(row["layer"])), Text(names.get(weights, weights)), _word(row["predicted"]), _word(row["exact"]),
            Text(f"{row['breaking_float32']:.1e}"), Text(f"{row['breaking_float64']:.1e}"),
            Text(str(row["surviving"])), Text("NO", style="bold red") if agrees == "no" else Text(agrees),
        )  # fmt: skip
    return table


def inferred_table(inferred: pd.DataFrame) -> Table:
    """The field types found by evidence: the defect each leaves, and by how much the next one is worse."""
    table = plain_table()
    table.add_column("layer", overflow="fold")
    for heading in ("field found", "defect", "next", "margin"):
        table.add_column(heading, no_wrap=True, overflow="fold")
    for row in inferred.to_dict("records"):
        found = Text(str(row["field"])) if row["decided"] else Text("not decided", style="yellow")
        table.add_row(
            Text(str(row["layer"])), found, Text(f"{row['defect']:.1e}"), Text(str(row["next_field"])),
            Text("" if pd.isna(row["margin"]) else f"{row['margin']:.0e}"),
        )  # fmt: skip
    return table


def _weights(target: Target) -> dict[str, str]:
    """What `trained` and `untrained` are for this target."""
    if target.run is not None:
        return {"trained": f"epoch {target.epoch}"}
    return {"trained": "its own"} if target.twin is None else {"trained": "random", "untrained": "random again"}


def _word(word: object) -> Text:
    return Text(str(word), style=_STYLES.get(str(word), "yellow"))


def _telling(table: pd.DataFrame) -> "pd.Series[bool]":
    """The last layer before the first one that is not exact, that one, the last layer, and all contradictions."""
    chosen: set[object] = set()
    for _, part in table.groupby("weights", sort=False, observed=True):
        places = list(part.index)
        broken = [place for place, exact in zip(places, part["exact"].astype(str), strict=True) if exact != "yes"]
        chosen.update(_around(places, broken))
    return table.index.to_series().isin(list(chosen)) | (table["agrees"].astype(str) == "no")


def _around(places: Sequence[object], broken: Sequence[object]) -> list[object]:
    if not broken:
        return [places[-1]]
    first = places.index(broken[0])
    return [*places[max(0, first - 1) : first + 1], places[-1]]
