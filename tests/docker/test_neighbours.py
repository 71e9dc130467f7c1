"""Other projects and checkouts on the same engine are unchanged."""

from __future__ import annotations

import pytest

from tests.docker.project import NAME, Project

YES = "y\n"
IMAGE = "debian:trixie-slim"
STRANGER = f"{NAME}-stranger"
SHARED = f"{NAME}-shared"


class Neighbour:
    """Another Compose project: a running container, and a volume with data."""

    def __init__(self, project: Project, folder, name: str) -> None:
        self.project, self.folder, self.name = project, folder, name
        self.folder.mkdir()
        self.file = folder / "compose.yml"
        self.file.write_text(
            f"services:\n  postgres:\n    image: {IMAGE}\n    init: true\n"
            "    command: [sh, -c, 'echo precious >/kept/data; sleep 600']\n"
            "    volumes: ['postgres:/kept']\nvolumes: {postgres: }\n"
        )
        self._compose("up", "--detach")

    def whole(self) -> bool:
        """Whether its container runs and its volume has its data."""
        return bool(self.containers()) and self.data() == "precious"

    def containers(self) -> str:
        return self.project.docker("ps", "--quiet", f"--filter=label=com.docker.compose.project={self.name}")

    def data(self) -> str:
        mount = f"--volume={self.name}_postgres:/kept"
        return self.project.docker("run", "--rm", mount, IMAGE, "cat", "/kept/data")

    def down(self, *options: str) -> None:
        self._compose("down", "--timeout=1", *options)

    def _compose(self, *arguments: str) -> None:
        where = (f"--project-name={self.name}", f"--project-directory={self.folder}", f"--file={self.file}")
        self.project.docker("compose", *where, *arguments)


@pytest.fixture
def stranger(project, tmp_path):
    """An unrelated project."""
    neighbour = Neighbour(project, tmp_path / "stranger", STRANGER)
    yield neighbour
    neighbour.down("--volumes")


@pytest.fixture
def first_checkout(project, tmp_path):
    """A stack with the same project name, created from another folder."""
    neighbour = Neighbour(project, tmp_path / "first", SHARED)
    yield neighbour
    neighbour.down("--volumes")


@pytest.fixture
def second_checkout(project, tmp_path):
    """A second checkout with the first one's project name, as older versions gave it."""
    checkout = Project(tmp_path / "second", "")
    checkout.module("infra.environment")
    checkout.set(COMPOSE_PROJECT_NAME=SHARED)
    return checkout


def test_compose_variables_of_another_project_are_ignored(project, stranger):
    exported = {
        "COMPOSE_FILE": str(stranger.file),
        "COMPOSE_PROJECT_NAME": STRANGER,
        "COMPOSE_PROFILES": "*",
        "COMPOSE_ENV_FILES": str(stranger.file),
    }
    everything = [{name: value} for name, value in exported.items()] + [exported]
    for env in everything:
        for verb in ("down", "destroy"):
            output = project.module("infra.compose", verb, answer=YES, **env).stdout
            assert project.name in output and STRANGER not in output
            assert stranger.whole(), (verb, env)


def test_a_second_checkout_with_the_same_name_does_not_change_the_first(first_checkout, second_checkout):
    for verb in ("up", "down", "destroy"):
        line = second_checkout.refusal("infra.compose", verb, answer=YES)
        assert str(first_checkout.folder) in line and "nothing was changed" in line
        assert first_checkout.whole(), verb


def test_a_second_checkout_cannot_remove_the_volumes_of_a_stopped_stack(first_checkout, second_checkout):
    first_checkout.down()
    line = second_checkout.refusal("infra.compose", "destroy", answer=YES)
    assert f"{SHARED}_postgres" in line and "nothing was removed" in line
    assert first_checkout.data() == "precious"


def test_a_volume_that_compose_did_not_create_is_kept(project):
    volume = f"{project.name}_storage"
    project.docker("volume", "create", volume)
    try:
        line = project.refusal("infra.compose", "destroy", answer=YES)
        assert volume in line and "nothing was removed" in line
        assert project.docker("volume", "ls", "--quiet", f"--filter=name={volume}") == volume
    finally:
        project.docker("volume", "rm", volume)


def test_every_checkout_has_its_own_project_name(project, tmp_path):
    other = Project(tmp_path / "other", "")
    other.module("infra.environment")
    assert other.name != project.name
    assert other.name.startswith("taxiway-")
