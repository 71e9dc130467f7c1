"""Uploads of objects: one multipart request, or a resumable session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.media import Digest, Spool, goog_hashes
from infra.emulators.rest import invalid, json_body, only_known, unsupported
from infra.emulators.storage import preconditions
from infra.emulators.storage.object_files import ObjectFiles

SETTABLE = {"contentType", "metadata"}
_IDENTITY = {"name", "bucket", "crc32c", "md5Hash"}
_OPTIONS = {"uploadType", "upload_id", "name", "alt", "fields", "prettyPrint", "projection", "userProject"}


class Uploads:
    """The endpoint `/upload/storage/v1/b/BUCKET/o`."""

    def __init__(self, files: ObjectFiles, spool: Spool) -> None:
        self._files, self._spool = files, spool

    async def post(self, request: Request, bucket: str) -> Response:
        """Receive a whole object, or open a resumable session."""
        query = dict(request.query_params)
        only_known(query, _OPTIONS | preconditions.NAMES, "objects.insert")
        for header in ("x-goog-encryption-algorithm", "if-match", "if-none-match", "content-encoding"):
            if header in request.headers:
                raise unsupported(f"the header {header} in objects.insert")
        match query.get("uploadType"):
            case "multipart":
                metadata, content_type, body, digest = await self._spool.multipart(request)
            case "resumable":
                return await self._open(request, bucket, query)
            case other:
                raise unsupported(f"uploadType={other} in objects.insert")
        try:
            return JSONResponse(self._commit(bucket, query, {"contentType": content_type} | metadata, body, digest))
        finally:
            body.unlink(missing_ok=True)

    async def put(self, request: Request) -> Response:
        """Receive a chunk of a resumable upload; the last one creates the object."""
        upload_id = request.query_params.get("upload_id")
        if not upload_id:
            raise unsupported("PUT of an object without a resumable session")
        session = await self._spool.resume(upload_id, request)
        if isinstance(session, Response):
            return session
        about, hashes = session.about, goog_hashes(request.headers.get("x-goog-hash"))
        try:
            session.digest.check(hashes.get("crc32c"), hashes.get("md5"))
            made = self._commit(about["bucket"], about["query"], about["metadata"], session.path, session.digest)
        except BaseException:
            self._spool.end(upload_id)
            raise
        return self._spool.end(upload_id, made)

    async def _open(self, request: Request, bucket: str, query: dict[str, str]) -> Response:
        content_type = request.headers.get("x-upload-content-type", "application/octet-stream")
        metadata = {"contentType": content_type} | await json_body(request)
        self._require_writable(bucket, query, metadata)
        upload_id = self._spool.begin({"bucket": bucket, "query": query, "metadata": metadata})
        location = f"{request.url.replace(query='')}?{urlencode({'uploadType': 'resumable', 'upload_id': upload_id})}"
        return Response(headers={"Location": location, "X-GUploader-UploadID": upload_id})

    def _require_writable(self, bucket: str, query: Mapping[str, str], metadata: dict[str, Any]) -> str:
        """Return the object's name; raise if it may not be written."""
        only_known(metadata, SETTABLE | _IDENTITY, "the metadata of objects.insert")
        name = query.get("name") or metadata.get("name")
        if not name:
            raise invalid("Required parameter: name")
        self._files.bucket(bucket)
        preconditions.check(query, self._files.live(bucket, name))
        return name

    def _commit(
        self, bucket: str, query: Mapping[str, str], metadata: dict[str, Any], body: Path, digest: Digest
    ) -> dict[str, Any]:
        """Check everything and create the object. There is no await in between: the event loop serialises writes."""
        name = self._require_writable(bucket, query, metadata)
        digest.check(metadata.get("crc32c"), metadata.get("md5Hash"))
        settable = {key: value for key, value in metadata.items() if key in SETTABLE}
        return self._files.put(bucket, name, settable, digest, body)
