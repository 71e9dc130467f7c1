"""Work pools. A deploy deletes none: others may use it."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from infra.deploy.kinds.context import NotOurs, ObjectKind, Server
from infra.deploy.model import Action, Actual, Desired, Kind, Verb
from infra.work_pool import Pool


def desired_pool(pool: Pool) -> Desired:
    """The work pool."""
    fields = {
        "type": pool.type,
        "description": pool.description,
        "base_job_template": dict(pool.base_job_template),
        "concurrency_limit": pool.concurrency_limit,
    }
    return Desired(Kind.POOL, pool.name, fields, script="infra/work_pool.py")


async def read(client: PrefectClient, names: Collection[str]) -> list[Actual]:
    """The pools of these names."""
    return [pool for name in names for pool in await _read_one(client, name)]


async def _read_one(client: PrefectClient, name: str) -> list[Actual]:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return []
    fields = pool.model_dump(mode="json", include={"type", "description", "base_job_template", "concurrency_limit"})
    return [Actual(Kind.POOL, name, fields, str(pool.id), ours=False)]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on a work pool. Returns the id of a new one."""
    fields = action.fields
    if action.verb is Verb.CREATE:
        return (await server.client.create_work_pool(WorkPoolCreate(name=action.name, **fields))).id
    # The API knows a pool by its name alone.
    if str((await server.client.read_work_pool(action.name)).id) != action.on_server.id:
        raise NotOurs
    await server.client.update_work_pool(action.name, WorkPoolUpdate(**fields))
    return None


POOL = ObjectKind(Kind.POOL, read, write)
