"""`make up`, `make down` and `make destroy`: the stack of docker-compose.yml, waited for and introduced."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping

from infra.docker_cli import DockerFailed, docker, require_engine
from infra.environment import (
    BIGQUERY,
    STORAGE,
    NoEnvironment,
    emulated,
    network,
    read_environment,
    require,
    seen_from_containers,
)
from infra.image import LOCAL, build
from infra.settings import settings

SECRETS = (
    "POSTGRES_PASSWORD",
    "TRIPS_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "PGADMIN_PASSWORD",
    "PREFECT_API_AUTH_STRING",
)
START_SECONDS = 300


class NotUp(RuntimeError):
    """The stack did not come up; the message names what did not, and the end of its log."""


def up() -> None:
    """Build what runs our code, start the stack, wait until all of it is healthy, make the bucket and the dataset.

    Raises:
        NoEnvironment: there is no `.env`.
        DockerFailed: no engine, or a build failed.
        NotUp: a service did not become healthy.
    """
    values = read_environment()
    require(values, *SECRETS)
    require_engine()
    if settings().image is None:
        build("runtime", LOCAL["runtime"])
    if emulated(values):
        build("emulators", LOCAL["emulators"])
    try:
        compose("up", "--detach", "--wait", f"--wait-timeout={START_SECONDS}", "--quiet-pull", "--remove-orphans")
    except DockerFailed as wrong:
        raise NotUp(f"{first_unhealthy() or wrong}") from None
    if emulated(values):
        make_resources(values)


def down(*, volumes: bool = False) -> None:
    """Stop the stack and remove its containers; with `volumes`, also all that it kept."""
    # Nothing of these is used to stop, but the file does not read without them.
    placeholders = dict.fromkeys(SECRETS, "unused")
    compose(
        "--profile=*", "down", "--remove-orphans", *(["--volumes"] if volumes else []), env=placeholders | os.environ
    )


def compose(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run `docker compose` on the project's file."""
    return docker("compose", *arguments, env=env)


def first_unhealthy() -> str:
    """The service that is not well, with the last line it logged; empty if there is none."""
    services = [json.loads(line) for line in compose("ps", "--all", "--format=json").splitlines()]
    # What is ill comes before what only waits for it.
    for ill in ("unhealthy", "exited", "restarting", "dead", "starting", "created"):
        for service in services:
            if ill in (service["Health"], service["State"]):
                lines = compose("logs", "--no-log-prefix", "--tail=20", service["Service"]).split("\n")
                said = [line.strip() for line in lines if line.strip()] or ["nothing"]
                if any("password authentication failed" in line for line in said):
                    return "the volumes were made with other passwords than those in .env; make destroy removes them"
                return f"{service['Service']} is {ill}; the last it said: {said[-1][:300]}"
    return ""


def make_resources(values: Mapping[str, str]) -> None:
    """Make the bucket and the dataset in the emulators, from a container: it can reach who grants the token."""
    config = seen_from_containers(settings(), values)
    handed = {
        "STORAGE_EMULATOR_HOST": STORAGE,
        "BIGQUERY_EMULATOR_HOST": BIGQUERY,
        "TAXIWAY_GOOGLE_KEY": config.google_key.get_secret_value() if config.google_key else "",
        "TAXIWAY_PROJECT": config.project,
        "TAXIWAY_BUCKET": config.bucket,
        "TAXIWAY_DATASET": config.dataset,
        "TAXIWAY_LOCATION": config.location,
    }
    docker(
        *("run", "--rm", f"--network={network(values)}", "--read-only", "--tmpfs=/tmp"),
        *(f"--env={name}" for name in handed),
        *(config.image or LOCAL["runtime"], "python", "-m", "infra.google"),
        env=os.environ | handed,
    )


def addresses(values: Mapping[str, str]) -> str:
    """Where a person finds what, and as whom; the passwords are in `.env`."""
    user = values["PREFECT_API_AUTH_STRING"].partition(":")[0]
    rows = [
        ("Prefect", f"http://127.0.0.1:{values.get('PREFECT_PORT', 4200)}", f"{user}, PREFECT_API_AUTH_STRING"),
        (
            "pgAdmin",
            f"http://127.0.0.1:{values.get('PGADMIN_PORT', 5050)}",
            f"{values.get('PGADMIN_EMAIL', 'admin@example.com')}, PGADMIN_PASSWORD",
        ),
        ("PostgreSQL", f"127.0.0.1:{values.get('POSTGRES_PORT', 5432)}, database trips", "trips, TRIPS_PASSWORD"),
    ]
    return "\n".join(f"  {name:<11} {where:<36} {who}" for name, where, who in rows)


def confirmed(question: str) -> bool:
    """Whether a person at the terminal answered yes."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def main(command: str) -> None:
    """`up`, `down` or `destroy`."""
    if command == "up":
        up()
        print("taxiway: the stack is up; users and passwords are in .env")
        print(addresses(read_environment()))
        return
    require_engine()
    if command == "destroy" and not confirmed(
        "Remove the stack with all trips, objects, tables and runs that it holds?"
    ):
        sys.exit("taxiway: nothing was removed")
    down(volumes=command == "destroy")
    print(
        "taxiway: the stack and its data are gone"
        if command == "destroy"
        else "taxiway: the stack is down; its data stays"
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (DockerFailed, NoEnvironment, NotUp) as wrong:
        sys.exit(f"taxiway: {wrong}")
