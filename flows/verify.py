"""Reconciliation: every month of every store counted again. Zero differences is the only passing number."""

from __future__ import annotations

import asyncio

from prefect import State, flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.states import Completed, Failed
from prefect_gcp import GcpCredentials, GcsBucket
from prefect_sqlalchemy import SqlAlchemyConnector

from flows.datasets.source_address import published_rows
from flows.errors import TaxiwayError
from flows.pipeline.load_partition import bucket_store
from flows.pipeline.parameters import command, failing_in_one_line
from flows.pipeline.stores_of_blocks import load_block
from flows.stores.bigquery import WarehouseStore
from flows.stores.bucket import BucketStore
from flows.stores.postgres import PostgresStore
from flows.stores.reconcile import Countable, Difference, verify
from flows.web_to_postgres import libpq_uri
from infra.settings import settings

DEFAULTS = settings()


@flow(name="verify_stores", persist_result=False)
@failing_in_one_line
async def verify_stores(
    postgres_block: str = DEFAULTS.postgres_block,
    bucket_block: str = DEFAULTS.bucket_block,
    credentials_block: str = DEFAULTS.credentials_block,
    dataset: str = DEFAULTS.dataset,
) -> State:
    """Count every month in every store again, against its ledger and TLC's published count; name each difference.

    Args:
        postgres_block: The SqlAlchemyConnector block of the trips database.
        bucket_block: The GcsBucket block of the trips bucket.
        credentials_block: The GcpCredentials block of the warehouse.
        dataset: The warehouse's dataset.
    """
    opened = {
        "postgres": _postgres(postgres_block),
        "bucket": _bucket(bucket_block),
        "warehouse": _bigquery(credentials_block, dataset),
    }
    stores: dict[str, Countable] = {}
    unusable: list[Difference] = []
    for name, store in opened.items():
        try:
            stores[name] = await store
        except TaxiwayError as failure:  # hides no other store
            unusable.append(Difference(name, None, str(failure)))
    verified = await asyncio.to_thread(verify, stores, published_rows)
    differences = [*unusable, *verified.differences]
    await acreate_table_artifact(
        [{"difference": str(difference)} for difference in differences], key="verify", description="Differences found"
    )
    for difference in differences:
        get_run_logger().error("%s", difference)
    if differences:
        return Failed(message=f"{len(differences)} differences: {'; '.join(map(str, differences[:5]))}")
    return Completed(message=f"{verified.months} months counted again in {len(stores)} stores: no difference")


async def _postgres(block: str) -> PostgresStore:
    return PostgresStore(libpq_uri(await load_block(SqlAlchemyConnector, block)))


async def _bucket(block: str) -> BucketStore:
    return bucket_store(await load_block(GcsBucket, block))


async def _bigquery(credentials_block: str, dataset: str) -> WarehouseStore:
    credentials = await load_block(GcpCredentials, credentials_block)
    return WarehouseStore(credentials.get_bigquery_client(), dataset)


if __name__ == "__main__":
    command(verify_stores)
