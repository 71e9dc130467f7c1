"""Counts a month's duplicate rows in constant memory, by 64-bit hashes of whole rows.

Rows that differ in one number only never share a hash, because every step of it can be reversed. Two of 15 million rows
share one by chance in one of 160,000 such months.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

RUN = 1 << 20
"""Hashes that are kept in memory (8 bytes each) before they are sorted and written to disk."""

PARTS = 64
"""Parts of the range of hashes that are counted one after the other."""

_NULL = np.uint64(0x6E75_6C6C_9E37_79B9)
_ROUNDS = ((np.uint64(0xBF58476D1CE4E5B9), np.uint64(29)), (np.uint64(0x94D049BB133111EB), np.uint64(32)))
_EDGES = np.arange(1, PARTS, dtype=np.uint64) << np.uint64(58)
_WORDS_KEPT = 100_000


class Duplicates:
    """Counts the rows of a month that are copies of earlier ones.

    The hashes of a month of more than RUN rows are in a temporary file in the folder `spill`, 8 bytes a row.
    """

    def __init__(self, spill: Path | None = None) -> None:
        self._hasher = _Hasher()
        self._waiting: list[Hashes] = []
        # Per run, where its parts begin and end, in hashes from the file's start.
        self._runs: list[NDArray[np.int64]] = []
        self._file = tempfile.TemporaryFile(dir=spill)  # noqa: SIM115 - closed by close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Count the rows of a batch; all batches have the same columns."""
        self._waiting.append(self._hasher.rows(batch))
        if sum(map(len, self._waiting)) >= RUN:
            self._write_run()

    def count(self) -> int:
        """How many rows were copies of an earlier row: all rows less the distinct ones."""
        if not self._runs:
            return _copies(np.concatenate([np.empty(0, np.uint64), *self._waiting]))
        self._write_run()
        return sum(
            _copies(np.concatenate([self._read(run[part], run[part + 1]) for run in self._runs]))
            for part in range(PARTS)
        )

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def _write_run(self) -> None:
        run = np.sort(np.concatenate([np.empty(0, np.uint64), *self._waiting]))
        self._waiting.clear()
        start = self._runs[-1][-1] if self._runs else 0
        self._runs.append(start + np.concatenate([[0], np.searchsorted(run, _EDGES), [len(run)]]))
        self._file.write(run.data)
        self._file.flush()

    def _read(self, start: int, stop: int) -> Hashes:
        size = int(stop - start) * 8
        return np.frombuffer(os.pread(self._file.fileno(), size, int(start) * 8), np.uint64)


def _copies(hashes: Hashes) -> int:
    hashes.sort()
    return int(np.count_nonzero(hashes[1:] == hashes[:-1]))


class _Hasher:
    """Hashes of whole rows; null is a value of its own, and -0.0 is 0.0."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}

    def rows(self, batch: pa.RecordBatch) -> Hashes:
        hashes = np.zeros(batch.num_rows, np.uint64)
        shifted = np.empty_like(hashes)
        for column in batch.columns:
            hashes ^= self._column(column)
            for factor, shift in _ROUNDS:
                hashes *= factor
                hashes ^= np.right_shift(hashes, shift, out=shifted)
        return hashes

    def _column(self, column: pa.Array) -> Hashes | np.uint64:
        """One number per value, different for different values (of numbers: exactly so)."""
        if column.null_count == len(column):
            return _NULL
        kind = column.type
        if pa.types.is_map(kind):
            values = self._maps(column)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            values = self._texts(column)
        else:
            values = _numbers(column)
        return np.where(_nulls(column), _NULL, values) if column.null_count else values

    def _texts(self, column: pa.Array) -> Hashes:
        encoded = column.dictionary_encode()
        words = np.array([self._word(word) for word in encoded.dictionary.to_pylist()], np.uint64)
        # Where a text is null its index may be anything.
        return words[pc.fill_null(encoded.indices, 0).to_numpy()]

    def _word(self, word: str) -> int:
        found = self._words.get(word)
        if found is None:
            found = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            if len(self._words) < _WORDS_KEPT:
                self._words[word] = found
        return found

    def _maps(self, column: pa.MapArray) -> Hashes:
        """A sum over a map's pairs, so that their order does not count."""
        pairs = self.rows(pa.record_batch([column.keys, column.items], names=["key", "item"]))
        reached = np.concatenate([np.zeros(1, np.uint64), np.cumsum(pairs, dtype=np.uint64)])
        offsets = column.offsets.to_numpy()
        return reached[offsets[1:]] - reached[offsets[:-1]]


def _nulls(column: pa.Array) -> NDArray[np.bool_]:
    return column.is_null().to_numpy(zero_copy_only=False)


def _numbers(column: pa.Array) -> Hashes:
    """The bits of numbers, dates and times, widened to 64; where a value is null they may be anything."""
    kind = np.dtype(f"{'f' if pa.types.is_floating(column.type) else 'i'}{column.type.bit_width // 8}")
    values = np.frombuffer(column.buffers()[1], kind)[column.offset : column.offset + len(column)]
    if kind.kind == "f":
        return (values + 0.0).astype(np.float64, copy=False).view(np.uint64)
    return values.astype(np.int64, copy=False).view(np.uint64)
