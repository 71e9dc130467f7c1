"""Parquet files to load: their fields, and the SELECT that reads them with a schema's types."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from infra.emulators.bigquery.table_fields import Field, column_type, field_of_arrow
from infra.emulators.bigquery.table_names import literal, quoted
from infra.emulators.rest import invalid, unsupported

# Other types that a parquet column may be loaded as: only a flag distinguishes timestamps with and without a zone, and
# text may hold JSON.
_LOADS_AS = {("DATETIME", "TIMESTAMP"), ("TIMESTAMP", "DATETIME"), ("STRING", "JSON"), ("BYTES", "STRING")}
_READING = "Error while reading data, error message:"


def parquet_fields(path: Path) -> list[Field]:
    """Return the fields of the file's own schema; raise 400 if it is not a parquet file."""
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise invalid(f"{_READING} Input file is not in Parquet format. {error}") from None
    fields = [field_of_arrow(column.name, column.type) for column in schema]
    for field in fields:
        if field["mode"] == "REPEATED":
            raise unsupported(f"the parquet list {field['name']}")
    return fields


def parquet_select(path: Path, file_fields: list[Field], fields: list[Field]) -> str:
    """Return the SELECT that reads the file's `file_fields` as `fields`; raise 400 for a column that does not match."""
    in_file, in_schema = ({field["name"].lower(): field for field in each} for each in (file_fields, fields))
    unknown = sorted(in_file.keys() - in_schema.keys())
    if unknown:
        raise invalid(f"Provided Schema does not match the file. Cannot add fields (field: {unknown[0]})")
    columns = []
    for name, column in in_file.items():
        field = in_schema[name]
        _check_type(column, field)
        columns.append(f"CAST({quoted(column['name'])} AS {column_type(field)}) AS {quoted(field['name'])}")
    return f"SELECT {', '.join(columns)} FROM read_parquet({literal(str(path))}, hive_partitioning = false)"


def _check_type(column: Field, field: Field) -> None:
    actual, expected = column["type"], field["type"]
    if actual != expected and (actual, expected) not in _LOADS_AS:
        raise invalid(
            f"{_READING} Parquet column '{column['name']}' has type {actual} which does not match the target type "
            f"{expected}."
        )
