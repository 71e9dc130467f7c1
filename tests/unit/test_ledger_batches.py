"""The map of extra columns as JSON text, by column: the same as Python's own JSON of each row."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.stores.batches import ROW_GROUP, flat, flat_schema, json_text, write_parquet

# Lone surrogates are no UTF-8 text, so no Arrow column can hold them.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.none() | st.dictionaries(TEXT, st.none() | TEXT, max_size=3), max_size=12)


@settings(deadline=None)
@given(ROWS, st.integers(0, 6), st.integers(0, 12))
def test_json_text_is_the_json_of_each_row(rows, start, length):
    items = [None if row is None else list(row.items()) for row in rows]
    texts = json_text(pa.array(items, pa.map_(pa.string(), pa.string())).slice(start, length)).to_pylist()
    assert [None if text is None else json.loads(text) for text in texts] == rows[start : start + length]


def test_a_batch_without_extra_columns_is_unchanged():
    batch = pa.record_batch({"a": [1]})
    assert flat(batch) is batch and flat_schema(batch.schema) is batch.schema


def test_parquet_has_few_row_groups(tmp_path):
    """A row group for each small batch would make the file large and slow to scan."""
    batch = pa.record_batch({"a": pa.array(range(10_000), pa.int32())})
    to = tmp_path / "x.parquet"
    assert write_parquet(iter([batch] * 30), batch.schema, to) == 300_000
    footer = pq.ParquetFile(to).metadata
    assert (footer.num_rows, footer.num_row_groups) == (300_000, -(-300_000 // (-(-ROW_GROUP // 10_000) * 10_000)))
    assert footer.row_group(0).column(0).compression == "ZSTD"
