"""Names of images, registries and remotes, and explanations of failed docker commands."""

from __future__ import annotations

import subprocess

import pytest

from infra import image
from infra.docker_cli import explain_failure
from infra.image import ImageUnavailable, Revision, image_tag, registry_of, repository, revision, web_address


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


def test_the_repository_is_the_setting_or_on_docker_hub(monkeypatch):
    values = {"DOCKERHUB_USER": "someone"}
    monkeypatch.setattr(image, "read_environment", lambda: values)
    assert repository() == "docker.io/someone/taxiway"
    values["IMAGE_REPOSITORY"] = "ghcr.io/someone/flows"
    assert repository() == "ghcr.io/someone/flows"
    values.clear()
    with pytest.raises(ImageUnavailable, match="DOCKERHUB_USER"):
        repository()


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"DOCKERHUB_USER": "SomeOne"}, "docker.io/someone/taxiway"),
        ({"IMAGE_REPOSITORY": "Registry.example.com:5000/a/b_c"}, "Registry.example.com:5000/a/b_c"),
        ({"IMAGE_REPOSITORY": "localhost/taxiway"}, "localhost/taxiway"),
        ({"DOCKERHUB_USER": "me@example.com"}, None),
        ({"IMAGE_REPOSITORY": "https://ghcr.io/me/taxiway"}, None),
        ({"IMAGE_REPOSITORY": "me/taxiway:1.0"}, None),
        ({"IMAGE_REPOSITORY": "me/taxiway@sha256:" + "0" * 64}, None),
        ({"IMAGE_REPOSITORY": "ghcr.io/Me/taxiway"}, None),
        ({"IMAGE_REPOSITORY": "ghcr.io/me/"}, None),
    ],
)
def test_a_repository_is_normalized_or_refused_with_the_setting(monkeypatch, values, name):
    monkeypatch.setattr(image, "read_environment", lambda: values)
    if name is None:
        with pytest.raises(ImageUnavailable, match="".join(values)):
            repository()
    else:
        assert repository() == name


COMMIT = "0123456789abcdef" + "0" * 24


@pytest.mark.parametrize(
    ("described", "dirty", "tag"),
    [
        ("1.0", False, "1.0"),
        ("1.0-3-gabc", True, "1.0-3-gabc-dirty"),
        ("release/1.0", False, "release-1.0-g0123456789ab"),
        ("v1.0+tlc", True, "v1.0-tlc-g0123456789ab-dirty"),
        (".hidden", False, "hidden-g0123456789ab"),
        ("größe", False, "gr--e-g0123456789ab"),
        ("x" * 200, True, "x" * 108 + "-g0123456789ab-dirty"),
    ],
)
def test_a_git_tag_becomes_a_valid_image_tag(described, dirty, tag):
    assert image_tag(described, COMMIT, dirty=dirty) == tag
    assert len(tag) <= 128


@pytest.fixture
def repo(tmp_path):
    """A git repository with one commit and a remote. Returns its folder and the commit."""

    def git(*arguments):
        done = subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("remote", "add", "origin", "https://example.com/someone/outer.git")
    git("-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "t")
    git("tag", "release/1.0")
    return tmp_path, git("rev-parse", "HEAD")


def test_git_variables_for_another_repository_are_ignored(repo, tmp_path, monkeypatch):
    folder, commit = repo
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    assert revision(folder) == Revision(f"release-1.0-g{commit[:12]}", commit, "https://example.com/someone/outer")


@pytest.mark.parametrize("exported", [False, True])
def test_sources_inside_another_repository_have_no_revision(repo, monkeypatch, exported):
    outer, _ = repo
    inner = outer / "unpacked"
    inner.mkdir()
    if exported:
        monkeypatch.setenv("GIT_DIR", str(outer / ".git"))
    assert revision(inner) == Revision("unversioned", "", "")


def test_a_checkout_of_another_user_is_refused_with_the_advice_of_git(repo, monkeypatch):
    folder, _ = repo
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setattr(image, "revision", lambda: revision(folder))
    monkeypatch.setattr(image, "read_environment", lambda: {"DOCKERHUB_USER": "me"})
    assert revision(folder).tag == "unversioned"
    with pytest.raises(ImageUnavailable, match=f"git config --global --add safe.directory {folder}$"):
        image.reference()


def test_uncommitted_sources_are_dirty():
    assert Revision("1.0-dirty", "abc", "").dirty
    assert Revision("unversioned", "", "").dirty
    assert not Revision("1.0", "abc", "").dirty


@pytest.mark.parametrize(
    ("output", "explanation"),
    [
        ("Cannot connect to the Docker daemon at unix:///x. Is it running?", "no Docker engine answers"),
        ("push\nno basic auth credentials\n", "run: docker login localhost:5000"),
        ("unknown flag: --project-name\nSee 'docker --help'.", "Docker Compose 2.23.1 or later is needed"),
        ("docker: 'compose' is not a docker command.\nSee 'docker --help'", "Docker Compose 2.23.1 or later is needed"),
        ("validating /x/docker-compose.yml: configs.databases Additional property content is not allowed", "2.23.1"),
        ("unauthorized: authentication required", "run: docker login localhost:5000"),
        (
            "docker: Error: no such thing.\n\nRun 'docker run --help' for more",
            "docker run x failed: docker: Error: no such",
        ),
        ("", "docker run x failed"),
    ],
)
def test_a_failure_is_explained_in_one_line(output, explanation):
    line = explain_failure(["run", "x"], output, "localhost:5000")
    assert explanation in line and "\n" not in line
