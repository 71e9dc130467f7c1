"""The image of a deploy: by digest as the registry has it, or one clear line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from docker.errors import APIError, DockerException

from infra.deploy import image_digest as image
from infra.deploy.image_digest import by_digest, repository
from infra.deploy.scripts import Invalid
from infra.settings import Settings

DIGEST = "sha256:" + 64 * "a"


def config(reference: str) -> Settings:
    return Settings(_env_file=None, image=reference)


def answers(monkeypatch, answer, image_id: str = "") -> list[str]:
    """The registry gives, or raises, this for whatever image it is asked for. Gives what it was asked."""
    asked = []

    def get_registry_data(reference):
        asked.append(reference)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(id=answer)

    here = SimpleNamespace(get_registry_data=get_registry_data, get=lambda reference: SimpleNamespace(id=image_id))
    engine = SimpleNamespace(images=here)
    monkeypatch.setattr(image.DockerClient, "from_env", lambda: engine)
    return asked


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker.io/me/taxiway:v1", "docker.io/me/taxiway"),
        ("localhost:5000/taxiway", "localhost:5000/taxiway"),
        ("localhost:5000/taxiway:v1", "localhost:5000/taxiway"),
        (f"me/taxiway@{DIGEST}", "me/taxiway"),
        ("taxiway:v1", "taxiway"),
    ],
)
def test_repository(reference, name):
    assert repository(reference) == name


def test_a_tag_becomes_the_digest_that_the_registry_has(monkeypatch):
    asked = answers(monkeypatch, DIGEST)
    assert by_digest(config("localhost:5000/taxiway:v1")) == f"localhost:5000/taxiway@{DIGEST}"
    assert asked == ["localhost:5000/taxiway:v1"]


def test_an_image_of_this_machine_is_deployed_by_its_id_without_a_registry(monkeypatch):
    asked = answers(monkeypatch, DIGEST)
    assert by_digest(config(DIGEST)) == DIGEST
    assert asked == []


NOT_FOUND = APIError("404", response=SimpleNamespace(status_code=404), explanation="not found")
DENIED = APIError("403", response=SimpleNamespace(status_code=403), explanation="denied")
NO_REGISTRY = APIError("500", response=SimpleNamespace(status_code=500), explanation="connection refused")


@pytest.mark.parametrize(
    ("name", "image_id", "registry", "deployed"),
    [
        # The older store: what has a digest was pushed.
        ("docker.io/me/taxiway", "sha256:config", DIGEST, f"docker.io/me/taxiway@{DIGEST}"),
        # containerd's store: the digest is the id, whether it was pushed or not.
        ("docker.io/me/taxiway", DIGEST, DIGEST, f"docker.io/me/taxiway@{DIGEST}"),
        ("docker.io/me/taxiway", DIGEST, NOT_FOUND, DIGEST),
        ("docker.io/me/taxiway", DIGEST, DENIED, DIGEST),
        ("localhost/taxiway", DIGEST, NO_REGISTRY, DIGEST),
        # A registry that is down is not one that does not have it.
        ("registry.example.com/taxiway", DIGEST, NO_REGISTRY, None),
    ],
)
def test_an_image_that_was_never_pushed_is_deployed_by_its_id(monkeypatch, name, image_id, registry, deployed):
    answers(monkeypatch, registry, image_id)
    monkeypatch.setattr(image, "deployed_image", lambda config: f"{name}@{DIGEST}")
    if deployed is None:
        with pytest.raises(Invalid, match=f"the registry does not give {name}"):
            by_digest(Settings(_env_file=None))
    else:
        assert by_digest(Settings(_env_file=None)) == deployed


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            APIError("404", explanation="manifest\nunknown"),
            "image: the registry does not give me/x:v1: manifest unknown",
        ),
        (DockerException("cannot connect\nmore"), "image: no Docker engine to ask for me/x:v1: cannot connect"),
    ],
)
def test_refused_in_one_line(monkeypatch, answer, why):
    answers(monkeypatch, answer)
    with pytest.raises(Invalid) as caught:
        by_digest(config("me/x:v1"))
    assert caught.value.problems == [why]
