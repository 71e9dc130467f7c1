"""The stored resources of datasets and tables, and the changes that jobs make to tables."""

from __future__ import annotations

import secrets
import time
from typing import Any

from infra.emulators.bigquery import duckdb_file, table_fields
from infra.emulators.bigquery.duckdb_file import Cursor
from infra.emulators.bigquery.table_names import Dataset, Table
from infra.emulators.rest import GoogleError, not_found

Resource = dict[str, Any]


def dataset(cursor: Cursor, ref: Dataset) -> Resource:
    """Return the dataset's resource; raise 404 if it does not exist."""
    resource = duckdb_file.get(cursor, "dataset", ref.schema)
    if resource is None:
        raise not_found(f"Not found: Dataset {ref}")
    return resource


def table(cursor: Cursor, ref: Table) -> Resource:
    """Return the resource of the table; raise 404 if it does not exist. A decorator in `ref` is ignored."""
    resource = duckdb_file.get(cursor, "table", ref.key)
    if resource is None:
        dataset(cursor, ref.dataset)
        raise not_found(f"Not found: Table {ref.whole}")
    return resource


def count_rows(cursor: Cursor, ref: Table, where: str | None) -> int:
    """Count the table's rows, or those that the SQL condition `where` selects."""
    cursor.execute(f"SELECT count(*) FROM {ref.sql} WHERE {where or 'true'}")
    return cursor.fetchall()[0][0]


def save(cursor: Cursor, kind: str, key: str, resource: Resource) -> Resource:
    """Write the resource with a new etag and the time; return it. A table is saved after every change to its rows."""
    resource = resource | {"etag": secrets.token_urlsafe(12), "lastModifiedTime": now()}
    duckdb_file.put(cursor, kind, key, resource)
    return resource


def add_fields(cursor: Cursor, ref: Table, resource: Resource, after: list[table_fields.Field]) -> Resource:
    """Change the table's fields to `after`, which `table_fields.evolve` has made of them."""
    for field in after[len(resource["schema"]["fields"]) :]:
        cursor.execute(f"ALTER TABLE {ref.sql} ADD COLUMN {table_fields.columns([field])}")
    return save(cursor, "table", ref.key, resource | {"schema": {"fields": after}})


def replace_fields(cursor: Cursor, ref: Table, resource: Resource, fields: list[table_fields.Field]) -> Resource:
    """Delete all rows of the table and change its fields to `fields`."""
    cursor.execute(f"DROP TABLE {ref.sql}")
    cursor.execute(f"CREATE TABLE {ref.sql} ({table_fields.columns(fields)})")
    return save(cursor, "table", ref.key, resource | {"schema": {"fields": fields}})


def duplicate(what: str) -> GoogleError:
    """Return the 409 error for a resource that exists."""
    return GoogleError(409, "duplicate", f"Already Exists: {what}")


def now() -> str:
    """Return the current time as in a resource, in milliseconds."""
    return str(time.time_ns() // 1_000_000)
