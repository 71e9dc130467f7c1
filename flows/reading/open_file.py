"""Opens a data file of any kind."""

from __future__ import annotations

from pathlib import Path

from flows.reading.csv_file import CsvFile
from flows.reading.file_kind import FileKind, detect_kind
from flows.reading.parquet_file import ParquetFile
from flows.reading.raw import RawFile


def open_raw(path: Path, subject: str) -> RawFile:
    """Open the file by the kind that its first bytes show. Raises Refused if it is of no known kind, or damaged."""
    kind = detect_kind(path, subject)
    return ParquetFile(path, subject) if kind is FileKind.PARQUET else CsvFile(path, kind, subject)
