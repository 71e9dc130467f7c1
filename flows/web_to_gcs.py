"""Web -> bucket: a month's file, typed and cleaned, as one parquet object."""

from __future__ import annotations

from prefect import State, flow
from prefect_gcp import GcsBucket

from flows.month_load import fetch_month, load_month
from flows.parameters import Force, MonthNumber, Service, SourceUrl, Year, command
from flows.stores.bucket import BucketStore
from flows.trips.month import Month
from infra.settings import settings

DEFAULTS = settings()


@flow(flow_run_name="{service} {year}-{month}", persist_result=False)
async def etl_web_to_gcs(
    service: Service = Service.GREEN,
    year: Year = 2021,
    month: MonthNumber = 1,
    source_url: SourceUrl = DEFAULTS.source_url,
    bucket_block: str = DEFAULTS.bucket_block,
    force: Force = False,
) -> State:
    """Load one month from the web into the bucket, in place of what was there; skip it if its source is unchanged."""
    what = Month(service, year, month)
    bucket = await GcsBucket.aload(bucket_block)
    return await load_month(
        "bucket",
        BucketStore(bucket.get_bucket()),
        what,
        lambda directory: fetch_month(what, source_url, directory),
        force=force,
    )


if __name__ == "__main__":
    command(etl_web_to_gcs)
