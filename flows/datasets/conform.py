"""Converts a file's batches to the contract's schema, and finds the rows that do not fit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.datasets.column import Column
from flows.datasets.dataset import EXTRA_COLUMNS, Partition
from flows.datasets.layout import Layout
from flows.errors import Refused
from flows.reading.cast import as_text, cast
from flows.reading.plain import TEXT_MAP, text_of

# Texts for `extra_columns`, by their names there.
Extra = list[tuple[str, pa.StringArray]]


class Conformed(NamedTuple):
    """Rows in the contract's schema, and the reason of each row that does not fit it (null if it does)."""

    batch: pa.RecordBatch
    reasons: pa.StringArray | None


class Conform:
    """Converts a file's batches to the contract's schema.

    `extra_columns` are the names of the columns that are stored in `extra_columns`: those that the contract does not
    have and, from the first batch with values on, those without a name and those that contradict another column.
    """

    def __init__(self, layout: Layout, partition: Partition, subject: str) -> None:
        self._layout, self._partition, self._subject = layout, partition, subject
        self._dataset = partition.dataset
        self._schema = self._dataset.schema
        self.extra_columns: list[str] = [name for at, name in layout.extra.items() if layout.header[at].strip()]

    def __call__(self, raw: pa.RecordBatch) -> Conformed:
        """Convert a batch. Raises Refused if the file was written by this project, and is of another partition."""
        rows, reasons, extra = raw.num_rows, None, []
        arrays = []
        for column in self._dataset.columns:
            values, bad, second = self._column(raw, column)
            arrays.append(values)
            extra += second
            if bad is not None:
                reasons = add_reason(reasons, bad, f"unreadable:{column.name}")
            if column.required and values.null_count:
                reasons = add_reason(reasons, pc.is_null(values), f"missing:{column.name}")
        for at, name in self._layout.extra.items():
            text = as_text(raw.column(at))
            if text.null_count < rows:
                extra.append((self._note(name), text))
        arrays.append(self._own_extra(raw) if self._layout.own else _as_map(extra, rows))
        if self._dataset.partition_column:
            kind = self._schema.field(self._dataset.partition_column).type
            arrays.append(pa.repeat(pa.scalar(self._partition.column_value, kind), rows))
            self._check_partition(raw, self._dataset.partition_column)
        return Conformed(pa.RecordBatch.from_arrays(arrays, schema=self._schema), reasons)

    def _column(self, raw: pa.RecordBatch, column: Column) -> tuple[pa.Array, pa.Array | None, Extra]:
        """A column's values, a mask of the bad ones, and the values that contradict them in a column of a synonym."""
        positions = self._layout.sources.get(column.name)
        if not positions:
            return pa.nulls(raw.num_rows, column.type), None, []
        (values, bad), *others = (cast(raw.column(at), column.type, column.words) for at in positions)
        second = []
        for at, other in zip(positions[1:], others, strict=True):
            differs = pc.fill_null(pc.not_equal(values, other.values), False)
            if pc.any(differs).as_py():
                text = as_text(raw.column(at))
                second.append((self._note(self._layout.label(at)), pc.if_else(differs, text, None)))
            values = pc.coalesce(values, other.values)
            bad = other.bad if bad is None else pc.or_(bad, other.bad) if other.bad is not None else bad
        return values, bad, second

    def _note(self, name: str) -> str:
        if name not in self.extra_columns:
            self.extra_columns.append(name)
        return name

    def _own_extra(self, raw: pa.RecordBatch) -> pa.MapArray:
        """The extra columns of a file that this project wrote."""
        values = self._own(raw, EXTRA_COLUMNS)
        for name in pc.unique(values.keys).to_pylist() if values.null_count < len(values) else []:
            self._note(name)
        return values

    def _check_partition(self, raw: pa.RecordBatch, column: str) -> None:
        if not self._layout.own:
            return
        starts = pc.unique(self._own(raw, column))
        if not pc.all(pc.equal(starts, self._partition.column_value), skip_nulls=False, min_count=0).as_py():
            found = ", ".join(map(str, text_of(starts).to_pylist()))
            raise Refused(self._subject, f"holds rows of {found}, not of {self._partition.key}")

    def _own(self, raw: pa.RecordBatch, name: str) -> pa.Array:
        """A column that only files of this project have; its type is checked."""
        values, kind = raw.column(self._layout.header.index(name)), self._schema.field(name).type
        if values.type != kind:
            what = f"has a column {name} of type {values.type}, not {kind}"
            raise Refused(self._subject, f"{what}: not a file of this project")
        return values


def add_reason(reasons: pa.StringArray | None, where: pa.BooleanArray, reason: str) -> pa.StringArray:
    """`reasons` with this one for the rows that have none yet."""
    new = pc.if_else(where, reason, pa.scalar(None, pa.string()))
    return new if reasons is None else pc.coalesce(reasons, new)


def _as_map(extra: Extra, rows: int) -> pa.MapArray:
    """Text columns as one map column of name -> text, without nulls; a row without any text is null."""
    if not extra:
        return pa.nulls(rows, TEXT_MAP)
    valid = np.stack([pc.is_valid(text).to_numpy(zero_copy_only=False) for _, text in extra], axis=1)
    row, column = np.nonzero(valid)
    names = pa.array([name for name, _ in extra], pa.string())
    # One long array of all columns, one after the other, from which each row takes what it has.
    texts = pa.concat_arrays([text for _, text in extra]).take(pa.array(column * rows + row))
    offsets = np.concatenate([[0], np.cumsum(valid.sum(axis=1))]).astype(np.int32)
    empty = pa.array(~valid.any(axis=1))
    return pa.MapArray.from_arrays(pa.array(offsets), names.take(pa.array(column)), texts, mask=empty)
