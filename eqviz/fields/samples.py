"""Rows for each image, spilled to a parquet file as they come, so that memory does not grow with their number."""

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eqviz.fields.layer_calls import LayerCall
from eqviz.fields.sums import OrbitSums

_SCHEMA = pa.schema(
    [
        ("layer", pa.string()),
        ("call", pa.int64()),
        ("norms", pa.list_(pa.float64())),
        ("distances", pa.list_(pa.float64())),
        ("differences", pa.list_(pa.float64())),
        ("magnitude", pa.float64()),
    ]
)


ROWS_AT_ONCE = 4096
"""How many rows wait in memory for each other: parquet wants groups of rows, not one group a batch and layer."""


class SampleFile:
    """A temporary parquet file with one row a layer, call and image; it goes when the object goes."""

    def __init__(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="eqviz-samples-")
        self.path = Path(folder.name) / "samples.parquet"
        self._writer: Any = pq.ParquetWriter(self.path, _SCHEMA)
        self._waiting: list[Any] = []
        self._finalizer = weakref.finalize(self, folder.cleanup)

    def append(self, key: LayerCall, sums: OrbitSums) -> None:
        """Add rows, one an image, in the order of the images."""
        images = sums.images
        columns = [
            [key.layer] * images,
            [key.call] * images,
            list(sums.norms),
            list(sums.distances.reshape(images, -1)),
            list(sums.differences),
            sums.magnitude,
        ]
        arrays = [pa.array(column, type=kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)]
        self._waiting.append(pa.table(arrays, schema=_SCHEMA))
        if sum(table.num_rows for table in self._waiting) >= ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        """Finish writing; after that the file can be read."""
        self._write()
        self._writer.close()

    def read(self, order: int) -> dict[LayerCall, OrbitSums]:
        """All rows by layer, as sums with a leading image axis, for a group of that order."""
        table = pq.read_table(self.path).to_pandas()
        found = {}
        for (layer, call), rows in table.groupby(["layer", "call"], sort=False):
            found[LayerCall(str(layer), int(call))] = OrbitSums(
                np.stack(rows["norms"].tolist()),
                np.stack(rows["distances"].tolist()).reshape(-1, order, order),
                np.stack(rows["differences"].tolist()),
                rows["magnitude"].to_numpy(dtype=np.float64),
                len(rows),
            )
        return found
