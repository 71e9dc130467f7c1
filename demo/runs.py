"""The demo's calls of the Prefect API: deploy, create runs, read their progress, run the report."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Pending

from flows.backfill import Pipeline
from flows.datasets.dataset import Partition
from flows.report import report_loads
from infra.blocks import credentials_block
from infra.deploy.deploy import deploy
from infra.google import ensure_resources
from infra.local.stack import Stack
from infra.settings import Settings

# Pipelines that run at the same time. BigQuery is loaded from the bucket, so its pipeline runs last.
ROUNDS = ((Pipeline.WEB_TO_GCS, Pipeline.WEB_TO_POSTGRES), (Pipeline.GCS_TO_BIGQUERY,))


def prepare(stack: Stack) -> None:
    """Create the bucket and the dataset, deploy everything, start the worker."""
    config = Settings()
    ensure_resources(config, credentials_block(config))
    asyncio.run(deploy(config))
    stack.start_worker()


def start(pipeline: Pipeline, months: Sequence[Partition], source: str) -> UUID:
    """Create a run of `etl_parent_flow` for the months, as the UI does. Returns its id."""
    parameters: dict[str, Any] = {
        "months": [month.start.month for month in months],
        "year": months[0].start.year,
        "service": months[0].dataset.name,
        "pipeline": str(pipeline),
        "source_url": source or None,
        # A second demo on the same state loads the months again.
        "force": True,
    }
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("etl_parent_flow/process")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def progress(run: UUID) -> tuple[int, State]:
    """How many months of a run have ended, and the state of the run itself."""
    months = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state or Pending()
        children = client.read_flow_runs(flow_run_filter=months)
    return sum(1 for child in children if child.state and child.state.is_final()), state


def report(months: Sequence[Partition]) -> list[dict[str, Any]]:
    """Run the report pipeline in this process. Returns the rows of `summary.json`, one a store and month."""
    numbers = [month.start.month for month in months]

    async def run() -> State:
        return await report_loads(months=numbers, year=months[0].start.year, service=months[0].dataset.name)

    logging.disable(logging.INFO)
    # The stack stops right after this run: a log record that is sent later would show an error on the terminal.
    with temporary_settings({PREFECT_LOGGING_TO_API_ENABLED: False}):
        asyncio.run(run())
    logging.disable(logging.NOTSET)
    return json.loads((Settings().state_dir / "report" / "summary.json").read_text())
