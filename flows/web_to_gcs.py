"""Web -> bucket: a month's file, typed and cleaned, as one parquet object."""

from __future__ import annotations

from prefect import State, flow
from prefect_gcp import GcsBucket

from flows.due import months_from_web
from flows.month_load import bucket_store, fetcher, load_months
from flows.parameters import Limit, MonthNumber, Service, Year, command, run_name
from infra.settings import settings

DEFAULTS = settings()


@flow(name="etl_web_to_gcs", flow_run_name=run_name, persist_result=False)
async def etl_web_to_gcs(
    service: Service = Service.GREEN,
    year: Year | None = None,
    month: MonthNumber | None = None,
    source_url: str = DEFAULTS.source_url,
    bucket_block: str = DEFAULTS.bucket_block,
    limit: Limit = 3,
    force: bool = False,
) -> State:
    """Load a month from the web into the bucket, in place of what was there; skip it if its source is unchanged.

    Without a month: those of the year (without a year, of the last twelve months) that are published and not loaded.

    Args:
        service: Whose trips.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: those that are due.
        source_url: Where from: a URL template with {service}, {year}, {month:02}; https, http or file.
        bucket_block: The GcsBucket block to load into.
        limit: Without a month: how many of those that are due, the oldest first.
        force: Load even where the ledger says that the source has not changed.
    """
    store = bucket_store(await GcsBucket.aload(bucket_block))
    months = months_from_web(store.entries, source_url, service, year, month, limit)
    return await load_months("bucket", store, months, fetcher(source_url), force=force)


if __name__ == "__main__":
    command(etl_web_to_gcs)
