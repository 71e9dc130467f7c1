"""Push and pull, and one clear line if they fail."""

from __future__ import annotations

import re


def test_a_push_without_a_login_explains_how_to_log_in(project, registry):
    line = project.refusal("infra.image", "push")
    assert line == f"taxiway: the registry requires a login; run: docker login {registry}"


def test_a_pushed_image_can_be_pulled_by_its_digest(project, image, logged_in):
    pushed = project.module("infra.image", "push").stdout.strip()
    digest = re.fullmatch(r"taxiway: pushed (\S+@sha256:[0-9a-f]{64})", pushed)[1]
    project.docker("image", "rm", "--force", image, f"{project.name}:latest")
    project.docker("pull", digest)
    assert project.docker("run", "--rm", digest, "python", "-c", "import flows; print('here')") == "here"
    project.module("infra.image", "build")


def test_a_pull_without_a_login_is_refused(project, image, registry):
    pulled = project.run("docker", "pull", f"{project.env['IMAGE_REPOSITORY']}:none", check=False)
    assert pulled.returncode != 0
    assert "no basic auth credentials" in pulled.stderr or "unauthorized" in pulled.stderr


def test_uncommitted_sources_are_not_pushed(project, image):
    extra = project.root / "flows" / "uncommitted.py"
    extra.touch()
    try:
        assert "commit first" in project.refusal("infra.image", "push")
    finally:
        extra.unlink()


def test_an_image_that_is_not_built_is_not_pushed(project):
    line = project.refusal("infra.image", "push", IMAGE_REPOSITORY="localhost:5000/never-built")
    assert re.fullmatch(r"taxiway: localhost:5000/never-built:\S+ is not built; run: make image", line)


def test_a_missing_repository_is_reported_with_the_setting(project):
    assert "DOCKERHUB_USER" in project.refusal("infra.image", "build", IMAGE_REPOSITORY="")


def test_a_missing_engine_is_reported_by_every_verb(project):
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    for verb in (("infra.image", "build"), ("infra.image", "push"), ("infra.compose", "up"), ("infra.compose", "down")):
        assert "no Docker engine answers" in project.refusal(*verb, **nowhere)
