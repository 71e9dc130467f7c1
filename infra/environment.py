"""`make env`: write `.env` once, with random passwords that only this machine knows."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from pydantic import SecretStr

from infra.command_line import one_line_for
from infra.postgres_url import postgres_url
from infra.settings import ROOT, Settings, settings

ENV_FILE = ROOT / ".env"
SOCKET = Path("/var/run/docker.sock")

# Where a container finds the stack's services, by their names on the network `taxiway`.
STORAGE = "http://storage:9023"
BIGQUERY = "http://bigquery:9050"
PREFECT_API = "http://prefect:4200/api"

TEMPLATE = """\
# Written once by `make env`; yours to edit afterwards. Not in git and in no image. The passwords of PostgreSQL and
# pgAdmin count when their volumes are made: to change one later, change it there as well (ALTER ROLE ... PASSWORD). A
# value with a $, a # or a space in it goes into single quotes.

# The name of this checkout's containers, volumes and network: no other checkout on this host has it
COMPOSE_PROJECT_NAME={project}

# Docker Hub account that `make image push` uses, or a whole repository elsewhere: IMAGE_REPOSITORY=host/path/taxiway
DOCKERHUB_USER=
# If the repository is private, the login that the agent pulls with; elsewhere than Docker Hub with REGISTRY_USER and
# REGISTRY_URL
REGISTRY_PASSWORD=

# Prefect: the address on this machine, and user:password of its UI and API. Every prefect command in this folder
# reads them.
PREFECT_API_URL=http://127.0.0.1:4200/api
PREFECT_API_AUTH_STRING=taxiway:{prefect}

# PostgreSQL: the superuser, and the owners of the databases `trips` and `prefect`
POSTGRES_PASSWORD={postgres}
TRIPS_PASSWORD={trips}
PREFECT_DATABASE_PASSWORD={prefect_database}

# pgAdmin: http://127.0.0.1:5050
PGADMIN_EMAIL=admin@example.com
PGADMIN_PASSWORD={pgadmin}

# Google Cloud: the emulators. For the real one leave COMPOSE_PROFILES empty and set TAXIWAY_GOOGLE_KEY to a service
# account's key (JSON on one line, in single quotes), TAXIWAY_PROJECT, TAXIWAY_BUCKET and TAXIWAY_DATASET.
COMPOSE_PROFILES=google
EMULATOR_KEY='{emulator_key}'

# The group of the Docker socket, for the worker in a container (docker compose --profile agent up -d)
DOCKER_GID={docker_gid}
"""


class NoEnvironment(RuntimeError):
    """There is no `.env`, or a value in it is missing; the message says what to do."""


def write_environment(path: Path = ENV_FILE, config: Settings | None = None) -> bool:
    """Write the file with new random passwords, readable by its owner alone. False if it is already there."""
    config = config or settings()
    key = _emulator_key(config.project)
    text = TEMPLATE.format(
        project=name_of_checkout(),
        emulator_key=json.dumps(key),
        docker_gid=SOCKET.stat().st_gid if SOCKET.exists() else 0,
        **{name: secrets.token_hex(16) for name in ("prefect", "postgres", "trips", "prefect_database", "pgadmin")},
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return True


def read_environment(path: Path = ENV_FILE) -> dict[str, str]:
    """The file's values, if it is there, with the process's environment over them, as Compose does it.

    Of COMPOSE_*, the file's alone: exported ones may be those of another project.
    """
    values = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
    return values | without_compose(os.environ)


def without_compose(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without Compose's own variables, which may name the file and the project of someone else."""
    return {name: value for name, value in environment.items() if not name.startswith("COMPOSE_")}


def name_of_checkout(root: Path = ROOT) -> str:
    """The Compose project name that `make env` gives to a checkout: of its folder and its machine, the same each time.

    Another machine's checkout has another name also on an engine that both use.
    """
    where = socket.gethostname().encode() + b":" + os.fsencode(root)
    return f"taxiway-{hashlib.sha256(where).hexdigest()[:6]}"


def project(values: Mapping[str, str]) -> str:
    """The Compose project of this checkout. A `.env` from before projects had names of their own means `taxiway`."""
    return values.get("COMPOSE_PROJECT_NAME") or "taxiway"


def require(values: Mapping[str, str], *names: str) -> None:
    """Return if all of the names have a value. Raises NoEnvironment otherwise."""
    missing = [name for name in names if not values.get(name)]
    if missing:
        raise NoEnvironment(f"{', '.join(missing)} not set; `make env` writes a .env with all that is needed")


def emulated(values: Mapping[str, str]) -> bool:
    """Whether the stack's Google Cloud is the emulators."""
    return "google" in values.get("COMPOSE_PROFILES", "").split(",")


def network(values: Mapping[str, str]) -> str:
    """The Docker network of the stack, which the runs' containers join."""
    return project(values)


def seen_from_containers(config: Settings, values: Mapping[str, str] | None = None) -> Settings:
    """The settings with the stack's own database and Google account, where none are set, as containers reach them.

    Raises NoEnvironment without a `.env` to take them from.
    """
    values = read_environment() if values is None else values
    stack: dict[str, SecretStr] = {}
    if config.postgres_url is None:
        require(values, "TRIPS_PASSWORD")
        url = postgres_url(user="trips", password=values["TRIPS_PASSWORD"], host="postgres", port=5432, dbname="trips")
        stack["postgres_url"] = SecretStr(url)
    if config.google_key is None and emulated(values):
        require(values, "EMULATOR_KEY")
        stack["google_key"] = SecretStr(values["EMULATOR_KEY"])
    return config.model_copy(update=stack)


def _emulator_key(project: str) -> dict[str, str]:
    from infra.emulators.credentials import service_account

    return service_account(project, f"{STORAGE}/token")


if __name__ == "__main__":
    with one_line_for(OSError):
        written = write_environment()
    if written:
        print(f"taxiway: {ENV_FILE.name} written, with random passwords")
    else:
        print(f"taxiway: {ENV_FILE.name} is there and stays as it is")
