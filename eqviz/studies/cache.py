"""Measurements kept on disk under a key of everything that went into them.

Files are JSON and parquet, written beside their final name and moved into place. A file that cannot be read back is
as good as none: it is measured again.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pooch
import pyarrow as pa
from pyarrow import parquet

from eqviz.errors import EqvizError
from eqviz.studies.atomic import replacing

FOLDER = ".eqviz"


def cache_key(ingredients: Mapping[str, Any]) -> str:
    """SHA-256 (first 32 digits) of the ingredients as JSON; the same ingredients in any order give the same key.

    >>> cache_key({"group": "C4", "n": 3}) == cache_key({"n": 3, "group": "C4"})
    True
    """
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cache:
    """Measurements under a folder, one file each."""

    folder: Path

    @classmethod
    def beside(cls, runs: Path) -> "Cache":
        """The cache of a folder of runs: in it, or in the user's cache folder where that cannot be or is a link.

        Raises EqvizError where neither can be.
        """
        inside = runs / FOLDER
        try:
            inside.mkdir(exist_ok=True)
            if inside.resolve().parent != runs.resolve():  # a link must not make eqviz write somewhere else
                raise OSError(f"{inside} leads out of the folder")
            with tempfile.TemporaryFile(dir=inside):
                return cls(inside)
        except OSError:
            name = hashlib.sha256(str(runs.resolve()).encode()).hexdigest()[:16]
            elsewhere = Path(pooch.os_cache("eqviz")) / "measurements" / name
        try:
            elsewhere.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EqvizError(
                "measurements", expected=f"a place to keep them: {inside} or {elsewhere}",
                found=f"that neither can be written to ({error.strerror or error})",
                fix="make one of them writable, or set XDG_CACHE_HOME to a folder that is",
            ) from None  # fmt: skip
        return cls(elsewhere)

    def path(self, kind: str, key: str, suffix: str) -> Path:
        """Where a measurement of that kind and key is, or would be."""
        return self.folder / f"{kind}-{key}.{suffix}"

    def read_text(self, kind: str, key: str) -> str | None:
        """A JSON measurement, or None."""
        try:
            return self._content(kind, key, "json").decode()
        except (OSError, UnicodeDecodeError):
            return None

    def write_text(self, kind: str, key: str, text: str) -> None:
        """Keep a JSON measurement."""
        with self._replacing(kind, key, "json") as beside:
            beside.write_text(text, encoding="utf-8")

    def read_table(self, kind: str, key: str) -> pd.DataFrame | None:
        """A table, or None."""
        try:
            content = io.BytesIO(self._content(kind, key, "parquet"))  # pandas would read a folder as no rows
            if any(pa.types.is_binary(kind) for kind in parquet.read_schema(content).types):
                return None  # eqviz writes text and numbers, and takes no other bytes for text
            return pd.read_parquet(content, page_checksum_verification=True)
        except (OSError, ValueError, pa.ArrowException):
            return None

    def write_table(self, kind: str, key: str, table: pd.DataFrame) -> None:
        """Keep a table."""
        with self._replacing(kind, key, "parquet") as beside:
            content = io.BytesIO()  # pyarrow opens no paths that are no text
            table.to_parquet(content, index=False, write_page_checksum=True)
            beside.write_bytes(content.getvalue())

    def _content(self, kind: str, key: str, suffix: str) -> bytes:
        """The bytes of a file; raises OSError where there is none, a pipe or device among them, which may never end."""
        path = self.path(kind, key, suffix)
        if not path.is_file():
            raise FileNotFoundError(path)
        return path.read_bytes()

    @contextmanager
    def _replacing(self, kind: str, key: str, suffix: str) -> Iterator[Path]:
        try:
            with replacing(self.path(kind, key, suffix)) as beside:
                yield beside
        except OSError as error:
            raise EqvizError(
                "measurements", expected=f"room and permission to write to {self.folder}",
                found=error.strerror or str(error), fix="free some space there",
            ) from None  # fmt: skip
