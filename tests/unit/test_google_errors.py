"""Which of Google's errors are retried."""

from __future__ import annotations

import pytest
import requests
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from flows.errors import StoreFailed, StoreUnavailable
from flows.stores.google_errors import one_line


def answer(status: int) -> requests.Response:
    response = requests.Response()
    response.status_code = status
    return response


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ServiceUnavailable("busy"), StoreUnavailable),
        (exceptions.InternalServerError("broken"), StoreUnavailable),
        (exceptions.GatewayTimeout("late"), StoreUnavailable),
        (exceptions.TooManyRequests("slow down"), StoreUnavailable),
        (exceptions.from_http_status(408, "late"), StoreUnavailable),
        (exceptions.Forbidden("quota", errors=[{"reason": "rateLimitExceeded"}]), StoreUnavailable),
        (exceptions.RetryError("gave up", cause=None), StoreUnavailable),
        (requests.ConnectionError("refused"), StoreUnavailable),
        (requests.Timeout("timed out"), StoreUnavailable),
        (requests.exceptions.ChunkedEncodingError("cut off"), StoreUnavailable),
        (TimeoutError("a load job has not ended"), StoreUnavailable),
        (TransportError("no token server"), StoreUnavailable),
        (RefreshError("busy", retryable=True), StoreUnavailable),
        (InvalidResponse(answer(503), "upload"), StoreUnavailable),
        (DataCorruption(answer(200), "checksum mismatch"), StoreUnavailable),
        (exceptions.Forbidden("no access", errors=[{"reason": "accessDenied"}]), StoreFailed),
        (exceptions.NotFound("no such bucket"), StoreFailed),
        (exceptions.BadRequest("schema"), StoreFailed),
        (exceptions.MethodNotImplemented("not here"), StoreFailed),
        (RefreshError("invalid_grant", retryable=False), StoreFailed),
        (DefaultCredentialsError("none"), StoreFailed),
        (InvalidResponse(answer(403), "upload"), StoreFailed),
        (requests.exceptions.InvalidURL("http://"), StoreFailed),
    ],
    ids=lambda value: f"{type(value).__name__}: {value}" if isinstance(value, Exception) else value.__name__,
)
def test_transient_and_terminal_errors(error, kind):
    with pytest.raises(kind, match="gs://taxi: ") as raised, one_line("gs://taxi"):
        raise error
    assert raised.value.__cause__ is error and "\n" not in str(raised.value)
