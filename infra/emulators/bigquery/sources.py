"""Files to load: for each format, the fields a file brings and the SELECT that reads it into a schema's types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from infra.emulators.bigquery import schema
from infra.emulators.bigquery.database import Cursor
from infra.emulators.bigquery.names import literal, quoted
from infra.emulators.bigquery.schema import Field
from infra.emulators.rest import GoogleError, invalid, unsupported

# Types that a parquet column of the first may be loaded as, beside its own: timestamps with and without a zone are
# told apart by nothing but a flag, and text may hold JSON.
_LOADS_AS = {("DATETIME", "TIMESTAMP"), ("TIMESTAMP", "DATETIME"), ("STRING", "JSON"), ("BYTES", "STRING")}
_PHYSICAL = {"INTEGER": "INT64", "FLOAT": "DOUBLE", "BOOLEAN": "BOOL", "STRING": "STRING", "BYTES": "BYTES"}


def parquet_fields(paths: list[Path], options: dict[str, Any]) -> list[Field]:
    """The fields that the files' own schema makes; raises 400 where the files differ or are no parquet."""
    try:
        schemas = [pq.read_schema(path) for path in paths]
    except (OSError, ValueError) as error:
        raise invalid(
            f"Error while reading data, error message: Input file is not in Parquet format. {error}"
        ) from None
    fields = [[schema.field_of_arrow(column.name, column.type) for column in each] for each in schemas]
    if any(each != fields[0] for each in fields):
        raise unsupported("a load of parquet files whose schemas differ")
    parquet_options = options.get("parquetOptions") or {}
    if any(field["mode"] == "REPEATED" for field in fields[0]) and not parquet_options.get("enableListInference"):
        raise unsupported("a parquet list without parquetOptions.enableListInference, which BigQuery loads as a RECORD")
    return fields[0]


def parquet_select(paths: list[Path], fields: list[Field], options: dict[str, Any]) -> str:
    """Read parquet files as `fields`; raises 400 for a column of another type, or one that is not among them."""
    brought = {field["name"].lower(): field for field in parquet_fields(paths, options)}
    wanted = {field["name"].lower(): field for field in fields}
    unknown = sorted(brought.keys() - wanted.keys())
    if unknown and not options.get("ignoreUnknownValues"):
        raise invalid(f"Provided Schema does not match the file. Cannot add fields (field: {unknown[0]})")
    chosen = [(brought[name], field) for name, field in wanted.items() if name in brought]
    for column, field in chosen:
        _check_parquet(column, field)
    columns = [f"{_cast(quoted(column['name']), field)} AS {quoted(field['name'])}" for column, field in chosen]
    if not columns:
        raise invalid("Error while reading data, error message: no column of the file is in the schema.")
    return f"SELECT {', '.join(columns)} FROM read_parquet({_list(paths)}, hive_partitioning = false)"


def json_select(cursor: Cursor, paths: list[Path], fields: list[Field], options: dict[str, Any]) -> str:
    """Read newline-delimited JSON as `fields`; raises 400 for a key that is not among them."""
    source = f"read_ndjson_objects({_list(paths)}, compression = '{_compression(paths)}')"
    if not options.get("ignoreUnknownValues"):
        _check_keys(cursor, source, fields)
    columns = [f"{_of_json(field)} AS {quoted(field['name'])}" for field in fields]
    return f"SELECT {', '.join(columns)} FROM {source}"


def csv_select(paths: list[Path], fields: list[Field], options: dict[str, Any]) -> str:
    """Read CSV as `fields`, which are its columns in order."""
    if any(field["mode"] == "REPEATED" for field in fields):
        raise invalid("CSV cannot hold repeated fields.")
    if options.get("ignoreUnknownValues"):
        raise unsupported("ignoreUnknownValues for CSV")
    if (options.get("encoding") or "UTF-8") != "UTF-8":
        raise unsupported(f"the encoding {options['encoding']}")
    quote = options.get("quote", '"')
    columns = ", ".join(f"{literal(field['name'])}: 'VARCHAR'" for field in fields)
    source = (
        f"read_csv({_list(paths)}, auto_detect = false, header = false, columns = {{{columns}}}, "
        f"skip = {int(options.get('skipLeadingRows') or 0)}, delim = {literal(options.get('fieldDelimiter') or ',')}, "
        f"quote = {literal(quote)}, escape = {literal(quote)}, nullstr = {literal(options.get('nullMarker') or '')}, "
        f"allow_quoted_nulls = false, null_padding = {str(bool(options.get('allowJaggedRows'))).lower()}, "
        f"compression = '{_compression(paths)}')"
    )
    typed = [f"{_of_text(quoted(field['name']), field)} AS {quoted(field['name'])}" for field in fields]
    return f"SELECT {', '.join(typed)} FROM {source}"


def _check_parquet(column: Field, field: Field) -> None:
    kinds = column["type"], field["type"]
    if kinds[0] != kinds[1] and kinds not in _LOADS_AS:
        raise invalid(
            f"Error while reading data, error message: Parquet column '{column['name']}' has type "
            f"{_PHYSICAL.get(kinds[0], kinds[0])} which does not match the target cpp_type "
            f"{_PHYSICAL.get(kinds[1], kinds[1])}."
        )
    if (column["mode"] == "REPEATED") != (field["mode"] == "REPEATED"):
        raise invalid(f"Error while reading data, error message: the mode of column '{column['name']}' differs.")


def _check_keys(cursor: Cursor, source: str, fields: list[Field]) -> None:
    cursor.execute(f"SELECT DISTINCT unnest(json_keys(json)) FROM {source}")
    unknown = sorted({row[0] for row in cursor.fetchall()} - {field["name"] for field in fields})
    if unknown:
        raise invalid(f"Error while reading data, error message: JSON parsing error: No such field: {unknown[0]}.")


def _of_json(field: Field) -> str:
    path = literal('$."' + field["name"] + '"')
    value, text, kind = f"json_extract(json, {path})", f"json_extract_string(json, {path})", f"json_type(json, {path})"
    if field["mode"] == "REPEATED":
        return f"coalesce({_cast(value, field)}, [])"
    if field["type"] == "JSON":
        told = "a text as the value of a JSON field in a JSON file"
        return f"CASE WHEN {kind} = 'VARCHAR' THEN error({literal(told)}) WHEN {kind} <> 'NULL' THEN {value} END"
    told = f"the value of field {field['name']} is no scalar"
    checked = f"CASE WHEN {kind} IN ('OBJECT', 'ARRAY') THEN error({literal(told)}) ELSE {text} END"
    return _of_text(checked, field, whole=r"[+-]?\d+(\.0*)?")


def _of_text(text: str, field: Field, whole: str = r"[+-]?\d+") -> str:
    """Text as the field's type. DuckDB would round '1.5' to an integer; BigQuery refuses it."""
    if field["type"] == "BYTES":
        return f"from_base64({text})"
    if field["type"] != "INTEGER":
        return _cast(text, field)
    told = f"error({literal('Could not parse ')} || {text} || {literal(' as INT64 for field ' + field['name'])})"
    number = f"regexp_full_match({text}, '{whole}')"
    return f"CASE WHEN {number} THEN {_cast(text, field)} WHEN {text} IS NOT NULL THEN {told} END"


def _cast(expression: str, field: Field) -> str:
    return f"CAST({expression} AS {schema.column_type(field)})"


def _list(paths: list[Path]) -> str:
    return "[" + ", ".join(literal(str(path)) for path in paths) + "]"


def _compression(paths: list[Path]) -> str:
    zipped = {path.open("rb").read(2) == b"\x1f\x8b" for path in paths}
    if len(zipped) > 1:
        raise GoogleError(501, "notImplemented", "Not known to this emulator: gzip and plain files in one load")
    return "gzip" if zipped == {True} else "none"
