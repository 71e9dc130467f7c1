"""Rejected rows: a parquet file with each row, its number and the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.datasets.dataset import Partition
from flows.reading.plain import text_of

REJECTED_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ]
)
"""`row_number` is 1-based among the data rows; `row` is JSON: file column -> value, or `line` for a broken line."""

ROWS_IN_MEMORY = 1 << 15
NEEDS_ESCAPE = r'[\x00-\x1f"\\]'


class RejectedRows:
    """Writes the rejected rows of one partition to `path`; without such rows no file is created."""

    def __init__(self, path: Path, partition: Partition) -> None:
        self._path, self._partition = path, partition
        self._waiting: list[pa.RecordBatch] = []
        self._writer: pq.ParquetWriter | None = None
        path.unlink(missing_ok=True)

    def add(self, numbers: pa.Array, reasons: pa.Array, rows: pa.Array) -> None:
        """Add rows: their numbers (int64), reasons and JSON texts (string)."""
        names, keys = (pa.repeat(text, len(numbers)) for text in (self._partition.dataset.name, self._partition.key))
        self._waiting.append(pa.RecordBatch.from_arrays([names, keys, numbers, reasons, rows], schema=REJECTED_SCHEMA))
        if sum(map(len, self._waiting)) >= ROWS_IN_MEMORY:
            self._write()

    def close(self) -> None:
        """Complete the file."""
        if self._waiting:
            self._write()
        if self._writer:
            self._writer.close()

    def discard(self) -> None:
        """Delete the file, because the pass failed."""
        self._waiting.clear()
        self.close()
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        if not self._writer:
            self._writer = pq.ParquetWriter(self._path, REJECTED_SCHEMA, compression="zstd")
        self._writer.write_table(pa.Table.from_batches(self._waiting))
        self._waiting.clear()


def rows_as_json(columns: Sequence[pa.Array], names: Sequence[str], count: int) -> pa.StringArray:
    """Each row as a JSON object of name -> original value: numbers as numbers, everything else as text or null."""
    pairs = [_pair(json.dumps(name) + ":", values) for name, values in zip(names, columns, strict=True)]
    if not pairs:
        return pa.repeat("{}", count)
    return pc.binary_join_element_wise("{", pc.binary_join_element_wise(*pairs, ","), "}", "")


def _pair(name: str, values: pa.Array) -> pa.StringArray:
    """Each value as a pair of a JSON object, after `name`."""
    text = text_of(values)
    if pa.types.is_integer(values.type):
        pairs = pc.binary_join_element_wise(name, text, "")
    elif pa.types.is_floating(values.type):
        quoted = pc.binary_join_element_wise('"', text, '"', "")
        pairs = pc.binary_join_element_wise(name, pc.if_else(pc.is_finite(values), text, quoted), "")
    elif pc.any(pc.match_substring_regex(text, NEEDS_ESCAPE)).as_py():
        escaped = [None if value is None else json.dumps(value) for value in text.to_pylist()]
        pairs = pc.binary_join_element_wise(name, pa.array(escaped, pa.string()), "")
    else:
        pairs = pc.binary_join_element_wise(name + '"', text, '"', "")
    return pc.fill_null(pairs, name + "null")
