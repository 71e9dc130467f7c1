"""Where a deploy goes, and which code it deploys."""

from __future__ import annotations

from dataclasses import dataclass

from infra.image import revision
from infra.settings import ROOT, Settings, settings

# Where docker/Dockerfile puts the project.
IMAGE_ROOT = "/opt/taxiway"


@dataclass(frozen=True)
class Target:
    """What is the same for every deployment of a deploy.

    Attributes:
        pool: the work pool's name; `pool_type` is process or docker.
        tag: what every deployment carries; the record of what deploys made is the tag's (see `infra/deploy/record.py`).
        root: the folder of the project where the runs are: in the image, or on this machine.
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
        """What the names of our limits, automations and schedules begin with."""
        return f"{self.tag}-"


def target_of(config: Settings | None = None, *, image: str | None = None) -> Target:
    """The target that the settings name."""
    config = config or settings()
    return Target(
        pool=config.work_pool,
        pool_type=config.work_pool_type,
        tag=config.tag,
        root=IMAGE_ROOT if config.work_pool_type == "docker" else str(ROOT),
        version=config.revision or revision().tag,
        image=image,
    )
