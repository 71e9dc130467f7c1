"""What the bucket and BigQuery stores share: Google's exceptions as errors of one line, and timeouts."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from flows.errors import StoreFailed, StoreUnavailable, TaxiwayError

GOOGLE_ERRORS = (
    GoogleAPIError,
    GoogleAuthError,
    requests.RequestException,
    DataCorruption,
    InvalidResponse,
    TimeoutError,
)

# https://cloud.google.com/storage/docs/retry-strategy and https://cloud.google.com/bigquery/docs/error-messages
BUSY = {408, 429, 500, 502, 503, 504}
BUSY_REASONS = {"backendError", "internalError", "rateLimitExceeded"}

# A load commits within hours of its first step, or never. What is older than a day (which allows for clocks that
# differ) and not valid never will be.
LEFT_OVER = dt.timedelta(days=1)

# The slowest supported connection for an upload, in bytes a second.
SLOWEST = 20_000


def seconds_to_send(size: int) -> tuple[float, float]:
    """The timeouts, to connect and to read, of a request with a body of that many bytes.

    urllib3 applies one of the two to sending the whole body: the first on a new connection, the second of the previous
    request on a reused one. A timeout meant for an answer would end every upload over a slow connection.
    """
    seconds = 120 + size / SLOWEST
    return seconds, seconds


@contextmanager
def one_line(subject: str) -> Iterator[None]:
    """Raise an exception of Google's clients as StoreUnavailable, if it is transient, or StoreFailed."""
    try:
        yield
    except GOOGLE_ERRORS as error:
        reason = f"{error.code} {error.message}" if isinstance(error, GoogleAPICallError) else str(error)
        kind = StoreUnavailable if is_transient(error) else StoreFailed
        raise kind(subject, f"{type(error).__name__}: {reason[:500]}") from error


def is_transient(error: Exception) -> bool:
    """Whether the error is transient: no connection, no answer in time, a server that is busy or has failed."""
    if isinstance(error, GoogleAPICallError):
        reasons = {each.get("reason") for each in error.errors or () if isinstance(each, Mapping)}
        return error.code in BUSY or bool(reasons & BUSY_REASONS)
    if isinstance(error, InvalidResponse):
        return error.response.status_code in BUSY
    if isinstance(error, GoogleAuthError):
        return isinstance(error, TransportError) or error.retryable
    if isinstance(error, ValueError):  # what requests raises for an invalid address
        return False
    return isinstance(error, (RetryError, DataCorruption, requests.RequestException, TimeoutError))


@contextmanager
def failures_as_warnings(subject: str) -> Iterator[None]:
    """For deleting invalid data: a failure is logged as a warning, and a later load deletes the data."""
    try:
        yield
    except (*GOOGLE_ERRORS, TaxiwayError) as error:
        logging.getLogger(__name__).warning("%s: data of replaced loads was not deleted: %s", subject, error)
