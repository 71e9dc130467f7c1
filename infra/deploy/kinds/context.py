"""What the kinds of objects share: how a kind is described, and the server that objects are written to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from infra.deploy.model import Action, Actual, Kind
from infra.deploy.pages import everything


class NotOurs(Exception):
    """Since the plan was made, someone else has made an object of this name; it was not touched."""

    def __init__(self) -> None:
        super().__init__("someone else has just made one of this name; it was not touched")


class Server:
    """The server that a plan is carried out on.

    Args:
        client: the server's.
        actions: the whole plan.

    Attributes:
        client: as given.
        deployment_ids: the ids of the plan's deployments, by name.
    """

    def __init__(self, client: PrefectClient, actions: Sequence[Action]) -> None:
        self.client = client
        self.deployment_ids = {
            action.name: action.actual.id for action in actions if action.kind is Kind.DEPLOYMENT and action.actual
        }

    async def waiting_runs(self, deployment: UUID) -> list[FlowRun]:
        """The runs that have not begun; the server itself leaves those behind that wait for a concurrency slot."""
        scheduled = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        runs = await everything(self.client.read_flow_runs, flow_run_filter=scheduled)
        return [run for run in runs if run.run_count == 0]


async def read_none(client: PrefectClient, names: Collection[str]) -> list[Actual]:
    """Nothing: objects that are read with those of another kind."""
    return []


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object.

    Attributes:
        kind: which.
        read: the objects on the server; of a kind that cannot be listed, those of the names.
        write: carries out an action. Returns the id of what was created, None where nothing new was.
        switch: the field that a person may switch in the UI, which a deploy then keeps.
        switched: how a switch by hand is described, by its value.
        prepare: what has to be done once, before the first action of a plan.
    """

    kind: Kind
    read: Callable[[PrefectClient, Collection[str]], Awaitable[list[Actual]]]
    write: Callable[[Server, Action], Awaitable[UUID | str | None]]
    switch: str | None = None
    switched: Mapping[bool, str] = field(default_factory=dict)
    prepare: Callable[[Sequence[Action]], None] = lambda actions: None


def as_json(model: Any) -> dict[str, Any]:
    """The fields that are set, as the API takes them."""
    return dict(model.model_dump(mode="json", exclude_unset=True))
