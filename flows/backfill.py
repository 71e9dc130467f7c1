"""Backfill: run one pipeline for each of many months, several at once; a failed month does not stop the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from prefect import State, flow
from prefect.deployments import arun_deployment
from prefect.states import Failed

from flows.datasets.registry import named
from flows.gcs_to_bigquery import etl_gcs_to_bq
from flows.pipeline.load_partition import PartitionResult
from flows.pipeline.load_partitions import combined
from flows.pipeline.parameters import Concurrency, Months, Service, SourceUrl, Year, command
from flows.web_to_gcs import etl_web_to_gcs
from flows.web_to_postgres import etl_web_to_postgres
from infra.settings import settings

DEFAULTS = settings()


class Pipeline(StrEnum):
    """The pipeline to run, by the name of its flow."""

    WEB_TO_GCS = "etl_web_to_gcs"
    GCS_TO_BIGQUERY = "etl_gcs_to_bq"
    WEB_TO_POSTGRES = "etl_web_to_postgres"


class EachMonth(StrEnum):
    """How a month is run."""

    SUBFLOW = "subflow"
    DEPLOYMENT = "deployment"


FLOWS: dict[Pipeline, Callable[..., Awaitable[State]]] = {
    Pipeline.WEB_TO_GCS: etl_web_to_gcs,
    Pipeline.GCS_TO_BIGQUERY: etl_gcs_to_bq,
    Pipeline.WEB_TO_POSTGRES: etl_web_to_postgres,
}


@flow(name="etl_parent_flow", flow_run_name="{pipeline} {service} {year} {months}", persist_result=False)
async def etl_parent_flow(
    months: Months = [1, 2, 3],  # noqa: B006 (Prefect shows it as the default; nobody changes it)
    year: Year = 2021,
    service: Service = "green",
    pipeline: Pipeline = Pipeline.WEB_TO_GCS,
    source_url: SourceUrl | None = None,
    each_month: EachMonth = EachMonth.SUBFLOW,
    concurrency: Concurrency = 2,
    force: bool = False,
) -> State:
    """Run a pipeline for each month, up to `concurrency` at once; failed at the end if any month failed.

    Args:
        months: Months of the year, 1 to 12.
        year: The year in the files' names.
        service: The dataset.
        pipeline: What to run for each month.
        source_url: Where from, if it is from the web: a URL template with {service}, {year}, {month:02}. None: the
            setting TAXIWAY_SOURCE_URL, which may hold a password, or else where the dataset is published.
        each_month: Run a month inside this run, or as a run of the pipeline's own deployment: a container of its own.
        concurrency: How many months at once.
        force: Load even where the ledger says that the source has not changed.
    """
    places = asyncio.Semaphore(concurrency)
    shared: dict[str, Any] = {"service": service, "year": year, "force": force}
    if pipeline is not Pipeline.GCS_TO_BIGQUERY:
        shared["source_url"] = source_url

    async def one(month: int) -> State:
        async with places:
            if each_month is EachMonth.SUBFLOW:
                return await FLOWS[pipeline](month=month, **shared, return_state=True)
            run = await arun_deployment(f"{pipeline}/{DEFAULTS.work_pool_type}", parameters={"month": month, **shared})
            return run.state or Failed(message="the run has no state")

    states = await asyncio.gather(*map(one, months))
    partitions = [named(service).partition(year, month) for month in months]
    return combined(
        [
            PartitionResult(partition, state.is_completed(), str(state.message))
            for partition, state in zip(partitions, states, strict=True)
        ]
    )


if __name__ == "__main__":
    command(etl_parent_flow)
