"""Global concurrency limits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate

from infra.deploy.kinds.context import ObjectKind, Server
from infra.deploy.model import Action, Actual, Desired, Kind, Verb
from infra.deploy.pages import everything
from infra.limits import Limit


def desired_limits(limits: Iterable[Limit]) -> Iterator[Desired]:
    """The global concurrency limits."""
    for limit in limits:
        yield Desired(Kind.LIMIT, limit.name, {"limit": limit.limit}, script="infra/limits.py")


async def read(client: PrefectClient, names: Collection[str]) -> list[Actual]:
    """All limits."""
    return [
        Actual(Kind.LIMIT, limit.name, {"limit": limit.limit}, str(limit.id), ours=False)
        for limit in await everything(client.read_global_concurrency_limits)
    ]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on a limit. Returns the id of a new one."""
    # By the id in place of the name, which the API takes as well.
    if action.verb is Verb.CREATE:
        limit = GlobalConcurrencyLimitCreate(name=action.name, **action.fields)
        return await server.client.create_global_concurrency_limit(limit)
    if action.verb is Verb.UPDATE:
        update = GlobalConcurrencyLimitUpdate(**action.fields)
        await server.client.update_global_concurrency_limit(action.on_server.id, update)
    else:
        await server.client.delete_global_concurrency_limit_by_name(action.on_server.id)
    return None


LIMIT = ObjectKind(Kind.LIMIT, read, write)
