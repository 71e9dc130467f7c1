"""What the API does with datasets, tables and their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.emulators.bigquery import catalog, database, partitions, results
from infra.emulators.bigquery.database import Database
from infra.emulators.bigquery.names import Dataset, Table
from infra.emulators.rest import invalid, unsupported

if TYPE_CHECKING:
    from infra.emulators.bigquery.app import Call

_PAGE = 1000
_LISTED = {
    "dataset": ("kind", "id", "datasetReference", "labels", "friendlyName", "location"),
    "table": (
        "kind",
        "id",
        "tableReference",
        "type",
        "labels",
        "friendlyName",
        "creationTime",
        "timePartitioning",
        "clustering",
    ),
}


class TableApi:
    """The methods `datasets.*`, `tables.*` and `tabledata.list`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def list_datasets(self, call: Call) -> dict[str, Any]:
        """datasets.list."""
        if call.query.get("filter"):
            raise unsupported("a filter of datasets")
        with self._db.cursor() as cursor:
            found = database.under(cursor, "dataset", f"{call.path['project']}.")
        return page(call, "datasets", [_short(each, "dataset") for each in found])

    def create_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.insert."""
        reference = call.body.get("datasetReference") or {}
        if not reference.get("datasetId"):
            raise invalid("Required parameter is missing: datasetReference.datasetId")
        dataset = Dataset(call.path["project"], reference["datasetId"])
        with self._db.transaction(dataset.schema) as cursor:
            return catalog.create_dataset(cursor, dataset, call.body)

    def get_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.get."""
        with self._db.cursor() as cursor:
            return catalog.dataset(cursor, _dataset(call))

    def patch_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.patch, and datasets.update of what can be changed."""
        dataset = _dataset(call)
        with self._db.transaction(dataset.schema) as cursor:
            return catalog.patch_dataset(cursor, dataset, call.body, call.etag)

    def delete_dataset(self, call: Call) -> None:
        """datasets.delete."""
        dataset = _dataset(call)
        with self._db.transaction(dataset.schema) as cursor:
            catalog.delete_dataset(cursor, dataset, contents=call.query.get("deleteContents") == "true")

    def list_tables(self, call: Call) -> dict[str, Any]:
        """tables.list."""
        with self._db.cursor() as cursor:
            catalog.dataset(cursor, _dataset(call))
            found = database.under(cursor, "table", f"{_dataset(call).schema}.")
        return page(call, "tables", [_short(each, "table") for each in found]) | {"totalItems": len(found)}

    def create_table(self, call: Call) -> dict[str, Any]:
        """tables.insert."""
        reference = call.body.get("tableReference") or {}
        table = Table.parse(call.path["project"], call.path["dataset"], reference.get("tableId", ""))
        with self._db.transaction(catalog.key(table)) as cursor:
            catalog.create_table(cursor, table, call.body)
            return catalog.table_read(cursor, table)

    def get_table(self, call: Call) -> dict[str, Any]:
        """tables.get."""
        with self._db.cursor() as cursor:
            return catalog.table_read(cursor, _table(call))

    def patch_table(self, call: Call) -> dict[str, Any]:
        """tables.patch, and tables.update of what can be changed."""
        table = _table(call)
        with self._db.transaction(catalog.key(table)) as cursor:
            catalog.patch_table(cursor, table, call.body, call.etag)
            return catalog.table_read(cursor, table)

    def delete_table(self, call: Call) -> None:
        """tables.delete, of a table or a partition."""
        table = _table(call)
        with self._db.transaction(catalog.key(table)) as cursor:
            catalog.delete_table(cursor, table)

    def list_rows(self, call: Call) -> dict[str, Any]:
        """tabledata.list, of a table or a partition."""
        table = _table(call)
        with self._db.cursor() as cursor:
            resource = catalog.table_read(cursor, table)
            fields = _selected(resource["schema"]["fields"], call.query.get("selectedFields"))
            where = partitions.condition(table, resource)
            rows = results.page_of_table(cursor, table, where, fields, call.query)
        return {"kind": "bigquery#tableDataList", "totalRows": resource["numRows"], "etag": resource["etag"]} | rows


def page(call: Call, kind: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    """One page of a listing: `found` from `pageToken` on, at most `maxResults` of it."""
    token, most = call.query.get("pageToken") or "0", call.query.get("maxResults") or str(_PAGE)
    if not token.isdecimal() or not most.isdecimal() or not int(most):
        raise invalid("pageToken must be one that was given, maxResults a positive number.")
    start, end = int(token), int(token) + int(most)
    more = {"nextPageToken": str(end)} if end < len(found) else {}
    return {"kind": f"bigquery#{kind[:-1]}List", kind: found[start:end]} | more


def _dataset(call: Call) -> Dataset:
    return Dataset(call.path["project"], call.path["dataset"])


def _table(call: Call) -> Table:
    return Table.parse(call.path["project"], call.path["dataset"], call.path["table"])


def _short(resource: dict[str, Any], kind: str) -> dict[str, Any]:
    return {key: resource[key] for key in _LISTED[kind] if key in resource}


def _selected(fields: list[dict[str, Any]], names: str | None) -> list[dict[str, Any]]:
    if not names:
        return fields
    wanted = {name.lower() for name in names.split(",")}
    return [field for field in fields if field["name"].lower() in wanted]
