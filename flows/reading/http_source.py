"""An http or https URL as a source: its version, and its body, with resumed downloads."""

from __future__ import annotations

import datetime as dt
import email.utils
import ipaddress
import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx

from flows.errors import Forbidden, NotPublished, Refused, SourceUnavailable
from flows.reading.address import public
from flows.reading.part_file import PartFile, SourceVersion
from flows.reading.retry import AttemptFailed, RetryPolicy

MISSING = {404, 410}
# CloudFront answers 403 to clients that send too many requests.
TRANSIENT = {403, 408, 425, 429, 500, 502, 503, 504}
# Bodies in these content encodings are kept as sent. A body in another one, which was not requested, is decoded.
_KEPT = {"", "identity", "gzip", "x-gzip"}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class PublicUrls(logging.Filter):
    """Removes user, password and query from the URLs that httpx logs, for every request and redirect."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; keep it."""
        if isinstance(record.args, tuple):
            record.args = tuple(public(str(part)) if isinstance(part, httpx.URL) else part for part in record.args)
        return True


logging.getLogger("httpx").addFilter(PublicUrls())


class HttpSource:
    """A URL of a server."""

    def __init__(self, url: str, policy: RetryPolicy) -> None:
        self.shown, self._url, self._policy = public(url), url, policy
        self._encoding = ""
        # Whether a body was not in the content encoding that the server declares.
        self._mislabelled = False

    def version(self, deadline: float) -> SourceVersion:
        """One attempt to read the version without the body. Raises AttemptFailed, NotPublished or Refused."""
        try:
            with self._answer("HEAD", deadline) as response:
                return self._version(response)
        except (Refused, AttemptFailed):
            # Some servers do not support HEAD, or sign their URLs for GET only: a GET for the first byte decides.
            with self._answer("GET", deadline, {"Range": "bytes=0-0"}) as response:
                return self._version(response)

    def receive(self, part: PartFile, deadline: float) -> None:
        """One attempt to read the body, or the rest of it. Raises as `version` and `PartFile.receive` do."""
        with self._answer("GET", deadline, self._resume_headers(part)) as response:
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

    @contextmanager
    def _answer(
        self, method: str, deadline: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[httpx.Response]:
        """The response to one request, with its body unread; errors while the body is read are translated as well.

        Raises AttemptFailed for a temporary failure, NotPublished for 404 and 410, Refused for any other error.
        """
        left = max(deadline - time.monotonic(), 0.001)
        timeout = httpx.Timeout(min(self._policy.read_timeout, left), connect=min(self._policy.connect_timeout, left))
        try:
            with httpx.stream(
                method,
                self._url,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=timeout,
                follow_redirects=True,
                # A proxy of this machine cannot reach its loopback.
                trust_env=not _is_loopback(self._url),
            ) as response:
                _require_success(response, self.shown)
                yield response
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise Refused(self.shown, _line(error)) from None
        except httpx.InvalidURL:
            raise Refused(self.shown, "is not a valid URL") from None
        except httpx.TimeoutException as error:
            raise AttemptFailed(f"no answer in time ({type(error).__name__})") from None
        except httpx.RequestError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Refused(self.shown, _line(error)) from None
            if isinstance(error.__context__, httpx.InvalidURL):
                raise Refused(self.shown, "redirects to an invalid URL") from None
            raise AttemptFailed(_line(error)) from None

    def _is_kept(self) -> bool:
        """Whether the bytes are kept as sent."""
        return self._encoding in _KEPT or self._mislabelled

    def _resume_headers(self, part: PartFile) -> dict[str, str]:
        """The headers that request the rest of the body, if it is still of the same version."""
        etag = part.version.etag
        validator = part.version.last_modified if not etag or etag.startswith("W/") else etag
        # The length of a decoded body is not the server's byte position.
        if not part.bytes or not validator or not self._is_kept():
            return {}
        return {"Range": f"bytes={part.bytes}-", "If-Range": validator}

    def _require_rest(self, response: httpx.Response, part: PartFile) -> None:
        """Raise AttemptFailed if a partial response is not the rest of the body; the next attempt starts at byte 0."""
        content_range = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range.strip())
        total = None if not match or match[2] == "*" else int(match[2])
        other = total and part.length and total != part.length
        if not match or int(match[1]) != part.bytes or other or _encoding(response) != self._encoding:
            at = part.bytes
            part.restart(part.version)
            raise AttemptFailed(f"the server sent {content_range!r} for a request to resume at byte {at:,}")

    def _version(self, response: httpx.Response) -> SourceVersion:
        plain = _encoding(response) in {"", "identity"}
        etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        return SourceVersion(self.shown, etag, last_modified, _length(response) if plain else None)


def _length(response: httpx.Response) -> int | None:
    """The length of the whole body as sent; None if unknown: some servers answer HEAD with a length of 0."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return (int(length) if length.isdecimal() else 0) or None


def _encoding(response: httpx.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _require_success(response: httpx.Response, subject: str) -> None:
    status = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in TRANSIENT:
        retry_after = _retry_after(response.headers.get("Retry-After"))
        raise AttemptFailed(status, retry_after, Forbidden if response.status_code == 403 else SourceUnavailable)
    if response.status_code in MISSING:
        raise NotPublished(subject, f"{status}: not published")
    if response.status_code not in (200, 206):
        raise Refused(subject, status)


def _retry_after(value: str | None) -> float:
    """The seconds of a Retry-After header (a number or an HTTP date); 0 if it is missing or invalid."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    now = dt.datetime.now(until.tzinfo)
    return max((until - now).total_seconds(), 0.0)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(error: Exception) -> str:
    """An error of httpx in one line; its type if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
