"""The digest of the flow image in the registry."""

from __future__ import annotations

from docker.client import DockerClient
from docker.errors import APIError, DockerException

from infra.deploy.scripts import Invalid
from infra.docker_cli import DockerFailed
from infra.image import ImageUnavailable, deployed_image
from infra.settings import Settings

WHERE = "image"
LOCAL_ID = "sha256:"


def by_digest(config: Settings) -> str:
    """`repository@sha256:...` of the image of the settings, or else of the image of this revision.

    The Docker engine asks the registry, so that its settings (a proxy, a registry without TLS) and the logins of
    `docker login` apply as they do when an agent pulls the image. For an image that was never pushed, its id.

    Raises Invalid if there is no image, or the engine or the registry does not answer or does not have it.
    """
    try:
        reference = deployed_image(config)
    except (DockerFailed, ImageUnavailable) as wrong:
        raise Invalid([f"{WHERE}: {wrong}"]) from None
    if reference.startswith(LOCAL_ID):
        return reference
    if config.image is None and only_here(reference):
        return reference.partition("@")[2]
    return in_registry(reference)


def only_here(reference: str) -> bool:
    """Whether an image of this engine, as `repository@digest`, was never pushed.

    Docker's older image store has digests only of images that were pushed or pulled. In containerd's, the default since
    Docker 29, each image has a digest, which is its id, and only the registry knows whether it was pushed.
    """
    try:
        engine = DockerClient.from_env()
        if engine.images.get(reference).id != reference.partition("@")[2]:
            return False
        if reference.startswith("localhost/"):
            return True  # not a registry: the name of images of this machine
        engine.images.get_registry_data(reference)
    except APIError as wrong:
        return wrong.is_client_error()
    except DockerException:
        return False
    return False


def in_registry(reference: str) -> str:
    """`repository@sha256:...` of `repository:tag` or `repository@digest`, as the registry has it. Raises Invalid."""
    try:
        digest = DockerClient.from_env().images.get_registry_data(reference).id
    except APIError as wrong:
        explanation = " ".join(str(wrong.explanation or wrong).split())
        raise Invalid([f"{WHERE}: the registry does not give {reference}: {explanation}"]) from None
    except DockerException as wrong:
        raise Invalid([f"{WHERE}: no Docker engine to ask for {reference}: {str(wrong).splitlines()[0]}"]) from None
    return f"{repository(reference)}@{digest}"


def repository(reference: str) -> str:
    """An image reference without its tag or digest; the port of a registry is not a tag."""
    name = reference.partition("@")[0]
    head, _, last = name.rpartition("/")
    last = last.partition(":")[0]
    return f"{head}/{last}" if head else last
