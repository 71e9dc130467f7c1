"""Uploads as Google's clients send them, streamed to disk: multipart/related, or resumable in chunks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import tempfile
from asyncio import Lock
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_string
from pathlib import Path
from typing import Any

import google_crc32c
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import invalid, json_body, not_found, unsupported

_RESULTS = 100  # results of resumable uploads that are kept, for a last chunk that is sent again

Prepare = Callable[[Request, str, str, dict[str, Any]], dict[str, Any]]
Finish = Callable[[dict[str, Any], Path, "Digest"], Awaitable[dict[str, Any]]]


class Digest:
    """Size and checksums of a stream."""

    def __init__(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c: Any = google_crc32c.Checksum()

    def update(self, chunk: bytes) -> None:
        """Add the next `chunk`."""
        self.size += len(chunk)
        self._md5.update(chunk)
        self._crc32c.update(chunk)

    @property
    def md5(self) -> str:
        """MD5 in base64, as in an object's md5Hash."""
        return base64.b64encode(self._md5.digest()).decode()

    @property
    def crc32c(self) -> str:
        """CRC32C in base64, big-endian, as in an object's crc32c."""
        return base64.b64encode(self._crc32c.digest()).decode()

    def check(self, crc32c: str | None, md5: str | None) -> None:
        """Raise a 400 `GoogleError` if a checksum given by the client differs from that of the received bytes."""
        for name, expected, actual in (("CRC32C", crc32c, self.crc32c), ("MD5 hash", md5, self.md5)):
            if expected and expected != actual:
                raise invalid(f'Provided {name} "{expected}" doesn\'t match calculated {name} "{actual}".')


@dataclass
class Session:
    """An unfinished resumable upload: what the request that opened it asks for, and the bytes received so far."""

    path: Path
    about: dict[str, Any]
    digest: Digest
    lock: Lock = field(default_factory=Lock)


class Uploads:
    """The upload endpoint of a service.

    `prepare` gets the request, the project or bucket, the media type and the metadata. It raises for an upload that is
    not allowed, and returns what `finish` needs, as JSON. `finish` gets that, the received file and its digest. It must
    move or delete the file, and returns the response's JSON.

    Resumable sessions are stored in `folder` and survive a restart; other unfinished files are deleted.
    """

    def __init__(self, folder: Path, prepare: Prepare, finish: Finish) -> None:
        self._folder, self._prepare, self._finish = folder, prepare, finish
        self._sessions: dict[str, Session] = {}
        self._results: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.body"):
            leftover.unlink()

    async def post(self, request: Request, target: str) -> Response:
        """Receive a whole file, or open a resumable session."""
        match request.query_params.get("uploadType"):
            case "multipart":
                return JSONResponse(await self._receive(request, target))
            case "resumable":
                media_type = request.headers.get("x-upload-content-type", "application/octet-stream")
                return self._open(request, self._prepare(request, target, media_type, await json_body(request)))
            case other:
                raise unsupported(f"uploadType={other} in {request.url.path}")

    async def put(self, request: Request) -> Response:
        """Receive a chunk. Answer 308 until the upload is complete, then with its result.

        If the last chunk is sent again, answer with the same result: the first response may have been lost.
        """
        upload_id = request.query_params.get("upload_id", "")
        if upload_id in self._results:
            async for _ in request.stream():  # a client may not read the response before it has sent its chunk
                pass
            return JSONResponse(self._results[upload_id])
        session = self._session(upload_id)
        async with session.lock:
            if not await _complete(request, session):
                received = {"Range": f"bytes=0-{session.digest.size - 1}"} if session.digest.size else {}
                return Response(status_code=308, headers=received)
        path = session.path.replace(self._new_file())
        session.path.with_suffix(".json").unlink()
        del self._sessions[upload_id]
        try:
            given = request.headers.get("x-goog-hash", "").split(",")
            hashes = dict(each.strip().split("=", 1) for each in given if "=" in each)
            session.digest.check(hashes.get("crc32c"), hashes.get("md5"))
            result = await self._finish(session.about, path, session.digest)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._results[upload_id] = result
        if len(self._results) > _RESULTS:
            del self._results[next(iter(self._results))]
        return JSONResponse(result)

    async def _receive(self, request: Request, target: str) -> dict[str, Any]:
        """Receive a multipart/related body and return the upload's result."""
        boundary = message_from_string(f"Content-Type: {request.headers.get('content-type', '')}").get_param("boundary")
        parts = _Related(request.stream(), str(boundary).encode())
        metadata, media_type = await parts.head()
        about, path, digest = self._prepare(request, target, media_type, metadata), self._new_file(), Digest()
        try:
            with path.open("wb") as out:
                async for chunk in parts.media():
                    out.write(chunk)
                    digest.update(chunk)
            return await self._finish(about, path, digest)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _open(self, request: Request, about: dict[str, Any]) -> Response:
        upload_id = secrets.token_urlsafe(24)
        path = self._folder / f"{upload_id}.part"
        path.touch()
        path.with_suffix(".json").write_text(json.dumps(about))
        self._sessions[upload_id] = Session(path, about, Digest())
        location = f"{request.url.replace(query='')}?uploadType=resumable&upload_id={upload_id}"
        return Response(headers={"Location": location, "X-GUploader-UploadID": upload_id})

    def _session(self, upload_id: str) -> Session:
        if upload_id not in self._sessions:
            path = self._folder / f"{Path(upload_id).name}.part"
            if not path.exists():
                raise not_found(f"No such upload: {upload_id}")
            digest = Digest()
            with path.open("rb") as part:
                while chunk := part.read(1 << 20):
                    digest.update(chunk)
            self._sessions[upload_id] = Session(path, json.loads(path.with_suffix(".json").read_text()), digest)
        return self._sessions[upload_id]

    def _new_file(self) -> Path:
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".body", delete=False) as body:
            return Path(body.name)


async def _complete(request: Request, session: Session) -> bool:
    """Add the request's chunk to the session; return whether the upload is complete."""
    header = request.headers.get("content-range", "")
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header.strip())
    if not match:
        raise invalid(f"A chunk of a resumable upload needs a Content-Range, not {header!r}.")
    start, total = match.groups()
    if start and int(start) != session.digest.size:
        raise invalid(f"The chunk starts at byte {start}, expected byte {session.digest.size}.")
    with session.path.open("ab") as out:
        async for chunk in request.stream():
            out.write(chunk)
            session.digest.update(chunk)
    return total is not None and session.digest.size == int(total)


class _Related:
    """A multipart/related body of two parts, JSON and media, read as a stream."""

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream, self._delimiter, self._buffer = stream, b"\r\n--" + boundary, b"\r\n"

    async def head(self) -> tuple[dict[str, Any], str]:
        """Read up to the media; return the metadata and the media's content type."""
        await self._until(self._delimiter)
        await self._until(b"\r\n\r\n")
        metadata = await self._until(self._delimiter)
        headers = await self._until(b"\r\n\r\n")
        return json.loads(metadata or b"{}"), message_from_string(headers.decode().strip()).get_content_type()

    async def media(self) -> AsyncIterator[bytes]:
        """Yield the media's bytes. The last few are held back, as they contain the closing boundary."""
        closing = self._delimiter + b"--"
        held = self._buffer
        async for chunk in self._stream:
            held += chunk
            ready = len(held) - len(closing) - 2  # a CRLF may follow
            if ready > 0:
                yield held[:ready]
                held = held[ready:]
        yield held[: held.rindex(closing)]

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._buffer += await anext(self._stream)
        before, _, self._buffer = self._buffer.partition(mark)
        return before
