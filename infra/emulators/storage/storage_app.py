"""The routes of Cloud Storage's JSON API."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.emulators.media import Uploads
from infra.emulators.rest import application, unsupported
from infra.emulators.storage.buckets import Buckets
from infra.emulators.storage.object_files import ObjectFiles
from infra.emulators.storage.objects import Objects


def create(state: Path) -> Starlette:
    """Return the emulator's application. It keeps all its files in the folder `state`."""
    files = ObjectFiles(state)
    routes = Routes(Buckets(files), Objects(files), state / "uploads")
    return application([Route("/{path:path}", routes.answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])])


class Routes:
    """Dispatches requests. Object names may contain slashes, so a path is split before it is unquoted."""

    def __init__(self, buckets: Buckets, objects: Objects, uploads: Path) -> None:
        self._buckets, self._objects = buckets, objects
        self._uploads = Uploads(uploads, objects.prepare_upload, objects.finish_upload)

    async def answer(self, request: Request) -> Response:  # noqa: PLR0911 - a table of routes
        """Answer one request; raise a 501 `GoogleError` for a call that is not supported."""
        path = [unquote(part) for part in request.scope["raw_path"].decode().split("/")[1:]]
        match path:
            case ["storage", "v1", "b", bucket, *_] | [("upload" | "download"), "storage", "v1", "b", bucket, *_]:
                self._buckets.require_payer(request, bucket)
        match request.method, path:
            case "POST", ["storage", "v1", "b"]:
                return await self._buckets.create(request)
            case "GET", ["storage", "v1", "b", bucket]:
                return self._buckets.get(request, bucket)
            case "GET", ["storage", "v1", "b", bucket, "o"]:
                return self._objects.list(request, bucket)
            case "GET", ["storage", "v1", "b", bucket, "o", name]:
                return self._objects.get(request, bucket, name)
            case "PATCH", ["storage", "v1", "b", bucket, "o", name]:
                return await self._objects.patch(request, bucket, name)
            case "DELETE", ["storage", "v1", "b", bucket, "o", name]:
                return self._objects.delete(request, bucket, name)
            case "GET", ["download", "storage", "v1", "b", bucket, "o", name]:
                return self._objects.download(request, bucket, name)
            case "POST", ["upload", "storage", "v1", "b", bucket, "o"]:
                return await self._uploads.post(request, bucket)
            case "PUT", ["upload", "storage", "v1", "b", bucket, "o"]:
                return await self._uploads.put(request)
        raise unsupported(f"{request.method} {request.url.path}")
