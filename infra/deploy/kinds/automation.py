"""Automations."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore

from infra.automations import declared_automations
from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, ObjectKind, Server
from infra.deploy.pages import all_pages
from infra.deploy.target import Target

AUTOMATION = "automation"


def declare(declared: Declarations) -> Iterator[Desired]:
    """The automations of `infra/automations.py`."""
    for automation in declared_automations(declared.config):
        yield Desired(AUTOMATION, automation.name, automation_fields(automation), script="infra/automations.py")


def automation_fields(automation: AutomationCore) -> dict[str, Any]:
    """An automation's values as JSON, without ids and with sets in order, so that both sides compare equal."""
    parts = {"tags", "description", "enabled", "trigger", "actions"}
    values = _plain(automation.model_dump(mode="json", include=parts))
    values["tags"] = sorted(values["tags"])
    return values


def _plain(value: Any) -> Any:
    """The value without ids. Lists of strings, which come from sets, are sorted."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return sorted(value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """All automations."""
    return [
        Actual(AUTOMATION, automation.name, automation_fields(automation), str(automation.id), ours=False)
        for automation in await all_pages(client.read_automations)
    ]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on an automation. Returns the id of a new one."""
    if action.verb is Verb.CREATE:
        return await server.client.create_automation(AutomationCore(name=action.name, **action.fields))
    if action.verb is Verb.DELETE:
        await server.client.delete_automation(UUID(action.on_server.id))
        return None
    # An update replaces the whole automation, so the value of its switch is sent again.
    fields = {**action.declared.fields, "enabled": action.on_server.fields["enabled"], **action.fields}
    automation = AutomationCore(name=action.name, **fields)
    await server.client.update_automation(UUID(action.on_server.id), automation)
    return None


KIND = ObjectKind(
    *(AUTOMATION, 4, declare, read, write),
    switch="enabled",
    switched={False: "switched off by hand", True: "switched on by hand"},
)
