"""One clone, one image and one stack for all Docker tests, which are skipped without an engine.

The registry is TEST_REGISTRY with the login TEST_REGISTRY_LOGIN (user:password); localhost:5000 and taxi:taxi, as the
stand-in for Docker Hub has them, if they are not set.
"""

from __future__ import annotations

import os
import subprocess

import pytest

from flows.datasets.tlc import GREEN
from flows.datasets.tlc.generate import generate
from infra.compose import SECRETS
from tests.docker.project import SOURCE, Project, answers

REGISTRY = os.environ.get("TEST_REGISTRY", "localhost:5000")
LOGIN = os.environ.get("TEST_REGISTRY_LOGIN", "taxi:taxi")
MONTH = GREEN.partition(2021, 1)


def missing() -> str:
    """Why the Docker tests cannot run; empty if they can."""
    for what, command in (("Docker engine", ["docker", "version"]), ("Compose", ["docker", "compose", "version"])):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return "there is no docker command"
        if done.returncode:
            return f"no {what}: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
    return ""


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """The clone, with a `.env`, before its image is built."""
    with_registry = REGISTRY if answers(f"http://{REGISTRY}/v2/") else ""
    project = Project(tmp_path_factory.mktemp("project"), with_registry)
    project.commit()
    project.module("infra.environment")
    # Passwords with characters that need escaping.
    own = {name: f"{name} p@ss:w/o%r#d?\\x$y" for name in SECRETS}
    own["PREFECT_API_AUTH_STRING"] = f"taxiway:{own['PREFECT_API_AUTH_STRING']}"
    project.set(**{name: f"'{value}'" for name, value in own.items()})
    yield project
    names = (project.env["IMAGE_REPOSITORY"], project.name, f"{project.name}-emulators")
    images = [image for name in names for image in project.docker("image", "ls", "--quiet", name).split()]
    project.docker("image", "rm", "--force", *set(images), check=False)


@pytest.fixture(scope="session")
def image(project) -> str:
    """The name of the flow image, built with `make image`."""
    project.module("infra.image", "build")
    return project.image


@pytest.fixture(scope="session")
def registry(project, image) -> str:
    """A registry that requires a login, before a login."""
    if not project.registry:
        pytest.skip(f"no registry at {REGISTRY}: set TEST_REGISTRY")
    return project.registry


@pytest.fixture
def logged_in(project, registry):
    """Logged in to the registry for one test."""
    log_in(project)
    yield registry
    project.docker("logout", registry)


def log_in(project: Project) -> None:
    user, _, password = LOGIN.partition(":")
    command = ["docker", "login", "--username", user, "--password-stdin", project.registry]
    subprocess.run(command, input=password, env=project.env, capture_output=True, text=True, check=True)


@pytest.fixture(scope="session")
def stack(project, image):
    """The stack, started with empty volumes and the emulators."""
    option = f"--project-name={project.name}"
    try:
        project.module("infra.compose", "up")
        yield project
    finally:
        project.docker("compose", option, "--profile=*", "down", "--volumes", "--remove-orphans")


@pytest.fixture(scope="session")
def source(stack, tmp_path_factory) -> str:
    """The URL template of a server with one generated month, on the stack's network."""
    folder = tmp_path_factory.mktemp("source")
    folder.chmod(0o755)
    generate(MONTH, folder / f"{MONTH.stem}.parquet", rows=MONTH.published_rows or 0)
    serve = ["python", "-m", "http.server", "8000", "--directory", "/source"]
    mount = f"--volume={folder}:/source:ro"
    stack.docker("run", "--detach", "--rm", f"--name={SOURCE}", f"--network={stack.name}", mount, stack.image, *serve)
    yield f"http://{SOURCE}:8000/" + "{service}_tripdata_{year}-{month:02}.parquet"
    stack.docker("rm", "--force", SOURCE)


@pytest.fixture(scope="session")
def deployed(stack, registry):
    """The stack, with the image pushed and everything deployed by `make deploy`."""
    log_in(stack)
    stack.module("infra.image", "push")
    stack.module("infra.deploy", "apply")
    return stack
