"""A clone of the project for the Docker tests, with its own folder, ports, names and passwords.

It does not affect a stack that runs from this checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any

from dotenv import dotenv_values

from infra.local.processes import free_port
from infra.settings import ROOT

# Unique for this process, so that two test runs can share an engine.
NAME = f"taxiway-tests-{os.getpid()}"
SOURCE = f"{NAME}-source"
PORTS = ("POSTGRES_PORT", "PGADMIN_PORT", "PREFECT_PORT", "STORAGE_PORT", "BIGQUERY_PORT")
# Variables of the test process that would configure the clone.
FOREIGN = ("PREFECT", "TAXIWAY_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "IMAGE_REPOSITORY")
FOREIGN += ("COMPOSE_", "GIT_")


class Project:
    """The clone, and the commands of a user in it.

    Attributes:
        root: its folder; everything in it is committed, so that its image is not dirty.
        env: the environment of its commands.
        registry: the registry's host, or empty if there is none.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self.root, self.registry = folder / "taxiway", registry
        clone(self.root)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.env = inherited | {
            # Docker's logins of the tests, apart from the user's.
            "DOCKER_CONFIG": str(folder / "docker"),
            "IMAGE_REPOSITORY": f"{registry or 'localhost:5000'}/{NAME}",
            "PREFECT_HOME": str(folder / "prefect"),
            **{port: str(free_port()) for port in PORTS},
        }
        self.env["PREFECT_API_URL"] = f"{self.api}"

    # Commands

    def run(self, *command: str, check: bool = True, answer: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone and type the answer. With `check`, a failure fails the test."""
        how = {"cwd": self.root, "env": self.env | env, "timeout": 300, "input": answer}
        done = subprocess.run(command, **how, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    def module(
        self, *arguments: str, check: bool = True, answer: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a module of the project, as a target of the Makefile does."""
        return self.run(sys.executable, "-m", *arguments, check=check, answer=answer, **env)

    def refusal(self, *arguments: str, answer: str = "", **env: str) -> str:
        """The single line on standard error of a module that fails."""
        done = self.module(*arguments, check=False, answer=answer, **env)
        assert done.returncode == 1, done.stdout + done.stderr
        [line] = done.stderr.strip().splitlines()
        return line

    def docker(self, *arguments: str, check: bool = True) -> str:
        """A docker command's output."""
        return self.run("docker", *arguments, check=check).stdout.strip()

    def set(self, **values: str) -> None:
        """Append values to its `.env`; the last value of a name applies."""
        with (self.root / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in values.items())

    def commit(self) -> None:
        """Commit all changes in the folder."""
        self.run("git", "add", "-A")
        self.run(
            "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "t"
        )

    @contextmanager
    def agent(self, log: Path, **env: str):
        """An agent on this host for the duration of the block."""
        with log.open("w") as out:
            agent = subprocess.Popen(
                [sys.executable, "-m", "infra.agent"], cwd=self.root, env=self.env | env, stdout=out, stderr=out
            )
        try:
            until(lambda: "polls work pool" in log.read_text() or agent.poll() is not None, 60)
            assert agent.poll() is None, log.read_text()
            yield agent
        finally:
            agent.send_signal(SIGINT)
            try:
                agent.wait(90)
            except subprocess.TimeoutExpired:
                agent.kill()
                raise

    # What it has

    @property
    def values(self) -> dict[str, str]:
        """The values in its `.env`."""
        return {name: value or "" for name, value in dotenv_values(self.root / ".env", interpolate=False).items()}

    @property
    def name(self) -> str:
        """The name of its Compose project and network."""
        return self.values["COMPOSE_PROJECT_NAME"]

    @property
    def api(self) -> str:
        """The Prefect API's address on this host."""
        return f"http://127.0.0.1:{self.env['PREFECT_PORT']}/api"

    @property
    def image(self) -> str:
        """The name of the image of the current commit."""
        described = self.run("git", "describe", "--always", "--tags", "--abbrev=12").stdout.strip()
        return f"{self.env['IMAGE_REPOSITORY']}:{described}"

    @property
    def authorization(self) -> str:
        """The header for the login at Prefect's API."""
        return "Basic " + b64encode(self.values["PREFECT_API_AUTH_STRING"].encode()).decode()

    def call(self, method: str, path: str, body: Any = None, *, login: bool = True) -> Any:
        """Call Prefect's API. Raises HTTPError for an error response."""
        headers = {"Content-Type": "application/json"}
        if login:
            headers["Authorization"] = self.authorization
        if method in ("POST", "PATCH", "DELETE") and login:
            token = self.call("GET", "/csrf-token?client=00000000-0000-0000-0000-000000000001")["token"]
            headers |= {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "00000000-0000-0000-0000-000000000001"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.api + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def clone(folder: Path) -> None:
    """Clone the checkout, with uncommitted changes.

    Under hard conditions: readable only by this user, and with a git configuration for Windows line ends.
    """
    git = ["git", "-C", str(ROOT)]
    how = ["clone", "-q", "--no-hardlinks", "--config=core.autocrlf=true"]
    subprocess.run([*git, *how, str(ROOT), str(folder)], check=True, umask=0o077)
    listed = ["ls-files", "-z", "--modified", "--others", "--exclude-standard", "--deleted"]
    changed = subprocess.run([*git, *listed], capture_output=True, text=True, check=True).stdout
    for name in filter(None, changed.split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
        else:
            target.unlink(missing_ok=True)


def until(true: Any, seconds: float, pause: float = 0.2) -> Any:
    """The first true result. Fails the test if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(pause)
    return answer


def answers(url: str) -> bool:
    """Whether a GET of the address gets any response."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
