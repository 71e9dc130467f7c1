"""Many months: a run of one pipeline for each, several at once, and a failed one named without stopping the others."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any

from prefect import Flow, State, flow
from prefect.states import Completed, Failed

from flows.gcs_to_bigquery import etl_gcs_to_bq
from flows.parameters import Concurrency, Force, Months, Service, SourceUrl, Year, command
from flows.web_to_gcs import etl_web_to_gcs
from flows.web_to_postgres import etl_web_to_postgres
from infra.settings import settings

DEFAULTS = settings()


class Pipeline(StrEnum):
    """What is run for each month, by the name of its flow."""

    WEB_TO_GCS = "etl_web_to_gcs"
    GCS_TO_BIGQUERY = "etl_gcs_to_bq"
    WEB_TO_POSTGRES = "etl_web_to_postgres"


FLOWS: dict[Pipeline, Flow[..., Any]] = {
    Pipeline.WEB_TO_GCS: etl_web_to_gcs,
    Pipeline.GCS_TO_BIGQUERY: etl_gcs_to_bq,
    Pipeline.WEB_TO_POSTGRES: etl_web_to_postgres,
}


@flow(flow_run_name="{pipeline} {service} {year} {months}", persist_result=False)
async def etl_parent_flow(
    months: Months = [1, 2, 3],  # noqa: B006 (Prefect shows it as the default; nobody changes it)
    year: Year = 2021,
    service: Service = Service.GREEN,
    pipeline: Pipeline = Pipeline.WEB_TO_GCS,
    source_url: SourceUrl = DEFAULTS.source_url,
    concurrency: Concurrency = 2,
    force: Force = False,
) -> State:
    """Run a pipeline for each month, up to `concurrency` at once; failed at the end if any month failed."""
    places = asyncio.Semaphore(concurrency)
    shared: dict[str, Any] = {"service": service, "year": year, "force": force}
    if pipeline is not Pipeline.GCS_TO_BIGQUERY:
        shared["source_url"] = source_url

    async def one(month: int) -> State:
        async with places:
            return await FLOWS[pipeline](month=month, **shared, return_state=True)

    states = await asyncio.gather(*(one(month) for month in months))
    return ending(months, states)


def ending(months: list[int], states: list[State]) -> State:
    """The end of the whole from the ends of its months: one line that names every month that failed, and why."""
    failed = [
        f"month {month}: {state.message}"
        for month, state in zip(months, states, strict=True)
        if not state.is_completed()
    ]
    if failed:
        return Failed(message=f"{len(failed)} of {len(months)} months failed: {'; '.join(failed)}")
    return Completed(message="; ".join(state.message or "" for state in states))


if __name__ == "__main__":
    command(etl_parent_flow)
