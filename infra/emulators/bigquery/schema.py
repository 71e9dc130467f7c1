"""Table schemas: BigQuery's fields, DuckDB's columns, and whether one schema may follow another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from infra.emulators.bigquery.names import quoted
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
_MODES = ("NULLABLE", "REQUIRED", "REPEATED")
ADDITION, RELAXATION = "ALLOW_FIELD_ADDITION", "ALLOW_FIELD_RELAXATION"


def fields_of(schema: dict[str, Any] | None) -> list[Field]:
    """The fields of a request's schema with BigQuery's own spelling of types and modes.

    Raises 400 for what BigQuery refuses, and 501 for types and constraints that are not known here.
    """
    fields = [_normal(field) for field in (schema or {}).get("fields", [])]
    seen: set[str] = set()
    for field in fields:
        if field["name"].lower() in seen:
            raise invalid(f"Duplicate field name in schema: {field['name']}")
        seen.add(field["name"].lower())
    return fields


def column_type(field: Field) -> str:
    """The field's type in DuckDB."""
    return _COLUMN[field["type"]] + ("[]" if field["mode"] == "REPEATED" else "")


def columns(fields: Iterable[Field]) -> str:
    """The columns of a CREATE TABLE."""
    return ", ".join(
        f"{quoted(field['name'])} {column_type(field)}" + (" NOT NULL" if field["mode"] == "REQUIRED" else "")
        for field in fields
    )


def field_of_arrow(name: str, kind: pa.DataType) -> Field:
    """The field that a column of Arrow type `kind` makes; 501 for types that are not known here."""
    mode = "NULLABLE"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    for known, matches in _ARROW.items():
        if matches(kind):
            return {"name": name, "type": known, "mode": mode}
    raise unsupported(f"a column of type {kind} ({name})")


# Parquet's null type is an INT32 that has no values; a wide decimal without a fraction is DuckDB's sum of integers.
_ARROW = {
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


def evolve(table: str, before: list[Field], given: list[Field], updates: Iterable[str] = ()) -> list[Field]:
    """The table's fields after a write that brings the fields `given`; raises 400 naming the first that drifts.

    `updates` may hold ALLOW_FIELD_ADDITION and ALLOW_FIELD_RELAXATION. Missing NULLABLE fields are allowed, as in
    BigQuery: their rows hold null.
    """
    known, brought = _by_name(before), _by_name(given)
    for name, field in brought.items():
        if name not in known and ADDITION not in updates:
            raise _drift(table, f"Cannot add fields (field: {field['name']})")
        if name not in known and field["mode"] == "REQUIRED":
            raise _drift(table, f"Cannot add required fields to an existing schema. (field: {field['name']})")
    after = []
    for name, field in known.items():
        if name not in brought:
            if field["mode"] == "REQUIRED":
                raise _drift(table, f"Field {field['name']} is missing in new schema")
            after.append(field)
        else:
            after.append(_same(table, field, brought[name], RELAXATION in updates))
    return after + [field for name, field in brought.items() if name not in known]


def patched(table: str, before: list[Field], given: list[Field]) -> list[Field]:
    """The fields after a tables.patch or update, which may add, relax and describe fields and nothing else."""
    after = evolve(table, before, given, (ADDITION, RELAXATION))
    brought = _by_name(given)
    for field in before:
        if field["name"].lower() not in brought:
            raise _drift(table, f"Field {field['name']} is missing in new schema")
    return [field | _described(brought[field["name"].lower()]) for field in after]


def _normal(field: Field) -> Field:
    name, kind = field.get("name", ""), field.get("type", "").upper()
    kind, mode = _LEGACY.get(kind, kind), (field.get("mode") or "NULLABLE").upper()
    if not re.fullmatch(r"[^\W\d]\w{0,299}", name, re.ASCII):
        raise invalid(f'Invalid field name "{name}".')
    if kind not in _COLUMN:
        raise unsupported(f"the type {kind} of field {name}")
    only_known(field, {"name", "type", "mode", "description"}, f"the field {name}")
    if mode not in _MODES:
        raise invalid(f"Invalid mode {mode} of field {name}")
    return {"name": name, "type": kind, "mode": mode} | _described(field)


def _described(field: Field) -> Field:
    return {"description": field["description"]} if field.get("description") else {}


def _by_name(fields: Iterable[Field]) -> dict[str, Field]:
    return {field["name"].lower(): field for field in fields}


def _same(table: str, before: Field, given: Field, relaxing: bool) -> Field:
    """The field of the table once more, relaxed if it may be; raises where the two do not go together."""
    if before["type"] != given["type"]:
        raise _drift(table, f"Field {before['name']} has changed type from {before['type']} to {given['type']}")
    modes = before["mode"], given["mode"]
    if modes[0] == modes[1] or modes == ("NULLABLE", "REQUIRED"):
        return before
    if modes == ("REQUIRED", "NULLABLE") and relaxing:
        return before | {"mode": "NULLABLE"}
    raise _drift(table, f"Field {before['name']} has changed mode from {modes[0]} to {modes[1]}")


def _drift(table: str, what: str) -> GoogleError:
    return invalid(f"Provided Schema does not match Table {table}. {what}")
