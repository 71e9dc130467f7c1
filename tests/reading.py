"""A file read through the contract, for tests, and where TLC's real files are."""

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

from flows.datasets.cleaning import Cleaning, Counts
from flows.datasets.partition import Month, Service
from flows.datasets.rule import Rule

TLC = Path(os.environ.get("TLC_DATA", Path(__file__).resolve().parents[2] / "shared" / "tlc"))
needs_tlc = pytest.mark.skipif(not TLC.is_dir(), reason=f"TLC's files are not at {TLC}: set TLC_DATA")


class Outcome(NamedTuple):
    """What became of a file: clean rows, counts, and rejected rows with `row` as the object it is JSON of."""

    clean: pa.Table
    counts: Counts
    rejected: list[dict]

    @property
    def rows(self) -> list[dict]:
        return self.clean.to_pylist()


def cleaned(path: Path, month: Month, rules: Sequence[Rule] = ()) -> Outcome:
    """Read the file; every invariant of a pass is checked on the way."""
    with tempfile.TemporaryDirectory() as work:
        rejected = Path(work, "rejected.parquet")
        cleaning = Cleaning(path, month, rules, rejected)
        batches = []
        for batch in cleaning.reader():
            batch.validate(full=True)
            assert batch.schema == cleaning.schema
            batches.append(batch)
        counts = cleaning.counts
        clean = pa.Table.from_batches(batches, cleaning.schema)
        put_aside = pq.read_table(rejected).sort_by("row_number").to_pylist() if rejected.exists() else []
    assert counts.rows_read == counts.rows_clean + counts.rows_rejected
    assert counts.rows_clean == len(clean)
    assert counts.rows_rejected == len(put_aside) == sum(counts.reasons.values())
    numbers = [row["row_number"] for row in put_aside]
    assert len(set(numbers)) == len(numbers) and all(1 <= number <= counts.rows_read for number in numbers)
    for row in put_aside:
        row["row"] = json.loads(row["row"])
    return Outcome(clean, counts, put_aside)


def cleaned_text(text: str | bytes, service: Service = Service.YELLOW, rules: Sequence[Rule] = ()) -> Outcome:
    """Read CSV text as a file of January 2021."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, "trips.csv")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return cleaned(path, Month(service, 2021, 1), rules)


def cleaned_table(
    table: pa.Table, service: Service = Service.YELLOW, rules: Sequence[Rule] = (), **options: object
) -> Outcome:
    """Read a table written as parquet (with pyarrow's options), as a file of January 2021."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work, "trips.parquet")
        pq.write_table(table, path, **options)
        return cleaned(path, Month(service, 2021, 1), rules)
