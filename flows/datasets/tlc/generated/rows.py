"""Converts generated rows from numpy arrays to a record batch of the file's layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass
class Block:
    """Columns by their names in lower case: values, and where they are null.

    Times are int64 seconds since 1970, text is int64 indices into `words`, and a missing column is null in every row.
    """

    rows: int
    values: dict[str, NDArray[Any]] = field(default_factory=dict)
    nulls: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)

    def batch(self, schema: pa.Schema) -> pa.RecordBatch:
        """The columns of the layout, in its order and types."""
        return pa.record_batch([self._array(column.name.lower(), column.type) for column in schema], schema=schema)

    def _array(self, name: str, kind: pa.DataType) -> pa.Array:
        if pa.types.is_null(kind) or name not in self.values:
            return pa.nulls(self.rows, kind)
        values, nulls = self.values[name], self.nulls.get(name)
        if name in self.words:
            return pa.array(self.words[name], kind).take(pa.array(values, mask=nulls))
        if pa.types.is_timestamp(kind):
            return pa.array(values * (1_000_000 if kind.unit == "us" else 1), mask=nulls).view(kind)
        return pa.array(values.astype(kind.to_pandas_dtype(), copy=False), mask=nulls)
