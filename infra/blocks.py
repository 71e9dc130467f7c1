"""The blocks that are code: saved by `make blocks`, read by the flows, editable in the UI.

The names are in `infra/settings.py`; what they hold comes from the environment or `.env`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from prefect.blocks.core import Block
from prefect_gcp import GcpCredentials, GcsBucket
from prefect_sqlalchemy import SqlAlchemyConnector
from pydantic import SecretStr

from infra.settings import Settings, settings


class BlocksUnavailable(ValueError):
    """A setting that a block needs is missing; the message names it."""


def postgres_block(config: Settings) -> SqlAlchemyConnector:
    """The trips database, as a SqlAlchemyConnector with psycopg 3. Raises BlocksUnavailable without a URL."""
    if config.postgres_url is None:
        raise BlocksUnavailable("TAXIWAY_POSTGRES_URL is not set: postgresql://user:password@host:port/database")
    url = config.postgres_url.get_secret_value()
    return SqlAlchemyConnector(connection_info=SecretStr(url.replace("postgresql://", "postgresql+psycopg://", 1)))


def credentials_block(config: Settings) -> GcpCredentials:
    """The Google account: a service account's key as JSON in TAXIWAY_GOOGLE_KEY, else the machine's own credentials."""
    if config.google_key is None:
        return GcpCredentials(project=config.project)
    return GcpCredentials(service_account_info=json.loads(config.google_key.get_secret_value()), project=config.project)


def bucket_block(config: Settings, credentials: GcpCredentials) -> GcsBucket:
    """The bucket, through the same account."""
    return GcsBucket(bucket=config.bucket, gcp_credentials=credentials)


def declared_blocks(config: Settings | None = None) -> dict[str, Block]:
    """Every block that is code, by name, in the order in which they are saved: one block may hold another."""
    config = config or settings()
    credentials = credentials_block(config)
    blocks: dict[str, Block] = {
        config.postgres_block: postgres_block(config),
        config.credentials_block: credentials,
        config.bucket_block: bucket_block(config, credentials),
    }
    return blocks


async def save_blocks(blocks: dict[str, Block]) -> dict[str, Any]:
    """Register the types and save the blocks, over what was there. Gives each block's document id by its name."""
    return {name: await block.save(name, overwrite=True) for name, block in blocks.items()}


if __name__ == "__main__":
    saved = asyncio.run(save_blocks(declared_blocks()))
    print(f"taxiway: {len(saved)} blocks saved: {', '.join(saved)}")
