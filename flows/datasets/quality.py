"""What the checks need of a month, counted in the pass that cleans it."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.check import CHECKS, CheckResult, Figures
from flows.datasets.duplicates import Duplicates
from flows.datasets.partition import Month
from flows.datasets.source_address import published_rows

FAR = 200.0
"""Miles; no taxi trip of New York is longer."""


_COLUMNS = {check.column for check in CHECKS if check.column}


class Quality:
    """Gathers what the checks need from a month's clean batches; a context manager, which removes what it spilled."""

    def __init__(self, month: Month, spill: Path | None = None) -> None:
        """Take the month, and the directory for what a large one spills (8 bytes a row; default: the system's)."""
        self._month = month
        self._start = pa.scalar(month.first).cast(pa.timestamp("us"))
        days = calendar.monthrange(month.year, month.month)[1]
        self._end = pa.scalar(month.first + dt.timedelta(days)).cast(pa.timestamp("us"))
        self._duplicates = Duplicates(spill)
        self._nulls: Counter[str] = Counter()
        self._clean = self._outside = self._negative = self._far = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was spilled."""
        self._duplicates.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch of clean rows, in the contract's schema."""
        self._clean += batch.num_rows
        pickups = batch.column("pickup_datetime")
        outside = pc.or_(pc.less(pickups, self._start), pc.greater_equal(pickups, self._end))
        self._outside += pc.sum(outside).as_py() or 0
        for name in _COLUMNS.intersection(batch.schema.names):
            self._nulls[name] += batch.column(name).null_count
        if "total_amount" in self._nulls:
            self._negative += pc.sum(pc.less(batch.column("total_amount"), 0.0)).as_py() or 0
        if "trip_distance" in self._nulls:
            self._far += pc.sum(pc.greater(batch.column("trip_distance"), FAR)).as_py() or 0
        self._duplicates.add(batch)

    def results(self, rows_read: int, missing_columns: Collection[str] = ()) -> list[CheckResult]:
        """What every check that applies says of the month, after the last batch.

        Args:
            rows_read: rows of the file, clean and rejected.
            missing_columns: the contract's columns that the file does not have; their nulls are no fault of its rows.
        """
        figures = Figures(
            read=rows_read,
            clean=self._clean,
            published=published_rows(self._month),
            outside=self._outside,
            negative=self._negative,
            far=self._far,
            copies=self._duplicates.count(),
            nulls=dict(self._nulls),
            columns=set(self._nulls) - set(missing_columns),
        )
        return [result for check in CHECKS if (result := check.judge(figures))]
