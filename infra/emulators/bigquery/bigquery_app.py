"""The routes of BigQuery's REST API v2."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.emulators.bigquery.api_call import endpoint
from infra.emulators.bigquery.duckdb_file import Database
from infra.emulators.bigquery.job_api import JobApi
from infra.emulators.bigquery.table_api import TableApi
from infra.emulators.media import Spool
from infra.emulators.rest import application, json_body, unsupported

_PROJECT = "/bigquery/v2/projects/{project}"
_DATASET = _PROJECT + "/datasets/{dataset}"
_TABLE = _DATASET + "/tables/{table}"
_UPLOAD = "/upload/bigquery/v2/projects/{project}/jobs"


def create(state: Path) -> Starlette:
    """Return the emulator's application. It keeps all its files in the folder `state`."""
    db = Database(state)
    tables, jobs = TableApi(db), JobApi(db, state / "results")
    uploads = Uploads(jobs, Spool(state / "uploads"))

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
    routes.append(Route(_UPLOAD, uploads.post, methods=["POST"]))
    routes.append(Route(_UPLOAD, uploads.put, methods=["PUT"]))
    return application(routes, close)


class Uploads:
    """Load jobs with their data."""

    def __init__(self, jobs: JobApi, spool: Spool) -> None:
        self._jobs, self._spool = jobs, spool

    async def post(self, request: Request) -> Response:
        """Receive a whole file and start its job, or open a resumable session."""
        project = request.path_params["project"]
        match request.query_params.get("uploadType"):
            case "multipart":
                body, _, path, _ = await self._spool.multipart(request)
                return JSONResponse(await run_in_threadpool(self._jobs.load, project, body, path))
            case "resumable":
                body = await json_body(request)
                self._jobs.check(body, uploaded=True)
                upload_id = self._spool.begin({"project": project, "body": body})
                location = f"{request.url.replace(query='')}?uploadType=resumable&upload_id={upload_id}"
                return Response(headers={"Location": location})
            case other:
                raise unsupported(f"uploadType={other} in jobs.insert")

    async def put(self, request: Request) -> Response:
        """Receive a chunk; the last one starts the job."""
        upload_id = request.query_params.get("upload_id", "")
        session = await self._spool.resume(upload_id, request)
        if isinstance(session, Response):
            return session
        path, about = self._spool.file(), session.about
        session.path.replace(path)
        try:
            started = await run_in_threadpool(self._jobs.load, about["project"], about["body"], path)
        except BaseException:
            self._spool.end(upload_id)
            raise
        return self._spool.end(upload_id, started)
