"""How a plan is shown: to a person, and as JSON. Never with a secret's value."""

from __future__ import annotations

import asyncio
import json

from prefect.client.schemas.schedules import CronSchedule

from infra.deploy.model import Actual, Desired
from infra.deploy.plan import plan
from infra.deploy.render import as_json, as_text
from infra.deploy.schedules import as_fields

MONTHLY = as_fields(CronSchedule(cron="0 5 1 * *", timezone="UTC"))
WANTED = [
    Desired("block", "secret/s", {"value": "hush", "user": "new"}, frozenset({"value"})),
    Desired("deployment", "f/d", {"version": "b", "paused": False, "tags": ["[red]"]}),
    Desired("schedule", "f/d#t-monthly", {"schedule": MONTHLY, "active": True}, parent="f/d"),
]
FOUND = [
    Actual("block", "secret/s", {"value": "psst", "user": "old"}, "1", ours=True),
    Actual("deployment", "f/d", {"version": "a", "paused": True, "tags": ["[red]"]}, "2", ours=True),
    Actual("deployment", "f/gone", {}, "3", ours=True),
    Actual("schedule", "f/d#mine", {"schedule": MONTHLY, "active": False}, "4", ours=False, parent="f/d", about="cron"),
]


def text(desired, found) -> str:
    return asyncio.run(as_text(plan(desired, found)))


def test_the_text_has_a_line_for_each_action_with_changes_and_next_times():
    shown = text(WANTED, FOUND)
    assert "value: changed (secret)" in shown
    assert 'user: "old" -> "new"' in shown
    assert 'version: "a" -> "b"' in shown
    assert "f/d (paused by hand)" in shown
    assert "f/gone" in shown
    assert "f/d#mine (added by hand: cron)" in shown
    (times,) = [line for line in shown.splitlines() if "next:" in line]
    assert times.count("-01 05:00 UTC") == 5
    assert shown.endswith("Plan: 1 create, 2 update, 1 delete, 2 kept.")


def test_neither_text_nor_json_has_a_secret():
    actions = plan(WANTED, FOUND)
    both = asyncio.run(as_text(actions)) + asyncio.run(as_json(actions))
    assert "hush" not in both
    assert "psst" not in both


def test_the_json_of_a_plan():
    shown = json.loads(asyncio.run(as_json(plan(WANTED, FOUND))))
    assert shown["changes"] is True
    by_name = {(row["action"], row["name"]): row for row in shown["actions"]}
    assert by_name["update", "secret/s"]["changes"] == [
        {"field": "value", "secret": True},
        {"field": "user", "secret": False, "old": "old", "new": "new"},
    ]
    assert len(by_name["create", "f/d#t-monthly"]["next"]) == 5
    assert by_name["kept", "f/d"]["note"] == "paused by hand"


def test_the_text_of_a_plan_without_changes():
    same = [Actual(thing.kind, thing.name, thing.fields, "1", ours=True, parent=thing.parent) for thing in WANTED]
    assert text(WANTED, same).endswith("No change: the server has what the code declares (3 unchanged).")
    assert json.loads(asyncio.run(as_json(plan(WANTED, same))))["changes"] is False
