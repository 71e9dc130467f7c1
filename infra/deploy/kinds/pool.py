"""Work pools. `destroy` keeps them: others may use them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, NotOurs, ObjectKind, Server
from infra.deploy.target import Target
from infra.work_pool import declared_pool

POOL = "work pool"


def declare(declared: Declarations) -> Iterator[Desired]:
    """The work pool of the settings."""
    pool = declared_pool(declared.config)
    fields = {
        "type": pool.type,
        "description": pool.description,
        "base_job_template": dict(pool.base_job_template),
        "concurrency_limit": pool.concurrency_limit,
    }
    yield Desired(POOL, pool.name, fields, script="infra/work_pool.py")


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """The pools of these names, and the one that is deployed to."""
    return [pool for name in sorted({*names, target.pool}) for pool in await _read_one(client, name)]


async def _read_one(client: PrefectClient, name: str) -> list[Actual]:
    try:
        pool = await client.read_work_pool(name)
    except ObjectNotFound:
        return []
    fields = pool.model_dump(mode="json", include={"type", "description", "base_job_template", "concurrency_limit"})
    return [Actual(POOL, name, fields, str(pool.id), ours=False)]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on a work pool. Returns the id of a new one."""
    fields = action.fields
    if action.verb is Verb.CREATE:
        return (await server.client.create_work_pool(WorkPoolCreate(name=action.name, **fields))).id
    # The API identifies a pool by its name.
    if str((await server.client.read_work_pool(action.name)).id) != action.on_server.id:
        raise NotOurs
    await server.client.update_work_pool(action.name, WorkPoolUpdate(**fields))
    return None


KIND = ObjectKind(POOL, 1, declare, read, write, shared=True, created_by_agent=True)
