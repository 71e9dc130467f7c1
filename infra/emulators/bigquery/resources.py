"""The resources of datasets and tables, and their DuckDB schemas and tables."""

from __future__ import annotations

import secrets
import time
from typing import Any

from infra.emulators.bigquery import decorators, duckdb_file, table_fields
from infra.emulators.bigquery.duckdb_file import Cursor
from infra.emulators.bigquery.table_names import Dataset, Table, quoted
from infra.emulators.rest import GoogleError, invalid, not_found, only_known, unsupported

Resource = dict[str, Any]

_DEFAULTS = {"defaultTableExpirationMs", "defaultPartitionExpirationMs"}
_TABLE = {"tableReference", "schema", "timePartitioning", "expirationTime"}


def dataset(cursor: Cursor, ref: Dataset) -> Resource:
    """Return the dataset's resource; raise 404 if it does not exist."""
    resource = duckdb_file.get(cursor, "dataset", ref.schema)
    if resource is None:
        raise not_found(f"Not found: Dataset {ref}")
    return resource


def create_dataset(cursor: Cursor, ref: Dataset, body: Resource) -> Resource:
    """Create an empty dataset; raise 409 if it exists."""
    only_known(body, _DEFAULTS | {"datasetReference", "location"}, "datasets.insert")
    if duckdb_file.get(cursor, "dataset", ref.schema):
        raise duplicate(f"Dataset {ref}")
    cursor.execute(f"CREATE SCHEMA {quoted(ref.schema)}")
    resource = {key: value for key, value in body.items() if value} | {
        "kind": "bigquery#dataset",
        "id": str(ref),
        "datasetReference": ref.reference,
        "location": body.get("location") or "US",
        "creationTime": now(),
    }
    return _save(cursor, "dataset", ref.schema, resource)


def patch_dataset(cursor: Cursor, ref: Dataset, body: Resource, etag: str | None) -> Resource:
    """Change the default expirations."""
    resource = dataset(cursor, ref)
    _check_etag(resource, etag)
    only_known(body, _DEFAULTS, "datasets.patch")
    return _save(cursor, "dataset", ref.schema, resource | body)


def table(cursor: Cursor, ref: Table) -> Resource:
    """Return the resource of the table; raise 404 if it does not exist. A decorator in `ref` is ignored."""
    resource = duckdb_file.get(cursor, "table", ref.key)
    if resource is None:
        dataset(cursor, ref.dataset)
        raise not_found(f"Not found: Table {ref.whole}")
    return resource


def table_with_rows(cursor: Cursor, ref: Table) -> Resource:
    """Return the resource as tables.get does: with the number of rows of the table, or of the partition in `ref`."""
    resource = table(cursor, ref)
    rows = count_rows(cursor, ref, decorators.condition(ref, resource))
    return resource | {"id": str(ref), "numRows": str(rows)}


def count_rows(cursor: Cursor, ref: Table, where: str | None) -> int:
    """Count the table's rows, or those that the SQL condition `where` selects."""
    cursor.execute(f"SELECT count(*) FROM {ref.sql} WHERE {where or 'true'}")
    return cursor.fetchall()[0][0]


def create_table(cursor: Cursor, ref: Table, body: Resource) -> Resource:
    """Create an empty table; raise 409 if it exists."""
    only_known(body, _TABLE, "tables.insert")
    if ref.partition:
        raise invalid(f"A partition cannot be created by itself: {ref}")
    if duckdb_file.get(cursor, "table", ref.key):
        raise duplicate(f"Table {ref}")
    home = dataset(cursor, ref.dataset)
    fields = table_fields.parse(body.get("schema"))
    if not fields:
        raise unsupported("tables.insert without a schema")
    resource = _expiration(decorators.partitioning(body, fields), body, home) | {
        "kind": "bigquery#table",
        "id": str(ref),
        "tableReference": ref.reference,
        "type": "TABLE",
        "location": home["location"],
        "creationTime": now(),
        "schema": {"fields": fields},
    }
    cursor.execute(f"CREATE TABLE {ref.sql} ({table_fields.columns(fields)})")
    return _save(cursor, "table", ref.key, resource)


def _expiration(partitioned: Resource, body: Resource, home: Resource) -> Resource:
    """Return a new table's `timePartitioning` and `expirationTime`, with the defaults of its dataset `home`.

    For a partitioned table the default for partitions is used instead of that for tables.
    """
    partitions_default = home.get("defaultPartitionExpirationMs")
    if partitioned and partitions_default:
        return {"timePartitioning": {"expirationMs": str(partitions_default)} | partitioned["timePartitioning"]}
    default = home.get("defaultTableExpirationMs")
    expires = body.get("expirationTime") or (default and str(int(now()) + int(default)))
    return partitioned | ({"expirationTime": expires} if expires else {})


def patch_table(cursor: Cursor, ref: Table, body: Resource, etag: str | None) -> Resource:
    """Change or remove expirations."""
    resource = table(cursor, ref)
    _check_etag(resource, etag)
    only_known(body, {"expirationTime", "timePartitioning"}, "tables.patch")
    if body.get("timePartitioning"):
        changed = decorators.partitioning(body, resource["schema"]["fields"])
        decorators.check_same(ref, resource, changed)
        resource |= changed
    if "expirationTime" in body:
        resource |= {"expirationTime": body["expirationTime"]}
    return _save(cursor, "table", ref.key, {key: value for key, value in resource.items() if value is not None})


def add_fields(cursor: Cursor, ref: Table, resource: Resource, after: list[table_fields.Field]) -> Resource:
    """Change the table's fields to `after`, which `table_fields.evolve` has made of them."""
    for field in after[len(resource["schema"]["fields"]) :]:
        cursor.execute(f"ALTER TABLE {ref.sql} ADD COLUMN {table_fields.columns([field])}")
    return _save(cursor, "table", ref.key, resource | {"schema": {"fields": after}})


def replace_fields(cursor: Cursor, ref: Table, resource: Resource, fields: list[table_fields.Field]) -> Resource:
    """Delete all rows of the table and change its fields to `fields`."""
    decorators.partitioning(resource, fields)
    cursor.execute(f"DROP TABLE {ref.sql}")
    cursor.execute(f"CREATE TABLE {ref.sql} ({table_fields.columns(fields)})")
    return _save(cursor, "table", ref.key, resource | {"schema": {"fields": fields}})


def touch(cursor: Cursor, ref: Table, resource: Resource) -> None:
    """Record that the table's rows have changed."""
    _save(cursor, "table", ref.key, resource)


def delete_table(cursor: Cursor, ref: Table) -> None:
    """Delete a table."""
    table(cursor, ref)
    cursor.execute(f"DROP TABLE {ref.sql}")
    duckdb_file.drop(cursor, "table", ref.key)


def duplicate(what: str) -> GoogleError:
    """Return the 409 error for something that exists."""
    return GoogleError(409, "duplicate", f"Already Exists: {what}")


def _save(cursor: Cursor, kind: str, key: str, resource: Resource) -> Resource:
    resource = resource | {"etag": secrets.token_urlsafe(12), "lastModifiedTime": now()}
    duckdb_file.put(cursor, kind, key, resource)
    return resource


def _check_etag(resource: Resource, etag: str | None) -> None:
    if etag not in (None, "*", resource["etag"]):
        raise GoogleError(412, "conditionNotMet", "Precondition check failed.")


def now() -> str:
    """Return the current time as in a resource, in milliseconds."""
    return str(time.time_ns() // 1_000_000)
