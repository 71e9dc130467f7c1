"""Objects: upload, list, read, download, patch, delete."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.media import Digest
from infra.emulators.rest import GoogleError, json_body, not_found, only_known, unsupported
from infra.emulators.storage.buckets import COMMON
from infra.emulators.storage.downloads import download
from infra.emulators.storage.object_files import ObjectFiles, Resource, timestamp

_PAGE = 1000  # objects per page, as in Cloud Storage
_SETTABLE = {"contentType", "metadata"}
_IDENTITY = {"name", "bucket", "crc32c", "md5Hash"}
# Each precondition, and the field of the object that it is about.
_PRECONDITIONS = {"ifGenerationMatch": "generation", "ifMetagenerationMatch": "metageneration"}
_NOT_MET = "At least one of the pre-conditions you specified did not hold."


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
        only_known(changes, _SETTABLE, "objects.patch")
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

    def prepare_upload(
        self, request: Request, bucket: str, content_type: str, metadata: dict[str, Any]
    ) -> dict[str, Any]:
        """Return what `finish_upload` needs; raise if the object may not be written."""
        options = {"uploadType", "upload_id", "name", "alt"}
        only_known(request.query_params, COMMON | options | _PRECONDITIONS.keys(), "objects.insert")
        for header in ("x-goog-encryption-algorithm", "if-match", "if-none-match", "content-encoding"):
            if header in request.headers:
                raise unsupported(f"the header {header} in objects.insert")
        only_known(metadata, _SETTABLE | _IDENTITY, "the metadata of objects.insert")
        name = request.query_params.get("name") or metadata["name"]
        self._files.bucket(bucket)
        query = dict(request.query_params)
        _check_preconditions(query, self._files.live(bucket, name))
        metadata = {"contentType": content_type} | metadata
        return {"bucket": bucket, "name": name, "query": query, "metadata": metadata}

    async def finish_upload(self, about: dict[str, Any], body: Path, digest: Digest) -> dict[str, Any]:
        """Create the object. There is no await between check and write: the event loop serialises them."""
        bucket, name, metadata = about["bucket"], about["name"], about["metadata"]
        _check_preconditions(about["query"], self._files.live(bucket, name))
        digest.check(metadata.get("crc32c"), metadata.get("md5Hash"))
        settable = {key: value for key, value in metadata.items() if key in _SETTABLE}
        return self._files.put(bucket, name, settable, digest, body)

    def _live(self, request: Request, bucket: str, name: str) -> Resource:
        """Return the object's resource if the request's preconditions hold. Only the live generation is kept."""
        query = request.query_params
        media = {"alt"} if request.url.path.startswith("/download/") else set()
        only_known(query, COMMON | _PRECONDITIONS.keys() | media | {"generation"}, f"{request.method} of an object")
        resource, generation = self._files.live(bucket, name), query.get("generation")
        if resource is None or generation not in (None, resource["generation"]):
            raise not_found(f"No such object: {bucket}/{name}" + (f"#{generation}" if generation else ""))
        _check_preconditions(query, resource)
        _check_etag(request.headers, resource)
        return resource


def _check_preconditions(query: Mapping[str, str], live: Resource | None) -> None:
    """Raise 412 unless every precondition in `query` holds for the object `live` (None: no such object).

    `ifGenerationMatch=0` means that the object must not exist.
    """
    actual = live or {"generation": "0"}
    for name, field in _PRECONDITIONS.items():
        if name in query and query[name] != actual.get(field):
            raise GoogleError(412, "conditionNotMet", _NOT_MET)


def _check_etag(headers: Mapping[str, str], live: Resource) -> None:
    """Raise 412 if an `If-Match` header names another version, 304 if an `If-None-Match` header names this one."""
    if headers.get("if-match", live["etag"]) != live["etag"]:
        raise GoogleError(412, "conditionNotMet", _NOT_MET)
    if headers.get("if-none-match") == live["etag"]:
        raise GoogleError(304, "notModified", "Not Modified")


def _merge(resource: Resource, changes: Resource) -> None:
    for key, value in changes.items():
        if value is None:
            resource.pop(key, None)
        elif isinstance(value, dict):
            _merge(resource.setdefault(key, {}), value)
        else:
            resource[key] = value
