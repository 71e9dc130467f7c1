"""`make image` and `make push`: the flow image, tagged with its git revision.

The repository is IMAGE_REPOSITORY, else docker.io/DOCKERHUB_USER/taxiway, from the environment or `.env`. BUILD_FLAGS
has more options for `docker build`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from infra.command_line import one_line_for, verb_of
from infra.docker_cli import DockerFailed, docker, require_engine
from infra.environment import project_name, read_environment
from infra.settings import ROOT, Settings

# What an image is built from. Changes of other files do not make it dirty.
SOURCES = ("flows", "infra", "docker", ".dockerignore", "requirements.lock", "requirements-uv.lock")
# The suffixes with which docker-compose.yml names the local images, after the project.
LOCAL_SUFFIX = {"runtime": ":latest", "emulators": "-emulators:latest"}


class ImageUnavailable(RuntimeError):
    """The image is missing or must not be built or pushed; the message says what to do."""


@dataclass(frozen=True)
class Revision:
    """The git revision of the sources.

    Attributes:
        tag: `git describe` as an image tag, with -dirty if a source differs from the commit; `unversioned`
            outside a git checkout.
        commit: the full hash, or empty.
        source: the https address of the repository, or empty.
        unreadable: why git cannot read this checkout and what to do about it, or empty.
    """

    tag: str
    commit: str
    source: str
    unreadable: str = ""

    @property
    def dirty(self) -> bool:
        """Whether a source differs from the commit, or there is no commit."""
        return self.tag.endswith("-dirty") or not self.commit


def revision(root: Path = ROOT) -> Revision:
    """The revision checked out here."""
    try:
        described = git("describe", "--always", "--tags", "--abbrev=12", root=root)
        commit = git("rev-parse", "HEAD", root=root)
        changed = git("status", "--porcelain", "--", *SOURCES, root=root)
        remote = git("config", "--default", "", "remote.origin.url", root=root)
    except OSError:
        return Revision("unversioned", "", "")
    except subprocess.CalledProcessError as error:
        return Revision("unversioned", "", "", unreadable=ownership_advice(error.stderr))
    return Revision(image_tag(described, commit, dirty=bool(changed)), commit, web_address(remote))


def readable_revision() -> Revision:
    """The revision checked out here. Raises ImageUnavailable if git refuses to read it."""
    current = revision()
    if current.unreadable:
        raise ImageUnavailable(current.unreadable)
    return current


def ownership_advice(output: str) -> str:
    """Git's advice about a checkout that another user owns, on one line; empty for another failure."""
    if "dubious ownership" not in output:
        return ""
    return f"another user owns this checkout; if you trust it, run: {output.strip().splitlines()[-1].strip()}"


TAG_LENGTH = 128


def image_tag(described: str, commit: str, *, dirty: bool) -> str:
    """The output of `git describe` as an image tag.

    Characters that an image tag cannot have (`release/1.0`, `v1.0+tlc`) are replaced. The commit is then added, so that
    two git tags do not become the same image tag.
    """
    suffix = "-dirty" if dirty else ""
    legal = re.sub(r"[^\w.-]", "-", described, flags=re.ASCII).lstrip(".-")
    if legal != described or len(legal + suffix) > TAG_LENGTH:
        suffix = f"-g{commit[:12]}{suffix}"
    return legal[: TAG_LENGTH - len(suffix)] + suffix


# These variables make git read another repository than that of the folder.
GIT_LOCATIONS = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
}


def git(*arguments: str, root: Path = ROOT) -> str:
    """The output of a git command on this checkout, never on a repository that contains it."""
    env = {name: value for name, value in os.environ.items() if name not in GIT_LOCATIONS}
    env |= {"GIT_CEILING_DIRECTORIES": str(root.parent), "LC_ALL": "C"}
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="replace", check=True)
    return done.stdout.strip()


def web_address(remote: str) -> str:
    """A git remote as an https address without a user; empty if the remote is not a server."""
    found = re.fullmatch(r"(?:https?://|ssh://)?(?:[^@/]+@)?([\w.-]+\.[a-z]+)[:/](.+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


# As Docker defines it: an optional host with a port, then names of lower-case letters, digits and separators.
_NAME = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_NAME}(?:/{_NAME})*")


def repository() -> str:
    """The repository to push the image to. Raises ImageUnavailable if it is not set or not valid."""
    values = read_environment()
    named = values.get("IMAGE_REPOSITORY")
    user = values.get("DOCKERHUB_USER")
    if named:
        if not REPOSITORY.fullmatch(named):
            raise ImageUnavailable(
                f"IMAGE_REPOSITORY={named} is not host/path/name in lower case, without https:// and without a tag"
            )
        return named
    if not user:
        raise ImageUnavailable(
            "set DOCKERHUB_USER (or IMAGE_REPOSITORY=host/path/taxiway) in .env or on the command line"
        )
    # Docker Hub accepts upper case in a user's login, but not in a repository.
    if not re.fullmatch(_NAME, user.lower()):
        raise ImageUnavailable(f"DOCKERHUB_USER={user} is not a Docker Hub account")
    return f"docker.io/{user.lower()}/taxiway"


def reference() -> str:
    """repository:tag of this revision's image. Raises ImageUnavailable as `repository` and `readable_revision`."""
    return f"{repository()}:{readable_revision().tag}"


def local_image(target: str) -> str:
    """The name of a target's local image in docker-compose.yml."""
    return project_name(read_environment()) + LOCAL_SUFFIX[target]


def build(target: str, *tags: str) -> str:
    """Build a target of the Dockerfile and return its image id. Raises DockerFailed, ImageUnavailable."""
    current = readable_revision()
    labels = {"REVISION": current.commit, "VERSION": current.tag, "SOURCE": current.source}
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


def push(name: str) -> str:
    """Push the image `name` of this revision. Returns repository@digest.

    Raises ImageUnavailable if it is not built or the sources have uncommitted changes, DockerFailed.
    """
    if readable_revision().dirty:
        raise ImageUnavailable(
            "the sources have uncommitted changes, and the tag of a pushed image names a commit; commit first"
        )
    if not docker("image", "ls", "--quiet", name):
        raise ImageUnavailable(f"{name} is not built; run: make image")
    docker("push", "--quiet", name, registry=registry_of(name))
    digest = pushed_digest(name)
    if digest is None:
        raise ImageUnavailable(f"{name} was pushed, but the engine has no digest for it")
    return digest


def registry_of(repository: str) -> str:
    """The registry's host for `docker login`; empty for Docker Hub, its default."""
    host = repository.partition("/")[0]
    return "" if host == "docker.io" or not re.search(r"[.:]|^localhost$", host) else host


def pushed_digest(name: str) -> str | None:
    """repository@digest of a local image that was pushed or pulled; None if it was neither."""
    digests = docker("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name).splitlines()
    short = name.rpartition(":")[0].removeprefix("docker.io/")
    for digest in digests:
        if digest.partition("@")[0].removeprefix("docker.io/") == short:
            return digest
    return None


def deployed_image(config: Settings) -> str:
    """The image for the block: TAXIWAY_IMAGE, else this revision's image, by digest if it has one.

    An image that was never pushed is named by its id and runs only on this machine.

    Raises ImageUnavailable if there is no image, DockerFailed without an engine.
    """
    if config.image:
        return config.image
    name = reference()
    if not docker("image", "ls", "--quiet", name):
        raise ImageUnavailable(f"{name} is not built; run: make image push")
    return pushed_digest(name) or docker("image", "inspect", "--format", "{{.Id}}", name)


def main(command: str) -> None:
    """Run `build` or `push` and print the result."""
    require_engine()
    name = reference()
    if command == "build":
        print(f"taxiway: built {name}, image id {build('runtime', name, local_image('runtime'))}")
    else:
        print(f"taxiway: pushed {push(name)}")


if __name__ == "__main__":
    with one_line_for(DockerFailed, ImageUnavailable):
        main(verb_of("infra.image", "build", "push"))
