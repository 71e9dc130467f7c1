"""Global concurrency limits."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate

from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, ObjectKind, Server
from infra.deploy.pages import all_pages
from infra.deploy.target import Target
from infra.limits import declared_limits

LIMIT = "concurrency limit"


def declare(declared: Declarations) -> Iterator[Desired]:
    """The limits of `infra/limits.py`."""
    for limit in declared_limits(declared.config):
        yield Desired(LIMIT, limit.name, {"limit": limit.limit}, script="infra/limits.py")


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """All limits."""
    return [
        Actual(LIMIT, limit.name, {"limit": limit.limit}, str(limit.id), ours=False)
        for limit in await all_pages(client.read_global_concurrency_limits)
    ]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on a limit. Returns the id of a new one."""
    # The API accepts the id in place of the name.
    if action.verb is Verb.CREATE:
        limit = GlobalConcurrencyLimitCreate(name=action.name, **action.fields)
        return await server.client.create_global_concurrency_limit(limit)
    if action.verb is Verb.UPDATE:
        update = GlobalConcurrencyLimitUpdate(**action.fields)
        await server.client.update_global_concurrency_limit(action.on_server.id, update)
    else:
        await server.client.delete_global_concurrency_limit_by_name(action.on_server.id)
    return None


KIND = ObjectKind(LIMIT, 3, declare, read, write)
