"""Rows into a table or a partition: what load, query and copy jobs have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from infra.emulators.bigquery import catalog, partitions, schema
from infra.emulators.bigquery.catalog import Resource
from infra.emulators.bigquery.database import Cursor
from infra.emulators.bigquery.names import Table
from infra.emulators.bigquery.partitions import Layout
from infra.emulators.bigquery.schema import Field
from infra.emulators.rest import invalid, not_found, unsupported

_WRITES = ("WRITE_APPEND", "WRITE_TRUNCATE", "WRITE_EMPTY")


@dataclass(frozen=True)
class Target:
    """Where a job writes, and how."""

    table: Table
    write: str
    create: str = "CREATE_IF_NEEDED"
    updates: tuple[str, ...] = ()
    layout: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, configuration: dict[str, Any], write: str) -> Target:
        """From a job's configuration; `write` is the disposition where it gives none."""
        target = cls(
            Table.of(configuration.get("destinationTable") or {}),
            configuration.get("writeDisposition") or write,
            configuration.get("createDisposition") or "CREATE_IF_NEEDED",
            tuple(configuration.get("schemaUpdateOptions") or ()),
            {key: configuration[key] for key in ("timePartitioning", "clustering") if configuration.get(key)},
        )
        if target.write not in _WRITES:
            raise unsupported(f"writeDisposition {target.write}")
        if target.updates and target.replaces_table:
            raise invalid(
                "Schema update options should only be specified with WRITE_APPEND disposition, or with WRITE_TRUNCATE "
                "disposition on a table partition."
            )
        return target

    @property
    def replaces_table(self) -> bool:
        """Whether all that the table held goes, its schema too."""
        return self.write == "WRITE_TRUNCATE" and self.table.partition is None


def write(cursor: Cursor, target: Target, fields: list[Field], select: str) -> int:
    """Write what `select` gives, whose columns are called as `fields`; give the rows written.

    Runs in the caller's transaction, so that any refusal on the way leaves all as it was. Raises 404 where the table
    may not be created, 409 for WRITE_EMPTY onto rows, and 400 for drift of the schema, another layout, a null in a
    REQUIRED field, or a row of a partition other than the one addressed.
    """
    resource = _prepared(cursor, target, fields)
    where = partitions.condition(target.table, resource)
    _make_room(cursor, target, where)
    before = _count(cursor, target.table, where) if where else 0
    cursor.execute(f"INSERT INTO {target.table.sql} BY NAME {select}")
    rows = cursor.fetchall()[0][0]
    if where and _count(cursor, target.table, where) - before != rows:
        partition = target.table.partition
        raise invalid(f"Some rows belong to different partitions rather than destination partition {partition}")
    if gone := partitions.expired(resource):
        cursor.execute(f"DELETE FROM {target.table.sql} WHERE {gone}")
    catalog.touch(cursor, target.table, resource)
    return rows


def _prepared(cursor: Cursor, target: Target, fields: list[Field]) -> Resource:
    """The table's resource, with the schema that the write leaves; created, replaced or evolved as need be."""
    table, resource = target.table, catalog.find_table(cursor, target.table)
    if resource is None:
        if target.create == "CREATE_NEVER":
            raise not_found(f"Not found: Table {table.whole}")
        if table.partition and not target.layout:
            raise unsupported(f"a table partitioned by ingestion time, which a load into the new {table} would make")
        return _created(cursor, table, fields, target.layout)
    partitions.check_same(table.whole, resource, partitions.layout_of(target.layout, fields))
    before = resource["schema"]["fields"]
    if target.replaces_table and fields != before:
        kept = {key: value for key, value in resource.items() if key in ("labels", "description", "friendlyName")}
        layout: Layout = {key: resource[key] for key in ("timePartitioning", "clustering") if key in resource}
        catalog.delete_table(cursor, table)
        return _created(cursor, table, fields, kept | layout)
    after = schema.evolve(str(table), before, fields, target.updates)
    return catalog.change_fields(cursor, table, resource, after) if after != before else resource


def _created(cursor: Cursor, table: Table, fields: list[Field], body: dict[str, Any]) -> Resource:
    return catalog.create_table(cursor, table.whole, body | {"schema": {"fields": fields}})


def _make_room(cursor: Cursor, target: Target, where: str | None) -> None:
    if target.write == "WRITE_TRUNCATE":
        cursor.execute(f"DELETE FROM {target.table.sql} WHERE {where or 'true'}")
    elif target.write == "WRITE_EMPTY" and _count(cursor, target.table, where):
        raise catalog.duplicate(f"Table {target.table}")


def _count(cursor: Cursor, table: Table, where: str | None) -> int:
    cursor.execute(f"SELECT count(*) FROM {table.sql} WHERE {where or 'true'}")
    return cursor.fetchall()[0][0]
