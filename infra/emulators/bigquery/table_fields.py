"""Table schemas: BigQuery's fields and DuckDB's columns, and the fields of a table after a load."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pyarrow as pa

from infra.emulators.bigquery.table_names import quoted
from infra.emulators.rest import GoogleError, invalid, only_known, unsupported

Field = dict[str, Any]

_LEGACY = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
_COLUMN = {
    "STRING": "VARCHAR",
    "BYTES": "BLOB",
    "INTEGER": "BIGINT",
    "FLOAT": "DOUBLE",
    "NUMERIC": "DECIMAL(38,9)",
    "BOOLEAN": "BOOLEAN",
    "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP",
    "DATE": "DATE",
    "JSON": "JSON",
}


def parse(schema: dict[str, Any] | None) -> list[Field]:
    """Return the fields of a request's schema with the names of types and modes that BigQuery returns.

    Raises 501 for types, modes and constraints that are not supported.
    """
    return [_parse_field(field) for field in (schema or {}).get("fields", [])]


def _parse_field(field: Field) -> Field:
    name, kind = field["name"], field["type"].upper()
    kind, mode = _LEGACY.get(kind, kind), (field.get("mode") or "NULLABLE").upper()
    if kind not in _COLUMN:
        raise unsupported(f"the type {kind} of field {name}")
    if mode not in ("NULLABLE", "REQUIRED"):
        raise unsupported(f"the mode {mode} of field {name}")
    only_known(field, {"name", "type", "mode"}, f"the field {name}")
    return {"name": name, "type": kind, "mode": mode}


def column_type(field: Field) -> str:
    """Return the field's type in DuckDB."""
    return _COLUMN[field["type"]]


def columns(fields: Iterable[Field]) -> str:
    """Return the columns of a CREATE TABLE."""
    return ", ".join(
        f"{quoted(field['name'])} {column_type(field)}" + (" NOT NULL" if field["mode"] == "REQUIRED" else "")
        for field in fields
    )


def field_of_arrow(name: str, kind: pa.DataType) -> Field:
    """Return the field for a column of Arrow type `kind`; raise 501 for types that are not supported."""
    mode = "NULLABLE"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    for known, matches in _ARROW.items():
        if matches(kind):
            return {"name": name, "type": known, "mode": mode}
    raise unsupported(f"a column of type {kind} ({name})")


# Parquet's null type is an INT32 without values; DuckDB's sum of integers is a wide decimal without a fraction.
_ARROW: dict[str, Callable[[pa.DataType], bool]] = {
    "INTEGER": lambda t: pa.types.is_integer(t) or pa.types.is_null(t) or (pa.types.is_decimal(t) and not t.scale),
    "FLOAT": pa.types.is_floating,
    "NUMERIC": lambda t: pa.types.is_decimal(t) and t.scale <= 9,
    "BOOLEAN": pa.types.is_boolean,
    "STRING": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t),
    "BYTES": lambda t: pa.types.is_binary(t) or pa.types.is_large_binary(t),
    "DATE": pa.types.is_date,
    "TIMESTAMP": lambda t: pa.types.is_timestamp(t) and t.tz is not None,
    "DATETIME": lambda t: pa.types.is_timestamp(t) and t.tz is None,
}


def evolve(table: str, before: list[Field], given: list[Field], updates: Collection[str]) -> list[Field]:
    """Return the table's fields after a load of rows with the fields `given`; raise 400 for one that does not match.

    New fields need ALLOW_FIELD_ADDITION in `updates`. NULLABLE fields may be missing: the rows hold null.
    """
    old, new = ({field["name"].lower(): field for field in fields} for fields in (before, given))
    added = [field for name, field in new.items() if name not in old]
    for field in added:
        if "ALLOW_FIELD_ADDITION" not in updates:
            raise _mismatch(table, f"Cannot add fields (field: {field['name']})")
        if field["mode"] == "REQUIRED":
            raise _mismatch(table, f"Cannot add required fields to an existing schema. (field: {field['name']})")
    for name, field in old.items():
        _check_match(table, field, new.get(name))
    return before + added


def _check_match(table: str, before: Field, given: Field | None) -> None:
    name, required = before["name"], before["mode"] == "REQUIRED"
    if given is None and required:
        raise _mismatch(table, f"Field {name} is missing in new schema")
    if given and given["type"] != before["type"]:
        raise _mismatch(table, f"Field {name} has changed type from {before['type']} to {given['type']}")
    if given and required and given["mode"] != "REQUIRED":
        raise _mismatch(table, f"Field {name} has changed mode from {before['mode']} to {given['mode']}")


def _mismatch(table: str, what: str) -> GoogleError:
    return invalid(f"Provided Schema does not match Table {table}. {what}")
