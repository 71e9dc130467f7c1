"""Ledger entries as table rows; the columns are derived from the fields of `LedgerEntry`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from flows.datasets.dataset import Dataset
from flows.stores.ledger import LedgerEntry, partition_key
from flows.stores.loads import Recorded

UTC_TIME = pa.timestamp("us", "UTC")

_TYPES = {int: pa.int64(), dt.datetime: UTC_TIME}
_HINTS = get_type_hints(LedgerEntry)

# Dicts and lists are stored as JSON text.
JSON_FIELDS = [name for name, hint in _HINTS.items() if get_origin(hint) in (dict, list)]


def _type(name: str) -> pa.DataType:
    """The type of a field's column; that of `T | None` is that of T."""
    hint = _HINTS[name]
    kinds = () if name in JSON_FIELDS else (hint, *get_args(hint))
    return next((_TYPES[kind] for kind in kinds if kind in _TYPES), pa.string())


LEDGER_SCHEMA = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("partition_key", pa.string(), nullable=False),
        *(
            pa.field(each.name, _type(each.name), nullable=each.default is not MISSING)
            for each in fields(LedgerEntry)
            if each.name != "partition"
        ),
    ]
)
"""The columns of `LedgerEntry.to_dict`. A field with a default is nullable: rows of older versions lack it."""


def recorded_schema(dataset: Dataset) -> pa.Schema:
    """LEDGER_SCHEMA with `recorded` (see `Recorded.at`) and the partition column, if there is one."""
    # All columns are nullable: BigQuery can add no others to an existing table.
    columns = [column.with_nullable(True) for column in LEDGER_SCHEMA]
    return with_partition_column(pa.schema([*columns, pa.field("recorded", UTC_TIME)]), dataset)


def with_partition_column(schema: pa.Schema, dataset: Dataset) -> pa.Schema:
    """The schema with the dataset's partition column, if it has one."""
    column = dataset.partition_column
    return schema.append(dataset.schema.field(column).with_nullable(True)) if column else schema


def ledger_row(entry: LedgerEntry, recorded: dt.datetime) -> dict[str, Any]:
    """The entry as a row of `recorded_schema`."""
    partition = entry.partition
    values = {each.name: getattr(entry, each.name) for each in fields(entry) if each.name != "partition"}
    names = {"dataset": partition.dataset.name, "partition_key": partition.key}
    texts = {name: json.dumps(values[name]) for name in JSON_FIELDS}
    column = partition.dataset.partition_column
    return {**names, **values, **texts, "recorded": recorded} | ({column: partition.column_value} if column else {})


def recorded_entry(dataset: Dataset, row: Mapping[str, Any]) -> Recorded:
    """The reverse of `ledger_row`. A field that is missing or NULL gets its default."""
    given = {name: value for name, value in row.items() if name in _HINTS and value is not None}
    texts = {name: json.loads(given[name]) for name in JSON_FIELDS}
    entry = LedgerEntry(**{**given, **texts, "partition": dataset.partition_of(partition_key(row))})
    return Recorded(entry, row.get("recorded") or entry.finished)
