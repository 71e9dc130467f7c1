"""What both services have in common: error bodies, the token endpoint, and 501 for everything that is not supported."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route


class GoogleError(Exception):
    """An error as Google's APIs return it: an HTTP status, one of their reasons, one line of text."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    @property
    def proto(self) -> dict[str, str]:
        """The error as in a job's status."""
        return {"reason": self.reason, "message": self.message}

    def response(self) -> Response:
        """Return the HTTP response. A 304 must not have a body."""
        if self.status == 304:
            return Response(status_code=304)
        error = {"code": self.status, "message": self.message, "errors": [{"domain": "global", **self.proto}]}
        return JSONResponse({"error": error}, self.status)


def unsupported(what: str) -> GoogleError:
    """Return the error for a call or option of Google's that the emulator does not support: 501, with its name."""
    return GoogleError(501, "notImplemented", f"Not supported by the emulator: {what}")


def invalid(message: str) -> GoogleError:
    """Return the error for a request that Google refuses as well."""
    return GoogleError(400, "invalid", message)


def not_found(message: str) -> GoogleError:
    """Return the error for something that does not exist."""
    return GoogleError(404, "notFound", message)


def fault(error: Exception) -> GoogleError:
    """Return the error for a bug in the emulator: not 500, because Google's clients retry that for ten minutes."""
    logging.getLogger(__name__).error("The emulator failed", exc_info=error)
    return GoogleError(501, "notImplemented", f"The emulator failed: {type(error).__name__}: {error}")


def only_known(given: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Raise a 501 `GoogleError` that names the keys of `given` that have a value and are not in `known`."""
    unknown = sorted(key for key, value in given.items() if key not in known and value not in (None, {}, [], ""))
    if unknown:
        raise unsupported(f"{', '.join(unknown)} in {where}")


def application(routes: Sequence[BaseRoute], close: Callable[[], None] = lambda: None) -> Starlette:
    """Return an ASGI application of `routes`, `/health` and `/token` with Google's error responses.

    `close` is called when the server stops.
    """

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        close()

    common = [Route("/health", _health), Route("/token", _token, methods=["POST"])]
    handlers: dict[Any, Any] = {
        GoogleError: lambda _, error: error.response(),
        Exception: lambda _, error: fault(error).response(),
        HTTPException: lambda request, _: unsupported(f"{request.method} {request.url.path}").response(),
    }
    return Starlette(routes=[*common, *routes], exception_handlers=handlers, lifespan=lifespan)


async def json_body(request: Request) -> dict[str, Any]:
    """Return the request's JSON; {} if it has no body."""
    return json.loads(await request.body() or b"{}")


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _token(_: Request) -> Response:
    """Return a token for any service account key. Tokens are never checked."""
    return JSONResponse({"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "expires_in": 3600})
