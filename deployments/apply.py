"""Carrying a plan out on the server, action by action. What a failure leaves undone, the next run's plan has again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from prefect.exceptions import ObjectNotFound

from deployments.observe import everything
from deployments.plan import Action, Kind, Verb, changing


class Stopped(Exception):
    """A deploy that could not be finished.

    Attributes:
        done: what was carried out before.
        failed: what was not, or not wholly.
    """

    def __init__(self, done: Sequence[Action], failed: Action, wrong: Exception) -> None:
        self.done, self.failed = list(done), failed
        applied = "; ".join(f"{action.verb} {action.kind} {action.name}" for action in done) or "nothing"
        super().__init__(
            f"stopped at {failed.verb} {failed.kind} {failed.name}: {reason(wrong)}. "
            f"Applied before it: {applied}. Run it again to finish."
        )


async def carry_out(
    client: PrefectClient,
    actions: Sequence[Action],
    *,
    before_each: Callable[[], None] = lambda: None,
    on_done: Callable[[Action], None] = lambda action: None,
) -> list[Action]:
    """Carry out the actions that change something, in their order.

    Args:
        client: the server's.
        actions: a whole plan; what is unchanged or kept in it is not touched, but others may refer to it.
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
            await server.carry_out(action)
        except Exception as wrong:
            raise Stopped(done, action, wrong) from wrong
        done.append(action)
        on_done(action)
    return done


def reason(wrong: Exception) -> str:
    """Why a call failed, on one line."""
    if isinstance(wrong, httpx.HTTPStatusError):
        try:
            detail = wrong.response.json().get("detail", "")
        except (ValueError, AttributeError):
            detail = wrong.response.text
        return f"the server answered {wrong.response.status_code}: {' '.join(str(detail).split())[:300]}"
    first = (str(wrong).splitlines() or [""])[0]
    return f"{type(wrong).__name__}: {first}" if first else type(wrong).__name__


class _Server:
    """The calls of each kind of action."""

    def __init__(self, client: PrefectClient, actions: Sequence[Action]) -> None:
        self._client = client
        self._flow_ids: dict[str, UUID] = {}
        self._deployment_ids = {
            action.name: action.found.id for action in actions if action.kind is Kind.DEPLOYMENT and action.found
        }
        self._prepare_blocks(actions)

    async def carry_out(self, action: Action) -> None:
        calls = {
            Kind.POOL: self._pool,
            Kind.BLOCK: self._block,
            Kind.LIMIT: self._limit,
            Kind.AUTOMATION: self._automation,
            Kind.DEPLOYMENT: self._deployment,
            Kind.SCHEDULE: self._schedule,
        }
        try:
            await calls[action.kind](action)
        except (ObjectNotFound, httpx.HTTPStatusError) as wrong:
            gone = isinstance(wrong, ObjectNotFound) or wrong.response.status_code == httpx.codes.NOT_FOUND
            if not (action.verb is Verb.DELETE and gone):
                raise

    async def _pool(self, action: Action) -> None:
        fields = action.fields
        if action.verb is Verb.CREATE:
            await self._client.create_work_pool(WorkPoolCreate(name=action.name, **fields))
        else:
            await self._client.update_work_pool(action.name, WorkPoolUpdate(**fields))

    async def _block(self, action: Action) -> None:
        name = action.name.partition("/")[2]
        await action.wanted.source.asave(name, overwrite=True, client=self._client)

    async def _limit(self, action: Action) -> None:
        if action.verb is Verb.CREATE:
            limit = GlobalConcurrencyLimitCreate(name=action.name, **action.fields)
            await self._client.create_global_concurrency_limit(limit)
        elif action.verb is Verb.UPDATE:
            limit = GlobalConcurrencyLimitUpdate(**action.fields)
            await self._client.update_global_concurrency_limit(action.name, limit)
        else:
            await self._client.delete_global_concurrency_limit_by_name(action.name)

    async def _automation(self, action: Action) -> None:
        if action.verb is Verb.DELETE:
            await self._client.delete_automation(UUID(action.found.id))
            return
        if action.verb is Verb.CREATE:
            await self._client.create_automation(AutomationCore(name=action.name, **action.fields))
            return
        # An automation is replaced whole, so what a person switched has to be said again.
        fields = {**action.wanted.fields, "enabled": action.found.fields["enabled"], **action.fields}
        automation = AutomationCore(name=action.name, **fields)
        await self._client.update_automation(UUID(action.found.id), automation)

    async def _deployment(self, action: Action) -> None:
        if action.verb is Verb.DELETE:
            await self._delete_deployment(UUID(action.found.id))
            return
        fields = action.fields
        if "on_collision" in fields:
            strategy = fields.pop("on_collision")
            fields["concurrency_options"] = {"collision_strategy": strategy} if strategy else None
        if action.verb is Verb.CREATE:
            flow_name, _, name = action.name.partition("/")
            created = await self._client.create_deployment(await self._flow_id(flow_name), name, **fields)
            self._deployment_ids[action.name] = str(created)
            return
        if "job_variables" in fields:
            # The server checks them against the template of the pool that is named in the same call.
            fields["work_pool_name"] = action.wanted.fields["work_pool_name"]
        await self._client.update_deployment(UUID(action.found.id), DeploymentUpdate(**fields))

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

    async def _schedule(self, action: Action) -> None:
        parent = action.wanted.parent if action.wanted else action.found.parent
        deployment = self._deployment_ids[parent]
        one = {"id": deployment, "schedule": action.found.id if action.found else ""}
        if action.verb is Verb.DELETE:
            for run in await self._waiting_runs(UUID(deployment)):
                if run.created_by and str(run.created_by.id) == action.found.id:
                    await self._client.delete_flow_run(run.id)
            await self._client.request("DELETE", "/deployments/{id}/schedules/{schedule}", path_params=one)
        elif action.verb is Verb.CREATE:
            slug = action.name.partition("#")[2]
            created = DeploymentScheduleCreate(slug=slug, **action.fields)
            await self._client.request("POST", "/deployments/{id}/schedules", path_params=one, json=[_json(created)])
        else:
            update = DeploymentScheduleUpdate(**action.fields)
            await self._client.request(
                "PATCH", "/deployments/{id}/schedules/{schedule}", path_params=one, json=_json(update)
            )

    def _prepare_blocks(self, actions: Sequence[Action]) -> None:
        """Tell each block its id on this server, so that a block that holds it refers to it and does not copy it."""
        blocks = {action.name: action for action in actions if action.kind is Kind.BLOCK}
        for name, action in blocks.items():
            block = action.wanted.source
            block._block_document_id = UUID(action.found.id) if action.found else None
            block._block_document_name = name.partition("/")[2]


def _json(model: Any) -> Mapping[str, Any]:
    return model.model_dump(mode="json", exclude_unset=True)
