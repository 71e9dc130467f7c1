"""The flow image as the registry has it: that it is there, and its digest, which names it for good."""

from __future__ import annotations

from deployments.scripts import Invalid

WHERE = "image"


def by_digest(reference: str | None) -> str:
    """`repository@sha256:...` of an image reference.

    The Docker engine asks the registry, so that its own settings (a proxy, a registry without TLS) and the logins of
    `docker login` count here as they do when a worker pulls the image.

    Raises Invalid where no image is named, the engine or the registry does not answer, or it does not have the image.
    """
    from docker.errors import APIError, DockerException

    import docker

    if not reference:
        raise Invalid([f"{WHERE}: TAXIWAY_IMAGE is not set: the image to deploy, as repository:tag"])
    try:
        engine = docker.from_env()
        digest = engine.images.get_registry_data(reference).id
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
