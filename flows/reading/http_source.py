"""One URL of an HTTP server: each request either answers or fails with a reason that says whether it may pass."""

from __future__ import annotations

import datetime as dt
import email.utils
import ipaddress
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Self
from urllib.parse import urlsplit

import httpx

from flows.errors import Forbidden, NotPublished, Refused, SourceUnavailable
from flows.reading.address import public
from flows.reading.retry import Deadline, Passing, Patience

MISSING = {404, 410}
# 403 among them: CloudFront answers so to who asks too often.
PASSING = {403, 408, 425, 429, 500, 502, 503, 504}


class PublicUrls(logging.Filter):
    """Takes user, password and query out of the URLs that httpx logs: it logs every request, redirects too."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; keep it."""
        if isinstance(record.args, tuple):
            record.args = tuple(public(str(part)) if isinstance(part, httpx.URL) else part for part in record.args)
        return True


logging.getLogger("httpx").addFilter(PublicUrls())


class HttpSource:
    """A URL and the connection to its server; a context manager, which closes the connection."""

    def __init__(self, url: str, patience: Patience) -> None:
        self.url, self.shown, self.patience = url, public(url), patience
        # A proxy set for this machine cannot reach what listens on this machine's own loopback.
        self._client = httpx.Client(follow_redirects=True, max_redirects=10, trust_env=not _is_loopback(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def answer(
        self, method: str, deadline: Deadline, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Iterator[httpx.Response]:
        """The answer to one request, its body unread; what goes wrong while it is read is translated as well.

        Raises:
            Passing: no connection, time-out, a cut-off body, 403, an answer that asks to come back later.
            NotPublished: 404, 410.
            Refused: any other answer than 200 and 206, or a URL that cannot be asked.
        """
        left = max(deadline.left, 0.001)
        timeout = httpx.Timeout(min(self.patience.silence, left), connect=min(self.patience.connect, left))
        try:
            with self._client.stream(
                method, self.url, headers={"Accept-Encoding": "identity", **headers}, timeout=timeout
            ) as response:
                self._require_success(response)
                yield response
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise Refused(self.shown, _line(error)) from None
        except httpx.InvalidURL:
            raise Refused(self.shown, "is not a URL that can be asked") from None
        except httpx.TimeoutException as error:
            raise Passing(f"no answer in time ({type(error).__name__})") from None
        except httpx.RequestError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Refused(self.shown, _line(error)) from None
            if isinstance(error.__context__, httpx.InvalidURL):
                raise Refused(self.shown, "redirects to what is not a URL") from None
            raise Passing(_line(error)) from None

    def _require_success(self, response: httpx.Response) -> None:
        said = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
        asked = _retry_after(response.headers.get("Retry-After"))
        if response.status_code in PASSING:
            raise Passing(said, asked, Forbidden if response.status_code == 403 else SourceUnavailable)
        if response.status_code in MISSING:
            raise NotPublished(self.shown, f"{said}: not published")
        if response.status_code not in (200, 206):
            raise Refused(self.shown, said)


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks for (a number or an HTTP date); 0 for none or nonsense."""
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
    """An error of httpx in one line; some have no text of their own."""
    return " ".join(str(error).split()) or type(error).__name__
