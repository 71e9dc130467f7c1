"""Check the Prefect server before a command, and report its errors in one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from infra.command_line import one_line_for

START = "start a Prefect server with `make up` or `make demo KEEP=1`, or set PREFECT_API_URL"


class NoServer(RuntimeError):
    """No usable Prefect server; the message is one line that says what to do."""


def require_server() -> None:
    """Return if the Prefect server in the settings answers and accepts the login. Raises NoServer otherwise.

    Without an address Prefect would start a temporary server, with its data in the user's home.
    """
    if not get_current_settings().api.url:
        raise NoServer(f"PREFECT_API_URL is not set: {START}")
    try:
        with get_client(sync_client=True) as client:
            # Changes nothing, but needs a login and a CSRF token as requests that do.
            response = client.request("POST", "/flows/count", json={})
        int(response.json())
    except httpx.HTTPStatusError as error:
        raise NoServer(f"{address()}: {explain_refusal(error.response)}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoServer(f"no answer from {address()}: {reason(error)}; {START}") from None
    except (ValueError, TypeError):
        raise NoServer(f"{address()} is not the API of a Prefect server: set PREFECT_API_URL to one") from None


def address() -> str:
    """The server's address for messages: without user, password and query."""
    try:
        return str(httpx.URL(get_current_settings().api.url or "").copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return "PREFECT_API_URL"


def explain_refusal(response: httpx.Response) -> str:
    """What an error response means and what to do about it."""
    match response.status_code:
        case httpx.codes.UNAUTHORIZED:
            return "the Prefect server refuses the login; set PREFECT_API_AUTH_STRING to that of the server (in .env)"
        case httpx.codes.FORBIDDEN:
            return (
                "the Prefect server refuses the request (403): set PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true if it "
                "requires a CSRF token, or check for a proxy in between"
            )
        case code if code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return f"the Prefect server answered {code}; see its log"
        case code:
            return f"this is not the API of a Prefect server, it answered {code}; set PREFECT_API_URL to one"


def reason(error: Exception) -> str:
    """Why a call failed, on one line."""
    if isinstance(error, httpx.HTTPStatusError):
        try:
            detail = error.response.json().get("detail", "")
        except (ValueError, AttributeError):
            detail = error.response.text
        return f"the server answered {error.response.status_code}: {' '.join(str(detail).split())[:300]}"
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


@contextmanager
def ends_in_one_line(*expected: type[Exception]) -> Iterator[None]:
    """Exit with one line on standard error and status 1 for `expected` exceptions and errors of the Prefect server."""
    with one_line_for(NoServer, *expected):
        try:
            yield
        except httpx.HTTPError as error:
            answered = isinstance(error, httpx.HTTPStatusError)
            sys.exit(f"taxiway: {address() if answered else f'no answer from {address()}'}: {reason(error)}")
