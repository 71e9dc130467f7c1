"""Global concurrency limits as code: they count over all runs on all workers."""

from __future__ import annotations

from dataclasses import dataclass

from infra.settings import Settings


@dataclass(frozen=True)
class Limit:
    """A global concurrency limit: `limit` slots under `name`, which begins with the project's tag."""

    name: str
    limit: int


def declared_limits(config: Settings) -> list[Limit]:
    """All declared limits: downloads at once, as the source is one public server for all workers."""
    return [Limit(name=config.downloads_limit, limit=config.downloads_at_once)]
