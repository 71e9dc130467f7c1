"""Concurrency limits as code: how many of something at once, over every run on every worker."""

from __future__ import annotations

from dataclasses import dataclass

from infra.settings import Settings, settings


@dataclass(frozen=True)
class Limit:
    """A global concurrency limit: `limit` slots under `name`, which begins with our tag."""

    name: str
    limit: int


def downloads_limit(config: Settings | None = None) -> Limit:
    """How many months are downloaded at once: the source is one public server, however many workers there are."""
    config = config or settings()
    return Limit(name=config.downloads_limit, limit=config.downloads_at_once)


def declared_limits(config: Settings | None = None) -> list[Limit]:
    """Every limit that is code."""
    return [downloads_limit(config)]
