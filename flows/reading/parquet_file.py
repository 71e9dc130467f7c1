"""Parquet as batches of limited size, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flows.errors import Refused
from flows.reading.plain import plain
from flows.reading.raw import RawBatch

BATCH_ROWS = 1 << 15
BUFFER = 1 << 20

# What pyarrow raises for damaged parquet, and also (OSError) where the disk fails.
DAMAGE = (pa.ArrowException, OSError, MemoryError, ValueError, OverflowError)


class ParquetFile:
    """A parquet file: its header, then its rows, once. Raises Refused if the footer cannot be read."""

    def __init__(self, path: Path, subject: str) -> None:
        self._subject = subject
        try:
            # Pages are read on demand, through a small buffer: in TLC's files a row group is a whole month. INT96 times
            # would be read as nanoseconds, which overflow outside the years 1677 to 2262.
            self._file = pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False, coerce_int96_timestamp_unit="us")
            self.header = tuple(self._file.schema_arrow.names)
        except DAMAGE as error:
            raise self._as_refused(error) from None

    def batches(self) -> Iterator[RawBatch]:
        """Every row, in plain types. Raises Refused for a damaged page, or if the footer has another row count."""
        row = 0
        with self._file as file:
            for batch in self._batches():
                numbers = np.arange(row + 1, row + len(batch) + 1, dtype=np.int64)
                row += len(batch)
                columns = [plain(column) for column in batch.columns]
                yield RawBatch(pa.RecordBatch.from_arrays(columns, names=batch.schema.names), numbers, [])
            if row != file.metadata.num_rows:
                raise Refused(self._subject, f"has {row:,} rows, and its footer says {file.metadata.num_rows:,}")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
        except DAMAGE as error:
            raise self._as_refused(error) from None

    def _as_refused(self, error: Exception) -> Exception:
        """The error as Refused; an error of the disk, which has an errno, is unchanged."""
        if isinstance(error, OSError) and error.errno:
            return error
        return Refused(self._subject, f"is a damaged parquet file: {str(error).splitlines()[0][:200]}")
