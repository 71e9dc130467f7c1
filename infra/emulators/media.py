"""Uploads as Google's clients send them, streamed to disk: multipart/related, or resumable in chunks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import tempfile
from asyncio import Lock
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_string
from pathlib import Path
from typing import Any

import google_crc32c
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import invalid, not_found

_HEAD_LIMIT = 1 << 20  # bytes of metadata before the media part of a multipart body; Google's clients send far less
_RESULTS = 100  # results of resumable uploads that are kept, for a last chunk that is sent again


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
    """An unfinished resumable upload: the request that opened it, and the bytes received so far."""

    path: Path
    about: dict[str, Any]
    digest: Digest
    lock: Lock = field(default_factory=Lock)


class Spool:
    """A folder for unfinished uploads. Resumable sessions survive a restart; other unfinished bodies are deleted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sessions: dict[str, Session] = {}
        self._finished: dict[str, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.body"):
            leftover.unlink()

    def file(self) -> Path:
        """Create an empty file, which the caller must move or delete."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".body", delete=False) as body:
            return Path(body.name)

    async def multipart(self, request: Request) -> tuple[dict[str, Any], str, Path, Digest]:
        """Write the media of a multipart/related body to a new file; return metadata, media type, file, digest."""
        boundary = message_from_string(f"Content-Type: {request.headers.get('content-type', '')}").get_param("boundary")
        if not boundary:
            raise invalid("A multipart upload needs a boundary in its Content-Type.")
        parts = _Related(request.stream(), str(boundary).encode())
        metadata, media_type = await parts.head()
        path, digest = await self._write(parts.media())
        if not parts.closed:
            path.unlink()
            raise invalid("The multipart body ends before its closing boundary.")
        return metadata, media_type, path, digest

    def begin(self, about: dict[str, Any]) -> str:
        """Open a resumable session that stores `about`; return its upload id."""
        upload_id = secrets.token_urlsafe(24)
        path = self.folder / f"{upload_id}.part"
        path.touch()
        path.with_suffix(".json").write_text(json.dumps(about))
        self._sessions[upload_id] = Session(path, about, Digest())
        return upload_id

    async def resume(self, upload_id: str, request: Request) -> Session | Response:
        """Receive one chunk. Return the session once it is complete, until then the 308 response to send.

        For a session that has ended with a result, return that result again: its first response may have been lost.
        """
        if upload_id in self._finished:
            async for _ in request.stream():  # a client may not read the response before it has sent its chunk
                pass
            return JSONResponse(self._finished[upload_id])
        session = self._session(upload_id)
        async with session.lock:
            start, total = _content_range(request.headers.get("content-range", ""))
            if start is not None and start != session.digest.size:
                raise invalid(f"The chunk starts at byte {start}, expected byte {session.digest.size}.")
            with session.path.open("ab") as out:
                async for chunk in request.stream():
                    out.write(chunk)
                    session.digest.update(chunk)
            if total is not None and session.digest.size > total:
                raise invalid(f"Received {session.digest.size} bytes, expected {total}.")
            if session.digest.size == total:
                return session
        received = {"Range": f"bytes=0-{session.digest.size - 1}"} if session.digest.size else {}
        return Response(status_code=308, headers=received)

    def end(self, upload_id: str, result: dict[str, Any] | None = None) -> Response:
        """Forget a session and its file, unless that was moved. Return the response with the upload's result."""
        session = self._session(upload_id)
        session.path.unlink(missing_ok=True)
        session.path.with_suffix(".json").unlink(missing_ok=True)
        del self._sessions[upload_id]
        if result is not None:
            self._finished[upload_id] = result
            while len(self._finished) > _RESULTS:
                del self._finished[next(iter(self._finished))]
        return JSONResponse(result)

    def _session(self, upload_id: str) -> Session:
        if upload_id not in self._sessions:
            path = self.folder / f"{Path(upload_id).name}.part"
            if not path.exists():
                raise not_found(f"No such upload: {upload_id}")
            digest = Digest()
            with path.open("rb") as part:
                while chunk := part.read(1 << 20):
                    digest.update(chunk)
            self._sessions[upload_id] = Session(path, json.loads(path.with_suffix(".json").read_text()), digest)
        return self._sessions[upload_id]

    async def _write(self, chunks: AsyncIterator[bytes]) -> tuple[Path, Digest]:
        path, digest = self.file(), Digest()
        try:
            with path.open("wb") as out:
                async for chunk in chunks:
                    out.write(chunk)
                    digest.update(chunk)
        except BaseException:
            path.unlink()
            raise
        return path, digest


class _Related:
    """A multipart/related body of two parts, JSON and media, read as a stream."""

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream, self._delimiter, self._buffer = stream, b"\r\n--" + boundary, b"\r\n"
        self.closed = False

    async def head(self) -> tuple[dict[str, Any], str]:
        """Read up to the media; return the metadata and the media's content type."""
        await self._until(self._delimiter)
        await self._until(b"\r\n\r\n")
        metadata = await self._until(self._delimiter)
        headers = await self._until(b"\r\n\r\n")
        try:
            content_type = message_from_string(headers.decode().strip()).get_content_type()
            return json.loads(metadata or b"{}"), content_type
        except ValueError as error:
            raise invalid(f"The metadata of the multipart body cannot be read: {error}") from None

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
        self.closed = closing in held
        yield held.rpartition(closing)[0]

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            if len(self._buffer) > _HEAD_LIMIT:
                raise invalid("The multipart body's metadata does not end.")
            try:
                self._buffer += await anext(self._stream)
            except StopAsyncIteration:
                raise invalid("The multipart body ends in its metadata.") from None
        before, _, self._buffer = self._buffer.partition(mark)
        return before


def goog_hashes(header: str | None) -> dict[str, str]:
    """Parse an `X-Goog-Hash` header into its checksums, by `crc32c` and `md5`."""
    return dict(part.strip().split("=", 1) for part in (header or "").split(",") if "=" in part)


def _content_range(header: str) -> tuple[int | None, int | None]:
    """Return where a chunk starts and how long the whole upload is; None for what the client does not tell."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header.strip())
    if not match:
        raise invalid(f"A chunk of a resumable upload needs a Content-Range, not {header!r}.")
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total else None)
