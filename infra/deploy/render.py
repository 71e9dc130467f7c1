"""A plan as text and as JSON, without the values of secrets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from infra.deploy.kinds.schedule import SCHEDULE
from infra.deploy.model import ABSENT, Action, Change, Verb
from infra.deploy.plan import changing
from infra.deploy.schedules import next_times

SIGN = {
    Verb.CREATE: "[green]+ create[/]",
    Verb.UPDATE: "[yellow]~ update[/]",
    Verb.DELETE: "[red]- delete[/]",
    Verb.UNCHANGED: "[dim]  unchanged[/]",
    Verb.KEPT: "[cyan]  kept[/]",
    Verb.CONFLICT: "[red]! conflict[/]",
}
SECRET = "(secret)"
WIDTH = 60


async def as_text(actions: Sequence[Action]) -> str:
    """The plan with rich's markup: a line for each action, the changed fields, and the next times of schedules."""
    lines = [line for action in actions for line in await _lines(action)]
    return "\n".join([*lines, "", summary(actions)])


def summary(actions: Sequence[Action]) -> str:
    """One line: how many of each."""
    counts = Counter(action.verb for action in actions)
    parts = ", ".join(f"{counts[verb]} {verb}" for verb in Verb if counts[verb])
    if not changing(actions) and not counts[Verb.CONFLICT]:
        return f"No change: the server has what the code declares ({parts})."
    return f"Plan: {parts}."


async def as_json(actions: Sequence[Action]) -> str:
    """The plan as one JSON object: `changes` (whether there are any) and `actions`."""
    rows = [
        {
            "action": str(action.verb),
            "kind": str(action.kind),
            "name": action.name,
            "changes": [_change_row(change) for change in action.changes],
            "note": action.note or None,
            "next": await _next(action),
        }
        for action in actions
    ]
    return json.dumps({"changes": bool(changing(actions)), "actions": rows}, indent=2)


async def _lines(action: Action) -> list[str]:
    note = f" ({escape(action.note)})" if action.note else ""
    lines = [f"{SIGN[action.verb]} {action.kind} {escape(action.name)}{note}"]
    for change in action.changes:
        field = escape(".".join(change.path))
        shown = "changed " + SECRET if change.secret else f"{_short(change.old)} -> {_short(change.new)}"
        lines.append(f"      {field}: {shown}")
    if times := await _next(action):
        lines.append(f"      [dim]next: {', '.join(times)}[/]")
    return lines


def _change_row(change: Change) -> dict[str, Any]:
    row: dict[str, Any] = {"field": ".".join(change.path), "secret": change.secret}
    if not change.secret:
        row |= {"old": _plain(change.old), "new": _plain(change.new)}
    return row


async def _next(action: Action) -> list[str]:
    """The next five run times of a schedule that is switched on."""
    shown = action.actual if action.verb in (Verb.UNCHANGED, Verb.KEPT) else action.desired
    if action.kind != SCHEDULE or shown is None or not shown.fields["active"]:
        return []
    return [f"{time:%Y-%m-%d %H:%M %Z}" for time in await next_times(shown.fields["schedule"])]


def _short(value: Any) -> str:
    text = json.dumps(_plain(value), default=str, ensure_ascii=False)
    return escape(text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…")


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value
