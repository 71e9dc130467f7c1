"""Load jobs: an uploaded parquet file into a table or one partition of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from infra.emulators.bigquery import decorators, resources, table_fields
from infra.emulators.bigquery.duckdb_file import Cursor, Database, as_google_error
from infra.emulators.bigquery.job_queue import Job
from infra.emulators.bigquery.resources import Resource
from infra.emulators.bigquery.table_fields import Field, column_type, field_of_arrow
from infra.emulators.bigquery.table_names import Table, literal, quoted
from infra.emulators.rest import GoogleError, invalid, only_known, unsupported

_SUPPORTED = {
    "sourceFormat": ("PARQUET",),
    "writeDisposition": (None, "WRITE_APPEND", "WRITE_TRUNCATE"),
    "createDisposition": (None, "CREATE_IF_NEEDED", "CREATE_NEVER"),
    "schemaUpdateOptions": (None, [], ["ALLOW_FIELD_ADDITION"]),
}
# Other types that a parquet column may be loaded as: only a flag distinguishes timestamps with and without a zone, and
# text may hold JSON.
_LOADS_AS = {("DATETIME", "TIMESTAMP"), ("TIMESTAMP", "DATETIME"), ("STRING", "JSON"), ("BYTES", "STRING")}
_READING = "Error while reading data, error message: "


def check(options: dict[str, Any]) -> None:
    """Raise 400 or 501 for options of a load job that are wrong or not supported, before the job is created."""
    only_known(options, {"destinationTable", "schema", *_SUPPORTED}, "a load job")
    for name, supported in _SUPPORTED.items():
        if options.get(name) not in supported:
            raise unsupported(f"{name}={options.get(name)} in a load job")
    table = Table.of(options["destinationTable"])
    table_fields.parse(options.get("schema"))
    if options.get("schemaUpdateOptions") and _replaces_table(table, options):
        raise invalid(
            "Schema update options should only be specified with WRITE_APPEND disposition, or with WRITE_TRUNCATE "
            "disposition on a table partition."
        )


def run(db: Database, job: Job) -> None:
    """Load the job's file. The old rows are visible until the transaction that replaces them commits.

    Raises 404 for a missing table, 400 for a file or schema that does not match the table, a null in a REQUIRED field,
    or a row that belongs to another partition.
    """
    options, path = job.configuration["load"], job.media
    assert path is not None
    table = Table.of(options["destinationTable"])
    with as_google_error("invalid", _READING), db.transaction(table.key) as cursor:
        job.watch(cursor)
        file_fields = _file_fields(path)
        fields = table_fields.parse(options.get("schema")) or file_fields
        select = _select(path, file_fields, fields)
        resource = _prepare(cursor, table, fields, options)
        rows = _write(cursor, table, resource, select, options)
        statistics = {"inputFiles": "1", "inputFileBytes": str(path.stat().st_size), "outputRows": str(rows)}
        job.succeed(cursor, {"load": statistics})


def _replaces_table(table: Table, options: dict[str, Any]) -> bool:
    """Whether the load replaces all rows of the table and its schema."""
    return options.get("writeDisposition") == "WRITE_TRUNCATE" and table.partition is None


def _prepare(cursor: Cursor, table: Table, fields: list[Field], options: dict[str, Any]) -> Resource:
    """Return the table's resource, with the schema that it has after the load."""
    try:
        resource = resources.table(cursor, table)
    except GoogleError as error:
        if options.get("createDisposition") == "CREATE_NEVER":
            raise
        raise unsupported(f"a load job that creates its table ({error}): create the table first") from None
    before = resource["schema"]["fields"]
    if _replaces_table(table, options) and fields != before:
        return resources.replace_fields(cursor, table, resource, fields)
    after = table_fields.evolve(str(table), before, fields, options.get("schemaUpdateOptions") or [])
    return resources.add_fields(cursor, table, resource, after) if after != before else resource


def _write(cursor: Cursor, table: Table, resource: Resource, select: str, options: dict[str, Any]) -> int:
    """Insert the rows of `select`, in place of the old ones for WRITE_TRUNCATE; return how many."""
    where = decorators.condition(table, resource)
    if options.get("writeDisposition") == "WRITE_TRUNCATE":
        cursor.execute(f"DELETE FROM {table.sql} WHERE {where or 'true'}")
    before = resources.count_rows(cursor, table, where) if where else 0
    cursor.execute(f"INSERT INTO {table.sql} BY NAME {select}")
    rows = cursor.fetchall()[0][0]
    if where and resources.count_rows(cursor, table, where) - before != rows:
        raise invalid(f"Some rows belong to different partitions rather than destination partition {table.partition}")
    if expired := decorators.expired(resource):
        cursor.execute(f"DELETE FROM {table.sql} WHERE {expired}")
    resources.save(cursor, "table", table.key, resource)
    return rows


def _file_fields(path: Path) -> list[Field]:
    """Return the fields of the file's own schema; raise 400 if it is not a parquet file."""
    try:
        schema = pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise invalid(f"{_READING}Input file is not in Parquet format. {error}") from None
    fields = [field_of_arrow(column.name, column.type) for column in schema]
    for field in fields:
        if field["mode"] == "REPEATED":
            raise unsupported(f"the parquet list {field['name']}")
    return fields


def _select(path: Path, file_fields: list[Field], fields: list[Field]) -> str:
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
            f"{_READING}Parquet column '{column['name']}' has type {actual} which does not match the target type "
            f"{expected}."
        )
