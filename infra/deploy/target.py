"""Where a deploy goes, and the revision of the code that it deploys."""

from __future__ import annotations

from dataclasses import dataclass

from infra.image import revision
from infra.settings import ROOT, Settings, settings

# Where docker/Dockerfile puts the project.
IMAGE_ROOT = "/opt/taxiway"


@dataclass(frozen=True)
class Target:
    """Values that all deployments of a deploy share.

    Attributes:
        pool: the work pool's name; `pool_type` is process or docker.
        tag: the tag of every deployment; each tag has its own record, see `infra/deploy/record.py`.
        root: the project's folder, in the image or on this machine.
        version: the git revision, which is also the image's tag.
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
        """The start of the names of our limits, automations and schedules."""
        return f"{self.tag}-"


def target_of(config: Settings | None = None, *, image: str | None = None) -> Target:
    """The target of the settings."""
    config = config or settings()
    return Target(
        pool=config.work_pool,
        pool_type=config.work_pool_type,
        tag=config.tag,
        root=IMAGE_ROOT if config.work_pool_type == "docker" else str(ROOT),
        version=config.revision or revision().tag,
        image=image,
    )
