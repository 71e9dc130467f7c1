"""A real HTTP server on loopback that answers as each test says, with the faults that real servers have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ETAG = '"v1"'
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th GET of a path by the n-th entry of its script, the last entry from then on."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append((self.command, self.path.partition("?")[0], dict(self.headers)))
        script = self.server.scripts.get(self.path.partition("?")[0], [status(404)])
        turn = self.server.turns.get(self.path, 0)
        self.server.turns[self.path] = turn + 1
        script[min(turn, len(script) - 1)](self)

    do_HEAD = do_GET

    def respond(self, code: int, headers: dict[str, object], body: bytes = b"") -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts: dict[str, list[Answer]] = {}
        self.turns: dict[str, int] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    def handle_error(self, *_: object) -> None:
        """Nothing: clients close the connection after a bad answer."""

    def url(self, path: str, *script: Answer) -> str:
        self.scripts[path] = list(script)
        return f"http://127.0.0.1:{self.server_port}{path}"


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def whole(body: bytes, **headers: object) -> Answer:
    return lambda request: request.respond(200, {"Content-Length": len(body), **headers}, body)


def status(code: int, **headers: object) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: request.respond(code, {"Content-Length": 0, **named})


def cut(body: bytes, at: int, **headers: object) -> Answer:
    """Announces the whole body, sends part of it and closes the connection."""

    def answer(request: Handler) -> None:
        request.respond(200, {"Content-Length": len(body), **headers}, body[:at])
        request.close_connection = True

    return answer


def ranged(body: bytes, until: int | None = None, shift: int = 0) -> Answer:
    """Supports Range when If-Range names the version; sends up to byte `until`, and starts `shift` bytes off."""

    def answer(request: Handler) -> None:
        asked = request.headers.get("Range")
        if not asked or request.headers.get("If-Range", ETAG) != ETAG:
            return cut(body, until or len(body), ETag=ETAG)(request)
        start, _, stop = asked.removeprefix("bytes=").partition("-")
        first, last = int(start) + shift, int(stop or len(body) - 1)
        headers = {
            "Content-Range": f"bytes {first}-{last}/{len(body)}",
            "Content-Length": last - first + 1,
            "ETag": ETAG,
        }
        request.respond(206, headers, body[first : min(last + 1, until or len(body))])
        request.close_connection = until is not None
        return None

    return answer
