"""What the readers of all file kinds return: batches of rows as they are in the file, and lines that are not rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa


class Broken(NamedTuple):
    """A line that is not a row: its 1-based row number, why, and the line."""

    number: int
    reason: str
    line: str


class RawBatch(NamedTuple):
    """Rows as they are in the file.

    Attributes:
        columns: the file's columns by position, as many as the header has, in plain types (see `flows.reading.plain`).
        numbers: the 1-based row number in the file of each row (int64), ascending.
        broken: the lines between them that are not rows.
    """

    columns: pa.RecordBatch
    numbers: np.ndarray
    broken: list[Broken]


class RawFile(Protocol):
    """A file of any kind: its column names, then its rows, once."""

    header: tuple[str, ...]

    def batches(self) -> Iterator[RawBatch]:
        """Every row, in batches of bounded size; raises Refused where the file turns out damaged."""
