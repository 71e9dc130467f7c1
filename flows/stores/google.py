"""What the bucket and the warehouse share: Google's exceptions as one clear line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from flows.errors import StoreFailed

GOOGLE_ERRORS = (
    GoogleAPIError,
    GoogleAuthError,
    requests.RequestException,
    DataCorruption,
    InvalidResponse,
    TimeoutError,
)


@contextmanager
def one_line(subject: str) -> Iterator[None]:
    """Turn what Google's clients raise, after their own retries, into StoreFailed about `subject`."""
    try:
        yield
    except GOOGLE_ERRORS as error:
        reason = f"{error.code} {error.message}" if isinstance(error, GoogleAPICallError) else str(error)
        raise StoreFailed(subject, f"{type(error).__name__}: {reason[:500]}") from error
