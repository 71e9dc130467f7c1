"""Datasets and tables: their resources, and the DuckDB schemas and tables that stand behind them."""

from __future__ import annotations

import secrets
import time
from typing import Any

import duckdb

from infra.emulators.bigquery import database, partitions, schema
from infra.emulators.bigquery.database import Cursor
from infra.emulators.bigquery.names import Dataset, Table, quoted
from infra.emulators.rest import GoogleError, invalid, not_found, only_known, unsupported

Resource = dict[str, Any]

_DEFAULTS = {"defaultTableExpirationMs", "defaultPartitionExpirationMs"}
_DATASET = {"datasetReference", "location", "labels", "description", "friendlyName"} | _DEFAULTS
_TABLE = {"tableReference", "schema", "timePartitioning", "clustering", "labels", "description", "friendlyName"}
_TABLE |= {"expirationTime"}
# What a client sends back of what it was given; none of it can be set.
_GIVEN = {"kind", "etag", "id", "selfLink", "creationTime", "lastModifiedTime", "type", "numRows", "location", "access"}


def dataset(cursor: Cursor, ref: Dataset) -> Resource:
    """The dataset's resource; raises 404."""
    resource = database.get(cursor, "dataset", ref.schema)
    if resource is None:
        raise not_found(f"Not found: Dataset {ref}")
    return resource


def create_dataset(cursor: Cursor, ref: Dataset, body: Resource) -> Resource:
    """Create an empty dataset; raises 409 where it exists."""
    only_known(body, _DATASET, "a dataset")
    if database.get(cursor, "dataset", ref.schema):
        raise duplicate(f"Dataset {ref}")
    _create(cursor, f"CREATE SCHEMA {quoted(ref.schema)}", str(ref))
    resource = (
        {"location": "US"}
        | {key: value for key, value in body.items() if value}
        | {
            "kind": "bigquery#dataset",
            "id": str(ref),
            "datasetReference": ref.reference,
            "creationTime": _now(),
        }
    )
    return _save(cursor, "dataset", ref.schema, resource)


def patch_dataset(cursor: Cursor, ref: Dataset, body: Resource, etag: str | None) -> Resource:
    """Change labels and descriptions."""
    resource = dataset(cursor, ref)
    _check_etag(resource, etag)
    only_known(body, _DATASET | _GIVEN, "a dataset")
    if body.get("location", resource["location"]) != resource["location"]:
        raise invalid("A dataset's location cannot be changed.")
    changed = ("labels", "description", "friendlyName", *_DEFAULTS)
    return _save(cursor, "dataset", ref.schema, _merged(resource, body, changed))


def delete_dataset(cursor: Cursor, ref: Dataset, *, contents: bool) -> None:
    """Delete a dataset, with its tables if `contents`; raises 400 where it has some and may not."""
    dataset(cursor, ref)
    for table in database.under(cursor, "table", f"{ref.schema}."):
        if not contents:
            raise GoogleError(400, "resourceInUse", f"Dataset {ref} is still in use")
        delete_table(cursor, Table.of(table["tableReference"]))
    cursor.execute(f"DROP SCHEMA {quoted(ref.schema)}")
    database.drop(cursor, "dataset", ref.schema)


def table(cursor: Cursor, ref: Table) -> Resource:
    """The table's resource, with or without a decorator in `ref`; raises 404."""
    resource = find_table(cursor, ref)
    if resource is None:
        dataset(cursor, ref.dataset)
        raise not_found(f"Not found: Table {ref.whole}")
    return resource


def find_table(cursor: Cursor, ref: Table) -> Resource | None:
    """The table's resource, or None."""
    return database.get(cursor, "table", key(ref))


def table_read(cursor: Cursor, ref: Table) -> Resource:
    """The table's resource as tables.get gives it: with the rows of the table, or of the partition `ref` names."""
    resource = table(cursor, ref)
    where = partitions.condition(ref, resource)
    cursor.execute(f"SELECT count(*) FROM {ref.sql}" + (f" WHERE {where}" if where else ""))
    rows = cursor.fetchall()[0][0]
    described = resource | {"numRows": str(rows)}
    return described | ({"id": str(ref)} if where else {})


def create_table(cursor: Cursor, ref: Table, body: Resource) -> Resource:
    """Create an empty table; raises 409 where it exists."""
    only_known(body, _TABLE | _GIVEN, "a table")
    if ref.partition:
        raise invalid(f"A partition cannot be created by itself: {ref}")
    if find_table(cursor, ref):
        raise duplicate(f"Table {ref}")
    home = dataset(cursor, ref.dataset)
    fields = schema.fields_of(body.get("schema"))
    if not fields:
        raise unsupported("a table without a schema")
    resource = {key: body[key] for key in ("labels", "description", "friendlyName") if body.get(key)}
    resource |= _expiring(partitions.layout_of(body, fields), body, home) | {
        "kind": "bigquery#table",
        "id": str(ref),
        "tableReference": ref.reference,
        "type": "TABLE",
        "location": home["location"],
        "creationTime": _now(),
        "schema": {"fields": fields},
    }
    _create(cursor, f"CREATE TABLE {ref.sql} ({schema.columns(fields)})", str(ref))
    return _save(cursor, "table", key(ref), resource)


def _expiring(layout: partitions.Layout, body: Resource, home: Resource) -> Resource:
    """The layout of a new table with the expiration that it is given, or else takes from its dataset.

    The default for partitions takes the place of that for tables where a table has partitions.
    """
    partitioning, partitions_default = layout.get("timePartitioning"), home.get("defaultPartitionExpirationMs")
    if partitioning and partitions_default:
        return layout | {"timePartitioning": {"expirationMs": str(partitions_default)} | partitioning}
    default = home.get("defaultTableExpirationMs")
    expires = body.get("expirationTime") or (default and str(int(_now()) + int(default)))
    return layout | ({"expirationTime": expires} if expires else {})


def patch_table(cursor: Cursor, ref: Table, body: Resource, etag: str | None) -> Resource:
    """Change labels and descriptions, add fields, relax REQUIRED ones."""
    resource = table(cursor, ref)
    _check_etag(resource, etag)
    only_known(body, _TABLE | _GIVEN, "a table")
    partitions.check_same(ref, resource, partitions.layout_of(body, resource["schema"]["fields"]))
    resource = _merged(resource, body, ("labels", "description", "friendlyName", "expirationTime"))
    if body.get("timePartitioning"):
        resource |= {"timePartitioning": partitions.layout_of(body, resource["schema"]["fields"])["timePartitioning"]}
    if body.get("schema"):
        before = resource["schema"]["fields"]
        after = schema.patched(str(ref), before, schema.fields_of(body["schema"]))
        _alter(cursor, ref, before, after)
        resource["schema"] = {"fields": after}
    return _save(cursor, "table", key(ref), resource)


def change_fields(cursor: Cursor, ref: Table, resource: Resource, after: list[schema.Field]) -> Resource:
    """Give an existing table the fields `after`, which must follow from its own by `schema.evolve`."""
    _alter(cursor, ref, resource["schema"]["fields"], after)
    return _save(cursor, "table", key(ref), resource | {"schema": {"fields": after}})


def touch(cursor: Cursor, ref: Table, resource: Resource) -> None:
    """Note that the table's rows changed."""
    _save(cursor, "table", key(ref), resource)


def delete_table(cursor: Cursor, ref: Table) -> None:
    """Delete a table, or the rows of the partition that `ref` names."""
    resource = table(cursor, ref)
    if where := partitions.condition(ref, resource):
        cursor.execute(f"DELETE FROM {ref.sql} WHERE {where}")
        touch(cursor, ref, resource)
        return
    cursor.execute(f"DROP TABLE {ref.sql}")
    database.drop(cursor, "table", key(ref))


def key(ref: Table) -> str:
    """What the table's resource is kept under, and what a transaction that writes to it names."""
    return f"{ref.dataset.schema}.{ref.name}"


def duplicate(what: str) -> GoogleError:
    """The 409 of something that exists."""
    return GoogleError(409, "duplicate", f"Already Exists: {what}")


def _create(cursor: Cursor, statement: str, what: str) -> None:
    try:
        cursor.execute(statement)
    except duckdb.CatalogException:
        # DuckDB's names are equal whatever their case; BigQuery's are not.
        raise unsupported(f"two names that differ in case alone ({what})") from None


def _alter(cursor: Cursor, ref: Table, before: list[schema.Field], after: list[schema.Field]) -> None:
    modes = {field["name"].lower(): field["mode"] for field in before}
    for field in after:
        mode = modes.get(field["name"].lower())
        if mode is None:
            cursor.execute(f"ALTER TABLE {ref.sql} ADD COLUMN {schema.columns([field])}")
        elif mode == "REQUIRED" and field["mode"] == "NULLABLE":
            cursor.execute(f"ALTER TABLE {ref.sql} ALTER COLUMN {quoted(field['name'])} DROP NOT NULL")


def _save(cursor: Cursor, kind: str, key: str, resource: Resource) -> Resource:
    resource = resource | {"etag": secrets.token_urlsafe(12), "lastModifiedTime": _now()}
    database.put(cursor, kind, key, resource)
    return resource


def _check_etag(resource: Resource, etag: str | None) -> None:
    if etag not in (None, "*", resource["etag"]):
        raise GoogleError(412, "conditionNotMet", "Precondition check failed.")


def _merged(resource: Resource, body: Resource, names: tuple[str, ...]) -> Resource:
    changed = {name: body[name] for name in names if name in body}
    return {name: value for name, value in (resource | changed).items() if value is not None}


def _now() -> str:
    return str(time.time_ns() // 1_000_000)
