"""Uploads as Google's clients send them, streamed to disk: one body, multipart/related, or resumable in chunks."""

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
from email.message import Message
from pathlib import Path
from typing import Any

import google_crc32c
from starlette.requests import Request
from starlette.responses import Response

from infra.emulators.rest import invalid, not_found

_HEAD_LIMIT = 1 << 20  # metadata before the media part of a multipart body; Google's own are far smaller


class Digest:
    """Size and checksums of a stream, as it passes."""

    def __init__(self) -> None:
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc32c = google_crc32c.Checksum()

    def update(self, chunk: bytes) -> None:
        """Count `chunk` in."""
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
        """Raise a 400 `GoogleError` where a checksum the client gave differs from what arrived."""
        for name, given, counted in (("CRC32C", crc32c, self.crc32c), ("MD5 hash", md5, self.md5)):
            if given and given != counted:
                raise invalid(f'Provided {name} "{given}" doesn\'t match calculated {name} "{counted}".')


@dataclass
class Session:
    """A resumable upload under way: what the client said of it, and the bytes that have arrived."""

    path: Path
    about: dict[str, Any]
    digest: Digest
    lock: Lock = field(default_factory=Lock)


class Spool:
    """A folder for uploads under way. Sessions outlive a restart; bodies cut off by one are cleared away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sessions: dict[str, Session] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*.body"):
            leftover.unlink()

    def file(self) -> Path:
        """A new empty file, for the caller to move away or delete."""
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".body", delete=False) as body:
            return Path(body.name)

    async def body(self, request: Request) -> tuple[Path, Digest]:
        """Write the request's whole body to a new file."""
        return await self._write(request.stream())

    async def multipart(self, request: Request) -> tuple[dict[str, Any], str, Path, Digest]:
        """Write the media of a multipart/related body to a new file; give metadata, media type, file, digest."""
        boundary = _message(f"Content-Type: {request.headers.get('content-type', '')}").get_param("boundary")
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
        """Open a resumable session that remembers `about`; give its upload id."""
        upload_id = secrets.token_urlsafe(24)
        path = self.folder / f"{upload_id}.part"
        path.touch()
        path.with_suffix(".json").write_text(json.dumps(about))
        self._sessions[upload_id] = Session(path, about, Digest())
        return upload_id

    async def resume(self, upload_id: str, request: Request) -> Session | Response:
        """Take one chunk. Give the session when its last byte is there, the 308 to send back until then."""
        session = self._session(upload_id)
        async with session.lock:
            start, total = _content_range(request.headers.get("content-range", ""))
            if start is not None and start != session.digest.size:
                raise invalid(f"The chunk starts at byte {start}; {session.digest.size} bytes are here.")
            with session.path.open("ab") as out:
                async for chunk in request.stream():
                    out.write(chunk)
                    session.digest.update(chunk)
            if total is not None and session.digest.size > total:
                raise invalid(f"{session.digest.size} bytes arrived of an upload of {total}.")
            if session.digest.size == total:
                return session
        received = {"Range": f"bytes=0-{session.digest.size - 1}"} if session.digest.size else {}
        return Response(status_code=308, headers=received)

    def end(self, upload_id: str) -> None:
        """Forget a session; its bytes go too, unless they were moved away."""
        session = self._session(upload_id)
        session.path.unlink(missing_ok=True)
        session.path.with_suffix(".json").unlink(missing_ok=True)
        del self._sessions[upload_id]

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
        """Read up to the media; give the metadata and the media's content type."""
        await self._until(self._delimiter)
        await self._until(b"\r\n\r\n")
        metadata = await self._until(self._delimiter)
        headers = await self._until(b"\r\n\r\n")
        try:
            content_type = _message(headers.decode().strip()).get_content_type()
            return json.loads(metadata or b"{}"), content_type
        except ValueError as error:
            raise invalid(f"The metadata of the multipart body cannot be read: {error}") from None

    async def media(self) -> AsyncIterator[bytes]:
        """The media's bytes. The last few are held back, for the closing boundary is among them."""
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
    """The checksums of an `X-Goog-Hash` header, by `crc32c` and `md5`."""
    return dict(part.strip().split("=", 1) for part in (header or "").split(",") if "=" in part)


def _message(headers: str) -> Message:
    message = Message()
    for line in headers.split("\r\n"):
        name, _, value = line.partition(":")
        message[name] = value.strip()
    return message


def _content_range(header: str) -> tuple[int | None, int | None]:
    """Where a chunk starts and how long the whole is; None where the client does not say (yet)."""
    match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", header.strip())
    if not match:
        raise invalid(f"A chunk of a resumable upload needs a Content-Range, not {header!r}.")
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total else None)
