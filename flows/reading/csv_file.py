"""CSV as batches of text columns.

pyarrow parses blocks of lines, which is fast. Python parses line by line what pyarrow cannot parse reliably: lines with
another number of fields than most, and whole blocks if quotes or carriage returns make rows and lines differ. pyarrow
would read a stray quote and all lines to the next quote as one field (`test_quotes` in tests/unit/test_read_csv.py).

A row may have more fields than the header if they are empty, as in TLC's files of 2013 to 2016. If one is not empty, it
is unclear which field is surplus: the row is broken, with the reason `long_row`.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from flows.errors import Refused
from flows.reading.csv_block import Block, lines_of, parse_block, resized, text_batch
from flows.reading.csv_lines import Shape, read_lines
from flows.reading.file_kind import CONFLICT, CONFLICT_REASON, FileKind
from flows.reading.raw import Broken, RawBatch
from flows.reading.text_blocks import text_blocks


class CsvFile:
    """A CSV file: its header, then its rows, once. Blank lines are skipped. Raises Refused if it has no header."""

    def __init__(self, path: Path, kind: FileKind, subject: str) -> None:
        self._subject = subject
        self._blocks = text_blocks(path, kind, subject)
        self.header, self._rest = self._read_header()
        self._shape = Shape(max((at for at, name in enumerate(self.header, 1) if name), default=0), len(self.header))
        self._row = 0
        # How many fields most rows have, which may differ from the header; updated during reading.
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
        """Every line that is not blank, as a row of text (an empty field is null) or as broken.

        Raises Refused if the file is damaged or has merge-conflict markers.
        """
        waiting = self._rest
        for block in self._blocks:
            yield self._read(waiting, last=False)
            waiting = self._rest + block
        yield self._read(waiting, last=True)

    def _read(self, text: bytes, *, last: bool) -> RawBatch:
        """The rows of a block of whole lines; lines that need the next block are kept in `_rest`."""
        self._rest = b""
        block = self._parse(text)
        if block.others:
            return self._read_others(block, lines_of(text), last=last)
        return self._numbered(resized(block.batch, self._shape.width), block.ordinals, [])

    def _parse(self, text: bytes) -> Block:
        """Parse the block; if a row has more non-empty fields than the header, all its lines are in `others`."""
        block = parse_block(text, self._width)
        width = self._usual_width(block)
        if width != self._width:
            self._width = width
            block = parse_block(text, width)
        beyond = block.batch.columns[self._shape.width :]
        if all(column.null_count == len(column) for column in beyond):
            return block
        long = dict.fromkeys(block.ordinals.tolist(), width)
        return Block(block.batch.slice(0, 0), block.ordinals[:0], {**block.others, **long})

    def _usual_width(self, block: Block) -> int:
        """How many fields most rows have, without numbers that a row may not have."""
        widths = Counter(fields for fields in block.others.values() if block.certain and self._shape.allows(fields))
        widths[self._width] = len(block.batch)
        return widths.most_common(1)[0][0]

    def _read_others(self, block: Block, lines: list[bytes], *, last: bool) -> RawBatch:
        """The rows of a block and those of its other lines, in the file's order."""
        others = np.array(sorted(block.others))
        texts = [lines[ordinal].decode() for ordinal in others]
        read = read_lines(texts, self._shape, last=last or block.certain, strict=not block.certain)
        if read.left:
            self._rest = b"\n".join([*lines[-read.left :], b""])
        width = self._shape.width
        batch = pa.concat_batches([resized(block.batch, width), text_batch(read.rows, width)])
        ordinals = np.concatenate([block.ordinals, others[read.ordinals]])
        order = np.argsort(ordinals)
        broken = [line._replace(number=int(others[line.number])) for line in read.broken]
        return self._numbered(batch.take(pa.array(order)), ordinals[order], broken)

    def _numbered(self, batch: pa.RecordBatch, ordinals: np.ndarray, broken: list[Broken]) -> RawBatch:
        """Rows and broken lines of a block, with their row numbers in the file instead of ordinals."""
        if any(CONFLICT.match(line.line.encode()) for line in broken):
            raise Refused(self._subject, f"{CONFLICT_REASON}, after row {self._row:,}")
        first = self._row + 1
        self._row += len(batch) + len(broken)
        return RawBatch(batch, ordinals + first, [line._replace(number=line.number + first) for line in broken])
