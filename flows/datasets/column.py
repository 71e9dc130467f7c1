"""A column of a dataset's contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

INT, FLOAT, TEXT, TIME = pa.int32(), pa.float64(), pa.string(), pa.timestamp("us")


@dataclass(frozen=True)
class Column:
    """One column of a contract.

    Attributes:
        name: its name in every store.
        type: int32, int64, float64, bool, string, date32, or timestamp[us] without a time zone (wall clock).
        synonyms: other names of the column in source files; case and punctuation do not matter. If a file has several,
            `name` has priority, then the earlier synonym.
        required: a file without the column is refused, a row without a value is rejected.
        words: texts for values of the column (lower case -> value).
    """

    name: str
    type: pa.DataType
    synonyms: tuple[str, ...] = ()
    required: bool = False
    words: Mapping[str, int | str] = field(default_factory=dict)

    @property
    def field(self) -> pa.Field:
        """The column as a field of the schema."""
        return pa.field(self.name, self.type, nullable=not self.required)


def normalized(name: str) -> str:
    """A column's name in lower case, without spaces and punctuation, which differ from file to file."""
    return re.sub(r"[\W_]+", "", name.casefold())
