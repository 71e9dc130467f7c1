"""Every command exits with one line if no Prefect server is usable, and none starts a server."""

from __future__ import annotations

import ast
import re
import runpy
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from infra.blocks import BlocksUnavailable
from infra.command_line import one_line_for
from infra.local.processes import free_port
from infra.server import NoServer, ends_in_one_line, require_server
from infra.settings import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")

# What a command is given so that it begins its work, where nothing would not do. A new one is tried with nothing.
GIVEN = {
    "infra.deploy": ["plan"],
    "infra.compose": ["up"],
    "infra.image": ["push"],
    "infra.local.stack": ["neither up nor down"],
    "infra.emulators": ["storage"],
    "demo": ["--service", "purple"],
    "infra.scaffold": ["No Name"],
    "flows.datasets.inspect": ["no-such-file"],
    "flows.datasets.tlc.generate": ["green", "2021-13"],
}
# Those that have nothing to do with a Prefect server.
WITHOUT = {name for name in GIVEN if name != "infra.deploy"} | {"infra.google"}
# It writes the `.env` of this checkout, whatever it is given.
NOT_TRIED = {"infra.environment"}


def commands() -> list[str]:
    """Every module that can be run: `python -m NAME`."""
    found = []
    for path in sorted(
        file for folder in ("demo", "deployments", "flows", "infra") for file in (ROOT / folder).rglob("*.py")
    ):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.name == "__main__.py" or any(map(_runs, ast.parse(path.read_text()).body)):
            found.append(".".join(parts[:-1] if parts[-1] == "__main__" else parts))
    return found


def _runs(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)


@contextmanager
def nothing():
    yield None


@contextmanager
def refused():
    yield f"http://127.0.0.1:{free_port()}/api"


@contextmanager
def answering(status: int, body: str):
    """A server that answers everything with this."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/api"
    finally:
        server.shutdown()


HTML = "<!doctype html><title>Some other page</title>"
SERVERS = {
    "none": (nothing, "PREFECT_API_URL is not set: start a Prefect server with `make up`"),
    "refused": (refused, "no answer from http://127.0.0.1:"),
    "a page": (partial(answering, 200, HTML), "is not the API of a Prefect server"),
    "a page not found": (partial(answering, 404, HTML), "is not the API of a Prefect server, it answered 404"),
    "another login": (partial(answering, 401, '{"exception_message": "Unauthorized"}'), "refuses the login"),
    "broken": (partial(answering, 500, HTML), "the Prefect server answered 500; see its log"),
    "forbidden": (partial(answering, 403, '{"detail": "Missing CSRF token"}'), "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"),
}


def settings_of(url, folder):
    return temporary_settings({PREFECT_API_URL: url, PREFECT_HOME: folder / "prefect"})


@pytest.fixture
def away(monkeypatch, tmp_path):
    """No Docker engine, no Google account, and an empty home."""

    def no_account(_) -> None:
        raise BlocksUnavailable("no Google credentials")

    monkeypatch.setattr("infra.blocks.credentials_block", no_account)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TAXIWAY_WORK_POOL_TYPE", "process")


@pytest.mark.parametrize("server", SERVERS)
def test_an_unusable_server_is_reported_in_one_line(server, tmp_path):
    opened, line = SERVERS[server]
    with opened() as url, settings_of(url, tmp_path), pytest.raises(NoServer) as raised:
        require_server()
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def with_login(url: str | None) -> str | None:
    return url and url.replace("//", "//me:secret@")


def test_a_user_and_a_password_in_the_servers_address_are_not_shown(tmp_path):
    wrong = (refused, SERVERS["a page"][0], SERVERS["a page not found"][0])
    for opened in wrong:
        with opened() as url, settings_of(with_login(url), tmp_path):
            with pytest.raises(NoServer) as raised:
                require_server()
            with pytest.raises(SystemExit) as ended, ends_in_one_line():
                raise httpx.ConnectError("refused")
        for output in (str(raised.value), ended.value.code):
            assert "secret" not in output and url in output


@pytest.mark.parametrize("server", ["none", "refused", "a page"])
@pytest.mark.parametrize("name", [name for name in commands() if name not in NOT_TRIED])
def test_a_command_without_a_prefect_server_exits_with_one_line(name, server, away, monkeypatch, capsys, tmp_path):
    opened, line = SERVERS[server]
    monkeypatch.setattr("sys.argv", [name, *GIVEN.get(name, [])])
    with opened() as url, settings_of(with_login(url), tmp_path), pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__")
    output = capsys.readouterr().err
    output += ended.value.code if isinstance(ended.value.code, str) else ""
    assert "Traceback" not in output and "secret" not in output
    assert not list(tmp_path.rglob("*.db")), "it started its own server"
    if name not in WITHOUT:
        assert ended.value.code
        assert output.strip().startswith("taxiway: ")
        assert len(output.strip().splitlines()) == 1
        assert line in output


@pytest.mark.parametrize("name", ["infra.compose", "infra.image", "infra.local.stack"])
@pytest.mark.parametrize("given", [[], ["stop"], ["down", "push"]])
def test_a_command_with_an_unknown_verb_does_nothing(name, given, away, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, *given])
    with pytest.raises(SystemExit, match=f"usage: python -m {name} "):
        runpy.run_module(name, run_name="__main__")


def test_an_interrupt_is_reported_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended, one_line_for():
        raise KeyboardInterrupt
    assert (ended.value.code, capsys.readouterr().err) == (130, "taxiway: interrupted\n")


def test_every_make_target_runs_one_of_these_commands():
    run = set(re.findall(r"\$\(RUN\) (\S+)", (ROOT / "Makefile").read_text()))
    outside = {name for name in run if name == "pytest" or name.startswith("tests.")}
    assert run - outside <= set(commands())
