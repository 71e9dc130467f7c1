"""Web to bucket: load a month's file, typed and cleaned, into one parquet object."""

from __future__ import annotations

from prefect import State, flow

from flows.datasets.registry import named
from flows.pipeline.load_partitions import load_from_web
from flows.pipeline.open_stores import bucket_store
from flows.pipeline.parameters import Limit, MonthNumber, Service, SourceUrl, Year, command, fail_in_one_line, run_name
from infra.settings import settings

DEFAULTS = settings()


@flow(name="etl_web_to_gcs", flow_run_name=run_name, persist_result=False)
@fail_in_one_line
async def etl_web_to_gcs(
    service: Service = "green",
    year: Year | None = None,
    month: MonthNumber | None = None,
    source_url: SourceUrl | None = None,
    bucket_block: str = DEFAULTS.bucket_block,
    limit: Limit = 3,
    force: bool = False,
    dry_run: bool = False,
) -> State:
    """Load a month from the web into the bucket, replacing an earlier load; skip it if its source is unchanged.

    Without a month: those of the year (without a year, of the last twelve months) that are published and not loaded,
    and, after a change of columns, rules or checks, those that were loaded before it.

    Args:
        service: The dataset.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: what is due.
        source_url: Where from: a URL template with {service}, {year}, {month:02}; https, http or file. None: the
            setting TAXIWAY_SOURCE_URL, which may hold a password, or else where the dataset is published.
        bucket_block: The GcsBucket block to load into.
        limit: Without a month: how many of those that are due, new ones first.
        force: Load even where the ledger says that the source has not changed.
        dry_run: Only list which months are due, and why.
    """
    store = await bucket_store(bucket_block)
    return await load_from_web(
        store, named(service), source_url, year=year, month=month, limit=limit, force=force, dry_run=dry_run
    )


if __name__ == "__main__":
    command(etl_web_to_gcs)
