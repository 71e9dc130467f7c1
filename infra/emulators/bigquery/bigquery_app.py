"""The routes of BigQuery's REST API v2."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.emulators.bigquery.api_call import endpoint
from infra.emulators.bigquery.duckdb_file import Database
from infra.emulators.bigquery.job_api import JobApi
from infra.emulators.bigquery.table_api import TableApi
from infra.emulators.media import Uploads
from infra.emulators.rest import application

_PROJECT = "/bigquery/v2/projects/{project}"
_DATASET = _PROJECT + "/datasets/{dataset}"
_TABLE = _DATASET + "/tables/{table}"
_UPLOAD = "/upload/bigquery/v2/projects/{project}/jobs"


def create(state: Path) -> Starlette:
    """Return the emulator's application. It keeps all its files in the folder `state`."""
    db = Database(state)
    tables, jobs = TableApi(db), JobApi(db, state / "results")
    uploads = Uploads(state / "uploads", jobs.prepare_load, jobs.load)

    async def upload(request: Request) -> Response:
        return await uploads.post(request, request.path_params["project"])

    def close() -> None:
        jobs.close()
        db.close()

    calls = [
        ("POST", _PROJECT + "/datasets", tables.create_dataset),
        ("GET", _DATASET, tables.get_dataset),
        ("PATCH", _DATASET, tables.patch_dataset),
        ("GET", _DATASET + "/tables", tables.list_tables),
        ("POST", _DATASET + "/tables", tables.create_table),
        ("GET", _TABLE, tables.get_table),
        ("PATCH", _TABLE, tables.patch_table),
        ("DELETE", _TABLE, tables.delete_table),
        ("GET", _TABLE + "/data", tables.list_rows),
        ("GET", _PROJECT + "/jobs", jobs.list),
        ("POST", _PROJECT + "/jobs", jobs.insert),
        ("GET", _PROJECT + "/jobs/{job}", jobs.get),
        ("POST", _PROJECT + "/queries", jobs.query),
        ("GET", _PROJECT + "/queries/{job}", jobs.results),
    ]
    routes = [Route(path, endpoint(handler), methods=[method]) for method, path, handler in calls]
    routes.append(Route(_UPLOAD, upload, methods=["POST"]))
    routes.append(Route(_UPLOAD, uploads.put, methods=["PUT"]))
    return application(routes, close)
