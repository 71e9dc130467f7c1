"""Names of images, registries and remotes, and what a docker command's failure means."""

from __future__ import annotations

import pytest

from infra import image
from infra.docker_cli import meaning
from infra.image import ImageUnavailable, Revision, registry_of, repository, web_address


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/someone/taxiway.git", "https://github.com/someone/taxiway"),
        ("https://user:token@github.com/someone/taxiway", "https://github.com/someone/taxiway"),
        ("git@github.com:someone/taxiway.git", "https://github.com/someone/taxiway"),
        ("ssh://git@example.com/group/taxiway.git", "https://example.com/group/taxiway"),
        ("/somewhere/on/this/disk", ""),
        ("../taxiway", ""),
        ("", ""),
    ],
)
def test_a_remote_is_shown_without_user_or_path_of_this_machine(remote, address):
    assert web_address(remote) == address


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("docker.io/someone/taxiway:1", ""),
        ("someone/taxiway:1", ""),
        ("localhost:5000/taxiway:1", "localhost:5000"),
        ("ghcr.io/someone/taxiway:1", "ghcr.io"),
        ("localhost/taxiway", "localhost"),
    ],
)
def test_the_registry_to_log_in_to(name, registry):
    assert registry_of(name) == registry


def test_the_repository_is_the_one_named_else_docker_hubs(monkeypatch):
    values = {"DOCKERHUB_USER": "someone"}
    monkeypatch.setattr(image, "read_environment", lambda: values)
    assert repository() == "docker.io/someone/taxiway"
    values["IMAGE_REPOSITORY"] = "ghcr.io/someone/flows"
    assert repository() == "ghcr.io/someone/flows"
    values.clear()
    with pytest.raises(ImageUnavailable, match="DOCKERHUB_USER"):
        repository()


def test_what_is_in_no_commit_is_dirty():
    assert Revision("1.0-dirty", "abc", "").dirty
    assert Revision("unversioned", "", "").dirty
    assert not Revision("1.0", "abc", "").dirty


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is it running?", "no Docker engine answers"),
        ("push\nno basic auth credentials\n", "run: docker login localhost:5000"),
        ("unauthorized: authentication required", "run: docker login localhost:5000"),
        (
            "docker: Error: no such thing.\n\nRun 'docker run --help' for more",
            "docker run x failed: docker: Error: no such",
        ),
        ("", "docker run x failed"),
    ],
)
def test_a_failure_is_one_line(said, means):
    line = meaning(["run", "x"], said, "localhost:5000")
    assert means in line and "\n" not in line
