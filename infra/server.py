"""The Prefect server that a command needs, and commands that end in one line where a person can mend what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from infra.command_line import one_line_for

START = "`make up` or `make demo KEEP=1` starts one, or set PREFECT_API_URL"


class NoServer(RuntimeError):
    """There is no Prefect server to work with; the message is one line with what to do."""


def require_server() -> None:
    """Return if the Prefect server that the settings name answers, and takes our login.

    Without an address Prefect would start a temporary server, with its data in the user's home. Raises NoServer.
    """
    if not get_current_settings().api.url:
        raise NoServer(f"no Prefect server is named: {START}")
    try:
        with get_client(sync_client=True) as client:
            # A request that changes nothing and, as those that do, needs a login and a CSRF token.
            answer = client.request("POST", "/flows/count", json={})
        int(answer.json())
    except httpx.HTTPStatusError as refused:
        raise NoServer(f"{address()}: {meaning(refused.response)}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as failed:
        raise NoServer(f"no answer from {address()}: {reason(failed)}; {START}") from None
    except (ValueError, TypeError):
        raise NoServer(f"{address()} is not the API of a Prefect server: set PREFECT_API_URL to one") from None


def address() -> str:
    """The server's address, as far as it may be shown: without a user, a password and a query."""
    try:
        return str(httpx.URL(get_current_settings().api.url or "").copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return "PREFECT_API_URL"


def meaning(answer: httpx.Response) -> str:
    """What a refusal means, and what to do."""
    match answer.status_code:
        case httpx.codes.UNAUTHORIZED:
            return "the Prefect server refuses the login; set PREFECT_API_AUTH_STRING to that of the server (in .env)"
        case httpx.codes.FORBIDDEN:
            return (
                "the Prefect server refuses the request (403): it wants a CSRF token, which "
                "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED=true sends, or a proxy is in between"
            )
        case code if code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return f"the Prefect server answered {code}; its log says why"
        case code:
            return f"this is not the API of a Prefect server, it answered {code}; set PREFECT_API_URL to one"


def reason(wrong: Exception) -> str:
    """Why a call failed, on one line."""
    if isinstance(wrong, httpx.HTTPStatusError):
        try:
            detail = wrong.response.json().get("detail", "")
        except (ValueError, AttributeError):
            detail = wrong.response.text
        return f"the server answered {wrong.response.status_code}: {' '.join(str(detail).split())[:300]}"
    first = (str(wrong).splitlines() or [""])[0]
    return f"{type(wrong).__name__}: {first}" if first else type(wrong).__name__


@contextmanager
def ends_in_one_line(*expected: type[Exception]) -> Iterator[None]:
    """End the process with one line on standard error, and status 1, for what the person at the terminal can mend.

    Args:
        expected: the exceptions whose messages are such lines, besides those of the Prefect server.
    """
    with one_line_for(NoServer, *expected):
        try:
            yield
        except httpx.HTTPError as wrong:
            answered = isinstance(wrong, httpx.HTTPStatusError)
            sys.exit(f"taxiway: {address() if answered else f'no answer from {address()}'}: {reason(wrong)}")
