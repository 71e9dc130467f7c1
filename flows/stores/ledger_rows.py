"""Ledger entries as rows of a table: the columns follow from the fields of `LedgerEntry`, so none is forgotten.

`recorded` says when a row was written: the entry of a load is written again when its source is seen again.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from flows.stores.ledger import LedgerEntry
from flows.stores.loads import Recorded

_TYPES = {int: pa.int64(), dt.datetime: pa.timestamp("us", "UTC")}
_HINTS = get_type_hints(LedgerEntry)

# Dicts and lists are kept as JSON text.
_JSON_TEXT = [name for name, hint in _HINTS.items() if get_origin(hint) in (dict, list)]


def _column(name: str) -> pa.DataType:
    """The column of a field; that of `T | None` is as that of T."""
    hint = _HINTS[name]
    kinds = () if name in _JSON_TEXT else (hint, *get_args(hint))
    return next((_TYPES[kind] for kind in kinds if kind in _TYPES), pa.string())


# Every column but the partition's is nullable: BigQuery adds no other ones to a table that is there.
LEDGER_SCHEMA = pa.schema(
    [
        ("source_month", pa.date32()),
        *((field.name, _column(field.name)) for field in fields(LedgerEntry)),
        ("recorded", pa.timestamp("us", "UTC")),
    ]
)


def ledger_row(entry: LedgerEntry, recorded: dt.datetime) -> dict[str, Any]:
    """The entry as a row of LEDGER_SCHEMA."""
    values = {field.name: getattr(entry, field.name) for field in fields(entry)}
    texts = {name: json.dumps(values[name]) for name in _JSON_TEXT}
    return {**values, **texts, "source_month": entry.of_month.first, "recorded": recorded}


def recorded_entry(row: Mapping[str, Any]) -> Recorded:
    """The reverse of `ledger_row`. A field that the row lacks, or has as NULL, has its default."""
    given = {name: value for name, value in row.items() if name in _HINTS and value is not None}
    entry = LedgerEntry(**{**given, **{name: json.loads(given[name]) for name in _JSON_TEXT}})
    return Recorded(entry, row.get("recorded") or entry.finished)
