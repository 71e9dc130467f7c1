"""The API's methods for datasets, tables and their rows."""

from __future__ import annotations

from typing import Any

from infra.emulators.bigquery import decorators, duckdb_file, resources, result_pages
from infra.emulators.bigquery.api_call import Call
from infra.emulators.bigquery.duckdb_file import Database
from infra.emulators.bigquery.table_fields import Field
from infra.emulators.bigquery.table_names import Dataset, Table
from infra.emulators.rest import only_known, unsupported


class TableApi:
    """The methods `datasets.*`, `tables.*` and `tabledata.list`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def create_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.insert."""
        dataset = Dataset(call.path["project"], call.body["datasetReference"]["datasetId"])
        with self._db.transaction(dataset.schema) as cursor:
            return resources.create_dataset(cursor, dataset, call.body)

    def get_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.get."""
        with self._db.cursor() as cursor:
            return resources.dataset(cursor, _dataset(call))

    def patch_dataset(self, call: Call) -> dict[str, Any]:
        """datasets.patch."""
        dataset = _dataset(call)
        with self._db.transaction(dataset.schema) as cursor:
            return resources.patch_dataset(cursor, dataset, call.body, call.etag)

    def list_tables(self, call: Call) -> dict[str, Any]:
        """tables.list, in one page."""
        only_known(call.query, {"prettyPrint"}, "tables.list")
        with self._db.cursor() as cursor:
            resources.dataset(cursor, _dataset(call))
            tables = duckdb_file.under(cursor, "table", f"{_dataset(call).schema}.")
        return {"kind": "bigquery#tableList", "tables": tables, "totalItems": len(tables)}

    def create_table(self, call: Call) -> dict[str, Any]:
        """tables.insert."""
        table = Table.parse(call.path["project"], call.path["dataset"], call.body["tableReference"]["tableId"])
        with self._db.transaction(table.key) as cursor:
            resources.create_table(cursor, table, call.body)
            return resources.table_with_rows(cursor, table)

    def get_table(self, call: Call) -> dict[str, Any]:
        """tables.get."""
        with self._db.cursor() as cursor:
            return resources.table_with_rows(cursor, _table(call))

    def patch_table(self, call: Call) -> dict[str, Any]:
        """tables.patch."""
        table = _table(call)
        with self._db.transaction(table.key) as cursor:
            resources.patch_table(cursor, table, call.body, call.etag)
            return resources.table_with_rows(cursor, table)

    def delete_table(self, call: Call) -> None:
        """tables.delete."""
        table = _table(call)
        if table.partition:
            raise unsupported("tables.delete of a partition")
        with self._db.transaction(table.key) as cursor:
            resources.delete_table(cursor, table)

    def list_rows(self, call: Call) -> dict[str, Any]:
        """tabledata.list, of a table or a partition."""
        table = _table(call)
        with self._db.cursor() as cursor:
            resource = resources.table_with_rows(cursor, table)
            fields = _selected(resource["schema"]["fields"], call.query.get("selectedFields"))
            where = decorators.condition(table, resource)
            page = result_pages.page_of_table(cursor, table, where, fields, call.query)
        return {"kind": "bigquery#tableDataList", "totalRows": resource["numRows"], "etag": resource["etag"]} | page


def _dataset(call: Call) -> Dataset:
    return Dataset(call.path["project"], call.path["dataset"])


def _table(call: Call) -> Table:
    return Table.parse(call.path["project"], call.path["dataset"], call.path["table"])


def _selected(fields: list[Field], names: str | None) -> list[Field]:
    if not names:
        return fields
    selected = names.lower().split(",")
    return [field for field in fields if field["name"].lower() in selected]
