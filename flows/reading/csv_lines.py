"""CSV line by line, in Python: for the lines that pyarrow cannot read as rows of the expected number of fields.

A line is a row. The only exception is a quoted field with a line end in it, if the quote closes within a few lines and
the row then has the expected fields, followed at most by empty ones. So a stray quote costs its own line, never the
lines after it.
"""

from __future__ import annotations

import csv
from typing import NamedTuple

from flows.reading.raw import Broken

MOST_EXTRA_FIELDS = 50
MOST_LINES = 8
LONGEST_ROW = 1 << 16


class Shape(NamedTuple):
    """How many fields a row has.

    Attributes:
        least: the fewest: names at the end of a header may be empty, and rows may lack those fields.
        width: as many as the header has. A row may have MOST_EXTRA_FIELDS more, if they are empty.
    """

    least: int
    width: int

    def allows(self, fields: int) -> bool:
        """Whether a row may have that many fields."""
        return self.least <= fields <= self.width + MOST_EXTRA_FIELDS


class Lines(NamedTuple):
    """Lines read one by one.

    Attributes:
        rows: the fields of every row, as many as the header has.
        ordinals: the 0-based ordinal of each row among rows and broken lines.
        broken: the lines that are not rows, with their 0-based ordinals as numbers.
        left: how many lines at the end may be the start of a row that ends after them.
    """

    rows: list[list[str]]
    ordinals: list[int]
    broken: list[Broken]
    left: int


def read_lines(lines: list[str], shape: Shape, *, last: bool, strict: bool = True) -> Lines:
    """Rows of lines.

    Args:
        lines: lines that are not blank, without line ends.
        shape: how many fields a row has.
        last: whether no more lines follow.
        strict: whether a quote may not close in the middle of a field. pyarrow allows it.
    """
    rows: list[list[str]] = []
    ordinals: list[int] = []
    broken: list[Broken] = []
    missing = [""] * shape.width
    at = 0
    while at < len(lines):
        fields, used = _row(lines, at, shape.least, strict)
        if fields is None and not last and len(lines) - at < MOST_LINES:
            break
        ordinal = len(rows) + len(broken)
        reason = _reason(fields, lines[at], shape)
        if fields is None or reason:
            broken.append(Broken(ordinal, reason or "stray_quote", "\n".join(lines[at : at + used])))
        else:
            rows.append([*fields, *missing][: shape.width])
            ordinals.append(ordinal)
        at += used
    return Lines(rows, ordinals, broken, len(lines) - at)


def _reason(fields: list[str] | None, line: str, shape: Shape) -> str | None:
    """Why a line with these fields, None where its quotes do not close, is not a row."""
    count = line.count(",") + 1 if fields is None else len(fields)
    if not shape.allows(count):
        return "short_row" if count < shape.least else "long_row"
    return "long_row" if fields and "".join(fields[shape.width :]).strip() else None


def _row(lines: list[str], at: int, width: int, strict: bool) -> tuple[list[str] | None, int]:
    """The fields of the row that starts at this line, or None, and how many lines it takes."""
    line = lines[at]
    if '"' not in line:
        return line.split(","), 1
    fields = _fields(line, strict)
    if fields is not None:
        return fields, 1
    for used in range(2, min(MOST_LINES, len(lines) - at) + 1):
        line = f"{line}\n{lines[at + used - 1]}"
        if len(line) > LONGEST_ROW:
            break
        # The row can only be complete where the number of quotes is even.
        fields = _fields(line, strict) if line.count('"') % 2 == 0 else None
        if fields is not None and len(fields) >= width and not any(fields[width:]):
            return fields, used
    return None, 1


def _fields(text: str, strict: bool) -> list[str] | None:
    """The fields of one row, or None where, if strict, a quote does not close or closes in the middle of a field."""
    try:
        return next(csv.reader([text], strict=strict))
    except csv.Error:
        return None
