"""Report: the ledger entries of some months in all stores, as a table in the UI, a JSON file and an HTML page."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import State, flow
from prefect.artifacts import acreate_table_artifact
from prefect.states import Completed
from prefect_sqlalchemy import SqlAlchemyConnector

from flows.datasets.registry import named
from flows.pipeline.open_stores import bigquery_store, bucket_store, libpq_uri, load_block, postgres_store
from flows.pipeline.parameters import Months, Service, Year, command, fail_in_one_line
from flows.pipeline.report_page import Loaded, profile, write_page, write_summary
from flows.stores.store import Store
from infra.settings import settings

DEFAULTS = settings()


@flow(name="report_loads", flow_run_name="report {service} {year} {months}", persist_result=False)
@fail_in_one_line
async def report_loads(
    months: Months = [1, 2, 3],  # noqa: B006 (Prefect shows it as the default; nobody changes it)
    year: Year = 2021,
    service: Service = "green",
    postgres_block: str = DEFAULTS.postgres_block,
    bucket_block: str = DEFAULTS.bucket_block,
    credentials_block: str = DEFAULTS.credentials_block,
    dataset: str = DEFAULTS.dataset,
    folder: str = str(DEFAULTS.state_dir / "report"),
) -> State:
    """Report what the stores' ledgers say of the months: rows read, loaded and rejected, and checks.

    Args:
        months: Months of the year, 1 to 12.
        year: The year in the files' names.
        service: The dataset.
        postgres_block: The SqlAlchemyConnector block of the trips database.
        bucket_block: The GcsBucket block of the trips bucket.
        credentials_block: The GcpCredentials block for BigQuery.
        dataset: The BigQuery dataset.
        folder: Where `summary.json` and `report.html` are written.
    """
    partitions = [named(service).partition(year, month) for month in months]
    stores: list[Store] = [
        await bucket_store(bucket_block),
        await bigquery_store(credentials_block, dataset),
        await postgres_store(postgres_block),
    ]
    loaded = [
        Loaded(store.name, entry)
        for store in stores
        for partition in partitions
        if (entry := await asyncio.to_thread(store.entry, partition))
    ]
    summary = [row.summary() for row in loaded]
    await acreate_table_artifact(summary, key=f"report-{service}", description=f"Loads of {service} {year}")
    uri = libpq_uri(await load_block(SqlAlchemyConnector, postgres_block))
    times = profile(uri, partitions) if "pickup_datetime" in named(service).schema.names else None
    title = f"Taxiway: {service}, {', '.join(partition.key for partition in partitions)}"
    json_file, page = Path(folder, "summary.json"), Path(folder, "report.html")
    await asyncio.to_thread(write_summary, json_file, loaded)
    await asyncio.to_thread(write_page, page, title, loaded, times)
    return Completed(message=f"{page} and {json_file}")


if __name__ == "__main__":
    command(report_loads)
