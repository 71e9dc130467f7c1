"""What the server has of what can be declared, as `Found` objects: a handful of reads, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound

from deployments.plan import Found, Kind, Wanted
from deployments.schedules import canonical, describe
from deployments.target import Target
from deployments.wanted import TYPE_FIELD, automation_fields

PAGE = 200  # the most that the server gives at once
# The fields of a deployment that the API calls as we do, and gives as they were set.
SAME = (
    *("version", "description", "work_pool_name", "work_queue_name", "entrypoint", "path", "pull_steps"),
    *("parameters", "parameter_openapi_schema", "enforce_parameter_schema", "job_variables", "paused"),
)


async def observe(client: PrefectClient, target: Target, wanted: Sequence[Wanted]) -> list[Found]:
    """Read the pool, our blocks, limits and automations, and all deployments that are ours or share a name or the pool.

    Raises what the client raises: an unreachable server is an error, never an empty one.
    """
    blocks = [thing.name for thing in wanted if thing.kind is Kind.BLOCK]
    # Alone: requests at once of a client that has no CSRF token yet each fetch one, which voids that of the others.
    limits = await _limits(client, target)
    parts = await asyncio.gather(
        _pool(client, target.pool),
        _automations(client, target),
        _deployments(client, target, {thing.name for thing in wanted if thing.kind is Kind.DEPLOYMENT}),
        *(_block(client, name) for name in blocks),
    )
    return [found for part in (limits, *parts) for found in part]


async def everything(read: Callable[..., Awaitable[list[Any]]], **arguments: Any) -> list[Any]:
    """All pages of a read that takes `limit` and `offset`."""
    rows: list[Any] = []
    while True:
        page = await read(limit=PAGE, offset=len(rows), **arguments)
        rows += page
        if len(page) < PAGE:
            return rows


async def _pool(client: PrefectClient, name: str) -> list[Found]:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return []
    fields = pool.model_dump(mode="json", include={"type", "description", "base_job_template", "concurrency_limit"})
    return [Found(Kind.POOL, name, fields, str(pool.id), ours=False)]


async def _limits(client: PrefectClient, target: Target) -> list[Found]:
    return [
        Found(Kind.LIMIT, limit.name, {"limit": limit.limit}, str(limit.id), ours=True)
        for limit in await everything(client.read_global_concurrency_limits)
        if limit.name.startswith(target.prefix)
    ]


async def _automations(client: PrefectClient, target: Target) -> list[Found]:
    return [
        Found(Kind.AUTOMATION, automation.name, automation_fields(automation), str(automation.id), ours=True)
        for automation in await everything(client.read_automations)
        if target.tag in automation.tags
    ]


async def _deployments(client: PrefectClient, target: Target, names: set[str]) -> list[Found]:
    """Read as JSON: see `deployments/schedules.py`."""
    deployments, flows = await asyncio.gather(
        everything(partial(_rows, client, "/deployments/filter")), everything(partial(_rows, client, "/flows/filter"))
    )
    flow_names = {flow["id"]: flow["name"] for flow in flows}
    found: list[Found] = []
    for deployment in deployments:
        name = f"{flow_names.get(deployment['flow_id'], deployment['flow_id'])}/{deployment['name']}"
        ours = target.tag in deployment["tags"]
        if ours or name in names or deployment["work_pool_name"] == target.pool:
            found.append(Found(Kind.DEPLOYMENT, name, deployment_fields(deployment), deployment["id"], ours))
            found += _schedules(deployment, name, target)
    return found


async def _rows(client: PrefectClient, path: str, *, limit: int, offset: int) -> list[dict[str, Any]]:
    response = await client.request("POST", path, json={"limit": limit, "offset": offset})
    return response.json()


def deployment_fields(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's values under the names of `wanted_deployment`."""
    limit, options = deployment["global_concurrency_limit"], deployment["concurrency_options"]
    return {name: deployment[name] for name in SAME} | {
        "tags": sorted(deployment["tags"]),
        "concurrency_limit": limit["limit"] if limit else None,
        "on_collision": options["collision_strategy"] if limit and options else None,
    }


def _schedules(deployment: Mapping[str, Any], name: str, target: Target) -> Iterator[Found]:
    for schedule in deployment["schedules"]:
        slug = schedule["slug"]
        yield Found(
            Kind.SCHEDULE,
            f"{name}#{slug or schedule['id'][:8]}",
            {
                "schedule": canonical(schedule["schedule"]),
                "parameters": schedule["parameters"],
                "active": schedule["active"],
            },
            schedule["id"],
            ours=bool(slug and slug.startswith(target.prefix)),
            parent=name,
            about=describe(schedule["schedule"]),
        )


async def _block(client: PrefectClient, name: str) -> list[Found]:
    slug, _, block = name.partition("/")
    try:
        document = await client.read_block_document_by_name(block, slug, include_secrets=True)
    except ObjectNotFound:
        return []
    return [Found(Kind.BLOCK, name, block_document_fields(document), str(document.id), ours=False)]


def block_document_fields(document: BlockDocument) -> dict[str, Any]:
    """The block's values under the names of `block_fields`; a block in it stands as its name."""
    values = document.model_dump(mode="json")["data"]
    for field, reference in document.block_document_references.items():
        inner = reference["block_document"]
        if not inner.get("is_anonymous"):
            values[field] = {"$ref": f"{inner['block_type']['slug']}/{inner['name']}"}
    return {TYPE_FIELD: document.block_schema.checksum if document.block_schema else None, **values}
