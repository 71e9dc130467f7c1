"""What the server has of what can be declared, as `Actual` objects: a handful of reads, all at once.

Ours is what our record on the server says, see `infra/deploy/record.py`. Earlier versions kept no record. Where there
is none, and a deployment has the tag and the description that they gave theirs, what they have made is ours: that
deployment with its declared schedules, the automations and limits that those versions made, and the blocks and pool of
the declared names, which each of their deploys has overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound

from infra.deploy.desired import CODE, TYPE_FIELD, automation_fields
from infra.deploy.pages import everything
from infra.deploy.plan import Actual, Desired, Kind
from infra.deploy.record import Record, key_of, read_record
from infra.deploy.schedules import canonical, describe
from infra.deploy.target import Target

# What earlier versions made, by what follows the tag in its name. A tag alone does not say who made an automation.
EARLIER_LIMITS, EARLIER_AUTOMATIONS = ("downloads",), ("silent-runs-crash",)
# The fields of a deployment that the API calls as we do, and gives as they were set.
SAME = (
    *("version", "description", "work_pool_name", "work_queue_name", "entrypoint", "path", "pull_steps"),
    *("parameters", "parameter_openapi_schema", "enforce_parameter_schema", "job_variables", "paused"),
)


@dataclass(frozen=True)
class Observed:
    """What the server has, our record there that says what of it is ours, and whether an earlier version deployed."""

    actual: list[Actual]
    record: Record
    earlier: bool


async def observe(
    client: PrefectClient, target: Target, desired: Sequence[Desired], adopt: Collection[str] = ()
) -> Observed:
    """Read what is ours, what has a declared name, and the deployments on the pool.

    Args:
        client: the server's.
        target: names the tag and the pool.
        desired: what is declared.
        adopt: what of no other tag is ours from now on, as `kind/name`.

    Raises what the client raises: an unreachable server is an error, never an empty one.
    """
    declared = {(thing.kind, thing.name): thing for thing in desired}
    names = declared.keys()
    record = await read_record(client, target.tag)
    # The first POST goes alone: of several at once, from a client without a CSRF token, each fetches one, which makes
    # those of the others invalid.
    limits = await _limits(client)
    parts = await asyncio.gather(
        _pool(client, target.pool),
        _automations(client),
        _deployments(client),
        *(_block(client, name) for kind, name in names if kind is Kind.BLOCK),
    )
    everything_there = [found for part in (limits, *parts) for found in part]
    earlier = not record.exists and any(_of_earlier_version(thing, target) for thing in everything_there)
    marked = _earlier_marks(everything_there, names, target) if earlier else set()
    found = []
    for thing in everything_there:
        key, owner = key_of(thing.kind, thing.name), record.others.get(thing.id, "")
        claimed = thing.id in marked or key in adopt
        if record.unanswered(thing.kind, thing.name):
            claimed |= _as_declared(thing, declared.get((thing.kind, thing.name)))
        # Two tags that deploy at once may both have one object in their records: neither changes it.
        ours = (record.has(thing.id) or claimed) and not owner
        last = record.switch(thing.kind, thing.name) if ours else None
        found.append(replace(thing, ours=ours, owner=owner, last=last))
    return Observed(_relevant(found, names, target), record, earlier)


def _as_declared(thing: Actual, desired: Desired | None) -> bool:
    return desired is not None and all(thing.fields.get(name) == value for name, value in desired.fields.items())


def _of_earlier_version(thing: Actual, target: Target) -> bool:
    """Whether a version that kept no record has made this deployment, under our tag."""
    if thing.kind is not Kind.DEPLOYMENT:
        return False
    return target.tag in thing.fields["tags"] and CODE in (thing.fields["description"] or "")


def _earlier_marks(found: Sequence[Actual], names: Collection[tuple[Kind, str]], target: Target) -> set[str]:
    """The ids of what a version that kept no record has made."""
    deployments = {thing.name for thing in found if _of_earlier_version(thing, target)}
    limits = {f"{target.prefix}{name}" for name in EARLIER_LIMITS}
    automations = {f"{target.prefix}{name}" for name in EARLIER_AUTOMATIONS}

    def made(thing: Actual) -> bool:
        match thing.kind:
            case Kind.DEPLOYMENT:
                return thing.name in deployments
            case Kind.SCHEDULE:
                return thing.parent in deployments and (thing.kind, thing.name) in names
            case Kind.AUTOMATION:
                return target.tag in thing.fields["tags"] and thing.name in automations
            case Kind.LIMIT:
                return thing.name in limits
            case _:
                return (thing.kind, thing.name) in names

    return {thing.id for thing in found if made(thing)}


def _relevant(found: Sequence[Actual], names: Collection[tuple[Kind, str]], target: Target) -> list[Actual]:
    """What a plan is about: ours, what has a declared name, and what others deployed on our pool."""

    def alone(thing: Actual) -> bool:
        on_pool = thing.kind is Kind.DEPLOYMENT and thing.fields["work_pool_name"] == target.pool
        return thing.ours or (thing.kind, thing.name) in names or on_pool

    deployments = {thing.name for thing in found if thing.kind is Kind.DEPLOYMENT and alone(thing)}
    return [thing for thing in found if alone(thing) or thing.parent in deployments]


async def _pool(client: PrefectClient, name: str) -> list[Actual]:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return []
    fields = pool.model_dump(mode="json", include={"type", "description", "base_job_template", "concurrency_limit"})
    return [Actual(Kind.POOL, name, fields, str(pool.id), ours=False)]


async def _limits(client: PrefectClient) -> list[Actual]:
    return [
        Actual(Kind.LIMIT, limit.name, {"limit": limit.limit}, str(limit.id), ours=False)
        for limit in await everything(client.read_global_concurrency_limits)
    ]


async def _automations(client: PrefectClient) -> list[Actual]:
    return [
        Actual(Kind.AUTOMATION, automation.name, automation_fields(automation), str(automation.id), ours=False)
        for automation in await everything(client.read_automations)
    ]


async def _deployments(client: PrefectClient) -> list[Actual]:
    """Read as JSON: see `infra/deploy/schedules.py`."""
    deployments, flows = await asyncio.gather(
        everything(partial(_rows, client, "/deployments/filter")), everything(partial(_rows, client, "/flows/filter"))
    )
    flow_names = {flow["id"]: flow["name"] for flow in flows}
    found: list[Actual] = []
    for deployment in deployments:
        name = f"{flow_names.get(deployment['flow_id'], deployment['flow_id'])}/{deployment['name']}"
        found.append(Actual(Kind.DEPLOYMENT, name, deployment_fields(deployment), deployment["id"], ours=False))
        found += _schedules(deployment, name)
    return found


async def _rows(
    client: PrefectClient, path: Literal["/deployments/filter", "/flows/filter"], *, limit: int, offset: int
) -> list[dict[str, Any]]:
    response = await client.request("POST", path, json={"limit": limit, "offset": offset})
    return response.json()


def deployment_fields(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's values under the names of `desired_deployment`."""
    limit, options = deployment["global_concurrency_limit"], deployment["concurrency_options"]
    return {name: deployment[name] for name in SAME} | {
        "tags": sorted(deployment["tags"]),
        "concurrency_limit": limit["limit"] if limit else None,
        "on_collision": options["collision_strategy"] if limit and options else None,
    }


def _schedules(deployment: Mapping[str, Any], name: str) -> Iterator[Actual]:
    for schedule in deployment["schedules"]:
        slug = schedule["slug"]
        yield Actual(
            Kind.SCHEDULE,
            f"{name}#{slug or schedule['id'][:8]}",
            {
                "schedule": canonical(schedule["schedule"]),
                "parameters": schedule["parameters"],
                "active": schedule["active"],
            },
            schedule["id"],
            ours=False,
            parent=name,
            about=describe(schedule["schedule"]),
        )


async def _block(client: PrefectClient, name: str) -> list[Actual]:
    slug, _, block = name.partition("/")
    try:
        document = await client.read_block_document_by_name(block, slug, include_secrets=True)
    except ObjectNotFound:
        return []
    return [Actual(Kind.BLOCK, name, block_document_fields(document), str(document.id), ours=False)]


def block_document_fields(document: BlockDocument) -> dict[str, Any]:
    """The block's values under the names of `block_fields`; a block in it stands as its name."""
    values = document.model_dump(mode="json")["data"]
    for field, reference in document.block_document_references.items():
        inner = reference["block_document"]
        if not inner.get("is_anonymous"):
            values[field] = {"$ref": f"{inner['block_type']['slug']}/{inner['name']}"}
    return {TYPE_FIELD: document.block_schema.checksum if document.block_schema else None, **values}
