"""The committed results of an experiment: its tables, read from csv, and how they were made."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eqviz.plots.labels import network_label
from eqviz.plots.regimes import in_order

FOLDER = Path(__file__).parent
NETWORK = ["model", "input_size", "data", "regime", "group"]
DRAWN_KINDS = ("convolution", "pooling", "block", "output")
"""Kinds of layers that figures show, as in a report."""


class NoTableError(LookupError):
    """A table that was not computed, or rows that it does not hold."""


@dataclass(frozen=True)
class Results:
    """The tables in `folder`/tables by name, and `folder`/provenance.json."""

    folder: Path

    def table(self, name: str, where: str = "", *, every_epoch: bool = False) -> pd.DataFrame:
        """The rows of a table for which the expression `where` holds, of each network at its last epoch.

        Raises NoTableError for a table that is not there and where no row is left.
        """
        rows = self._read(name)
        rows = rows.query(where).reset_index(drop=True) if where else rows
        if not every_epoch and {"epoch", "model"} <= set(rows.columns):
            last = rows.groupby([key for key in NETWORK if key in rows], dropna=False)["epoch"].transform("max")
            rows = rows[rows["epoch"] == last].reset_index(drop=True)
        if rows.empty:
            raise NoTableError(f"{name}: no rows with {where}" if where else f"{name}: no rows")
        return rows

    def layers(self, name: str, where: str = "") -> pd.DataFrame:
        """A table by layer, without the layers that figures leave out (normalisation, activations)."""
        rows = self.table(name, where)
        if "kind" not in rows:  # predictions do not say; what is measured does
            shown = self.layers("equivariance_summary")[["layer", "call"]].drop_duplicates()
            return rows.merge(shown, on=["layer", "call"])
        return rows[rows["kind"].isin(DRAWN_KINDS)].reset_index(drop=True)

    def _read(self, name: str) -> pd.DataFrame:
        if name not in self._known:
            plain = self.folder / "tables" / f"{name}.csv"
            packed = plain.with_suffix(".csv.gz")
            if not plain.exists() and not packed.exists():
                raise NoTableError(f"no {plain.relative_to(self.folder)}")
            self._known[name] = typed(pd.read_csv(plain if plain.exists() else packed, dtype=str, na_filter=False))
        return self._known[name].copy()

    @cached_property
    def _known(self) -> dict[str, pd.DataFrame]:
        return {}

    @cached_property
    def record(self) -> dict[str, Any]:
        """What provenance.json says; empty where there is none."""
        path = self.folder / "provenance.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The tables that are there."""
        return tuple(sorted({path.name.split(".")[0] for path in (self.folder / "tables").glob("*.csv*")}))

    def images(self, name: str) -> int | None:
        """How many images a table rests on, where that is known."""
        known = self.record.get("tables", {}).get(name, {}).get("images")
        return None if known is None else int(known)

    def train_images(self, rows: pd.DataFrame) -> list[int]:
        """How many images the networks of some rows were trained on."""
        if "runs" not in self.names:
            return []
        keys = [key for key in ("model", "input_size", "data", "regime") if key in rows]
        mine = self._read("runs").merge(rows[keys].drop_duplicates(), on=keys)
        return sorted({int(count) for count in mine["train_images"].dropna()})

    def made_from(self, name: str, rows: pd.DataFrame) -> str:
        """What a figure was made from, in words: data, numbers of images and seeds, training, epochs, group, bands."""
        runs = self._read("runs") if "model" not in rows and "runs" in self.names else rows
        parts = [f"Data: {_listed(rows['data'] if 'data' in rows else runs['data'])}"]
        if (images := self.images(name)) is not None:
            parts[0] += f", {images:,} test images" if not name.startswith("data_symmetry") else f", {images:,} images"
        trained = self.train_images(rows)
        regimes = in_order(_unique(rows, "regime"))
        if regimes:
            count = f" on {_range(trained, 'image')}" if trained and "images" not in "".join(regimes) else ""
            parts.append(f"training: {'; '.join(regimes)}{count}")
        if seeds := self._seeds(rows):
            parts.append(_range(seeds, "seed"))
        if "epoch" in rows:
            parts.append(_epochs(rows))
        parts.append(f"group {_listed(rows['group'] if 'group' in rows else runs['group'])}")
        return "; ".join(parts) + f".{_bands(rows)}"

    def _seeds(self, rows: pd.DataFrame) -> list[int]:
        """Over how many seeds the networks of some rows are summed up, or how many there are."""
        if "n_seeds" in rows:
            return sorted({int(count) for count in rows["n_seeds"].dropna()} - {0}) or [0]
        listed = rows if "seed" in rows else self._read("runs") if "runs" in self.names else None
        if listed is None:
            return []
        return sorted({int(count) for count in listed.groupby(["model", "input_size"])["seed"].nunique()})

    def labels(self, rows: pd.DataFrame) -> list[str]:
        """The names of the networks of some rows."""
        pairs = rows[["model", "input_size"]].drop_duplicates()
        return [network_label(*pair) for pair in zip(pairs["model"], pairs["input_size"], strict=True)]


def fullest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of networks trained on several numbers of images, which end their regime, those on most of each data set.

    >>> table = pd.DataFrame({"data": "cifar10", "regime": ["upright, 800 images", "upright, 90 images"]})
    >>> fullest(table)["regime"].tolist()
    ['upright, 800 images']
    """
    counts = rows["regime"].str.extract(r"(\d+) images$")[0].astype(float).fillna(0)
    return rows[counts == counts.groupby(rows["data"]).transform("max")].reset_index(drop=True)


def on_several(rows: pd.DataFrame) -> pd.DataFrame:
    """The networks that were trained on several numbers of images, from a table with `train_images`."""
    numbers = rows.groupby(["model", "input_size", "data", "regime"])["train_images"].transform("nunique")
    return rows[numbers > 1].reset_index(drop=True)


def typed(text: pd.DataFrame) -> pd.DataFrame:
    """A table read as text, with the types it was written with: whole and other numbers, true and false, text."""
    return pd.DataFrame({name: _typed(name, text[name]) for name in text.columns})


_TEXT = ("size", "kernel", "stride", "padding", "dilation", "leftover", "label", "why", "note", "interval", "text")
"""Columns of text that may look like numbers or hold nothing."""


def _typed(name: str, column: "pd.Series[str]") -> "pd.Series[Any]":
    missing = column == ""
    if name in _TEXT:
        return column.where(~missing, None) if name == "interval" else column
    if set(column[~missing].unique()) <= {"True", "False"} and not missing.all():
        marks = column.map({"True": True, "False": False, "": pd.NA})
        return marks.astype("boolean" if missing.any() else bool)
    numbers = pd.to_numeric(column.where(~missing), errors="coerce")
    if numbers.isna().sum() > missing.sum():
        return column
    whole = not missing.any() and column.str.fullmatch(r"-?\d+").all()
    return numbers.astype(int) if whole else numbers.astype(float)


def _epochs(rows: pd.DataFrame) -> str:
    """After how many epochs the networks of some rows are looked at."""
    epochs = sorted({int(epoch) for epoch in rows["epoch"]})
    keys = [key for key in NETWORK if key in rows]
    several = "model" in rows and rows.groupby(keys, dropna=False)["epoch"].nunique().max() > 1
    return f"over {_range(epochs[-1:], 'epoch')}" if several else f"after {_range(epochs, 'epoch')}"


def _unique(rows: pd.DataFrame, column: str) -> list[str]:
    return [str(value) for value in dict.fromkeys(rows[column])] if column in rows else []


def _listed(values: "pd.Series[Any]") -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _range(values: list[int], word: str) -> str:
    shown = f"{values[0]:,}" if values[0] == values[-1] else f"{values[0]:,} to {values[-1]:,}"
    return f"{shown} {word}{'s' if values[-1] != 1 else ''}"


def _bands(rows: pd.DataFrame) -> str:
    """What bars and bands mean, from what the table holds."""
    if "interval" in rows and len(
        named := [name for name in _unique(rows, "interval") if name not in ("None", "none", "nan")]
    ):
        return f" Bars and bands: {' or '.join(named)}."
    if {"lowest", "highest"} <= set(rows.columns) or any(name.endswith("_lowest") for name in rows.columns):
        return " Bars and bands: lowest to highest seed."
    return ""
