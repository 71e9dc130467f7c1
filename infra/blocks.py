"""Blocks as code: saved by `make blocks` and `make deploy`, read by the flows, editable in the UI.

Their names are in `infra/settings.py`; their values come from the environment or `.env`.
"""

from __future__ import annotations

from google.auth.exceptions import DefaultCredentialsError
from prefect.blocks.core import Block
from prefect_gcp import GcpCredentials, GcsBucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

from infra.google_key import InvalidKey, service_account_key
from infra.postgres_url import parts_of
from infra.settings import Settings


class BlocksUnavailable(ValueError):
    """A setting that a block needs is missing; the message names it."""


def postgres_block(config: Settings) -> SqlAlchemyConnector:
    """The trips database, as a SqlAlchemyConnector with psycopg 3. Raises BlocksUnavailable without a URL."""
    if config.postgres_url is None:
        raise BlocksUnavailable("TAXIWAY_POSTGRES_URL is not set: postgresql://user:password@host:port/database")
    options = parts_of(config.postgres_url.get_secret_value())
    port = str(options.get("port", ""))
    # In parts: the UI would show a whole URL with its password.
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
    """The Google account: the service account's key in TAXIWAY_GOOGLE_KEY, else the machine's own credentials.

    Raises BlocksUnavailable if there is neither, or the key is invalid.
    """
    if config.google_key is not None:
        try:
            key = service_account_key(config.google_key.get_secret_value())
        except InvalidKey as error:
            raise BlocksUnavailable(str(error)) from None
        return GcpCredentials(service_account_info=key, project=config.project)
    try:
        return GcpCredentials(project=config.project)
    except DefaultCredentialsError:
        raise BlocksUnavailable(
            "no Google credentials: set TAXIWAY_GOOGLE_KEY to a service account's key as JSON, "
            "or log in with `gcloud auth application-default login`"
        ) from None


def declared_blocks(config: Settings) -> dict[str, Block]:
    """All declared blocks by name, in the order in which to save them: a block may refer to an earlier one.

    On a Docker pool, addresses that are not set are those of the Compose stack for containers.

    Raises BlocksUnavailable or NoEnvironment for a missing setting, ImageUnavailable or DockerFailed without an image.
    """
    if config.work_pool_type != "docker":
        return store_blocks(config)
    from infra.docker_container import container_blocks  # imports the Docker SDK, which a process pool does not need
    from infra.environment import settings_for_containers

    return store_blocks(settings_for_containers(config)) | container_blocks(config)


def store_blocks(config: Settings) -> dict[str, Block]:
    """The blocks of the three stores."""
    credentials = credentials_block(config)
    return {
        config.postgres_block: postgres_block(config),
        config.credentials_block: credentials,
        config.bucket_block: GcsBucket(bucket=config.bucket, gcp_credentials=credentials),
    }
