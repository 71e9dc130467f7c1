"""CSV as batches of text columns.

A block that pyarrow reads to as many rows as it has lines is taken as read: the fast path. Rows with another number of
fields than the header are read again, by their number of fields. A block where quotes or stray carriage returns make
rows and lines differ is read line by line.

Fields that a row has beyond the header's may be empty, as in TLC's files of 2013 to 2016. Where one is not, nobody can
say which field of the row is one too many: the row is broken, with the reason `long_row`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from functools import cache, reduce
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from flows.errors import Refused
from flows.reading.csv_lines import read_lines
from flows.reading.file_kind import CONFLICT, CONFLICT_REASON, FileKind
from flows.reading.raw import Broken, RawBatch
from flows.reading.text_blocks import text_blocks

MOST_EXTRA_FIELDS = 50
BLANK_LINE = re.compile(rb"\n\r*\n")


class CsvFile:
    """One CSV file: its header, then its rows, once. Blank lines are neither.

    Args:
        path: the file.
        kind: whether it is gzip.
        subject: the URL or path that errors name.

    Raises:
        Refused: the file has no header, or is refused by `text_blocks`.
    """

    def __init__(self, path: Path, kind: FileKind, subject: str) -> None:
        self._subject = subject
        self._blocks = text_blocks(path, kind, subject)
        self.header, self._rest = self._read_header()
        # Names at the end may be empty: rows need not have those fields.
        self._least = max((at + 1 for at, name in enumerate(self.header) if name), default=0)
        self._row = 0
        # How many fields most rows have, which may be more than the header has: learnt as the file is read.
        self._width = len(self.header)

    def _read_header(self) -> tuple[tuple[str, ...], bytes]:
        for block in self._blocks:
            head, _, rest = block.lstrip(b"\r\n").partition(b"\n")
            if not head:
                continue
            try:
                names = next(csv.reader([head.decode().rstrip("\r")], strict=True))
            except csv.Error as error:
                raise Refused(self._subject, f"has no readable header: {error}") from None
            return tuple(name.strip() for name in names), rest
        raise Refused(self._subject, "is empty: it has no header")

    def batches(self) -> Iterator[RawBatch]:
        """Every line that is not blank, as the header's columns in text (an empty field is null) or broken.

        Raises:
            Refused: the file turns out damaged or to hold merge-conflict markers.
        """
        waiting = self._rest
        for block in self._blocks:
            yield from self._read(waiting, last=False)
            waiting = self._rest + block
        yield from self._read(waiting, last=True)

    def _read(self, block: bytes, *, last: bool) -> Iterator[RawBatch]:
        """The rows of a block of whole lines; lines that have to wait for the next block are left in `_rest`."""
        self._rest = b""
        parsed = _parse(block, self._width)
        if parsed is None or _ambiguous(block, parsed):
            yield from self._read_line_by_line(_lines(block), last=last)
        elif parsed.odd or self._surplus(parsed.batch) is not None:
            yield from self._read_by_width(_lines(block), parsed)
        else:
            yield from self._rows([_Group(parsed.batch, range(len(parsed.batch)))], [])

    def _read_by_width(self, lines: list[bytes], parsed: _Parsed) -> Iterator[RawBatch]:
        """Lines of which some have another number of fields than most."""
        groups = [_Group(parsed.batch, [ordinal for ordinal in range(len(lines)) if ordinal not in parsed.odd])]
        broken = []
        for width in sorted(set(parsed.odd.values())):
            ordinals = [ordinal for ordinal, fields in parsed.odd.items() if fields == width]
            same = _parse(b"\n".join(lines[ordinal] for ordinal in ordinals), width) if self._fits(width) else None
            if same and len(same.batch) == len(ordinals):
                groups.append(_Group(same.batch, ordinals))
            else:
                broken += [self._misfit(ordinal, width, lines[ordinal].decode()) for ordinal in ordinals]
        self._width = max(groups, key=lambda group: len(group.batch)).batch.num_columns or self._width
        for at, group in enumerate(groups):
            surplus = self._surplus(group.batch)
            if surplus is not None:
                groups[at], long = _split(group, surplus)
                broken += [Broken(ordinal, "long_row", lines[ordinal].decode()) for ordinal in long]
        yield from self._rows(groups, broken)

    def _surplus(self, batch: pa.RecordBatch) -> pa.BooleanArray | None:
        """Which rows have a field beyond the header's that is not empty; None where no row has."""
        beyond = [column for column in batch.columns[len(self.header) :] if column.null_count < len(column)]
        filled = [pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False) for column in beyond]
        surplus = reduce(pc.or_, filled) if filled else None
        return surplus if surplus is not None and pc.any(surplus).as_py() else None

    def _read_line_by_line(self, lines: list[bytes], *, last: bool) -> Iterator[RawBatch]:
        text = [line.decode() for line in lines]
        read = read_lines(text, self._least, last=last)
        if read.left:
            self._rest = "\n".join([*text[-read.left :], ""]).encode()
        broken = [self._misfit(ordinal, line.count(",") + 1, line) for ordinal, line in read.broken]
        whole, ordinals, width = [], [], len(self.header)
        missing = [""] * width
        for ordinal, fields, line in read.rows:
            if not self._fits(len(fields)):
                broken.append(self._misfit(ordinal, len(fields), line))
            elif "".join(fields[width:]).strip():
                broken.append(Broken(ordinal, "long_row", line))
            else:
                whole.append([*fields, *missing][:width])
                ordinals.append(ordinal)
        yield from self._rows([_Group(_as_batch(whole), ordinals)], broken)

    def _rows(self, groups: list[_Group], broken: list[Broken]) -> Iterator[RawBatch]:
        """Groups of rows and broken lines, by 0-based ordinals in a block, as one batch with numbers in the file."""
        batch, ordinals = _in_order([group for group in groups if len(group.batch)], len(self.header))
        before = self._row + 1
        self._row += len(batch) + len(broken)
        yield RawBatch(batch, ordinals + before, [line._replace(number=line.number + before) for line in broken])

    def _fits(self, width: int) -> bool:
        return self._least <= width <= len(self.header) + MOST_EXTRA_FIELDS

    def _misfit(self, ordinal: int, width: int, line: str) -> Broken:
        if CONFLICT.match(line.encode()):
            raise Refused(self._subject, f"{CONFLICT_REASON}, after row {self._row:,}")
        if width < self._least:
            return Broken(ordinal, "short_row", line)
        return Broken(ordinal, "stray_quote" if self._fits(width) else "long_row", line)


class _Group(NamedTuple):
    """Rows of one width, and their 0-based ordinals in a block."""

    batch: pa.RecordBatch
    ordinals: Sequence[int]


class _Parsed(NamedTuple):
    """A block as pyarrow reads it: the rows of the width asked for; the others' 0-based ordinals -> fields."""

    batch: pa.RecordBatch
    odd: dict[int, int]


def _parse(block: bytes, width: int) -> _Parsed | None:
    """The rows of a block, or None where pyarrow can make nothing of it."""
    odd: dict[int, int] = {}

    def skip(row: pacsv.InvalidRow) -> str:
        odd[row.number - 1] = row.actual_columns
        return "skip"

    names, convert = _columns(width)
    # In one piece, so that row numbers count from its start.
    read = pacsv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False)
    parse = pacsv.ParseOptions(invalid_row_handler=skip)
    try:
        table = pacsv.read_csv(pa.BufferReader(block), read, parse, convert).combine_chunks()
    except pa.ArrowInvalid:
        return None
    return _Parsed(table.to_batches()[0] if len(table) else _as_batch([]), odd)


@cache
def _columns(width: int) -> tuple[list[str], pacsv.ConvertOptions]:
    """Names of that many columns, and that they are text."""
    names = [str(position) for position in range(width)]
    # Empty fields are null and nothing else is, so that no text is taken for a null. Blocks are UTF-8 already.
    return names, pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, check_utf8=False
    )


def _split(group: _Group, where: pa.BooleanArray) -> tuple[_Group, list[int]]:
    """The rows of a group where a mask is false, and the ordinals of the others."""
    mask = where.to_pylist()
    kept = [ordinal for ordinal, out in zip(group.ordinals, mask, strict=True) if not out]
    return _Group(group.batch.filter(pc.invert(where)), kept), list(compress(group.ordinals, mask))


def _in_order(groups: list[_Group], width: int) -> tuple[pa.RecordBatch, np.ndarray]:
    """The first `width` fields of the rows of all groups, null where a row ends before, in order; their ordinals."""
    if not groups:
        return _as_batch([]), np.array([], np.int64)
    batches = [_resized(group.batch, width) for group in groups]
    ordinals = np.concatenate([np.asarray(group.ordinals, np.int64) for group in groups])
    if len(groups) == 1:
        return batches[0], ordinals
    order = np.argsort(ordinals)
    return pa.concat_batches(batches).take(pa.array(order)), ordinals[order]


def _resized(batch: pa.RecordBatch, width: int) -> pa.RecordBatch:
    missing = [pa.nulls(len(batch), pa.string())] * (width - batch.num_columns)
    return pa.RecordBatch.from_arrays([*batch.columns[:width], *missing], names=_columns(width)[0])


def _ambiguous(block: bytes, parsed: _Parsed) -> bool:
    """Whether the rows may not be the lines: a line end inside quotes, or a carriage return inside a line."""
    if len(parsed.batch) + len(parsed.odd) != _count_lines(block):
        return True
    if b'"' not in block:
        return False
    # As many rows as lines, and yet not line for line: one more by a carriage return, one fewer by a quoted line end,
    # or a quote in the last line that does not close.
    open_end = block.rstrip(b"\r\n").rsplit(b"\n", 1)[-1].count(b'"') % 2 == 1
    return open_end or block.count(b"\r") != block.count(b"\r\n")


def _count_lines(block: bytes) -> int:
    """How many lines are not blank."""
    # Asked of every block: one pattern that looks at the ends as well would be 30 times slower.
    if not block or block[0] in b"\r\n" or block.endswith(b"\r") or BLANK_LINE.search(block):
        return len(_lines(block))
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _lines(block: bytes) -> list[bytes]:
    """The lines that are not blank, without their ends."""
    return [line for end in block.split(b"\n") if (line := end.rstrip(b"\r"))]


def _as_batch(rows: list[list[str]]) -> pa.RecordBatch:
    """Rows of equal width as text columns."""
    columns = [pa.array([field or None for field in column], pa.string()) for column in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=[str(position) for position in range(len(columns))])
