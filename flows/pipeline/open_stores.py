"""Open the stores of a run from its blocks, without a request to the stores."""

from __future__ import annotations

from typing import TypeVar

from google.auth.exceptions import GoogleAuthError
from prefect.blocks.core import Block
from prefect_gcp import GcpCredentials, GcsBucket
from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector

from flows.errors import StoreFailed
from flows.stores.bigquery import BigQueryStore
from flows.stores.bucket import BucketStore
from flows.stores.postgres import PostgresStore
from infra.postgres_url import connect_options, parts_of, postgres_url
from infra.settings import settings

B = TypeVar("B", bound=Block)


async def postgres_store(block: str) -> PostgresStore:
    """The store of a SqlAlchemyConnector block."""
    return PostgresStore(libpq_uri(await load_block(SqlAlchemyConnector, block)))


async def bucket_store(block: str) -> BucketStore:
    """The store of a GcsBucket block."""
    return store_in_bucket(await load_block(GcsBucket, block))


def store_in_bucket(block: GcsBucket) -> BucketStore:
    """The store in the block's bucket and folder. The block's own `get_bucket` would send a request."""
    client = block.gcp_credentials.get_cloud_storage_client()
    return BucketStore(client.bucket(block.bucket, user_project=settings().user_project), block.bucket_folder)


async def bigquery_store(credentials_block: str, dataset: str) -> BigQueryStore:
    """The store in a BigQuery dataset, by a GcpCredentials block."""
    credentials = await load_block(GcpCredentials, credentials_block)
    return BigQueryStore(credentials.get_bigquery_client(), dataset)


async def load_block(kind: type[B], name: str) -> B:
    """The block of that name. Raises StoreFailed if it is missing or invalid, or has no Google account."""
    try:
        return await kind.aload(name)
    except (ValueError, RuntimeError, GoogleAuthError) as wrong:  # missing; invalid; no account
        reason = (str(wrong).splitlines() or [""])[0]
        raise StoreFailed(f"block {kind.get_block_type_slug()}/{name}", f"{reason} (make blocks saves it)") from None


def libpq_uri(connector: SqlAlchemyConnector) -> str:
    """The block's connection string for libpq, with password, query options and connect_args.

    Raises StoreFailed if the block is not of a PostgreSQL database, or has an option that libpq does not support.
    """
    info = connector.connection_info
    try:
        if not isinstance(info, ConnectionComponents):
            given = parts_of(str(info))
        elif info.create_url().get_backend_name() == "postgresql":
            given = {
                "user": info.username,
                "password": info.password and info.password.get_secret_value(),
                "host": info.host,
                "port": info.port,
                "dbname": info.database,
            } | (info.query or {})
        else:
            raise ValueError("the driver is not of PostgreSQL")
        return postgres_url(**connect_options(given | (connector.connect_args or {})))
    except ValueError as wrong:
        raise StoreFailed("the SqlAlchemyConnector block", str(wrong)) from None
