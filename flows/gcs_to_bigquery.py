"""Bucket to BigQuery: load a month's parquet object into one partition of the dataset's table."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from prefect import State, flow
from prefect.runtime import flow_run

from flows.datasets.dataset import Partition
from flows.datasets.registry import named
from flows.pipeline.due import due_in_bucket, requested
from flows.pipeline.load_partition import local_disk, partition_task
from flows.pipeline.load_partitions import load_partitions
from flows.pipeline.open_stores import bigquery_store, bucket_store
from flows.pipeline.parameters import Limit, MonthNumber, Service, Year, command, fail_in_one_line, run_name
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LoadSource
from infra.settings import settings

DEFAULTS = settings()


@partition_task("extract {partition}")
async def extract_from_gcs(partition: Partition, directory: Path, bucket: BucketStore) -> tuple[Path, LoadSource]:
    """Copy the partition's object into the folder, see `BucketStore.download`."""
    with local_disk(partition):
        return await asyncio.to_thread(bucket.download, partition, directory, flow_run_id=flow_run.get_id())


@flow(name="etl_gcs_to_bq", flow_run_name=run_name, persist_result=False)
@fail_in_one_line
async def etl_gcs_to_bq(
    service: Service = "green",
    year: Year | None = None,
    month: MonthNumber | None = None,
    bucket_block: str = DEFAULTS.bucket_block,
    credentials_block: str = DEFAULTS.credentials_block,
    dataset: str = DEFAULTS.dataset,
    limit: Limit = 3,
    force: bool = False,
    dry_run: bool = False,
) -> State:
    """Load a month from the bucket into BigQuery; skip it if the object has not changed since.

    Without a month: those of the year (without a year, of the last twelve months) that BigQuery lacks.

    Args:
        service: The dataset.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: what is due.
        bucket_block: The GcsBucket block to load from.
        credentials_block: The GcpCredentials block for BigQuery.
        dataset: The BigQuery dataset to load into.
        limit: Without a month: how many of those that are due, new ones first.
        force: Load even where the ledger says that the object has not changed.
        dry_run: Only list which months are due, and why.
    """
    source, target = named(service), await bigquery_store(credentials_block, dataset)
    bucket = await bucket_store(bucket_block)
    found = requested(source, year, month) if month else await due_in_bucket(target, bucket, source, year)
    fetch = partial(extract_from_gcs, bucket=bucket)
    return await load_partitions(target, found, fetch, limit=limit, force=force, dry_run=dry_run)


if __name__ == "__main__":
    command(etl_gcs_to_bq)
