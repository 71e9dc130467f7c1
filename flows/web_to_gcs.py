"""Web -> bucket: a month's file, typed and cleaned, as one parquet object."""

from __future__ import annotations

from prefect import State, flow
from prefect_gcp import GcsBucket

from flows.datasets.version import contract_version
from flows.pipeline.due import asked_for, due_on_the_web
from flows.pipeline.load_partition import bucket_store, fetcher
from flows.pipeline.load_partitions import load_months
from flows.pipeline.parameters import (
    Limit,
    MonthNumber,
    Service,
    SourceUrl,
    Year,
    command,
    failing_in_one_line,
    run_name,
    template,
)
from flows.pipeline.stores_of_blocks import load_block
from infra.settings import settings

DEFAULTS = settings()


@flow(name="etl_web_to_gcs", flow_run_name=run_name, persist_result=False)
@failing_in_one_line
async def etl_web_to_gcs(
    service: Service = Service.GREEN,
    year: Year | None = None,
    month: MonthNumber | None = None,
    source_url: SourceUrl | None = None,
    bucket_block: str = DEFAULTS.bucket_block,
    limit: Limit = 3,
    force: bool = False,
    dry_run: bool = False,
) -> State:
    """Load a month from the web into the bucket, in place of what was there; skip it if its source is unchanged.

    Without a month: those of the year (without a year, of the last twelve months) that are published and not loaded,
    and, after a change of columns, rules or checks, those that were loaded before it.

    Args:
        service: Whose trips.
        year: The year in the file's name.
        month: The month in the file's name, 1 to 12; none: those that are due.
        source_url: Where from: a URL template with {service}, {year}, {month:02}; https, http or file. None: the
            setting TAXIWAY_SOURCE_URL, which may hold a password.
        bucket_block: The GcsBucket block to load into.
        limit: Without a month: how many of those that are due, new ones first.
        force: Load even where the ledger says that the source has not changed.
        dry_run: Only list which months are due, and why.
    """
    store = bucket_store(await load_block(GcsBucket, bucket_block))
    source, contract = template(source_url), contract_version(service, "bucket")
    found = (
        due_on_the_web(store.entries, source, service, year, contract)
        if month is None
        else asked_for(service, year, month)
    )
    return await load_months("bucket", store, found, fetcher(source), limit=limit, force=force, dry_run=dry_run)


if __name__ == "__main__":
    command(etl_web_to_gcs)
