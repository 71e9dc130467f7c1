"""The routes of Cloud Storage's JSON API."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infra.emulators.media import Spool
from infra.emulators.rest import application, unsupported
from infra.emulators.storage.buckets import Buckets
from infra.emulators.storage.disk import Disk
from infra.emulators.storage.objects import Objects
from infra.emulators.storage.uploads import Uploads


def create(state: Path) -> Starlette:
    """The emulator's application, with everything it keeps under the folder `state`."""
    disk, spool = Disk(state), Spool(state / "uploads")
    routes = Routes(Buckets(disk), Objects(disk, spool), Uploads(disk, spool))
    return application([Route("/{path:path}", routes.answer, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])])


class Routes:
    """Which request goes where. An object's name may hold slashes, so paths are split before they are unquoted."""

    def __init__(self, buckets: Buckets, objects: Objects, uploads: Uploads) -> None:
        self._buckets, self._objects, self._uploads = buckets, objects, uploads

    async def answer(self, request: Request) -> Response:
        """Answer one request, or refuse it with 501."""
        path = [unquote(part) for part in request.scope["raw_path"].decode().split("/")[1:]]
        match path:
            case ["storage", "v1", "b", bucket, *_] | [("upload" | "download"), "storage", "v1", "b", bucket, *_]:
                self._buckets.require_payer(request, bucket)
        match path:
            case ["storage", "v1", "b", *rest]:
                return await self._metadata(request, rest)
            case ["upload", "storage", "v1", "b", bucket, "o"]:
                return await self._upload(request, bucket)
            case ["download", "storage", "v1", "b", bucket, "o", name] if request.method == "GET":
                return self._objects.download(request, bucket, name)
        raise unsupported(f"{request.method} {request.url.path}")

    async def _metadata(self, request: Request, rest: list[str]) -> Response:  # noqa: PLR0911 - a table of routes
        match request.method, rest:
            case "GET", []:
                return self._buckets.list(request)
            case "POST", []:
                return await self._buckets.create(request)
            case "GET", [bucket]:
                return self._buckets.get(request, bucket)
            case "PATCH", [bucket]:
                return await self._buckets.patch(request, bucket)
            case "DELETE", [bucket]:
                return self._buckets.delete(request, bucket)
            case "GET", [bucket, "o"]:
                return self._objects.list(request, bucket)
            case "GET", [bucket, "o", name]:
                return self._objects.get(request, bucket, name)
            case "PATCH", [bucket, "o", name]:
                return await self._objects.patch(request, bucket, name)
            case "DELETE", [bucket, "o", name]:
                return self._objects.delete(request, bucket, name)
            case "POST", [bucket, "o", name, "compose"]:
                return await self._objects.compose(request, bucket, name)
            case "POST", [bucket, "o", name, ("rewriteTo" | "copyTo") as verb, "b", to_bucket, "o", to_name]:
                return await self._objects.copy(request, (bucket, name), (to_bucket, to_name), verb == "rewriteTo")
        raise unsupported(f"{request.method} {request.url.path}")

    async def _upload(self, request: Request, bucket: str) -> Response:
        match request.method:
            case "POST":
                return await self._uploads.post(request, bucket)
            case "PUT":
                return await self._uploads.put(request)
            case "DELETE":
                return await self._uploads.delete(request)
        raise unsupported(f"{request.method} {request.url.path}")
