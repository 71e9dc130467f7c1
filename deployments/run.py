"""One run of a deployment: started as the UI would, its logs as they come, and how it ended."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import FlowRun, Log
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound

from deployments.pages import everything
from infra.settings import settings

# Log records are sent in batches by several processes, so one may come after a younger one.
LATE = dt.timedelta(seconds=30)
LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class NoDeployment(LookupError):
    """The server has no deployment of that name."""


async def start(client: PrefectClient, deployment: str, parameters: Mapping[str, Any]) -> FlowRun:
    """Create a run of the deployment called `flow/deployment`.

    A single value for a parameter that is a list becomes a list of one. Raises NoDeployment, or HTTPStatusError where
    the API refuses the parameters.
    """
    found = await find(client, deployment)
    properties = (found.parameter_openapi_schema or {}).get("properties", {})
    given = {
        name: [value] if is_list(properties.get(name, {})) and not isinstance(value, list) else value
        for name, value in parameters.items()
    }
    return await client.create_flow_run_from_deployment(found.id, parameters=given)


async def find(client: PrefectClient, deployment: str) -> DeploymentResponse:
    """The deployment called `flow/deployment`, or of that flow on the settings' pool. Raises NoDeployment."""
    name = deployment if "/" in deployment else f"{deployment}/{settings().work_pool_type}"
    try:
        return await client.read_deployment_by_name(name)
    except (ObjectNotFound, ValueError):
        raise NoDeployment(f"the server has no deployment {name}; a name is flow/deployment") from None


def is_list(schema: Mapping[str, Any]) -> bool:
    """Whether a parameter of this JSON schema takes a list."""
    return any(branch.get("type") == "array" for branch in (schema, *schema.get("anyOf", ())))


async def follow(client: PrefectClient, run_id: UUID, on_log: Callable[[Log], None], *, poll: float = 1.0) -> FlowRun:
    """Hand over every log record of the run once, until the run has ended. Gives the run as it ended."""
    seen: set[UUID] = set()
    latest = LONG_AGO
    while True:
        run = await client.read_flow_run(run_id)
        ended = run.state is not None and run.state.is_final()
        if ended:
            await asyncio.sleep(poll)  # its last records
        for record in await _records(client, run_id, latest - LATE):
            if record.id not in seen:
                seen.add(record.id)
                latest = max(latest, record.timestamp)
                on_log(record)
        if ended:
            return run
        await asyncio.sleep(poll)


def parameters_of(pairs: Iterable[str]) -> dict[str, Any]:
    """NAME=VALUE from the command line as parameters; a name may be in capitals, as in a Makefile."""
    split = (pair.partition("=") for pair in pairs)
    return {name.strip().lower(): value_of(text) for name, _, text in split}


def value_of(text: str) -> Any:
    """A parameter's value from the command line: JSON where it is JSON, else a list where it has commas, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return [value_of(part) for part in text.split(",")] if "," in text else text


async def _records(client: PrefectClient, run_id: UUID, since: dt.datetime) -> list[Log]:
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]), timestamp=LogFilterTimestamp(after_=since))
    return await everything(client.read_logs, log_filter=of_run, sort=LogSort.TIMESTAMP_ASC)
