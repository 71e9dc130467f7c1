"""A kind of object that a deploy handles, as each file of `infra/deploy/kinds` describes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType

from infra.deploy.model import Action, Actual, Desired
from infra.deploy.pages import all_pages
from infra.deploy.spec import DeploymentSpec
from infra.deploy.target import Target
from infra.settings import Settings


class NotOurs(Exception):
    """An object of this name that is not ours was created after the plan was made. It is not changed."""

    def __init__(self) -> None:
        super().__init__("an object of this name that is not ours has just been created; it was not changed")


@dataclass(frozen=True)
class Declarations:
    """What can be declared.

    Attributes:
        config: the settings, with the image by digest.
        target: where the deploy goes.
        specs: the deployments.
        blocks: the blocks, by name.
    """

    config: Settings
    target: Target
    specs: Sequence[DeploymentSpec]
    blocks: Mapping[str, Block]


class Server:
    """The server that a plan is applied to.

    Attributes:
        client: the server's client.
        ids: the ids of the plan's objects on the server, by kind and name; the ids of new objects are added.
    """

    def __init__(self, client: PrefectClient, actions: Sequence[Action]) -> None:
        self.client = client
        self.ids = {(action.kind, action.name): action.actual.id for action in actions if action.actual}

    async def waiting_runs(self, deployment: UUID) -> list[FlowRun]:
        """The runs that have not started. The server itself does not delete those that wait for a concurrency slot."""
        scheduled = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        )
        runs = await all_pages(self.client.read_flow_runs, flow_run_filter=scheduled)
        return [run for run in runs if run.run_count == 0]


@dataclass(frozen=True)
class ObjectKind:
    """One kind of object: how it is declared, read and written, and what the plan has to know about it.

    Attributes:
        name: the kind's name in plans, in the record and on the command line.
        order: kinds are created in this order and deleted in the reverse order.
        declare: the objects of this kind that are declared.
        read: the objects on the server; of a kind that cannot be listed, those of the given names.
        write: carries out an action. Returns the id of an object that it created, None otherwise.
        prepare: called once with the kind's actions, before the first action of a plan.
        part_of: the kind of which its objects are parts: they are read with it, and deleted with it.
        switch: the field that users switch in the UI; a deploy keeps its value.
        switched: how a switch in the UI is described, by its value.
        switch_when_deleted: the value that the switch gets before an object is deleted.
        shared: others may use its objects, so `destroy` keeps them.
        used_as_is: an object that is not ours and is as declared is used; otherwise it is a conflict.
        created_by_agent: our agent creates it too, so an object that is as declared is ours.
    """

    name: str
    order: int
    declare: Callable[[Declarations], Iterable[Desired]]
    read: Callable[[PrefectClient, Collection[str], Target], Awaitable[list[Actual]]]
    write: Callable[[Server, Action], Awaitable[UUID | str | None]]
    prepare: Callable[[Sequence[Action]], None] = lambda actions: None
    part_of: str | None = None
    switch: str | None = None
    switched: Mapping[bool, str] = field(default_factory=dict)
    switch_when_deleted: bool | None = None
    shared: bool = False
    used_as_is: bool = True
    created_by_agent: bool = False


def as_json(model: Any) -> dict[str, Any]:
    """The fields that are set, as the API takes them."""
    return dict(model.model_dump(mode="json", exclude_unset=True))
