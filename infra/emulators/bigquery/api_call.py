"""One call of the REST API, and the endpoint that reads it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import json_body


@dataclass(frozen=True)
class Call:
    """The names in a request's path, its query, its JSON body, and the etag of its `If-Match` header."""

    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]
    etag: str | None


def endpoint(handler: Callable[[Call], dict[str, Any] | None]) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that runs `handler` off the event loop. A handler's None is answered with 204."""

    async def answer(request: Request) -> Response:
        body, etag = await json_body(request), request.headers.get("if-match")
        call = Call(request.path_params, dict(request.query_params), body, etag)
        result = await run_in_threadpool(handler, call)
        return Response(status_code=204) if result is None else JSONResponse(result)

    return answer
