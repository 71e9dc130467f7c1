"""The demo's runs, as a client of the API: blocks and deployments saved, runs created and watched, ledgers read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import State
from prefect.states import Pending

from demo.summary import Loaded, profile, write_page, write_summary
from flows.backfill import Pipeline
from flows.datasets.partition import Month
from flows.stores.bigquery import WarehouseStore
from flows.stores.bucket import BucketStore
from flows.stores.postgres import PostgresStore
from infra.blocks import credentials_block
from infra.deploy.deploy import deploy
from infra.google import ensure_resources
from infra.local.stack import Stack
from infra.settings import Settings

# What may run at the same time; the warehouse is loaded from the bucket.
ROUNDS = ((Pipeline.WEB_TO_GCS, Pipeline.WEB_TO_POSTGRES), (Pipeline.GCS_TO_BIGQUERY,))


def prepare(stack: Stack) -> None:
    """Make bucket and dataset, apply blocks, pool and deployments, start the worker."""
    config = Settings()
    ensure_resources(config, credentials_block(config))
    asyncio.run(deploy(config))
    stack.start_worker()


def start(pipeline: Pipeline, months: Sequence[Month], source: str) -> UUID:
    """Create a run of `etl_parent_flow` for the months, as a click in the UI does. Gives its id."""
    parameters: dict[str, Any] = {
        "months": [month.month for month in months],
        "year": months[0].year,
        "service": str(months[0].service),
        "pipeline": str(pipeline),
        "source_url": source or None,
        # The demo shows the work: a second demo on the same state loads anew.
        "force": True,
    }
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("etl_parent_flow/process")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def look(run: UUID) -> tuple[int, State]:
    """How many months of a run have ended, and the run's own state."""
    months = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state or Pending()
        children = client.read_flow_runs(flow_run_filter=months)
    return sum(1 for child in children if child.state and child.state.is_final()), state


def ledger_rows(months: Sequence[Month]) -> list[Loaded]:
    """What the stores' own ledgers say of the months."""
    config = Settings()
    credentials = credentials_block(config)
    stores = {
        "bucket": BucketStore(credentials.get_cloud_storage_client().bucket(config.bucket)),
        "warehouse": WarehouseStore(credentials.get_bigquery_client(), config.dataset),
        "postgres": PostgresStore(config.postgres_url.get_secret_value()),
    }
    return [Loaded(name, entry) for name, store in stores.items() for month in months if (entry := store.entry(month))]


def write_report(folder: Path, stack: Stack, months: Sequence[Month], loaded: Sequence[Loaded]) -> None:
    """Write `summary.json` and `report.html` into the folder."""
    write_summary(folder / "summary.json", loaded)
    labels = ", ".join(month.label for month in months)
    times = profile(stack.postgres_url("trips"), months)
    write_page(folder / "report.html", f"Taxiway: {months[0].service}, {labels}", loaded, times)
