"""Bucket -> warehouse: a month's parquet object, cleaned once more, as one partition of the service's table."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run
from prefect_gcp import GcpCredentials, GcsBucket

from flows.datasets.partition import Month
from flows.datasets.version import contract_version
from flows.pipeline.due import asked_for, due_in_bucket
from flows.pipeline.load_partition import bucket_store, local_disk, month_task
from flows.pipeline.load_partitions import load_months
from flows.pipeline.parameters import Limit, MonthNumber, Service, Year, command, failing_in_one_line, run_name
from flows.pipeline.stores_of_blocks import load_block
from flows.stores.bigquery import WarehouseStore
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LoadSource
from infra.settings import settings

DEFAULTS = settings()


@month_task(task_run_name="extract {month}")
async def extract_from_gcs(bucket: BucketStore, month: Month, directory: Path) -> tuple[Path, LoadSource]:
    """Copy the month's object to local disk. Gives its path, and the source as the ledger records it.

    Raises:
        Refused: the bucket does not have the month.
        SourceUnavailable: the local disk has no room for it.
    """
    with local_disk(month):
        return await asyncio.to_thread(bucket.download, month, directory, flow_run_id=flow_run.get_id())


@flow(name="etl_gcs_to_bq", flow_run_name=run_name, persist_result=False)
@failing_in_one_line
async def etl_gcs_to_bq(
    service: Service = Service.GREEN,
    year: Year | None = None,
    month: MonthNumber | None = None,
    bucket_block: str = DEFAULTS.bucket_block,
    credentials_block: str = DEFAULTS.credentials_block,
    dataset: str = DEFAULTS.dataset,
    limit: Limit = 3,
    force: bool = False,
    dry_run: bool = False,
) -> State:
    """Load a month from the bucket into the warehouse; skip it if the object has not changed since.

    Without a month: those of the year (without a year, of the last twelve months) that the warehouse lacks.

    Args:
        service: Whose trips.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: those that are due.
        bucket_block: The GcsBucket block to load from.
        credentials_block: The GcpCredentials block of the warehouse.
        dataset: The dataset to load into.
        limit: Without a month: how many of those that are due, new ones first.
        force: Load even where the ledger says that the object has not changed.
        dry_run: Only list which months are due, and why.
    """
    bucket = bucket_store(await load_block(GcsBucket, bucket_block))
    credentials = await load_block(GcpCredentials, credentials_block)
    warehouse = WarehouseStore(credentials.get_bigquery_client(), dataset)
    contract = contract_version(service, "warehouse")
    found = (
        due_in_bucket(warehouse.entries, bucket.entries, service, year, contract)
        if month is None
        else asked_for(service, year, month)
    )
    bring = partial(extract_from_gcs, bucket)
    return await load_months("warehouse", warehouse, found, bring, limit=limit, force=force, dry_run=dry_run)


if __name__ == "__main__":
    command(etl_gcs_to_bq)
