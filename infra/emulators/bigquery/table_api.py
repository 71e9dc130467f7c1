"""The API's methods for datasets, tables and their rows."""

from __future__ import annotations

from typing import Any

from infra.emulators.bigquery import decorators, duckdb_file, resources, result_pages, table_fields
from infra.emulators.bigquery.api_call import Call
from infra.emulators.bigquery.duckdb_file import Cursor, Database
from infra.emulators.bigquery.resources import Resource
from infra.emulators.bigquery.table_names import Dataset, Table, quoted
from infra.emulators.rest import GoogleError, invalid, only_known, unsupported

_EXPIRATIONS = {"defaultTableExpirationMs", "defaultPartitionExpirationMs"}


class TableApi:
    """The methods `datasets.*`, `tables.*` and `tabledata.list`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create_dataset(self, call: Call) -> Resource:
        """datasets.insert; raises 409 if it exists."""
        body, dataset = call.body, Dataset(call.path["project"], call.body["datasetReference"]["datasetId"])
        only_known(body, _EXPIRATIONS | {"datasetReference", "location"}, "datasets.insert")
        with self._db.transaction(dataset.schema) as cursor:
            if duckdb_file.get(cursor, "dataset", dataset.schema):
                raise resources.duplicate(f"Dataset {dataset}")
            cursor.execute(f"CREATE SCHEMA {quoted(dataset.schema)}")
            resource = {key: value for key, value in body.items() if value} | {
                "kind": "bigquery#dataset",
                "id": str(dataset),
                "datasetReference": dataset.reference,
                "location": body.get("location") or "US",
                "creationTime": resources.now(),
            }
            return resources.save(cursor, "dataset", dataset.schema, resource)

    def get_dataset(self, call: Call) -> Resource:
        """datasets.get."""
        with self._db.cursor() as cursor:
            return resources.dataset(cursor, _dataset(call))

    def patch_dataset(self, call: Call) -> Resource:
        """datasets.patch: change the default expirations."""
        dataset = _dataset(call)
        only_known(call.body, _EXPIRATIONS, "datasets.patch")
        with self._db.transaction(dataset.schema) as cursor:
            resource = resources.dataset(cursor, dataset)
            _check_etag(call, resource)
            return resources.save(cursor, "dataset", dataset.schema, resource | call.body)

    def list_tables(self, call: Call) -> dict[str, Any]:
        """tables.list, in one page."""
        only_known(call.query, {"prettyPrint"}, "tables.list")
        with self._db.cursor() as cursor:
            resources.dataset(cursor, _dataset(call))
            tables = duckdb_file.under(cursor, "table", f"{_dataset(call).schema}.")
        return {"kind": "bigquery#tableList", "tables": tables, "totalItems": len(tables)}

    def create_table(self, call: Call) -> Resource:
        """tables.insert; raises 409 if it exists."""
        body, table = call.body, _table(call, call.body["tableReference"]["tableId"])
        only_known(body, {"tableReference", "schema", "timePartitioning", "expirationTime"}, "tables.insert")
        fields = table_fields.parse(body.get("schema"))
        if not fields:
            raise unsupported("tables.insert without a schema")
        if table.partition:
            raise invalid(f"A partition cannot be created by itself: {table}")
        with self._db.transaction(table.key) as cursor:
            if duckdb_file.get(cursor, "table", table.key):
                raise resources.duplicate(f"Table {table}")
            dataset = resources.dataset(cursor, table.dataset)
            resource = _expiration(decorators.partitioning(body), body, dataset) | {
                "kind": "bigquery#table",
                "id": str(table),
                "tableReference": table.reference,
                "type": "TABLE",
                "location": dataset["location"],
                "creationTime": resources.now(),
                "schema": {"fields": fields},
            }
            cursor.execute(f"CREATE TABLE {table.sql} ({table_fields.columns(fields)})")
            resources.save(cursor, "table", table.key, resource)
            return _with_rows(cursor, table)

    def get_table(self, call: Call) -> Resource:
        """tables.get."""
        with self._db.cursor() as cursor:
            return _with_rows(cursor, _table(call))

    def patch_table(self, call: Call) -> Resource:
        """tables.patch: change or remove expirations."""
        body, table = call.body, _table(call)
        only_known(body, {"expirationTime", "timePartitioning"}, "tables.patch")
        with self._db.transaction(table.key) as cursor:
            resource = resources.table(cursor, table)
            _check_etag(call, resource)
            if body.get("timePartitioning"):
                changed = decorators.partitioning(body)
                decorators.check_same(table, resource, changed)
                resource |= changed
            if "expirationTime" in body:
                resource |= {"expirationTime": body["expirationTime"]}
            kept = {key: value for key, value in resource.items() if value is not None}
            resources.save(cursor, "table", table.key, kept)
            return _with_rows(cursor, table)

    def delete_table(self, call: Call) -> None:
        """tables.delete."""
        table = _table(call)
        if table.partition:
            raise unsupported("tables.delete of a partition")
        with self._db.transaction(table.key) as cursor:
            resources.table(cursor, table)
            cursor.execute(f"DROP TABLE {table.sql}")
            duckdb_file.drop(cursor, "table", table.key)

    def list_rows(self, call: Call) -> dict[str, Any]:
        """tabledata.list, of a table or a partition."""
        table, selected = _table(call), call.query.get("selectedFields", "").lower().split(",")
        with self._db.cursor() as cursor:
            resource = _with_rows(cursor, table)
            fields = resource["schema"]["fields"]
            if selected != [""]:
                fields = [field for field in fields if field["name"].lower() in selected]
            where = decorators.condition(table, resource)
            page = result_pages.page_of_table(cursor, table, where, fields, call.query)
        return {"kind": "bigquery#tableDataList", "totalRows": resource["numRows"], "etag": resource["etag"]} | page


def _dataset(call: Call) -> Dataset:
    return Dataset(call.path["project"], call.path["dataset"])


def _table(call: Call, name: str | None = None) -> Table:
    return Table.parse(call.path["project"], call.path["dataset"], name or call.path["table"])


def _with_rows(cursor: Cursor, table: Table) -> Resource:
    """Return the table's resource with the number of its rows, or of those of the partition that `table` names."""
    resource = resources.table(cursor, table)
    rows = resources.count_rows(cursor, table, decorators.condition(table, resource))
    return resource | {"id": str(table), "numRows": str(rows)}


def _check_etag(call: Call, resource: Resource) -> None:
    if call.etag not in (None, resource["etag"]):
        raise GoogleError(412, "conditionNotMet", "Precondition check failed.")


def _expiration(partitioned: Resource, body: Resource, dataset: Resource) -> Resource:
    """Return a new table's `timePartitioning` and `expirationTime`, with the defaults of its dataset.

    For a partitioned table the default for partitions is used instead of that for tables.
    """
    partitions_default = dataset.get("defaultPartitionExpirationMs")
    if partitioned and partitions_default:
        return {"timePartitioning": {"expirationMs": str(partitions_default)} | partitioned["timePartitioning"]}
    default = dataset.get("defaultTableExpirationMs")
    expires = body.get("expirationTime") or (default and str(int(resources.now()) + int(default)))
    return partitioned | ({"expirationTime": expires} if expires else {})
