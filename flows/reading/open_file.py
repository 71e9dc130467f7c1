"""A file of any kind, as its first bytes tell it."""

from __future__ import annotations

from pathlib import Path

from flows.reading.csv_file import CsvFile
from flows.reading.file_kind import FileKind, detect_kind
from flows.reading.parquet_file import ParquetFile
from flows.reading.raw import RawFile


def open_raw(path: Path, subject: str) -> RawFile:
    """The file as its kind has it, by its first bytes.

    Raises:
        Refused: it is of no known kind, or is damaged where its header stands.
    """
    kind = detect_kind(path, subject)
    return ParquetFile(path, subject) if kind is FileKind.PARQUET else CsvFile(path, kind, subject)
