"""Where a deploy goes, and which code it deploys."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

from infra.settings import ROOT, Settings, settings

# Where docker/Dockerfile puts the project.
IMAGE_ROOT = "/opt/taxiway"
UNVERSIONED = "unversioned"


@dataclass(frozen=True)
class Target:
    """What is the same for every deployment of a deploy.

    Attributes:
        pool: the work pool's name; `pool_type` is process or docker.
        tag: what every deployment carries; what carries it is ours.
        root: the folder of the project where the runs are: in the image, or on this machine.
        version: the git revision.
        image: the image by digest; None on a pool of processes.
    """

    pool: str
    pool_type: str
    tag: str
    root: str
    version: str
    image: str | None = None

    @property
    def prefix(self) -> str:
        """What the names of our objects begin with where the server has no tags for them."""
        return f"{self.tag}-"


def target_of(config: Settings | None = None, *, image: str | None = None) -> Target:
    """The target that the settings name."""
    config = config or settings()
    return Target(
        pool=config.work_pool,
        pool_type=config.work_pool_type,
        tag=config.tag,
        root=IMAGE_ROOT if config.work_pool_type == "docker" else str(ROOT),
        version=config.revision or git_revision(),
        image=image,
    )


def git_revision() -> str:
    """The commit checked out here, `-dirty` if files differ from it; `unversioned` outside a git checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    try:
        described = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return UNVERSIONED
    return described.stdout.strip()
