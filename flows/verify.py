"""Reconciliation: count every partition in every store again; the run fails if there is a difference."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from prefect import State, flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.states import Completed, Failed

from flows.datasets.registry import datasets
from flows.errors import TaxiwayError
from flows.pipeline.open_stores import bigquery_store, bucket_store, postgres_store
from flows.pipeline.parameters import command, fail_in_one_line
from flows.stores.reconcile import Difference, verify
from flows.stores.store import Store
from infra.settings import settings

DEFAULTS = settings()


@flow(name="verify_stores", persist_result=False)
@fail_in_one_line
async def verify_stores(
    postgres_block: str = DEFAULTS.postgres_block,
    bucket_block: str = DEFAULTS.bucket_block,
    credentials_block: str = DEFAULTS.credentials_block,
    dataset: str = DEFAULTS.dataset,
) -> State:
    """Count every partition in every store again, against its ledger and the published count; name each difference.

    Args:
        postgres_block: The SqlAlchemyConnector block of the trips database.
        bucket_block: The GcsBucket block of the trips bucket.
        credentials_block: The GcpCredentials block for BigQuery.
        dataset: The BigQuery dataset.
    """
    opened: dict[str, Awaitable[Store]] = {
        "postgres": postgres_store(postgres_block),
        "bucket": bucket_store(bucket_block),
        "bigquery": bigquery_store(credentials_block, dataset),
    }
    stores: dict[str, Store] = {}
    unusable: list[Difference] = []
    for name, store in opened.items():
        try:
            stores[name] = await store
        except TaxiwayError as failure:  # check the other stores all the same
            unusable.append(Difference(name, None, str(failure)))
    verified = await asyncio.to_thread(verify, stores, datasets().values())
    differences = [*unusable, *verified.differences]
    await acreate_table_artifact(
        [{"difference": str(difference)} for difference in differences], key="verify", description="Differences found"
    )
    for difference in differences:
        get_run_logger().error("%s", difference)
    if differences:
        return Failed(message=f"{len(differences)} differences: {'; '.join(map(str, differences[:5]))}")
    return Completed(message=f"{verified.partitions} partitions counted again in {len(stores)} stores: no difference")


if __name__ == "__main__":
    command(verify_stores)
