"""Schedules of deployments. They are read with their deployments."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentScheduleUpdate
from pydantic_core import to_jsonable_python

from infra.deploy.entrypoint import full_name
from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, ObjectKind, Server, as_json
from infra.deploy.schedules import as_fields, canonical, describe
from infra.deploy.spec import ScheduleSpec
from infra.deploy.target import Target

# A schedule is a part of a deployment.
SCHEDULE, DEPLOYMENT = "schedule", "deployment"


def declare(declared: Declarations) -> Iterator[Desired]:
    """The schedules of all deployments of the scripts. Raises NotAFlow."""
    for spec in declared.specs:
        for schedule in spec.schedules:
            yield desired_schedule(schedule, full_name(spec, declared.target), declared.target, spec.script)


def desired_schedule(spec: ScheduleSpec, deployment: str, target: Target, script: str) -> Desired:
    """A schedule of a deployment. Its slug starts with our tag."""
    slug = f"{target.prefix}{spec.slug}"
    fields = {
        "schedule": as_fields(spec.schedule),
        "parameters": to_jsonable_python(spec.parameters),
        "active": spec.active,
    }
    return Desired(SCHEDULE, f"{deployment}#{slug}", fields, parent=deployment, script=script)


def schedules_of(deployment: Mapping[str, Any], name: str) -> Iterator[Actual]:
    """The schedules of a deployment, which is an object of the API."""
    for schedule in deployment["schedules"]:
        slug = schedule["slug"]
        yield Actual(
            SCHEDULE,
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


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """Nothing: `infra/deploy/kinds/deployment.py` reads schedules with their deployments."""
    return []


async def write(server: Server, action: Action) -> str | None:
    """Carry out an action on a schedule. Returns the id of a new one."""
    parent = (action.desired or action.on_server).parent
    deployment = server.ids[DEPLOYMENT, str(parent)]
    one = {"id": deployment, "schedule_id": action.on_server.id if action.actual else ""}
    if action.verb is Verb.DELETE:
        for run in await server.waiting_runs(UUID(deployment)):
            if run.created_by and str(run.created_by.id) == action.on_server.id:
                await server.client.delete_flow_run(run.id)
        await server.client.request("DELETE", "/deployments/{id}/schedules/{schedule_id}", path_params=one)
    elif action.verb is Verb.CREATE:
        slug = action.name.partition("#")[2]
        created = DeploymentScheduleCreate(slug=slug, **action.fields)
        body = [as_json(created)]
        response = await server.client.request("POST", "/deployments/{id}/schedules", path_params=one, json=body)
        return response.json()[0]["id"]
    else:
        # The server clears the parameters of a schedule if an update has none.
        update = DeploymentScheduleUpdate(**{"parameters": action.declared.fields["parameters"], **action.fields})
        await server.client.request(
            "PATCH", "/deployments/{id}/schedules/{schedule_id}", path_params=one, json=as_json(update)
        )
    return None


KIND = ObjectKind(
    *(SCHEDULE, 6, declare, read, write),
    part_of=DEPLOYMENT,
    switch="active",
    switched={False: "switched off by hand", True: "switched on by hand"},
)
