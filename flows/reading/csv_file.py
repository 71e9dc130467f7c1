"""CSV as batches of text columns.

pyarrow reads blocks of lines: this is fast. What it cannot read with certainty is read line by line in Python: the
lines of a block that have another number of fields than most, and whole blocks where quotes or carriage returns make
rows and lines differ. This second way is needed: pyarrow would take a stray quote and all lines to the next quote for
one field (`test_a_stray_quote_costs_its_own_line_only`, `test_quotes` in tests/unit/test_read_csv.py).

Fields that a row has beyond the header's may be empty, as in TLC's files of 2013 to 2016. Where one is not, it is
unclear which field of the row is one too many: the row is broken, with the reason `long_row`.
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
    """One CSV file: its header, then its rows, once. Blank lines are skipped.

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
        self._shape = Shape(max((at for at, name in enumerate(self.header, 1) if name), default=0), len(self.header))
        self._row = 0
        # How many fields most rows have, which may differ from the header: updated as the file is read.
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
            yield self._read(waiting, last=False)
            waiting = self._rest + block
        yield self._read(waiting, last=True)

    def _read(self, text: bytes, *, last: bool) -> RawBatch:
        """The rows of a block of whole lines; lines that have to wait for the next block are left in `_rest`."""
        self._rest = b""
        block = self._without_surplus(parse_block(text, self._width))
        batch = resized(block.batch, self._shape.width)
        if not block.others:
            return self._numbered(batch, block.ordinals, [])
        lines, others = lines_of(text), np.array(sorted(block.others))
        texts = [lines[ordinal].decode() for ordinal in others]
        read = read_lines(texts, self._shape, last=last or block.certain, strict=not block.certain)
        if read.left:
            self._rest = b"\n".join([*lines[-read.left :], b""])
        if block.certain:
            self._update_width(block)
        batch = pa.concat_batches([batch, text_batch(read.rows, self._shape.width)])
        ordinals = np.concatenate([block.ordinals, others[read.ordinals]])
        order = np.argsort(ordinals)
        broken = [line._replace(number=int(others[line.number])) for line in read.broken]
        return self._numbered(batch.take(pa.array(order)), ordinals[order], broken)

    def _without_surplus(self, block: Block) -> Block:
        """The block, with all lines among the others if a row has a field beyond the header's."""
        beyond = block.batch.columns[self._shape.width :]
        if all(column.null_count == len(column) for column in beyond):
            return block
        long = dict.fromkeys(block.ordinals.tolist(), block.batch.num_columns)
        return Block(block.batch.slice(0, 0), block.ordinals[:0], {**block.others, **long})

    def _update_width(self, block: Block) -> None:
        """Expect the width of most rows from now on."""
        widths = Counter(fields for fields in block.others.values() if self._shape.allows(fields))
        for width, rows in widths.most_common(1):
            if rows > len(block.batch):
                self._width = width

    def _numbered(self, batch: pa.RecordBatch, ordinals: np.ndarray, broken: list[Broken]) -> RawBatch:
        """Rows and broken lines of a block by 0-based ordinals, with their numbers in the file."""
        if any(CONFLICT.match(line.line.encode()) for line in broken):
            raise Refused(self._subject, f"{CONFLICT_REASON}, after row {self._row:,}")
        first = self._row + 1
        self._row += len(batch) + len(broken)
        return RawBatch(batch, ordinals + first, [line._replace(number=line.number + first) for line in broken])
