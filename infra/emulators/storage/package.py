"""Calling a handler of gcp-storage-emulator without its HTTP server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gcp_storage_emulator.storage import Storage
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import GoogleError


class Ask:
    """A request as the package's handlers read it."""

    def __init__(self, request: Request, params: dict[str, str], data: dict[str, Any] | None) -> None:
        self.base_url = str(request.base_url).rstrip("/")
        self.query = {key: request.query_params.getlist(key) for key in request.query_params}
        self.params, self.data = params, data


class Answer:
    """What the package's handlers write."""

    status: int = 200
    body: Any = None

    def json(self, body: Any) -> None:
        """Keep the body."""
        self.body = body


def call(
    handler: Callable[[Any, Any, Any], None],
    storage: Storage,
    request: Request,
    params: dict[str, str],
    data: dict[str, Any] | None = None,
) -> Any:
    """Run the handler and give the body of its answer; raise `GoogleError` where it answers with an error.

    The package leaves most error bodies empty; the client's message then says which handler it was.
    """
    answer = Answer()
    handler(Ask(request, params, data), answer, storage)
    if answer.status >= 400:
        error = (answer.body or {}).get("error", {})
        reason = {404: "notFound", 409: "conflict", 400: "invalid"}.get(answer.status, "internalError")
        what = "/".join(params.values())
        raise GoogleError(int(answer.status), reason, error.get("message") or f"{handler.__name__} failed: {what}")
    return answer.body


def reply(body: Any) -> Response:
    """The body as JSON; 204 where there is none."""
    return Response(status_code=204) if body is None else JSONResponse(body)
