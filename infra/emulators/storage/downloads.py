"""Downloads of an object, whole or a range, with the headers by which clients verify it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from infra.emulators.rest import GoogleError, unsupported

_CHUNK = 1 << 20


def download(request: Request, resource: dict[str, Any], content: Path) -> Response:
    """Stream the object. `Range` may ask for `bytes=a-b`, `a-` or `-n`; several ranges are not supported."""
    size = int(resource["size"])
    start, end = _range(request.headers.get("range"), size)
    partial = "range" in request.headers
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Type": resource.get("contentType") or "application/octet-stream",
        "ETag": resource["etag"],
        "X-Goog-Generation": resource["generation"],
        "X-Goog-Hash": f"crc32c={resource['crc32c']},md5={resource['md5Hash']}",
        "X-Goog-Stored-Content-Encoding": "identity",
        "X-Goog-Stored-Content-Length": resource["size"],
    }
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    # Opened before the first await: replacing or deleting the object from here on does not cut off the download.
    body = content.open("rb")
    return StreamingResponse(_slices(body, start, end), 206 if partial else 200, headers)


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Return the first byte and the one after the last."""
    if header is None:
        return 0, size
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header.strip())
    if not match or match.groups() == ("", ""):
        raise unsupported(f"the range {header!r}")
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise GoogleError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    return start, end


def _slices(body: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    with body:
        body.seek(start)
        while start < end and (piece := body.read(min(_CHUNK, end - start))):
            start += len(piece)
            yield piece
