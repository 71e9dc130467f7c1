"""What every Google REST service has in common: error bodies, the token endpoint, refusing what is not known."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route


class GoogleError(Exception):
    """An error as Google's APIs answer it: an HTTP status, a reason out of their lists, one line of text."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message

    @property
    def proto(self) -> dict[str, str]:
        """The error as it stands in a job's status."""
        return {"reason": self.reason, "message": self.message}

    def response(self) -> Response:
        """The HTTP answer."""
        error = {"code": self.status, "message": self.message, "errors": [{"domain": "global", **self.proto}]}
        return JSONResponse({"error": error}, self.status)


def unsupported(what: str) -> GoogleError:
    """The refusal of something real that this emulator does not do: 501, and which thing it was."""
    return GoogleError(501, "notImplemented", f"Not known to this emulator: {what}")


def invalid(message: str) -> GoogleError:
    """A request that Google refuses as well."""
    return GoogleError(400, "invalid", message)


def not_found(message: str) -> GoogleError:
    """Something that is not there."""
    return GoogleError(404, "notFound", message)


def fault(error: Exception) -> GoogleError:
    """A fault of the emulator itself. A 500 would be truer, but Google's clients repeat those for ten minutes."""
    logging.getLogger(__name__).error("A fault of the emulator", exc_info=error)
    return GoogleError(501, "notImplemented", f"The emulator failed: {type(error).__name__}: {error}")


def only_known(given: dict[str, Any], known: set[str], where: str) -> None:
    """Raise a 501 `GoogleError` naming the keys of `given` that are set and that nothing here would honour."""
    unknown = sorted(key for key, value in given.items() if key not in known and value not in (None, {}, [], ""))
    if unknown:
        raise unsupported(f"{', '.join(unknown)} in {where}")


def application(routes: Sequence[BaseRoute], lifespan: AbstractAsyncContextManager | None = None) -> Starlette:
    """An ASGI application of `routes` plus `/health` and `/token`, that answers every error as Google does."""
    common = [Route("/health", _health), Route("/token", _token, methods=["POST"])]
    handlers = {
        GoogleError: lambda _, error: error.response(),
        Exception: lambda _, error: fault(error).response(),
        HTTPException: lambda request, _: unsupported(f"{request.method} {request.url.path}").response(),
    }
    return Starlette(routes=[*common, *routes], exception_handlers=handlers, lifespan=lifespan)


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON; {} where it has no body."""
    try:
        return json.loads(await request.body() or b"{}")
    except ValueError:
        raise invalid("The request's body is no JSON.") from None


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _token(_: Request) -> Response:
    """Answer a service account's grant: any key gets a token, and no token is ever asked for."""
    return JSONResponse({"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "expires_in": 3600})
