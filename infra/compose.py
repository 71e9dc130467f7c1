"""`make up`, `make down` and `make destroy`: the stack of docker-compose.yml, waited for and introduced."""

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
    emulated,
    name_of_checkout,
    network,
    project,
    read_environment,
    require,
    seen_from_containers,
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

# The values of `.env` that are ports of this machine.
PORTS = {
    "POSTGRES_PORT": 5432,
    "PGADMIN_PORT": 5050,
    "PREFECT_PORT": 4200,
    "STORAGE_PORT": 9023,
    "BIGQUERY_PORT": 9050,
}

# With these labels Compose says whose a container or a volume is.
PROJECT = "com.docker.compose.project"
FOLDER = "com.docker.compose.project.working_dir"


class NotUp(RuntimeError):
    """The stack did not come up; the message names what did not, and the end of its log."""


class NotOurs(RuntimeError):
    """What a command would change belongs to another checkout or another project; the message names it."""


def up() -> None:
    """Build what runs our code, start the stack, wait until all of it is healthy, make the bucket and the dataset.

    Raises:
        NoEnvironment: there is no `.env`, or a password in it that is read in two ways.
        DockerFailed: no engine, or a build failed.
        ImageUnavailable: git does not say what would be built.
        NotOurs: the project's containers belong to another checkout.
        NotUp: a service did not become healthy.
    """
    values = read_environment()
    require(values, *SECRETS)
    require_engine()
    require_one_reading(values)
    require_our_containers()
    name = project(values)
    known_as_ours = name == name_of_checkout() or bool(folders_of(name))
    if settings().image is None:
        build("runtime", local_image("runtime"))
    if emulated(values):
        build("emulators", local_image("emulators"))
    try:
        compose("up", "--detach", "--wait", f"--wait-timeout={START_SECONDS}", "--quiet-pull", "--remove-orphans")
    except DockerFailed as wrong:
        why = taken_port(str(wrong), values) or first_unhealthy() or str(wrong)
        if not known_as_ours:
            # The volumes may be another checkout's: containers that are left would make them look like ours.
            down()
        raise NotUp(why) from None
    if emulated(values):
        make_resources(values)


def down(*, volumes: bool = False) -> None:
    """Stop the stack and remove its containers; with `volumes`, also all that it kept.

    Raises:
        DockerFailed: no engine, or Compose failed.
        NotOurs: the project's containers, or with `volumes` its volumes, belong to someone else.
    """
    require_our_containers()
    if volumes:
        require_our_volumes()
    compose("--profile=*", "down", "--remove-orphans", *(["--volumes"] if volumes else []), env=readable())


def compose(*arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Run `docker compose` on our own file and project, whatever the environment says of other ones."""
    ours = (f"--project-name={project(read_environment())}", f"--project-directory={ROOT}")
    file = f"--file={ROOT / 'docker-compose.yml'}"
    return docker("compose", *ours, file, *arguments, env=without_compose(os.environ if env is None else env))


def readable() -> dict[str, str]:
    """An environment in which the file reads without a `.env` as well: no secret is used to list or to stop."""
    return dict.fromkeys(SECRETS, "unused") | os.environ


def require_one_reading(values: Mapping[str, str]) -> None:
    """Return if Compose and Prefect read the passwords of `.env` as we do.

    Raises:
        NoEnvironment: naming those that they read otherwise (a $ begins the name of a variable there), or the line that
            Compose cannot read.
        DockerFailed: Compose cannot read its own file.
    """
    try:
        services = json.loads(compose("--profile=*", "config", "--format=json"))["services"].values()
    except DockerFailed as wrong:
        # Compose shows a part of the line, which may be of a password.
        if found := re.search(r"\.env: line (\d+)", str(wrong)):
            raise NoEnvironment(f"line {found[1]} of .env cannot be read by Docker Compose") from None
        raise
    # Compose writes $ as $$ here.
    held = {str(v).replace("$$", "$") for service in services for v in (service.get("environment") or {}).values()}
    unlike = {name for name in SECRETS if values[name] not in held}
    # Prefect's commands read the file as well, and expand this even in single quotes.
    unlike |= {"PREFECT_API_AUTH_STRING"} if "${" in values["PREFECT_API_AUTH_STRING"] else set()
    if unlike:
        raise NoEnvironment(
            f"{', '.join(sorted(unlike))} in .env is read otherwise by Docker Compose or Prefect; "
            "put the value in single quotes, and have no ' and no ${ in it"
        )


def require_our_containers() -> None:
    """Return if every container of the project was made from this folder. Raises NotOurs, DockerFailed."""
    name = project(read_environment())
    for folder in folders_of(name):
        if Path(folder).resolve() != ROOT:
            raise NotOurs(
                f"the containers of project {name} belong to the checkout in {folder}; nothing was changed. Set "
                f"COMPOSE_PROJECT_NAME={name_of_checkout()} in .env for a stack of this checkout's own, or, if the "
                f"folder was moved, remove the containers alone: docker compose --project-name {name} down"
            )


def require_our_volumes() -> None:
    """Return if the project's volumes are this checkout's to delete. Raises NotOurs, DockerFailed.

    Volumes do not say from which folder they were made. They are ours if this folder's containers use them, or if the
    project has the name that no other folder gets.
    """
    name = project(read_environment())
    mine = {f"{name}_{volume}" for volume in compose("--profile=*", "config", "--volumes", env=readable()).split()}
    listed = docker("volume", "ls", f'--format={{{{.Name}}}} {{{{.Label "{PROJECT}"}}}}').splitlines()
    labels = {volume: label for volume, _, label in (line.partition(" ") for line in listed) if volume in mine}
    strange = sorted(volume for volume, label in labels.items() if label != name)
    if strange:
        raise NotOurs(f"{', '.join(strange)}: not made by project {name}; nothing was removed")
    if labels and name != name_of_checkout() and not folders_of(name):
        raise NotOurs(
            f"nothing says whether {', '.join(sorted(labels))} are this checkout's or another's; nothing was removed. "
            "If this checkout made them: make up, then make destroy"
        )


def folders_of(name: str) -> set[str]:
    """The folders from which the containers of a Compose project were made."""
    listed = docker("ps", "--all", f"--filter=label={PROJECT}={name}", f'--format={{{{.Label "{FOLDER}"}}}}')
    return set(listed.splitlines())


def taken_port(said: str, values: Mapping[str, str]) -> str:
    """Which setting names the port that is taken, where that is what Docker says; else empty."""
    found = re.search(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+).*(?:already allocated|already in use)", said)
    for name, default in PORTS.items():
        if found and found[1] == str(values.get(name) or default):
            also = " and PREFECT_API_URL" if name == "PREFECT_PORT" else ""
            return f"port {found[1]} of this machine is taken; set {name}{also} in .env to another"
    return ""


def first_unhealthy() -> str:
    """The first service that is not healthy, with the last line of its log; empty if there is none."""
    services = [json.loads(line) for line in compose("ps", "--all", "--format=json").splitlines()]
    # What has failed comes before what only waits for it.
    for condition in ("unhealthy", "exited", "restarting", "dead", "starting", "created"):
        for service in services:
            if condition in (service["Health"], service["State"]):
                lines = compose("logs", "--no-log-prefix", "--tail=20", service["Service"]).split("\n")
                said = [line.strip() for line in lines if line.strip()] or ["none"]
                if service["Service"] == "postgres" and (known := refused_login(said)):
                    return known
                return f"{service['Service']} is {condition}; the last line of its log: {said[-1][:300]}"
    return ""


def refused_login(lines: Sequence[str]) -> str:
    """Why PostgreSQL refuses the login of the health check, where its log says it; else empty."""
    volume = f"{project(read_environment())}_postgres"
    for line in reversed(lines):
        if missing := re.search(r'Role "(\w+)" does not exist', line):
            return (
                f"the volume {volume} has no role {missing[1]}: its first start did not run to its end. "
                "make destroy removes it, with all that it holds"
            )
        if "password authentication failed" in line:
            return (
                f"the password in .env is not the one that the volume {volume} was made with: "
                "put the old one back into .env"
            )
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
        *(config.image or local_image("runtime"), "python", "-m", "infra.google"),
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
    name = project(read_environment())
    if command == "destroy":
        require_our_containers()
        require_our_volumes()
        engine = docker("info", "--format={{.Name}}")
        if not confirmed(
            f"Remove stack {name} on Docker engine {engine} with all trips, objects, tables and runs that it holds?"
        ):
            sys.exit("taxiway: nothing was removed")
    down(volumes=command == "destroy")
    print(
        f"taxiway: stack {name} and its data are gone"
        if command == "destroy"
        else f"taxiway: stack {name} is down; its data stays"
    )


if __name__ == "__main__":
    with one_line_for(DockerFailed, ImageUnavailable, NoEnvironment, NotOurs, NotUp):
        main(verb_of("infra.compose", "up", "down", "destroy"))
