"""The blocks that are code: saved by `make blocks` and `make deploy`, read by the flows, editable in the UI.

The names are in `infra/settings.py`; what they hold comes from the environment or `.env`.
"""

from __future__ import annotations

import json

from google.auth.exceptions import DefaultCredentialsError
from prefect.blocks.core import Block
from prefect_gcp import GcpCredentials, GcsBucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

from infra.postgres_url import parts_of
from infra.settings import Settings, settings


class BlocksUnavailable(ValueError):
    """A setting that a block needs is missing; the message names it."""


def postgres_block(config: Settings) -> SqlAlchemyConnector:
    """The trips database, as a SqlAlchemyConnector with psycopg 3. Raises BlocksUnavailable without a URL."""
    if config.postgres_url is None:
        raise BlocksUnavailable("TAXIWAY_POSTGRES_URL is not set: postgresql://user:password@host:port/database")
    options = parts_of(config.postgres_url.get_secret_value())
    port = str(options.get("port", ""))
    # By its parts: a URL in one piece would be shown in the UI with its password.
    parts = ConnectionComponents(
        driver="postgresql+psycopg",
        username=options.pop("user", None),
        password=options.pop("password", None),
        host=options.pop("host", None),
        port=int(options.pop("port")) if port.isdecimal() else None,
        database=options.pop("dbname", None),
        query=options or None,
    )
    return SqlAlchemyConnector(connection_info=parts)


def credentials_block(config: Settings) -> GcpCredentials:
    """The Google account: a service account's key as JSON in TAXIWAY_GOOGLE_KEY, else the machine's own credentials.

    Raises BlocksUnavailable where there is neither.
    """
    if config.google_key is not None:
        key = json.loads(config.google_key.get_secret_value())
        return GcpCredentials(service_account_info=key, project=config.project)
    try:
        return GcpCredentials(project=config.project)
    except DefaultCredentialsError:
        raise BlocksUnavailable(
            "no Google credentials: set TAXIWAY_GOOGLE_KEY to a service account's key as JSON, "
            "or log in with `gcloud auth application-default login`"
        ) from None


def bucket_block(config: Settings, credentials: GcpCredentials) -> GcsBucket:
    """The bucket, through the same account."""
    return GcsBucket(bucket=config.bucket, gcp_credentials=credentials)


def declared_blocks(config: Settings | None = None) -> dict[str, Block]:
    """Every block that is code, by name, in the order in which they are saved: one block may hold another.

    Where runs are containers, addresses that are not set are those of the stack in Compose, as containers see them.

    Raises:
        BlocksUnavailable, NoEnvironment: a setting is missing.
        ImageUnavailable: there is no image to run.
    """
    config = config or settings()
    if config.work_pool_type != "docker":
        return store_blocks(config)
    from infra.docker_container import container_blocks  # needs the Docker SDK, which a pool of processes does not
    from infra.environment import seen_from_containers

    return store_blocks(seen_from_containers(config)) | container_blocks(config)


def store_blocks(config: Settings) -> dict[str, Block]:
    """The blocks of the three stores."""
    credentials = credentials_block(config)
    return {
        config.postgres_block: postgres_block(config),
        config.credentials_block: credentials,
        config.bucket_block: bucket_block(config, credentials),
    }
