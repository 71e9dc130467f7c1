"""`make up`, `make down` and `make destroy`: start and stop the stack of docker-compose.yml."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.command_line import one_line_for, verb_of
from infra.docker_cli import DockerFailed, docker, require_engine
from infra.environment import (
    BIGQUERY,
    STORAGE,
    NoEnvironment,
    default_project_name,
    project_name,
    read_environment,
    require,
    settings_for_containers,
    uses_emulators,
    without_compose,
)
from infra.image import ImageUnavailable, build, local_image
from infra.settings import ROOT, settings

SECRETS = (
    "POSTGRES_PASSWORD",
    "TRIPS_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "PGADMIN_PASSWORD",
    "PREFECT_API_AUTH_STRING",
)
START_SECONDS = 300

# The ports of this machine in `.env`, with their defaults.
PORTS = {
    "POSTGRES_PORT": 5432,
    "PGADMIN_PORT": 5050,
    "PREFECT_PORT": 4200,
    "STORAGE_PORT": 9023,
    "BIGQUERY_PORT": 9050,
}

# The labels that Compose puts on containers and volumes.
PROJECT = "com.docker.compose.project"
FOLDER = "com.docker.compose.project.working_dir"


class StackFailed(RuntimeError):
    """The stack did not start; the message names the failed service and the end of its log."""


class ForeignStack(RuntimeError):
    """A command would change what belongs to another checkout or project; the message names it."""


def up() -> None:
    """Build the images, start the stack, wait until it is healthy, and create the bucket and the dataset.

    Raises NoEnvironment, DockerFailed, ImageUnavailable, ForeignStack, or StackFailed if a service is not healthy.
    """
    values = read_environment()
    require(values, *SECRETS)
    require_engine()
    require_same_passwords(values)
    require_own_containers()
    name = project_name(values)
    owned_before = name == default_project_name() or bool(project_folders(name))
    if settings().image is None:
        build("runtime", local_image("runtime"))
    if uses_emulators(values):
        build("emulators", local_image("emulators"))
    try:
        compose("up", "--detach", "--wait", f"--wait-timeout={START_SECONDS}", "--quiet-pull", "--remove-orphans")
    except DockerFailed as error:
        reason = taken_port(str(error), values) or first_unhealthy() or str(error)
        if not owned_before:
            # The volumes may belong to another checkout. Containers left here would make them look like this one's.
            down()
        raise StackFailed(reason) from None
    if uses_emulators(values):
        make_resources(values)


def down() -> None:
    """Stop the stack and remove its containers. Raises ForeignStack for those of another checkout, DockerFailed."""
    require_own_containers()
    compose("--profile=*", "down", "--remove-orphans", env=without_secrets())


def destroy(name: str) -> None:
    """After a confirmation: stop the stack of project `name` and delete its data.

    Raises ForeignStack if its containers or volumes belong to another checkout, DockerFailed.
    """
    require_own_containers()
    require_own_volumes()
    engine = docker("info", "--format={{.Name}}")
    question = f"Remove stack {name} on Docker engine {engine} with all its trips, objects, tables, runs?"
    print(f"{question} [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        sys.exit("taxiway: nothing was removed")
    require_own_containers()  # another checkout may have started one of this name since
    require_own_volumes()
    compose("--profile=*", "down", "--remove-orphans", "--volumes", env=without_secrets())


def compose(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run `docker compose` on this checkout's file and project, whatever COMPOSE_* variables are set."""
    project = (f"--project-name={project_name(read_environment())}", f"--project-directory={ROOT}")
    file = f"--file={ROOT / 'docker-compose.yml'}"
    return docker("compose", *project, file, *arguments, env=without_compose(os.environ if env is None else env))


def without_secrets() -> dict[str, str]:
    """The environment with placeholders for missing secrets, so that listing and stopping need no `.env`."""
    return dict.fromkeys(SECRETS, "unused") | os.environ


def require_same_passwords(values: Mapping[str, str]) -> None:
    """Return if Compose and Prefect read the passwords of `.env` as this project does.

    Raises NoEnvironment if they read some differently (for them a $ starts a variable), or Compose cannot read a line.
    """
    try:
        services = json.loads(compose("--profile=*", "config", "--format=json"))["services"].values()
    except DockerFailed as error:
        # The error shows a part of the line, which may be a part of a password.
        if found := re.search(r"\.env: line (\d+)", str(error)):
            raise NoEnvironment(f"line {found[1]} of .env cannot be read by Docker Compose") from None
        raise
    # Compose writes $ as $$ in this output.
    known = {str(v).replace("$$", "$") for service in services for v in (service.get("environment") or {}).values()}
    different = {name for name in SECRETS if values[name] not in known}
    # Prefect's commands read the file too, and expand ${ even in single quotes.
    different |= {"PREFECT_API_AUTH_STRING"} if "${" in values["PREFECT_API_AUTH_STRING"] else set()
    if different:
        raise NoEnvironment(
            f"{', '.join(sorted(different))} in .env is read differently by Docker Compose or Prefect; "
            "put the value in single quotes, without ' and ${ in it"
        )


def require_own_containers() -> None:
    """Return if all containers of the project were created from this folder. Raises ForeignStack, DockerFailed."""
    name = project_name(read_environment())
    for folder in project_folders(name):
        if Path(folder).resolve() != ROOT:
            raise ForeignStack(
                f"the containers of project {name} belong to the checkout in {folder}; nothing was changed. Set "
                f"COMPOSE_PROJECT_NAME={default_project_name()} in .env for a separate stack. If the folder was moved, "
                f"remove only the containers: docker compose --project-name {name} down"
            )


def require_own_volumes() -> None:
    """Return if the project's volumes belong to this checkout. Raises ForeignStack, DockerFailed.

    Volumes have no label with their folder. They belong to this checkout if the project has containers of this folder,
    or the name that only this folder gets.
    """
    name = project_name(read_environment())
    declared = {
        f"{name}_{volume}" for volume in compose("--profile=*", "config", "--volumes", env=without_secrets()).split()
    }
    listed = docker("volume", "ls", f'--format={{{{.Name}}}} {{{{.Label "{PROJECT}"}}}}').splitlines()
    labels = {volume: label for volume, _, label in (line.partition(" ") for line in listed) if volume in declared}
    foreign = sorted(volume for volume, label in labels.items() if label != name)
    if foreign:
        raise ForeignStack(f"{', '.join(foreign)}: not created by project {name}; nothing was removed")
    if labels and name != default_project_name() and not project_folders(name):
        raise ForeignStack(
            f"cannot tell whether {', '.join(sorted(labels))} belong to this checkout; nothing was removed. "
            "If this checkout created them: make up, then make destroy"
        )


def project_folders(name: str) -> set[str]:
    """The folders from which the containers of a Compose project were created."""
    listed = docker("ps", "--all", f"--filter=label={PROJECT}={name}", f'--format={{{{.Label "{FOLDER}"}}}}')
    return set(listed.splitlines())


def taken_port(output: str, values: Mapping[str, str]) -> str:
    """Which setting to change if Docker's output says that a port is taken; else empty."""
    found = re.search(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+).*(?:already allocated|already in use)", output)
    for name, default in PORTS.items():
        if found and found[1] == str(values.get(name) or default):
            also = " and PREFECT_API_URL" if name == "PREFECT_PORT" else ""
            return f"port {found[1]} of this machine is taken; set {name}{also} in .env to another"
    return ""


def first_unhealthy() -> str:
    """The first service that is not healthy, with the last line of its log; empty if there is none."""
    services = [json.loads(line) for line in compose("ps", "--all", "--format=json").splitlines()]
    # Failed services come before those that wait for them.
    for condition in ("unhealthy", "exited", "restarting", "dead", "starting", "created"):
        for service in services:
            if condition in (service["Health"], service["State"]):
                lines = compose("logs", "--no-log-prefix", "--tail=20", service["Service"]).split("\n")
                log = [line.strip() for line in lines if line.strip()] or ["none"]
                if service["Service"] == "postgres" and (reason := refused_login(log)):
                    return reason
                return f"{service['Service']} is {condition}; last log line: {log[-1][:300]}"
    return ""


def refused_login(lines: Sequence[str]) -> str:
    """Why PostgreSQL refuses the login of the health check, if its log says so; else empty."""
    volume = f"{project_name(read_environment())}_postgres"
    for line in reversed(lines):
        if missing := re.search(r'Role "(\w+)" does not exist', line):
            return (
                f"the volume {volume} has no role {missing[1]}: its first start was interrupted. "
                "make destroy removes it with all its data"
            )
        if "password authentication failed" in line:
            return (
                f"the password in .env is not the one that the volume {volume} was created with: "
                "restore the old one in .env"
            )
    return ""


def make_resources(values: Mapping[str, str]) -> None:
    """Create the bucket and the dataset in the emulators, from a container, which reaches the token's address."""
    config = settings_for_containers(settings(), values)
    passed = {
        "STORAGE_EMULATOR_HOST": STORAGE,
        "BIGQUERY_EMULATOR_HOST": BIGQUERY,
        "TAXIWAY_GOOGLE_KEY": config.google_key.get_secret_value() if config.google_key else "",
        "TAXIWAY_PROJECT": config.project,
        "TAXIWAY_BUCKET": config.bucket,
        "TAXIWAY_DATASET": config.dataset,
        "TAXIWAY_LOCATION": config.location,
    }
    docker(
        *("run", "--rm", f"--network={project_name(values)}", "--read-only", "--tmpfs=/tmp"),
        *(f"--env={name}" for name in passed),
        *(config.image or local_image("runtime"), "python", "-m", "infra.google"),
        env=os.environ | passed,
    )


def addresses(values: Mapping[str, str]) -> str:
    """The addresses of the services and their users; the passwords are in `.env`."""
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
    return "\n".join(f"  {name:<11} {address:<36} {login}" for name, address, login in rows)


def main(command: str) -> None:
    """`up`, `down` or `destroy`."""
    if command == "up":
        up()
        print("taxiway: the stack is up; users and passwords are in .env")
        print(addresses(read_environment()))
        return
    require_engine()
    name = project_name(read_environment())
    if command == "destroy":
        destroy(name)
        print(f"taxiway: removed stack {name} and its data")
    else:
        down()
        print(f"taxiway: stopped stack {name}; its data is kept")


if __name__ == "__main__":
    with one_line_for(DockerFailed, ImageUnavailable, NoEnvironment, ForeignStack, StackFailed):
        main(verb_of("infra.compose", "up", "down", "destroy"))
