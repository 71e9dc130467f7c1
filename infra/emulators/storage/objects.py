"""Existing objects: list, read, download, patch, delete."""

from __future__ import annotations

import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import invalid, json_body, not_found, only_known
from infra.emulators.storage import preconditions
from infra.emulators.storage.buckets import COMMON
from infra.emulators.storage.downloads import download
from infra.emulators.storage.object_files import ObjectFiles, Resource, timestamp
from infra.emulators.storage.uploads import SETTABLE

_PAGE = 1000  # objects per page, as in Cloud Storage


class Objects:
    """The endpoint `/storage/v1/b/BUCKET/o`."""

    def __init__(self, files: ObjectFiles) -> None:
        self._files = files

    def list(self, request: Request, bucket: str) -> Response:
        """List the objects whose names start with `prefix`, by name, in pages.

        The page token is the last name sent, so objects that are added or deleted between two pages do no harm.
        """
        query = request.query_params
        only_known(query, COMMON | {"maxResults", "pageToken", "prefix"}, "objects.list")
        limit = min(int(query.get("maxResults") or _PAGE), _PAGE)
        if limit < 1:
            raise invalid("maxResults must be positive.")
        self._files.bucket(bucket)
        objects, prefix = self._files.objects.get(bucket, {}), query.get("prefix", "")
        last = base64.urlsafe_b64decode(query.get("pageToken", "")).decode()
        names = sorted(name for name in objects if name.startswith(prefix) and name > last)
        chosen = names[:limit]
        body: dict[str, Any] = {"kind": "storage#objects", "items": [objects[name] for name in chosen]}
        if len(names) > limit:
            body["nextPageToken"] = base64.urlsafe_b64encode(chosen[-1].encode()).decode()
        return JSONResponse(body)

    def get(self, request: Request, bucket: str, name: str) -> Response:
        """Read an object's resource."""
        return JSONResponse(self._live(request, bucket, name))

    def download(self, request: Request, bucket: str, name: str) -> Response:
        """Read an object's bytes."""
        resource = self._live(request, bucket, name)
        return download(request, resource, self._files.content(resource))

    async def patch(self, request: Request, bucket: str, name: str) -> Response:
        """Merge the given metadata into the object's; null removes a key. The metageneration increases by one."""
        changes = await json_body(request)
        only_known(changes, SETTABLE, "objects.patch")
        resource = self._live(request, bucket, name)
        _merge(resource, changes)
        resource["metageneration"] = str(int(resource["metageneration"]) + 1)
        resource["updated"] = timestamp()
        resource["etag"] = f"{resource['generation']}/{resource['metageneration']}"
        self._files.save()
        return JSONResponse(resource)

    def delete(self, request: Request, bucket: str, name: str) -> Response:
        """Delete an object."""
        self._live(request, bucket, name)
        self._files.remove(bucket, name)
        return Response(status_code=204)

    def _live(self, request: Request, bucket: str, name: str) -> Resource:
        """Return the object's resource if the request's preconditions hold. Only the live generation is kept."""
        query = request.query_params
        media = {"alt"} if request.url.path.startswith("/download/") else set()
        only_known(query, COMMON | preconditions.NAMES | media | {"generation"}, f"{request.method} of an object")
        resource, generation = self._files.live(bucket, name), query.get("generation")
        if resource is None or generation not in (None, resource["generation"]):
            raise not_found(f"No such object: {bucket}/{name}" + (f"#{generation}" if generation else ""))
        preconditions.check(query, resource)
        preconditions.check_etag(request.headers, resource)
        return resource


def _merge(resource: Resource, changes: Resource) -> None:
    for key, value in changes.items():
        if value is None:
            resource.pop(key, None)
        elif isinstance(value, dict):
            _merge(resource.setdefault(key, {}), value)
        else:
            resource[key] = value
