"""`make image` and `make push`: the flow image, tagged with the revision it was built from, and its digest.

The repository is IMAGE_REPOSITORY, else docker.io/DOCKERHUB_USER/taxiway, from the environment or `.env`. BUILD_FLAGS
are more options for `docker build`, for hosts that need some.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass

from infra.docker_cli import DockerFailed, docker, require_engine
from infra.environment import read_environment
from infra.settings import ROOT, Settings, settings

# What an image is built from; a change of anything else leaves it clean.
SOURCES = ("flows", "infra", "docker", ".dockerignore", "requirements.lock", "requirements-uv.lock")
# What docker-compose.yml calls the images of this machine.
LOCAL = {"runtime": "taxiway:latest", "emulators": "taxiway-emulators:latest"}


class ImageUnavailable(RuntimeError):
    """There is no image to use, or none may be made; the message says what to do."""


@dataclass(frozen=True)
class Revision:
    """What an image is built from.

    Attributes:
        tag: `git describe`, with -dirty where a source differs from the commit; `unversioned` outside a git checkout.
        commit: the whole hash, or empty.
        source: the repository's address on the web, or empty.
    """

    tag: str
    commit: str
    source: str

    @property
    def dirty(self) -> bool:
        """Whether a source differs from the commit, or is in none."""
        return self.tag.endswith("-dirty") or not self.commit


def revision() -> Revision:
    """The revision checked out here."""
    try:
        tag, commit = git("describe", "--always", "--tags", "--abbrev=12"), git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", *SOURCES)
        remote = git("config", "--default", "", "remote.origin.url")
    except (OSError, subprocess.CalledProcessError):
        return Revision("unversioned", "", "")
    return Revision(f"{tag}-dirty" if changed else tag, commit, web_address(remote))


def git(*arguments: str) -> str:
    """What a git command prints about this checkout."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def web_address(remote: str) -> str:
    """A git remote as an https address without a user in it; empty for a remote that is no server."""
    found = re.fullmatch(r"(?:https?://|ssh://)?(?:[^@/]+@)?([\w.-]+\.[a-z]+)[:/](.+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


def repository() -> str:
    """Where the image is pushed. Raises ImageUnavailable if nothing names it."""
    values = read_environment()
    named = values.get("IMAGE_REPOSITORY")
    user = values.get("DOCKERHUB_USER")
    if not named and not user:
        raise ImageUnavailable(
            "set DOCKERHUB_USER (or IMAGE_REPOSITORY=host/path/taxiway) in .env or on the command line"
        )
    return named or f"docker.io/{user}/taxiway"


def reference() -> str:
    """repository:tag of this revision's image. Raises ImageUnavailable if nothing names a repository."""
    return f"{repository()}:{revision().tag}"


def build(target: str, *tags: str) -> str:
    """Build a target of the Dockerfile and give its image id. Raises DockerFailed."""
    now = revision()
    labels = {"REVISION": now.commit, "VERSION": now.tag, "SOURCE": now.source}
    docker(
        *("build", "--file", "docker/Dockerfile", "--target", target),
        *(f"--build-arg={name}={value}" for name, value in labels.items()),
        *(f"--tag={tag}" for tag in tags),
        *shlex.split(os.environ.get("BUILD_FLAGS", "")),
        ".",
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        show=True,
    )
    return docker("image", "inspect", "--format", "{{.Id}}", tags[0])


def build_image() -> tuple[str, str]:
    """Build the flow image. Gives repository:tag and the image id."""
    require_engine()
    name = reference()
    return name, build("runtime", name, LOCAL["runtime"])


def push_image() -> str:
    """Push the image of this revision. Gives repository@digest.

    Raises:
        ImageUnavailable: the sources are not what is committed, or the image is not built.
        DockerFailed: no engine, no login, or the registry refused.
    """
    require_engine()
    if revision().dirty:
        raise ImageUnavailable(
            "the sources are not what is committed, and a pushed image must say what is in it; commit first"
        )
    name = reference()
    if not docker("image", "ls", "--quiet", name):
        raise ImageUnavailable(f"{name} is not built; run: make image")
    docker("push", "--quiet", name, registry=registry_of(name))
    digest = pushed_digest(name)
    if digest is None:
        raise ImageUnavailable(f"{name} was pushed, but the engine does not know its digest")
    return digest


def registry_of(repository: str) -> str:
    """The registry's host as `docker login` takes it; empty for Docker Hub, its default."""
    host = repository.partition("/")[0]
    return "" if host == "docker.io" or not re.search(r"[.:]|^localhost$", host) else host


def pushed_digest(name: str) -> str | None:
    """repository@digest of an image that is here and was pushed or pulled; None if it was not."""
    digests = docker("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name).splitlines()
    short = name.rpartition(":")[0].removeprefix("docker.io/")
    for digest in digests:
        if digest.partition("@")[0].removeprefix("docker.io/") == short:
            return digest
    return None


def deployed_image(config: Settings | None = None) -> str:
    """The image for the block: what TAXIWAY_IMAGE says, else this revision's, by digest once it has one.

    An image that was never pushed is named by its id: it runs on this machine alone.

    Raises ImageUnavailable where neither is there, DockerFailed without an engine.
    """
    config = config or settings()
    if config.image:
        return config.image
    name = reference()
    if not docker("image", "ls", "--quiet", name):
        raise ImageUnavailable(f"{name} is not built; run: make image push")
    return pushed_digest(name) or docker("image", "inspect", "--format", "{{.Id}}", name)


def main(command: str) -> None:
    """`build` or `push`, and print the digest."""
    if command == "build":
        name, image_id = build_image()
        print(f"taxiway: built {name}, image id {image_id}")
    else:
        print(f"taxiway: pushed {push_image()}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (DockerFailed, ImageUnavailable) as wrong:
        sys.exit(f"taxiway: {wrong}")
