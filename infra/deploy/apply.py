"""Carrying a plan out on the server, action by action. What a failure leaves undone, the next run's plan has again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentScheduleUpdate,
    DeploymentUpdate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from infra.deploy.lock import LockLost
from infra.deploy.pages import everything
from infra.deploy.plan import Action, Kind, Verb, changing
from infra.deploy.record import Record
from infra.server import reason


class Stopped(Exception):
    """A deploy that could not be finished.

    Attributes:
        done: what was carried out before.
        failed: what was not, or not wholly.
    """

    def __init__(self, done: Sequence[Action], failed: Action, wrong: Exception) -> None:
        self.done, self.failed = list(done), failed
        applied = "; ".join(map(str, done)) or "nothing"
        super().__init__(f"stopped at {failed}: {reason(wrong)}. Applied before it: {applied}. Run it again to finish.")


class NotOurs(Exception):
    """Since the plan was made, someone else has made an object of this name; it was not touched."""

    def __init__(self) -> None:
        super().__init__("someone else has just made one of this name; it was not touched")


async def carry_out(
    client: PrefectClient,
    actions: Sequence[Action],
    record: Record,
    *,
    before_each: Callable[[], None] = lambda: None,
    on_done: Callable[[Action], None] = lambda action: None,
) -> list[Action]:
    """Carry out the actions that change something, in their order.

    Args:
        client: the server's.
        actions: a whole plan; what is unchanged or kept in it is not touched, but others may refer to it.
        record: what is ours on this server; kept up to date, so that it is right wherever this stops.
        before_each: may raise to stop before the next action.
        on_done: told each action after it is done.

    Returns:
        What was done.

    Raises:
        Stopped: an action failed, or `before_each` raised.
    """
    server = _Server(client, actions)
    done: list[Action] = []
    for action in changing(actions):
        try:
            before_each()
            await record.before(action)
            record.after(action, await server.carry_out(action))
        except asyncio.CancelledError:  # a Ctrl-C
            with suppress(httpx.HTTPError):
                await record.write()
            raise
        except Exception as wrong:
            if _refused(wrong):
                record.refused(action)
            # After a lost lock the record is another deploy's to write; if there is none, writing it has just failed.
            if record.exists and not isinstance(wrong, LockLost):
                with suppress(httpx.HTTPError):
                    await record.write()
            raise Stopped(done, action, wrong) from wrong
        done.append(action)
        on_done(action)
    return done


def _refused(wrong: Exception) -> bool:
    """Whether the server has certainly not created what it was asked for; without an answer it may have."""
    if isinstance(wrong, httpx.HTTPStatusError):
        return wrong.response.is_client_error
    return isinstance(wrong, (NotOurs, ObjectAlreadyExists))


class _Server:
    """The calls of each kind of action."""

    def __init__(self, client: PrefectClient, actions: Sequence[Action]) -> None:
        self._client = client
        self._flow_ids: dict[str, UUID] = {}
        self._deployment_ids = {
            action.name: action.on_server.id for action in actions if action.kind is Kind.DEPLOYMENT and action.actual
        }
        self._prepare_blocks(actions)

    async def carry_out(self, action: Action) -> str:
        """Carry out one action. Gives the object's id, empty for one that is gone."""
        calls = {
            Kind.POOL: self._pool,
            Kind.BLOCK: self._block,
            Kind.LIMIT: self._limit,
            Kind.AUTOMATION: self._automation,
            Kind.DEPLOYMENT: self._deployment,
            Kind.SCHEDULE: self._schedule,
        }
        try:
            created = await calls[action.kind](action)
        except (ObjectNotFound, httpx.HTTPStatusError) as wrong:
            gone = isinstance(wrong, ObjectNotFound) or wrong.response.status_code == httpx.codes.NOT_FOUND
            if not (action.verb is Verb.DELETE and gone):
                raise
            created = None
        return str(created or (action.actual.id if action.actual else ""))

    # Each gives the id of what it created, and None where there is nothing new.

    async def _pool(self, action: Action) -> UUID | None:
        fields = action.fields
        if action.verb is Verb.CREATE:
            return (await self._client.create_work_pool(WorkPoolCreate(name=action.name, **fields))).id
        # The API knows a pool by its name alone.
        if str((await self._client.read_work_pool(action.name)).id) != action.on_server.id:
            raise NotOurs
        await self._client.update_work_pool(action.name, WorkPoolUpdate(**fields))
        return None

    async def _block(self, action: Action) -> UUID:
        name = action.name.partition("/")[2]
        if action.verb is Verb.CREATE and await self._block_exists(action):
            raise NotOurs
        # It is updated by the id that `_prepare_blocks` gave it.
        try:
            return await action.declared.source.asave(name, overwrite=action.verb is Verb.UPDATE, client=self._client)
        except ValueError as taken:
            if isinstance(taken.__cause__, ObjectAlreadyExists):
                raise NotOurs from taken
            raise

    async def _block_exists(self, action: Action) -> bool:
        slug, _, name = action.name.partition("/")
        try:
            await self._client.read_block_document_by_name(name, slug, include_secrets=False)
        except ObjectNotFound:
            return False
        return True

    async def _limit(self, action: Action) -> UUID | None:
        # By the id in place of the name, which the API takes as well.
        if action.verb is Verb.CREATE:
            limit = GlobalConcurrencyLimitCreate(name=action.name, **action.fields)
            return await self._client.create_global_concurrency_limit(limit)
        if action.verb is Verb.UPDATE:
            update = GlobalConcurrencyLimitUpdate(**action.fields)
            await self._client.update_global_concurrency_limit(action.on_server.id, update)
        else:
            await self._client.delete_global_concurrency_limit_by_name(action.on_server.id)
        return None

    async def _automation(self, action: Action) -> UUID | None:
        if action.verb is Verb.CREATE:
            return await self._client.create_automation(AutomationCore(name=action.name, **action.fields))
        if action.verb is Verb.DELETE:
            await self._client.delete_automation(UUID(action.on_server.id))
            return None
        # An automation is replaced whole, so what a person switched has to be said again.
        fields = {**action.declared.fields, "enabled": action.on_server.fields["enabled"], **action.fields}
        automation = AutomationCore(name=action.name, **fields)
        await self._client.update_automation(UUID(action.on_server.id), automation)
        return None

    async def _deployment(self, action: Action) -> UUID | None:
        if action.verb is Verb.DELETE:
            await self._delete_deployment(UUID(action.on_server.id))
            return None
        fields = action.fields
        if "on_collision" in fields:
            strategy = fields.pop("on_collision")
            fields["concurrency_options"] = {"collision_strategy": strategy} if strategy else None
        if action.verb is Verb.CREATE:
            flow_name, _, name = action.name.partition("/")
            if await self._deployment_exists(action.name):
                raise NotOurs  # the API would update it
            created = await self._client.create_deployment(await self._flow_id(flow_name), name, **fields)
            self._deployment_ids[action.name] = str(created)
            return created
        if "job_variables" in fields:
            # The server checks them against the template of the pool that is named in the same call.
            fields["work_pool_name"] = action.declared.fields["work_pool_name"]
        await self._client.update_deployment(UUID(action.on_server.id), DeploymentUpdate(**fields))
        return None

    async def _deployment_exists(self, name: str) -> bool:
        try:
            await self._client.read_deployment_by_name(name)
        except ObjectNotFound:
            return False
        return True

    async def _flow_id(self, name: str) -> UUID:
        if name not in self._flow_ids:
            self._flow_ids[name] = await self._client.create_flow_from_name(name)  # or finds it
        return self._flow_ids[name]

    async def _delete_deployment(self, deployment: UUID) -> None:
        await self._client.pause_deployment(deployment)  # no new runs while those that wait are deleted
        for run in await self._waiting_runs(deployment):
            await self._client.delete_flow_run(run.id)
        await self._client.delete_deployment(deployment)

    async def _waiting_runs(self, deployment: UUID) -> list[FlowRun]:
        """The runs that have not begun; the server itself leaves those behind that wait for a concurrency slot."""
        scheduled = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        runs = await everything(self._client.read_flow_runs, flow_run_filter=scheduled)
        return [run for run in runs if run.run_count == 0]

    async def _schedule(self, action: Action) -> str | None:
        parent = (action.desired or action.on_server).parent
        deployment = self._deployment_ids[str(parent)]
        one = {"id": deployment, "schedule_id": action.on_server.id if action.actual else ""}
        if action.verb is Verb.DELETE:
            for run in await self._waiting_runs(UUID(deployment)):
                if run.created_by and str(run.created_by.id) == action.on_server.id:
                    await self._client.delete_flow_run(run.id)
            await self._client.request("DELETE", "/deployments/{id}/schedules/{schedule_id}", path_params=one)
        elif action.verb is Verb.CREATE:
            slug = action.name.partition("#")[2]
            created = DeploymentScheduleCreate(slug=slug, **action.fields)
            body = [_json(created)]
            response = await self._client.request("POST", "/deployments/{id}/schedules", path_params=one, json=body)
            return response.json()[0]["id"]
        else:
            # The server empties the parameters of a schedule whenever an update has none.
            update = DeploymentScheduleUpdate(**{"parameters": action.declared.fields["parameters"], **action.fields})
            await self._client.request(
                "PATCH", "/deployments/{id}/schedules/{schedule_id}", path_params=one, json=_json(update)
            )
        return None

    def _prepare_blocks(self, actions: Sequence[Action]) -> None:
        """Tell each block its id on this server, so that a block that holds it refers to it and does not copy it."""
        blocks = {action.name: action for action in actions if action.kind is Kind.BLOCK}
        for name, action in blocks.items():
            block = action.declared.source
            block._block_document_id = UUID(action.on_server.id) if action.actual else None
            block._block_document_name = name.partition("/")[2]


def _json(model: Any) -> Mapping[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)
