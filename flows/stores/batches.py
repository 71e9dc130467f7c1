"""What all stores do with a pass's batches: check them, flatten them for tables, write them as parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import EXTRA_COLUMNS
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed

# The reader's batches are about a megabyte; row groups of that size would make a parquet file large and slow to scan.
ROW_GROUP = 128 * 1024

# A rejected row with its JSON takes about a kilobyte: batches of this many rows have the usual size.
REJECTED_ROWS = 8 * 1024


def verified(batches: Iterable[pa.RecordBatch], cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    """The batches of the pass. Raises StoreFailed for one of another schema, or with rows of another partition.

    Binary COPY stores a batch of other types as garbage, without an error: so every batch is checked.
    """
    partition, column = cleaning.partition, cleaning.partition.dataset.partition_column
    for batch in batches:
        if not batch.schema.equals(cleaning.schema):
            drift = sorted(map(str, set(batch.schema) ^ set(cleaning.schema))) or "the order of columns"
            raise StoreFailed(str(partition), f"a batch is not of the contract's schema: {drift}")
        if column and batch.num_rows:
            start = pa.scalar(partition.column_value, cleaning.schema.field(column).type)
            if pc.all(pc.equal(batch[column], start), skip_nulls=False).as_py() is not True:
                raise StoreFailed(str(partition), f"a batch has rows of another {column}")
        yield batch


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with the map of extra columns as JSON text, as tables hold it."""
    at = schema.get_field_index(EXTRA_COLUMNS)
    return schema if at < 0 else schema.set(at, pa.field(EXTRA_COLUMNS, pa.string()))


def flat(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch in `flat_schema`: {"name": "value", ...} for a row with extra columns, null for one without."""
    at = batch.schema.get_field_index(EXTRA_COLUMNS)
    if at < 0:
        return batch
    columns = [json_text(column) if i == at else column for i, column in enumerate(batch.columns)]
    return pa.RecordBatch.from_arrays(columns, schema=flat_schema(batch.schema))


def json_text(maps: pa.MapArray) -> pa.StringArray:
    """A map<string, string> column as JSON objects in text; null stays null, and a null value becomes JSON's null."""
    if maps.null_count == len(maps):
        return pa.nulls(len(maps), pa.string())
    # If `maps` is a slice, `keys` and `items` are those of the whole array; the offsets mark the slice.
    first, last = maps.offsets[0].as_py(), maps.offsets[-1].as_py()
    names, values = maps.keys.slice(first, last - first), maps.items.slice(first, last - first)
    texts = pc.if_else(values.is_valid(), _quoted(values), "null")
    pairs = pc.binary_join_element_wise(_quoted(names), texts, ":")
    rows = pc.binary_join(pa.ListArray.from_arrays(pc.subtract(maps.offsets, first), pairs), ",")
    return pc.if_else(maps.is_valid(), pc.binary_join_element_wise("{", rows, "}", ""), pa.scalar(None, pa.string()))


def _quoted(texts: pa.StringArray) -> pa.StringArray:
    """Each text as a JSON string; null stays null."""
    if pc.any(pc.match_substring_regex(texts, r"[\x00-\x1f]")).as_py():
        quoted = [None if text is None else json.dumps(text, ensure_ascii=False) for text in texts.to_pylist()]
        return pa.array(quoted, pa.string())
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"')):
        texts = pc.replace_substring(texts, plain, escaped)
    return pc.binary_join_element_wise('"', texts, '"', "")


def rejected_batches(cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    """The rejected rows of a finished pass, in REJECTED_SCHEMA. Raises ArrowInvalid if the file has another schema."""
    if not cleaning.rejected.exists():
        return
    with pq.ParquetFile(cleaning.rejected) as file:
        for batch in file.iter_batches(REJECTED_ROWS, columns=REJECTED_SCHEMA.names):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=REJECTED_SCHEMA)


def write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, to: Path) -> int:
    """Write the batches to a parquet file (zstd, level 3), a row group at a time; returns the number of rows."""
    rows = 0
    with pq.ParquetWriter(to, schema, compression="zstd", compression_level=3) as writer:
        for group in _grouped(batches):
            writer.write_table(pa.Table.from_batches(group, schema), row_group_size=2 * ROW_GROUP)
            rows += sum(batch.num_rows for batch in group)
    return rows


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    group: list[pa.RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(b.num_rows for b in group) >= ROW_GROUP:
            yield group
            group = []
    if group:
        yield group
