"""Parses a block of CSV lines with pyarrow, if every line is certain to be one row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

BLANK_LINE = re.compile(rb"\n\r*\n")


class Block(NamedTuple):
    """The lines of a block, by their 0-based ordinals among the lines that are not blank.

    Attributes:
        batch: the rows that have the expected number of fields, as text columns; an empty field is null.
        ordinals: the ordinals of these rows.
        others: the ordinals of all other lines, and how many fields they have.
        certain: whether every line is one row. If not, because there may be a line end inside quotes, a quote that does
            not close, or a carriage return inside a line, all lines are in `others`.
    """

    batch: pa.RecordBatch
    ordinals: np.ndarray
    others: Mapping[int, int]
    certain: bool = True


def parse_block(block: bytes, width: int) -> Block:
    """Parse a block of whole lines in UTF-8; rows are expected to have `width` fields."""
    others: dict[int, int] = {}

    def skip(row: pacsv.InvalidRow) -> str:
        others[row.number - 1] = row.actual_columns
        return "skip"

    names, convert = _columns(width)
    # As one pyarrow block, so that row numbers count from its start.
    read = pacsv.ReadOptions(column_names=names, block_size=len(block) + 1, use_threads=False)
    parse = pacsv.ParseOptions(invalid_row_handler=skip)
    try:
        table = pacsv.read_csv(pa.BufferReader(block), read, parse, convert).combine_chunks()
    except pa.ArrowInvalid:
        table = None
    lines = _count_lines(block)
    if table is None or len(table) + len(others) != lines or _quotes_hide_line_ends(block):
        return Block(text_batch([], width), np.arange(0), dict.fromkeys(range(lines), 0), certain=False)
    ordinals = np.delete(np.arange(lines), list(others))
    return Block(table.to_batches()[0] if len(table) else text_batch([], width), ordinals, others)


def text_batch(rows: list[list[str]], width: int) -> pa.RecordBatch:
    """Rows of that many fields as text columns; an empty field is null."""
    columns = zip(*rows, strict=True) if rows else [()] * width
    arrays = [pa.array([field or None for field in column], pa.string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, names=_columns(width)[0])


def resized(batch: pa.RecordBatch, width: int) -> pa.RecordBatch:
    """The first `width` columns of a batch, null where it has fewer."""
    missing = [pa.nulls(len(batch), pa.string())] * (width - batch.num_columns)
    return pa.RecordBatch.from_arrays([*batch.columns[:width], *missing], names=_columns(width)[0])


def lines_of(block: bytes) -> list[bytes]:
    """The lines that are not blank, without their ends."""
    return [line for end in block.split(b"\n") if (line := end.rstrip(b"\r"))]


@cache
def _columns(width: int) -> tuple[list[str], pacsv.ConvertOptions]:
    """Names of that many columns, and the options that make them text."""
    names = [str(position) for position in range(width)]
    # Only empty fields are null: pyarrow's default also reads some words as null. Blocks are already UTF-8.
    return names, pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True, check_utf8=False
    )


def _quotes_hide_line_ends(block: bytes) -> bool:
    """Whether the rows of a block may not be its lines, although there are as many.

    A carriage return adds a row and a quoted line end removes one; a quote in the last line may not close.
    """
    if b'"' not in block:
        return False
    unclosed = block.rstrip(b"\r\n").rsplit(b"\n", 1)[-1].count(b'"') % 2 == 1
    return unclosed or block.count(b"\r") != block.count(b"\r\n")


def _count_lines(block: bytes) -> int:
    """How many lines are not blank."""
    # Called for every block. One pattern that also matches at the ends would be 30 times slower.
    if not block or block[0] in b"\r\n" or block.endswith(b"\r") or BLANK_LINE.search(block):
        return len(lines_of(block))
    return block.count(b"\n") + (not block.endswith(b"\n"))
