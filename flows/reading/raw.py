"""What the readers of all file kinds return: batches of unconverted rows, and lines that are not rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa


class Broken(NamedTuple):
    """A line that is not a row, with its 1-based row number and the reason."""

    number: int
    reason: str
    line: str


class RawBatch(NamedTuple):
    """Rows with the header's columns, by position, in plain types (see `flows.reading.plain`), and broken lines.

    `numbers` are the rows' 1-based row numbers in the file (int64), ascending.
    """

    columns: pa.RecordBatch
    numbers: np.ndarray
    broken: list[Broken]


class RawFile(Protocol):
    """A file of any kind: its column names, then its rows, once."""

    header: tuple[str, ...]

    def batches(self) -> Iterator[RawBatch]:
        """Every row, in batches of limited size. Raises Refused if the file is damaged."""
