"""CSV line by line: what to do where quotes make it unclear where a row ends.

A line is a row. The one exception is a quoted field that holds a line end, which is taken for one only where the quote
closes within a few lines and the row then has the fields it should, and at most empty ones more. So a stray quote costs
its own line, never the lines after it.
"""

from __future__ import annotations

import csv
from typing import NamedTuple

MOST_LINES = 8
LONGEST_ROW = 1 << 16


class Lines(NamedTuple):
    """Lines read one by one.

    Attributes:
        rows: (0-based ordinal, fields, the line or lines) of every row.
        broken: (0-based ordinal, the line) of every line whose quotes make no row.
        left: how many lines at the end may be the start of a row, and have to wait for more.
    """

    rows: list[tuple[int, list[str], str]]
    broken: list[tuple[int, str]]
    left: int

    @property
    def count(self) -> int:
        """Rows and broken lines together."""
        return len(self.rows) + len(self.broken)


def read_lines(lines: list[str], width: int, *, last: bool) -> Lines:
    """Rows of `lines` (not blank, without line ends).

    Args:
        lines: the lines.
        width: how many fields a row that spans lines must have; empty ones may follow.
        last: whether no more lines follow.
    """
    read = Lines([], [], 0)
    at = 0
    while at < len(lines):
        fields, used = _row(lines, at, width)
        if fields is None and not last and len(lines) - at < MOST_LINES:
            return read._replace(left=len(lines) - at)
        if fields is None:
            read.broken.append((read.count, lines[at]))
        else:
            read.rows.append((read.count, fields, "\n".join(lines[at : at + used])))
        at += used
    return read


def _row(lines: list[str], at: int, width: int) -> tuple[list[str] | None, int]:
    """The fields of the row that starts at this line, or None, and how many lines it takes."""
    line = lines[at]
    if '"' not in line:
        return line.split(","), 1
    fields = _fields(line)
    if fields is not None:
        return fields, 1
    for used in range(2, min(MOST_LINES, len(lines) - at) + 1):
        line = f"{line}\n{lines[at + used - 1]}"
        if len(line) > LONGEST_ROW:
            break
        # Only where every quote has its partner can the row be whole.
        fields = _fields(line) if line.count('"') % 2 == 0 else None
        if fields is not None and len(fields) >= width and not any(fields[width:]):
            return fields, used
    return None, 1


def _fields(text: str) -> list[str] | None:
    """The fields of one row, or None where its quotes do not close, or close in the middle of a field."""
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error:
        return None
