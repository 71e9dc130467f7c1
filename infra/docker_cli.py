"""Runs the docker command and explains its failures in one line."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from infra.settings import ROOT


class DockerFailed(RuntimeError):
    """A docker command failed; the message is one clear line."""


NO_COMPOSE = "Docker Compose 2.23.1 or later is needed, as a plugin of the docker command"

# A part of the output of the command or the daemon -> what to do about it.
_KNOWN = {
    "cannot connect to the docker daemon": "no Docker engine answers; start it, or set DOCKER_HOST",
    "permission denied while trying to connect": "this user may not use the Docker engine; add it to the group docker",
    "no basic auth credentials": "the registry requires a login; run: docker login {registry}",
    "unauthorized": "the registry requires a login; run: docker login {registry}",
    "denied: requested access": "the registry refuses this login for that repository; run: docker login {registry}",
    "no space left on device": "Docker has no disk space left; `docker system df` shows what uses it",
    "unknown flag: --project-name": NO_COMPOSE,
    "unknown command: docker compose": NO_COMPOSE,
    "'compose' is not a docker command": NO_COMPOSE,
    "additional property content is not allowed": NO_COMPOSE,
    "port is already allocated": "a port is taken; {detail}",
    "address already in use": "a port is taken; {detail}",
}


def docker(*arguments: str, env: Mapping[str, str] | None = None, registry: str = "", show: bool = False) -> str:
    """Run a docker command in the project's folder and return its output, or print it with `show` (a build's progress).

    `registry` is the registry's host, for the message about a missing login.

    Raises DockerFailed if there is no docker command, no engine, or the command failed.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments],
            cwd=ROOT,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=None if show else subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise DockerFailed("the docker command was not found; install Docker Engine with Compose and Buildx") from None
    if done.returncode:
        output = "" if show else done.stderr + done.stdout
        raise DockerFailed(explain_failure(arguments, output, registry))
    return "" if show else done.stdout.strip()


def explain_failure(arguments: Sequence[str], output: str, registry: str) -> str:
    """The reason of a failed command, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and "--help" not in line]
    for line in lines:
        for known, explanation in _KNOWN.items():
            if known in line.lower():
                return explanation.format(registry=registry, detail=line)
    what = f"docker {' '.join([word for word in arguments if not word.startswith('-')][:2])} failed"
    return f"{what}: {lines[-1]}" if lines else what


def require_engine() -> None:
    """Return if a Docker engine answers. Raises DockerFailed, with what to do, otherwise."""
    docker("version", "--format", "{{.Server.Version}}")
