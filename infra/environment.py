"""`make env`: write `.env` once, with random passwords."""

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

# The addresses of the stack's services for a container, by their names on the stack's network.
STORAGE = "http://storage:9023"
BIGQUERY = "http://bigquery:9050"
PREFECT_API = "http://prefect:4200/api"

TEMPLATE = """\
# Written once by `make env`; edit it as needed. It is not in git and not in the image. The passwords of PostgreSQL and
# pgAdmin are used when their volumes are created: to change one later, change it there too (ALTER ROLE ... PASSWORD).
# Put a value with a $, a # or a space in single quotes.

# The prefix of this checkout's containers, volumes and network, unique on this host
COMPOSE_PROJECT_NAME={project}

# The Docker Hub account for `make image push`. For another registry: IMAGE_REPOSITORY=host/path/taxiway
DOCKERHUB_USER=
# For a private repository, the password with which the agent pulls. For another registry than Docker Hub also set
# REGISTRY_USER and REGISTRY_URL
REGISTRY_PASSWORD=

# Prefect: the address on this machine, and user:password of its UI and API. Prefect commands in this folder read them.
PREFECT_API_URL=http://127.0.0.1:4200/api
PREFECT_API_AUTH_STRING=taxiway:{prefect}

# PostgreSQL: the superuser, and the owners of the databases `trips` and `prefect`
POSTGRES_PASSWORD={postgres}
TRIPS_PASSWORD={trips}
PREFECT_DATABASE_PASSWORD={prefect_database}

# pgAdmin: http://127.0.0.1:5050
PGADMIN_EMAIL=admin@example.com
PGADMIN_PASSWORD={pgadmin}

# Google Cloud: `google` starts the emulators. To use the real services leave COMPOSE_PROFILES empty and set
# TAXIWAY_PROJECT, TAXIWAY_BUCKET, TAXIWAY_DATASET and, to a service account's key (JSON on one line, in single quotes),
# TAXIWAY_GOOGLE_KEY.
COMPOSE_PROFILES=google
EMULATOR_KEY='{emulator_key}'

# The group of the Docker socket, for the agent in a container (docker compose --profile agent up -d)
DOCKER_GID={docker_gid}
"""


class NoEnvironment(RuntimeError):
    """`.env` or a value in it is missing; the message says what to do."""


def write_environment(path: Path = ENV_FILE, config: Settings | None = None) -> bool:
    """Write the file with new random passwords, readable only by its owner. Returns False if it exists already."""
    from infra.emulators.credentials import service_account  # not in the flow image

    config = config or settings()
    key = service_account(config.project, f"{STORAGE}/token")
    text = TEMPLATE.format(
        project=default_project_name(),
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
    """The file's values, overridden by the process's environment, as in Compose.

    COMPOSE_* come only from the file: exported ones may belong to another project.
    """
    values = {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}
    return values | without_compose(os.environ)


def without_compose(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without Compose's own variables, which may name the file and the name of another project."""
    return {name: value for name, value in environment.items() if not name.startswith("COMPOSE_")}


def default_project_name(root: Path = ROOT) -> str:
    """The Compose project name that `make env` gives to a checkout, derived from its machine and folder.

    Checkouts of two machines that share an engine therefore have different names.
    """
    where = socket.gethostname().encode() + b":" + os.fsencode(root)
    return f"taxiway-{hashlib.sha256(where).hexdigest()[:6]}"


def project_name(values: Mapping[str, str]) -> str:
    """The Compose project of this checkout and its Docker network; `taxiway` if an older `.env` does not name one."""
    return values.get("COMPOSE_PROJECT_NAME") or "taxiway"


def require(values: Mapping[str, str], *names: str) -> None:
    """Return if all names have a value. Raises NoEnvironment otherwise."""
    missing = [name for name in names if not values.get(name)]
    if missing:
        raise NoEnvironment(f"{', '.join(missing)} not set; `make env` writes a .env with all required values")


def uses_emulators(values: Mapping[str, str]) -> bool:
    """Whether the stack runs the emulators of Google Cloud."""
    return "google" in values.get("COMPOSE_PROFILES", "").split(",")


def settings_for_containers(config: Settings, values: Mapping[str, str] | None = None) -> Settings:
    """The settings for containers: where no database or Google account is set, those of the stack.

    Raises NoEnvironment if `.env` does not have them.
    """
    values = read_environment() if values is None else values
    stack: dict[str, SecretStr] = {}
    if config.postgres_url is None:
        require(values, "TRIPS_PASSWORD")
        url = postgres_url(user="trips", password=values["TRIPS_PASSWORD"], host="postgres", port=5432, dbname="trips")
        stack["postgres_url"] = SecretStr(url)
    if config.google_key is None and uses_emulators(values):
        require(values, "EMULATOR_KEY")
        stack["google_key"] = SecretStr(values["EMULATOR_KEY"])
    return config.model_copy(update=stack)


if __name__ == "__main__":
    with one_line_for(OSError):
        written = write_environment()
    if written:
        print(f"taxiway: {ENV_FILE.name} written, with random passwords")
    else:
        print(f"taxiway: {ENV_FILE.name} exists already and is unchanged")
