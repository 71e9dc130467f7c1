"""Reads files by the contract, for tests, and finds TLC's real files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.datasets.rule import Rule
from flows.datasets.tlc import YELLOW

TLC = Path(os.environ.get("TLC_DATA", Path(__file__).resolve().parents[2] / "shared" / "tlc"))
needs_tlc = pytest.mark.skipif(not TLC.is_dir(), reason=f"TLC's files are not at {TLC}: set TLC_DATA")


class Cleaned(NamedTuple):
    """The result of reading a file: clean rows, counts, and rejected rows with `row` decoded from JSON."""

    clean: pa.Table
    counts: Outcome
    rejected: list[dict]

    @property
    def rows(self) -> list[dict]:
        return self.clean.to_pylist()


def cleaned(path: Path, month: Partition, rules: Sequence[Rule] = ()) -> Cleaned:
    """Read the file; every invariant of a pass is checked on the way."""
    with tempfile.TemporaryDirectory() as work:
        rejected = Path(work, "rejected.parquet")
        cleaning = Cleaning(path, month, rules, rejected)
        batches = []

        def collect(reader: pa.RecordBatchReader) -> int:
            for batch in reader:
                batch.validate(full=True)
                assert batch.schema == cleaning.schema
                batches.append(batch)
            return sum(batch.num_rows for batch in batches)

        counts = cleaning.into(collect)
        clean = pa.Table.from_batches(batches, cleaning.schema)
        rejected_rows = pq.read_table(rejected).sort_by("row_number").to_pylist() if rejected.exists() else []
    assert counts.rows_read == counts.rows_loaded + counts.rows_rejected
    assert counts.rows_loaded == len(clean)
    assert counts.rows_rejected == len(rejected_rows) == sum(counts.reasons.values())
    numbers = [row["row_number"] for row in rejected_rows]
    assert len(set(numbers)) == len(numbers) and all(1 <= number <= counts.rows_read for number in numbers)
    for row in rejected_rows:
        row["row"] = json.loads(row["row"])
    return Cleaned(clean, counts, rejected_rows)


def cleaned_text(text: str | bytes, service: Dataset = YELLOW, rules: Sequence[Rule] = ()) -> Cleaned:
    """Read CSV text as a file of January 2021."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, "trips.csv")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return cleaned(path, service.partition(2021, 1), rules)


def cleaned_table(table: pa.Table, service: Dataset = YELLOW, rules: Sequence[Rule] = (), **options: object) -> Cleaned:
    """Read a table written as parquet (with pyarrow's options), as a file of January 2021."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, "trips.parquet")
        pq.write_table(table, path, **options)
        return cleaned(path, service.partition(2021, 1), rules)
