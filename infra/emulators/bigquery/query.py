"""Query jobs: SELECT, DML, CREATE and DROP TABLE."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from infra.emulators.bigquery import catalog, results
from infra.emulators.bigquery.database import Cursor, Database
from infra.emulators.bigquery.faults import told_as_google
from infra.emulators.bigquery.jobs import Job
from infra.emulators.bigquery.names import Dataset, Table
from infra.emulators.bigquery.sql import Statement, translate
from infra.emulators.bigquery.writing import Target, write
from infra.emulators.rest import GoogleError, only_known, unsupported

_KNOWN = {
    "query",
    "useLegacySql",
    "queryParameters",
    "parameterMode",
    "defaultDataset",
    "destinationTable",
    "writeDisposition",
    "createDisposition",
    "schemaUpdateOptions",
    "timePartitioning",
    "clustering",
    "useQueryCache",
    "priority",
    "allowLargeResults",
}
_EFFECTS = {"INSERT": "insertedRowCount", "UPDATE": "updatedRowCount", "DELETE": "deletedRowCount"}


def admit(configuration: dict[str, Any]) -> None:
    """Raise where a query job asks for what cannot be done, before there is a job."""
    only_known(configuration, _KNOWN, "a query job")
    if configuration.get("useLegacySql", True):
        raise unsupported("legacy SQL")
    if configuration.get("destinationTable"):
        Target.of(configuration, "WRITE_EMPTY")


def run(db: Database, job: Job, folder: Path) -> None:
    """Run the query. The rows of a SELECT without a destination go to a file in `folder`."""
    options = job.configuration["query"]
    with told_as_google("invalidQuery"):
        statement = _translated(db, job.reference["projectId"], options)
        if statement.kind == "SELECT" and options.get("destinationTable"):
            _select_into(db, job, statement, Target.of(options, "WRITE_EMPTY"))
        elif options.get("destinationTable"):
            raise GoogleError(400, "invalidQuery", "Cannot set destination table in jobs with DML or DDL statements")
        elif statement.kind == "SELECT":
            _select(db, job, statement, folder)
        elif statement.changes_rows:
            _change(db, job, statement)
        elif statement.kind == "DROP_TABLE":
            _drop(db, job, statement)
        else:
            _create(db, job, statement)


def dry_run(db: Database, project: str, options: dict[str, Any]) -> dict[str, Any]:
    """What a query would be: its `statistics.query`; raises as running it would."""
    with told_as_google("invalidQuery"):
        statement = _translated(db, project, options)
        if statement.kind in ("CREATE_TABLE", "DROP_TABLE"):
            return _told(statement)
        with db.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement.sql}")
            cursor.fetchall()
            fields = results.fields_of(cursor.sql(statement.sql)) if not statement.changes_rows else []
            return _told(statement) | ({"schema": {"fields": fields}} if fields else {})


def _translated(db: Database, project: str, options: dict[str, Any]) -> Statement:
    default = options.get("defaultDataset")
    dataset = Dataset(default.get("projectId") or project, default["datasetId"]) if default else None
    with db.cursor() as cursor:

        def columns_of(table: Table) -> list[str]:
            return [field["name"] for field in catalog.table(cursor, table)["schema"]["fields"]]

        return translate(options["query"], options, project, dataset, columns_of)


def _select(db: Database, job: Job, statement: Statement, folder: Path) -> None:
    path = folder / f"{job.key}.arrow"
    with db.cursor() as cursor:
        job.watch(cursor)
        fields, rows = results.keep(cursor, statement.sql, path)
    with db.transaction() as cursor:
        job.resource["_result"] = {"fields": fields, "rows": rows, "file": path.name}
        job.succeed(cursor, {"query": _told(statement)})


def _select_into(db: Database, job: Job, statement: Statement, target: Target) -> None:
    with db.transaction(catalog.key(target.table)) as cursor:
        job.watch(cursor)
        fields = results.fields_of(cursor.sql(statement.sql))
        write(cursor, target, fields, statement.sql)
        # What is read back is the table, which an append leaves with more rows than the query gave.
        rows = int(catalog.table_read(cursor, target.table.whole)["numRows"])
        job.resource["_result"] = {
            "fields": fields,
            "rows": rows,
            "table": job.configuration["query"]["destinationTable"],
        }
        job.succeed(cursor, {"query": _told(statement)})


def _change(db: Database, job: Job, statement: Statement) -> None:
    target = _known(statement)
    with db.transaction(catalog.key(target)) as cursor:
        job.watch(cursor)
        counts = _merge(cursor, statement) if statement.kind == "MERGE" else _counted(cursor, statement)
        catalog.touch(cursor, target, catalog.table(cursor, target))
        told = {"numDmlAffectedRows": str(sum(counts.values()))}
        told |= {"dmlStats": {name: str(counts[kind]) for kind, name in _EFFECTS.items()}}
        job.succeed(cursor, {"query": _told(statement) | told})


def _counted(cursor: Cursor, statement: Statement) -> Counter[str]:
    cursor.execute(statement.sql)
    return Counter({statement.kind: cursor.fetchall()[0][0]})


def _merge(cursor: Cursor, statement: Statement) -> Counter[str]:
    counts: Counter[str] = Counter()
    cursor.execute(f"{statement.sql} RETURNING merge_action")
    while rows := cursor.fetchmany(10_000):
        counts.update(row[0] for row in rows)
    return counts


def _create(db: Database, job: Job, statement: Statement) -> None:
    made, table = statement.creation, _known(statement)
    assert made is not None
    with db.transaction(catalog.key(table)) as cursor:
        job.watch(cursor)
        existing, done = catalog.find_table(cursor, table), "CREATE"
        if existing and made.replace:
            catalog.delete_table(cursor, table)
            done = "REPLACE"
        if existing and made.if_missing:
            done = "SKIP"
        else:
            fields = made.columns or results.fields_of(cursor.sql(statement.sql))
            catalog.create_table(cursor, table, made.body | {"schema": {"fields": fields}})
            if statement.sql:
                cursor.execute(f"INSERT INTO {table.sql} BY NAME {statement.sql}")
        job.succeed(cursor, {"query": _told(statement) | _ddl(table, done)})


def _drop(db: Database, job: Job, statement: Statement) -> None:
    table, done = _known(statement), "DROP"
    with db.transaction(catalog.key(table)) as cursor:
        if catalog.find_table(cursor, table) is None and statement.if_exists:
            done = "SKIP"
        else:
            catalog.delete_table(cursor, table)
        job.succeed(cursor, {"query": _told(statement) | _ddl(table, done)})


def _told(statement: Statement) -> dict[str, Any]:
    reads = [table.reference for table in statement.reads]
    return {"statementType": statement.kind, "cacheHit": False} | ({"referencedTables": reads} if reads else {})


def _ddl(table: Table, done: str) -> dict[str, Any]:
    return {"ddlOperationPerformed": done, "ddlTargetTable": table.reference}


def _known(statement: Statement) -> Table:
    assert statement.target is not None
    return statement.target
