"""The routes of BigQuery's REST API v2."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.emulators.bigquery.database import Database
from infra.emulators.bigquery.job_api import JobApi
from infra.emulators.bigquery.table_api import TableApi
from infra.emulators.media import Spool
from infra.emulators.rest import application, json_body, unsupported

_PROJECT = "/bigquery/v2/projects/{project}"
_DATASET = _PROJECT + "/datasets/{dataset}"
_TABLE = _DATASET + "/tables/{table}"
_UPLOAD = "/upload/bigquery/v2/projects/{project}/jobs"


@dataclass(frozen=True)
class Call:
    """A request, read: the names in its path, its query, its JSON body, and the etag it insists on."""

    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]
    etag: str | None


def create(state: Path) -> Starlette:
    """The emulator's application, with everything it keeps under the folder `state`."""
    db, spool = Database(state), Spool(state / "uploads")
    tables, jobs = TableApi(db), JobApi(db, state / "results")
    uploads = Uploads(jobs, spool)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        jobs.close()
        db.close()

    routes = [
        ("GET", _PROJECT + "/datasets", tables.list_datasets),
        ("POST", _PROJECT + "/datasets", tables.create_dataset),
        ("GET", _DATASET, tables.get_dataset),
        ("PATCH", _DATASET, tables.patch_dataset),
        ("PUT", _DATASET, tables.patch_dataset),
        ("DELETE", _DATASET, tables.delete_dataset),
        ("GET", _DATASET + "/tables", tables.list_tables),
        ("POST", _DATASET + "/tables", tables.create_table),
        ("GET", _TABLE, tables.get_table),
        ("PATCH", _TABLE, tables.patch_table),
        ("PUT", _TABLE, tables.patch_table),
        ("DELETE", _TABLE, tables.delete_table),
        ("GET", _TABLE + "/data", tables.list_rows),
        ("GET", _PROJECT + "/jobs", jobs.list),
        ("POST", _PROJECT + "/jobs", jobs.insert),
        ("GET", _PROJECT + "/jobs/{job}", jobs.get),
        ("POST", _PROJECT + "/jobs/{job}/cancel", jobs.cancel),
        ("POST", _PROJECT + "/queries", jobs.query),
        ("GET", _PROJECT + "/queries/{job}", jobs.results),
    ]
    return application(
        [
            *(Route(path, _answering(handler), methods=[method]) for method, path, handler in routes),
            Route(_UPLOAD, uploads.post, methods=["POST"]),
            Route(_UPLOAD, uploads.put, methods=["PUT"]),
        ],
        lifespan,
    )


class Uploads:
    """Load jobs that bring their data along."""

    def __init__(self, jobs: JobApi, spool: Spool) -> None:
        self._jobs, self._spool = jobs, spool

    async def post(self, request: Request) -> Response:
        """Take a whole file and start its job, or open a resumable session."""
        project = request.path_params["project"]
        match request.query_params.get("uploadType"):
            case "multipart":
                body, _, path, _ = await self._spool.multipart(request)
                return JSONResponse(await run_in_threadpool(self._jobs.load, project, body, path))
            case "resumable":
                body = await json_body(request)
                self._jobs.admit(body, uploaded=True)
                upload_id = self._spool.begin({"project": project, "body": body})
                location = f"{request.url.replace(query='')}?uploadType=resumable&upload_id={upload_id}"
                return Response(headers={"Location": location})
            case other:
                raise unsupported(f"uploadType {other}")

    async def put(self, request: Request) -> Response:
        """Take a chunk, and start the job with the last one."""
        upload_id = request.query_params.get("upload_id", "")
        session = await self._spool.resume(upload_id, request)
        if isinstance(session, Response):
            return session
        path = self._spool.file()
        session.path.replace(path)
        self._spool.end(upload_id)
        about = session.about
        return JSONResponse(await run_in_threadpool(self._jobs.load, about["project"], about["body"], path))


def _answering(handler: Callable[[Call], dict[str, Any] | None]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads the request and runs `handler` off the event loop; None is answered with 204."""

    async def answer(request: Request) -> Response:
        body, etag = await json_body(request), request.headers.get("if-match")
        call = Call(request.path_params, dict(request.query_params), body, etag)
        given = await run_in_threadpool(handler, call)
        return Response(status_code=204) if given is None else JSONResponse(given)

    return answer
