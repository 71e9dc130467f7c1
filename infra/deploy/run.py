"""Run a deployment and follow its logs until it ends."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.objects import FlowRun, Log, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound

from infra.deploy.pages import all_pages
from infra.months import months_of
from infra.settings import settings

# Several processes send log records in batches, so a record may arrive after a later one.
LATE = dt.timedelta(seconds=30)
LONG_AGO = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


class NoDeployment(LookupError):
    """The server has no deployment of that name."""


class WrongParameter(ValueError):
    """An invalid parameter. The message names it and does not show its value."""


async def start(client: PrefectClient, deployment: str, parameters: Mapping[str, Any]) -> FlowRun:
    """Create a run of the deployment `flow/deployment`. Parameters that are strings are parsed by its schema.

    Raises NoDeployment, WrongParameter, or HTTPStatusError if the API rejects the parameters.
    """
    found = await find(client, deployment)
    properties = (found.parameter_openapi_schema or {}).get("properties", {})
    given = {
        name: value_of(name, value, properties.get(name, {})) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
    return await client.create_flow_run_from_deployment(found.id, parameters=given)


async def find(client: PrefectClient, deployment: str) -> DeploymentResponse:
    """The deployment `flow/deployment`, or the one of that flow on our pool. Raises NoDeployment."""
    name = deployment if "/" in deployment else f"{deployment}/{settings().work_pool_type}"
    try:
        return await client.read_deployment_by_name(name)
    except (ObjectNotFound, ValueError):
        raise NoDeployment(f"the server has no deployment {name}; a name is flow/deployment") from None


async def follow(client: PrefectClient, run_id: UUID, on_log: Callable[[Log], None], *, poll: float = 1.0) -> State:
    """Call `on_log` once for every log record, until the run ends. Returns its final state."""
    seen: set[UUID] = set()
    latest = LONG_AGO
    while True:
        run = await client.read_flow_run(run_id)
        final = run.state if run.state and run.state.is_final() else None
        if final:
            await asyncio.sleep(poll)  # its last records
        for record in await _records(client, run_id, latest - LATE):
            if record.id not in seen:
                seen.add(record.id)
                latest = max(latest, record.timestamp)
                on_log(record)
        if final:
            return final
        await asyncio.sleep(poll)


def parameters_of(pairs: Iterable[str]) -> dict[str, str]:
    """Parameters of NAME=VALUE pairs from the command line; names may be in capitals, as in a Makefile."""
    split = (pair.partition("=") for pair in pairs)
    return {name.strip().lower(): text for name, _, text in split}


def value_of(name: str, text: str, schema: Mapping[str, Any]) -> Any:
    """Parse a value of the command line by its JSON schema: 1,2 or 1-3 as a list, 01 as a number, 1 as true.

    A value that does not fit is returned as it is, and the API rejects it. Raises WrongParameter.
    """
    branches = (schema, *schema.get("anyOf", ()))
    kinds = {branch.get("type") for branch in branches}
    for branch in branches:
        if "pattern" in branch and not re.search(branch["pattern"], text):
            # The value may be an address with a password, so the message does not show it.
            raise WrongParameter(f"{name}: {branch.get('x-error', 'does not match the pattern of the parameter')}")
    if "array" in kinds and not text.startswith("["):
        try:
            return months_of(text)
        except ValueError as wrong:
            raise WrongParameter(f"{name}: {wrong}") from None
    if "boolean" in kinds and text in {"0", "1"}:
        return text == "1"
    return text if "string" in kinds else _number_or_json(text)


def _number_or_json(text: str) -> Any:
    try:
        return int(text) if text.isdecimal() else json.loads(text)
    except ValueError:
        return text


async def _records(client: PrefectClient, run_id: UUID, since: dt.datetime) -> list[Log]:
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]), timestamp=LogFilterTimestamp(after_=since))
    return await all_pages(client.read_logs, log_filter=of_run, sort=LogSort.TIMESTAMP_ASC)
