"""`make image` and `make push`: the flow image, tagged with the revision it was built from, and its digest.

The repository is IMAGE_REPOSITORY, else docker.io/DOCKERHUB_USER/taxiway, from the environment or `.env`. BUILD_FLAGS
are more options for `docker build`, for hosts that need some.
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
from infra.environment import project, read_environment
from infra.settings import ROOT, Settings, settings

# What an image is built from; a change of anything else leaves it clean.
SOURCES = ("flows", "infra", "docker", ".dockerignore", "requirements.lock", "requirements-uv.lock")
# Added to the name of the project, what docker-compose.yml calls the images of this machine.
LOCAL = {"runtime": ":latest", "emulators": "-emulators:latest"}


class ImageUnavailable(RuntimeError):
    """There is no image to use, or none may be made; the message says what to do."""


@dataclass(frozen=True)
class Revision:
    """What an image is built from.

    Attributes:
        tag: `git describe` as the tag of an image, with -dirty where a source differs from the commit; `unversioned`
            outside a git checkout.
        commit: the whole hash, or empty.
        source: the repository's address on the web, or empty.
        unreadable: why git does not read this checkout and what to do about it, or empty.
    """

    tag: str
    commit: str
    source: str
    unreadable: str = ""

    @property
    def dirty(self) -> bool:
        """Whether a source differs from the commit, or is in none."""
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
    except subprocess.CalledProcessError as wrong:
        return Revision("unversioned", "", "", unreadable=ownership_advice(wrong.stderr))
    return Revision(image_tag(described, commit, dirty=bool(changed)), commit, web_address(remote))


def readable_revision() -> Revision:
    """The revision for an image. Raises ImageUnavailable where there is one that git refuses to read."""
    now = revision()
    if now.unreadable:
        raise ImageUnavailable(now.unreadable)
    return now


def ownership_advice(said: str) -> str:
    """Git's own advice about a checkout that another user owns, on one line; empty for any other failure."""
    if "dubious ownership" not in said:
        return ""
    return f"another user owns this checkout; if you trust it, run: {said.strip().splitlines()[-1].strip()}"


TAG_LENGTH = 128


def image_tag(described: str, commit: str, *, dirty: bool) -> str:
    """What `git describe` says as the tag of an image.

    A git tag may have signs that a tag of an image may not (`release/1.0`, `v1.0+tlc`). Where some are replaced, the
    commit is added: two git tags must not become one.
    """
    suffix = "-dirty" if dirty else ""
    legal = re.sub(r"[^\w.-]", "-", described, flags=re.ASCII).lstrip(".-")
    if legal != described or len(legal + suffix) > TAG_LENGTH:
        suffix = f"-g{commit[:12]}{suffix}"
    return legal[: TAG_LENGTH - len(suffix)] + suffix


# With these exported, git looks at another repository than the one in the folder.
ELSEWHERE = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
}


def git(*arguments: str, root: Path = ROOT) -> str:
    """What a git command prints about this checkout, and never about a repository that it lies in."""
    env = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    env |= {"GIT_CEILING_DIRECTORIES": str(root.parent), "LC_ALL": "C"}
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, encoding="utf-8", errors="replace", check=True)
    return done.stdout.strip()


def web_address(remote: str) -> str:
    """A git remote as an https address without a user in it; empty for a remote that is no server."""
    found = re.fullmatch(r"(?:https?://|ssh://)?(?:[^@/]+@)?([\w.-]+\.[a-z]+)[:/](.+?)(?:\.git)?/?", remote)
    return f"https://{found[1]}/{found[2]}" if found else ""


# As Docker has it: a host with a port, if any, then names of small letters, digits and separators.
_NAME = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_NAME}(?:/{_NAME})*")


def repository() -> str:
    """Where the image is pushed. Raises ImageUnavailable if nothing names it, or what names it is no repository."""
    values = read_environment()
    named = values.get("IMAGE_REPOSITORY")
    user = values.get("DOCKERHUB_USER")
    if named:
        if not REPOSITORY.fullmatch(named):
            raise ImageUnavailable(
                f"IMAGE_REPOSITORY={named} is not host/path/name in small letters, without https:// and without a tag"
            )
        return named
    if not user:
        raise ImageUnavailable(
            "set DOCKERHUB_USER (or IMAGE_REPOSITORY=host/path/taxiway) in .env or on the command line"
        )
    # Docker Hub takes a user's capitals at the login, but not in a repository.
    if not re.fullmatch(_NAME, user.lower()):
        raise ImageUnavailable(f"DOCKERHUB_USER={user} is not the name of an account on Docker Hub")
    return f"docker.io/{user.lower()}/taxiway"


def reference() -> str:
    """repository:tag of this revision's image. Raises ImageUnavailable if nothing names a repository or a revision."""
    return f"{repository()}:{readable_revision().tag}"


def local_image(target: str) -> str:
    """What docker-compose.yml calls the image of a target on this machine."""
    return project(read_environment()) + LOCAL[target]


def build(target: str, *tags: str) -> str:
    """Build a target of the Dockerfile and give its image id. Raises DockerFailed, ImageUnavailable."""
    now = readable_revision()
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
    return name, build("runtime", name, local_image("runtime"))


def push_image() -> str:
    """Push the image of this revision. Gives repository@digest.

    Raises:
        ImageUnavailable: the sources are not what is committed, or the image is not built.
        DockerFailed: no engine, no login, or the registry refused.
    """
    require_engine()
    if readable_revision().dirty:
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
    with one_line_for(DockerFailed, ImageUnavailable):
        main(verb_of("infra.image", "build", "push"))
