"""CSV line by line, in Python: for lines that pyarrow cannot read as rows of the expected number of fields.

A line is a row. The only exception is a quoted field with a line end in it, if the quote closes within a few lines and
the row then has the expected fields, and possibly empty ones. So a stray quote breaks only its own line.
"""

from __future__ import annotations

import csv
from typing import NamedTuple

from flows.reading.raw import Broken

MOST_EXTRA_FIELDS = 50
MOST_LINES = 8
LONGEST_ROW = 1 << 16


class Shape(NamedTuple):
    """How many fields a row has: as many as the header (`width`), and up to MOST_EXTRA_FIELDS more if they are empty.

    Names at the end of the header may be empty. Rows may lack those fields, and have `least` fields only.
    """

    least: int
    width: int

    def allows(self, fields: int) -> bool:
        """Whether a row may have that many fields."""
        return self.least <= fields <= self.width + MOST_EXTRA_FIELDS


class Lines(NamedTuple):
    """Lines read one by one: rows with as many fields as the header, and broken lines, each with its 0-based ordinal.

    `left` is how many lines at the end are not read: they may be the start of a row that ends after them.
    """

    rows: list[list[str]]
    ordinals: list[int]
    broken: list[Broken]
    left: int


def read_lines(lines: list[str], shape: Shape, *, last: bool, strict: bool = True) -> Lines:
    """Read lines that are not blank, without line ends; after `last` ones no more follow.

    If `strict`, a quote may not close in the middle of a field; pyarrow allows it.
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
    """Why a line with these fields (None if its quotes do not close) is not a row."""
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
        # The row can only be complete if the number of quotes is even.
        fields = _fields(line, strict) if line.count('"') % 2 == 0 else None
        if fields is not None and len(fields) >= width and not any(fields[width:]):
            return fields, used
    return None, 1


def _fields(text: str, strict: bool) -> list[str] | None:
    """The fields of one row; None if strict and a quote does not close, or closes in the middle of a field."""
    try:
        return next(csv.reader([text], strict=strict))
    except csv.Error:
        return None
