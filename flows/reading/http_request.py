"""One request to an HTTP server: an answer, or an error that says whether another attempt makes sense."""

from __future__ import annotations

import datetime as dt
import email.utils
import ipaddress
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx

from flows.errors import Forbidden, NotPublished, Refused, SourceUnavailable
from flows.reading.address import public
from flows.reading.retry import AttemptFailed, Deadline, RetryPolicy

MISSING = {404, 410}
# 403 among them: CloudFront answers so to clients that send too many requests.
TRANSIENT = {403, 408, 425, 429, 500, 502, 503, 504}


class PublicUrls(logging.Filter):
    """Removes user, password and query from the URLs that httpx logs: it logs every request, also redirects."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; keep it."""
        if isinstance(record.args, tuple):
            record.args = tuple(public(str(part)) if isinstance(part, httpx.URL) else part for part in record.args)
        return True


logging.getLogger("httpx").addFilter(PublicUrls())


@contextmanager
def answer(
    method: str, url: str, policy: RetryPolicy, deadline: Deadline, headers: Mapping[str, str] = MappingProxyType({})
) -> Iterator[httpx.Response]:
    """The answer to one request, its body unread; errors while the body is read are translated as well.

    Raises:
        AttemptFailed: no connection, time-out, a cut-off body, 403, an answer that asks to come back later.
        NotPublished: 404, 410.
        Refused: any other answer than 200 and 206, or an invalid URL.
    """
    subject = public(url)
    left = max(deadline.left, 0.001)
    timeout = httpx.Timeout(min(policy.read_timeout, left), connect=min(policy.connect_timeout, left))
    try:
        with httpx.stream(
            method,
            url,
            headers={"Accept-Encoding": "identity", **headers},
            timeout=timeout,
            follow_redirects=True,
            # A proxy of this machine cannot reach its loopback.
            trust_env=not _is_loopback(url),
        ) as response:
            _require_success(response, subject)
            yield response
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise Refused(subject, _line(error)) from None
    except httpx.InvalidURL:
        raise Refused(subject, "is not a valid URL") from None
    except httpx.TimeoutException as error:
        raise AttemptFailed(f"no answer in time ({type(error).__name__})") from None
    except httpx.RequestError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise Refused(subject, _line(error)) from None
        if isinstance(error.__context__, httpx.InvalidURL):
            raise Refused(subject, "redirects to an invalid URL") from None
        raise AttemptFailed(_line(error)) from None


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
    """Seconds that a Retry-After header asks for (a number or an HTTP date); 0 if it is missing or invalid."""
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
    """An error of httpx in one line; some have no text."""
    return " ".join(str(error).split()) or type(error).__name__
