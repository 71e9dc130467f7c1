"""Uploads of objects: one request (media, multipart) or a resumable session."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gcp_storage_emulator.handlers.objects import _make_object_resource
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.media import Digest, Spool, goog_hashes
from infra.emulators.rest import invalid, json_body, not_found, only_known, unsupported
from infra.emulators.storage import preconditions
from infra.emulators.storage.disk import Disk

SETTABLE = {
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "metadata",
}
_IDENTITY = {"name", "bucket", "crc32c", "md5Hash", "storageClass", "kind", "size"}
_OPTIONS = {"uploadType", "upload_id", "name", "alt", "fields", "prettyPrint", "projection", "contentEncoding"}
_OPTIONS |= {"userProject"}


class Uploads:
    """The endpoint `/upload/storage/v1/b/BUCKET/o`."""

    def __init__(self, disk: Disk, spool: Spool) -> None:
        self._disk, self._spool = disk, spool

    async def post(self, request: Request, bucket: str) -> Response:
        """Take a whole object, or open a resumable session."""
        query = dict(request.query_params)
        only_known(query, _OPTIONS | preconditions.OF_OBJECT, "the upload's query")
        _plain(request)
        match query.get("uploadType"):
            case "media":
                body, digest = await self._spool.body(request)
                metadata, kind = {}, request.headers.get("content-type", "application/octet-stream")
            case "multipart":
                metadata, kind, body, digest = await self._spool.multipart(request)
            case "resumable":
                return await self._open(request, bucket, query)
            case other:
                raise unsupported(f"uploadType {other}")
        hashes = goog_hashes(request.headers.get("x-goog-hash"))
        try:
            return self._commit(request, bucket, query, {"contentType": kind} | metadata, (body, digest), hashes)
        finally:
            body.unlink(missing_ok=True)

    async def put(self, request: Request) -> Response:
        """Take a chunk of a resumable upload, and make the object of it with the last one."""
        upload_id = request.query_params.get("upload_id")
        if not upload_id:
            raise unsupported("PUT of an object without a resumable session")
        session = await self._spool.resume(upload_id, request)
        if isinstance(session, Response):
            return session
        about, hashes = session.about, goog_hashes(request.headers.get("x-goog-hash"))
        try:
            part = (session.path, session.digest)
            return self._commit(request, about["bucket"], about["query"], about["metadata"], part, hashes)
        finally:
            self._spool.end(upload_id)

    async def delete(self, request: Request) -> Response:
        """Cancel a resumable upload."""
        self._spool.end(request.query_params.get("upload_id", ""))
        return Response(status_code=499)

    async def _open(self, request: Request, bucket: str, query: dict[str, str]) -> Response:
        metadata = await json_body(request)
        kind = request.headers.get("x-upload-content-type", "application/octet-stream")
        metadata = {"contentType": kind} | metadata
        self._admit(bucket, query, metadata)
        upload_id = self._spool.begin({"bucket": bucket, "query": query, "metadata": metadata})
        location = f"{request.url.replace(query='')}?{urlencode({'uploadType': 'resumable', 'upload_id': upload_id})}"
        return Response(headers={"Location": location, "X-GUploader-UploadID": upload_id})

    def _admit(self, bucket: str, query: dict[str, str], metadata: dict[str, Any]) -> str:
        """Give the object's name if it may be written; raise otherwise."""
        only_known(metadata, SETTABLE | _IDENTITY, "the object's metadata")
        name = query.get("name") or metadata.get("name")
        if not name:
            raise invalid("Required parameter: name")
        if bucket not in self._disk.buckets:
            raise not_found("The specified bucket does not exist.")
        preconditions.check(query, self._disk.live(bucket, name))
        return name

    def _commit(
        self,
        request: Request,
        bucket: str,
        query: dict[str, str],
        metadata: dict[str, Any],
        body: tuple[Path, Digest],
        hashes: dict[str, str],
    ) -> Response:
        """Check everything and make the object, with no await in between: the event loop serialises all writes."""
        path, digest = body
        name = self._admit(bucket, query, metadata)
        digest.check(metadata.get("crc32c"), metadata.get("md5Hash"))
        digest.check(hashes.get("crc32c"), hashes.get("md5"))
        settable = {key: value for key, value in metadata.items() if key in SETTABLE}
        resource = new_object(request, bucket, name, settable, digest.size, digest.crc32c, digest.md5)
        return JSONResponse(self._disk.adopt(resource, path))


def new_object(
    request: Request, bucket: str, name: str, metadata: dict[str, Any], size: int, crc32c: str, md5: str | None
) -> dict[str, Any]:
    """An object's resource as the package makes it, ready for `Disk.adopt`."""
    base, kind = str(request.base_url).rstrip("/"), metadata.get("contentType")
    checked = metadata | {"crc32c": crc32c, "md5Hash": md5}
    return _make_object_resource(base, bucket, name, kind, str(size), checked)


def _plain(request: Request) -> None:
    """Refuse the headers that would change what is stored."""
    for header in ("x-goog-encryption-algorithm", "if-match", "if-none-match"):
        if header in request.headers:
            raise unsupported(f"the header {header}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise unsupported("an upload's body with Content-Encoding")
