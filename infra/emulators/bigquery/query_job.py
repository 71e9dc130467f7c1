"""Query jobs: SELECT and DELETE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.emulators.bigquery import resources, result_pages
from infra.emulators.bigquery.duckdb_file import Database, as_google_error
from infra.emulators.bigquery.google_sql import Statement, translate
from infra.emulators.bigquery.job_queue import Job
from infra.emulators.bigquery.table_names import Dataset, Table
from infra.emulators.rest import only_known, unsupported

_KNOWN = {"query", "useLegacySql", "queryParameters", "parameterMode", "defaultDataset", "useQueryCache", "priority"}


def check(options: dict[str, Any]) -> None:
    """Raise 501 for options of a query job that are not supported, before the job is created."""
    only_known(options, _KNOWN, "a query job")
    if options.get("useLegacySql", True):
        raise unsupported("legacy SQL")


def run(db: Database, job: Job, folder: Path) -> None:
    """Run the query. The rows of a SELECT are written to a file in `folder`."""
    with as_google_error("invalidQuery"):
        statement = _translate(db, job.reference["projectId"], job.configuration["query"])
        if statement.target:
            _delete(db, job, statement, statement.target)
        else:
            _select(db, job, statement, folder)


def _translate(db: Database, project: str, options: dict[str, Any]) -> Statement:
    default = options.get("defaultDataset")
    dataset = Dataset(default.get("projectId") or project, default["datasetId"]) if default else None
    statement = translate(options, project, dataset)
    with db.cursor() as cursor:
        for table in [*statement.reads, *([statement.target] if statement.target else [])]:
            resources.table(cursor, table)
    return statement


def _select(db: Database, job: Job, statement: Statement, folder: Path) -> None:
    path = folder / f"{job.key}.arrow"
    with db.cursor() as cursor:
        job.watch(cursor)
        fields, rows = result_pages.write_file(cursor, statement.sql, path)
    with db.transaction() as cursor:
        job.resource["_result"] = {"fields": fields, "rows": rows, "file": path.name}
        job.succeed(cursor, {"query": {"statementType": "SELECT"}})


def _delete(db: Database, job: Job, statement: Statement, target: Table) -> None:
    with db.transaction(target.key) as cursor:
        job.watch(cursor)
        cursor.execute(statement.sql)
        [[rows]] = cursor.fetchall()
        resources.save(cursor, "table", target.key, resources.table(cursor, target))
        job.succeed(cursor, {"query": {"statementType": "DELETE", "numDmlAffectedRows": str(rows)}})
