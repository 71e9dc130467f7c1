"""Automations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.events.schemas.automations import AutomationCore

from infra.deploy.kinds.context import ObjectKind, Server
from infra.deploy.model import Action, Actual, Desired, Kind, Verb
from infra.deploy.pages import everything


def desired_automations(automations: Iterable[AutomationCore]) -> Iterator[Desired]:
    """The automations."""
    for automation in automations:
        yield Desired(Kind.AUTOMATION, automation.name, automation_fields(automation), script="infra/automations.py")


def automation_fields(automation: AutomationCore) -> dict[str, Any]:
    """An automation's values as JSON, without ids and with sets in order: the same whichever side wrote it."""
    parts = {"tags", "description", "enabled", "trigger", "actions"}
    values = _plain(automation.model_dump(mode="json", include=parts))
    values["tags"] = sorted(values["tags"])
    return values


def _plain(value: Any) -> Any:
    """Without ids; lists of words, which sets have become, in order."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return sorted(value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


async def read(client: PrefectClient, names: Collection[str]) -> list[Actual]:
    """All automations."""
    return [
        Actual(Kind.AUTOMATION, automation.name, automation_fields(automation), str(automation.id), ours=False)
        for automation in await everything(client.read_automations)
    ]


async def write(server: Server, action: Action) -> UUID | None:
    """Carry out an action on an automation. Returns the id of a new one."""
    if action.verb is Verb.CREATE:
        return await server.client.create_automation(AutomationCore(name=action.name, **action.fields))
    if action.verb is Verb.DELETE:
        await server.client.delete_automation(UUID(action.on_server.id))
        return None
    # An automation is replaced whole, so what a person switched has to be said again.
    fields = {**action.declared.fields, "enabled": action.on_server.fields["enabled"], **action.fields}
    automation = AutomationCore(name=action.name, **fields)
    await server.client.update_automation(UUID(action.on_server.id), automation)
    return None


AUTOMATION = ObjectKind(
    Kind.AUTOMATION, read, write, "enabled", {False: "switched off by hand", True: "switched on by hand"}
)
