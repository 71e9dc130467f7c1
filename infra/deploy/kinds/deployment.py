"""Deployments, which are read with their schedules."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound
from pydantic_core import to_jsonable_python

from infra.deploy.entrypoint import flow_at, full_name
from infra.deploy.kinds.schedule import DEPLOYMENT, schedules_of
from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, NotOurs, ObjectKind, Server
from infra.deploy.pages import all_pages
from infra.deploy.spec import DeploymentSpec
from infra.deploy.target import Target

# Stands in every deployment's description, before the revision.
CODE = "\n\nCode: revision "
# The fields of a deployment that have the same name in the API, and the same value.
SAME = (
    *("version", "description", "work_pool_name", "work_queue_name", "entrypoint", "path", "pull_steps"),
    *("parameters", "parameter_openapi_schema", "enforce_parameter_schema", "job_variables", "paused"),
)


def declare(declared: Declarations) -> Iterator[Desired]:
    """The deployments of the scripts. Raises NotAFlow."""
    for spec in declared.specs:
        yield desired_deployment(spec, declared.target)


def desired_deployment(spec: DeploymentSpec, target: Target) -> Desired:
    """The deployment of a spec. Raises NotAFlow."""
    flow = flow_at(spec.flow)
    return Desired(
        DEPLOYMENT,
        full_name(spec, target),
        {
            "version": target.version,
            "description": described(spec, target),
            "tags": sorted({target.tag, *spec.tags}),
            "work_pool_name": target.pool,
            "work_queue_name": spec.work_queue,
            "entrypoint": spec.flow,
            "path": target.root,
            # Without it Prefect copies the whole of `path` into each run's folder.
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": target.root}}],
            "parameters": to_jsonable_python(spec.parameters),
            "parameter_openapi_schema": flow.parameters.model_dump_for_openapi(),
            "enforce_parameter_schema": True,
            "job_variables": job_variables(spec, target),
            "concurrency_limit": spec.concurrency_limit,
            "on_collision": spec.on_collision if spec.concurrency_limit else None,
            "paused": spec.paused,
        },
        script=spec.script,
    )


def described(spec: DeploymentSpec, target: Target) -> str:
    """The description, followed by the revision and image of the code that its runs use."""
    image = f", image {target.image}" if target.image else ""
    return f"{inspect.cleandoc(spec.description)}{CODE}{target.version}{image}."


def job_variables(spec: DeploymentSpec, target: Target) -> dict[str, Any]:
    """On a Docker pool the block's fields by reference; and the values that the spec sets."""
    by_reference: dict[str, Any] = {}
    if spec.infrastructure and target.pool_type == "docker":
        from infra.docker_container import job_variables as of_block

        by_reference = of_block(spec.infrastructure)
    return {**by_reference, **to_jsonable_python(spec.job_variables)}


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """All deployments and their schedules. They are read as JSON, see `infra/deploy/schedules.py`."""
    deployments, flows = await asyncio.gather(
        all_pages(partial(_rows, client, "/deployments/filter")), all_pages(partial(_rows, client, "/flows/filter"))
    )
    flow_names = {flow["id"]: flow["name"] for flow in flows}
    found: list[Actual] = []
    for deployment in deployments:
        name = f"{flow_names.get(deployment['flow_id'], deployment['flow_id'])}/{deployment['name']}"
        found.append(Actual(DEPLOYMENT, name, deployment_fields(deployment), deployment["id"], ours=False))
        found += schedules_of(deployment, name)
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


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on a deployment. Returns the id of a new one."""
    if action.verb is Verb.DELETE:
        await _delete(server, UUID(action.on_server.id))
        return None
    fields = action.fields
    if "on_collision" in fields:
        strategy = fields.pop("on_collision")
        fields["concurrency_options"] = {"collision_strategy": strategy} if strategy else None
    if action.verb is Verb.CREATE:
        flow_name, _, name = action.name.partition("/")
        if await _exists(server, action.name):
            raise NotOurs  # the API would update it
        created = await server.client.create_deployment(
            await server.client.create_flow_from_name(flow_name), name, **fields
        )
        return created
    if "job_variables" in fields:
        # The server checks them against the template of the pool that is named in the same call.
        fields["work_pool_name"] = action.declared.fields["work_pool_name"]
    await server.client.update_deployment(UUID(action.on_server.id), DeploymentUpdate(**fields))
    return None


async def _exists(server: Server, name: str) -> bool:
    try:
        await server.client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    return True


async def _delete(server: Server, deployment: UUID) -> None:
    await server.client.pause_deployment(deployment)  # so that no run is created while those that wait are deleted
    for run in await server.waiting_runs(deployment):
        await server.client.delete_flow_run(run.id)
    await server.client.delete_deployment(deployment)


KIND = ObjectKind(
    *(DEPLOYMENT, 5, declare, read, write),
    switch="paused",
    switched={True: "paused by hand", False: "resumed by hand"},
    switch_when_deleted=True,
    used_as_is=False,
)
