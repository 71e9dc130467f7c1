"""The figures that the checks need, counted while a partition is cleaned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.dataset import Partition
from flows.datasets.duplicates import Duplicates
from flows.datasets.quality_check import Check, CheckResult, Figures


class Quality:
    """Counts what the checks need in a partition's clean batches; `spill` is as in `Duplicates`."""

    def __init__(self, partition: Partition, spill: Path | None = None) -> None:
        self._partition = partition
        self._span = (partition.start, partition.next.start)
        self._checks = partition.dataset.checks
        self._duplicates = Duplicates(spill)
        self._matching: Counter[str] = Counter()
        self._clean = 0

    def close(self) -> None:
        """Delete the temporary file."""
        self._duplicates.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of clean rows, in the dataset's schema."""
        self._clean += batch.num_rows
        for check in self._checks:
            if check.condition and check.column in batch.schema.names:
                matching = check.condition(batch.column(check.column), *self._span)
                self._matching[check.name] += pc.sum(matching).as_py() or 0
        self._duplicates.add(batch)

    def results(self, rows_read: int, missing_columns: Collection[str] = ()) -> list[CheckResult]:
        """The result of every check that applies, after the last batch. Columns that the file lacks are not checked."""
        dataset = self._partition.dataset
        present = {None, *dataset.schema.names}.difference(missing_columns)
        copies = self._duplicates.count()

        def judge(check: Check) -> CheckResult | None:
            figures = Figures(
                read=rows_read,
                clean=self._clean,
                published=self._partition.published_rows,
                copies=copies,
                matching=self._matching[check.name],
                sample=rows_read <= dataset.sample_rows,
            )
            return check.judge(figures)

        return [result for check in self._checks if check.column in present and (result := judge(check))]
