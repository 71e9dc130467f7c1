"""An http or https URL as a source: its version, and its body, resumed where it was cut off."""

from __future__ import annotations

import re

import httpx

from flows.errors import Refused
from flows.reading.address import public
from flows.reading.http_request import answer
from flows.reading.part_file import PartFile, SourceVersion
from flows.reading.retry import AttemptFailed, Deadline, RetryPolicy

# Content encodings that are kept; a body in another one, which was not asked for, is decoded as it is received.
_KEPT = {"", "identity", "gzip", "x-gzip"}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class HttpSource:
    """A URL of a server."""

    def __init__(self, url: str, policy: RetryPolicy) -> None:
        self.shown, self._url, self._policy = public(url), url, policy
        self._encoding = ""
        # Whether a body was not in the content encoding that the server declares.
        self._mislabelled = False

    def version(self, deadline: Deadline) -> SourceVersion:
        """One attempt to read the version without the body.

        HEAD is a hint: if it fails, a GET for the first byte decides. Raises as `answer`.
        """
        try:
            with answer("HEAD", self._url, self._policy, deadline) as response:
                return self._version(response)
        except (Refused, AttemptFailed):
            # Some servers do not allow HEAD, sign their URLs for GET only, or answer HEAD with any error at all.
            with answer("GET", self._url, self._policy, deadline, {"Range": "bytes=0-0"}) as response:
                return self._version(response)

    def receive(self, part: PartFile, deadline: Deadline) -> None:
        """One attempt at the body, or at the rest of it. Raises as `answer` and `PartFile.receive`."""
        with answer("GET", self._url, self._policy, deadline, self._resume_headers(part)) as response:
            if response.status_code == 206 and part.bytes:
                self._require_rest(response, part)
            else:
                self._encoding = _encoding(response)
                part.restart(self._version(response), _length(response) if self._is_kept() else None)
            try:
                part.receive(response.iter_raw() if self._is_kept() else response.iter_bytes(), deadline)
            except httpx.DecodingError:
                self._mislabelled = True
                part.restart(part.version)
                raise
        if part.length not in (None, part.bytes):
            raise AttemptFailed(f"the body ended after {part.bytes:,} of {part.length:,} bytes")

    def _is_kept(self) -> bool:
        """Whether the bytes are kept as they are sent."""
        return self._encoding in _KEPT or self._mislabelled

    def _resume_headers(self, part: PartFile) -> dict[str, str]:
        """The headers that ask for the rest of a body, if it is still the same version."""
        etag = part.version.etag
        validator = part.version.last_modified if not etag or etag.startswith("W/") else etag
        # A decoded body is not at the byte that the server would go on from.
        if not part.bytes or not validator or not self._is_kept():
            return {}
        return {"Range": f"bytes={part.bytes}-", "If-Range": validator}

    def _require_rest(self, response: httpx.Response, part: PartFile) -> None:
        """Refuse a partial answer that is not the rest of the body; the next attempt then starts from byte 0."""
        content_range = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range.strip())
        total = None if not match or match[2] == "*" else int(match[2])
        other = total and part.length and total != part.length
        if not match or int(match[1]) != part.bytes or other or _encoding(response) != self._encoding:
            at = part.bytes
            part.restart(part.version)
            raise AttemptFailed(f"the server sent {content_range!r} when asked to resume at byte {at:,}")

    def _version(self, response: httpx.Response) -> SourceVersion:
        plain = _encoding(response) in {"", "identity"}
        etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        return SourceVersion(self.shown, etag, last_modified, _length(response) if plain else None)


def _length(response: httpx.Response) -> int | None:
    """The length of the whole body, as it is sent. Some servers answer HEAD with a length of 0: that is not known."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return (int(length) if length.isdecimal() else 0) or None


def _encoding(response: httpx.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()
