"""What the bucket and BigQuery share: Google's exceptions as one clear line."""

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

# A load commits within hours of its first step, or not at all. What is older than this and does not count never will;
# a day leaves room for clocks that differ.
LEFT_OVER = dt.timedelta(days=1)

# The slowest connection that a partition is sent over, in bytes a second.
SLOWEST = 20_000


def seconds_to_send(size: int) -> tuple[float, float]:
    """The timeouts, to connect and to read, of a request whose body has that many bytes.

    urllib3 sends a body under one of the two, as a whole: on a new connection the first one, on a used one the second
    one of the request before. A timeout made for an answer would end every upload over a slow connection.
    """
    seconds = 120 + size / SLOWEST
    return seconds, seconds


@contextmanager
def one_line(subject: str) -> Iterator[None]:
    """Turn what Google's clients raise, after their own retries, into one line about `subject`.

    Raises:
        StoreUnavailable: for what may go away by itself.
        StoreFailed: for everything else.
    """
    try:
        yield
    except GOOGLE_ERRORS as error:
        reason = f"{error.code} {error.message}" if isinstance(error, GoogleAPICallError) else str(error)
        kind = StoreUnavailable if is_transient(error) else StoreFailed
        raise kind(subject, f"{type(error).__name__}: {reason[:500]}") from error


def is_transient(error: Exception) -> bool:
    """Whether the error may go away by itself: no connection, no answer in time, a server that is busy or broken."""
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
    """For deleting what does not count: a failure is logged as a warning, and a later load deletes it."""
    try:
        yield
    except (*GOOGLE_ERRORS, TaxiwayError) as error:
        logging.getLogger(__name__).warning("%s: what does not count was not deleted: %s", subject, error)
