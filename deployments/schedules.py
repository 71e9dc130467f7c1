"""Whether a schedule means what it says, what it is called, and when it fires next."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prefect._vendor.croniter import CroniterBadDateError
from prefect.server.schemas import schedules as server

from deployments.declaration import Schedule

# The server's own classes say when a schedule fires: the client's have no such method.
SERVER_CLASS = {
    "CronSchedule": server.CronSchedule,
    "RRuleSchedule": server.RRuleSchedule,
    "IntervalSchedule": server.IntervalSchedule,
}
NEVER = "it never fires from now on"


async def next_times(schedule: Schedule, count: int = 5, *, after: dt.datetime | None = None) -> list[dt.datetime]:
    """The next run times, in the schedule's timezone; fewer, or none, where the rule ends before."""
    start = after or dt.datetime.now(dt.UTC)
    rule = SERVER_CLASS[type(schedule).__name__].model_validate(schedule.model_dump())
    try:
        return await rule.get_dates(n=count, start=start)
    except CroniterBadDateError:
        return []


async def problems(schedule: Schedule, *, after: dt.datetime | None = None) -> list[str]:
    """Why the schedule is refused, a line each; empty for a good one.

    Prefect itself takes cron rules of six fields and reads the sixth as seconds, anchors an RRULE without DTSTART in
    2020, and anchors an interval at the moment of the deploy: each then fires at other times than it seems to say.
    """
    found = [reason for reason in (_ambiguity(schedule),) if reason]
    if not schedule.model_fields_set & {"timezone"} or not schedule.timezone:
        found.append("it has no timezone")
    if not found and not await next_times(schedule, 1, after=after):
        found.append(NEVER)
    return [f"{describe(schedule)}: {reason}" for reason in found]


def _ambiguity(schedule: Schedule) -> str:
    match type(schedule).__name__:
        case "CronSchedule":
            fields = len(schedule.cron.split())
            return "" if fields == 5 else f"a cron rule has five fields, this one has {fields}"
        case "RRuleSchedule":
            return "" if "DTSTART" in schedule.rrule.upper() else "it has no DTSTART"
        case _:
            return "" if "anchor_date" in schedule.model_fields_set else "it has no anchor_date"


def describe(schedule: Any) -> str:
    """A schedule in a few words: `cron '0 5 1 * *' UTC`."""
    match type(schedule).__name__:
        case "CronSchedule":
            rule = f"cron {schedule.cron!r}"
        case "RRuleSchedule":
            rule = f"rrule {' '.join(schedule.rrule.split())!r}"
        case "IntervalSchedule":
            rule = f"every {schedule.interval}"
        case other:
            return other
    return f"{rule} {schedule.timezone or 'UTC'}"


def as_fields(schedule: Any) -> dict[str, Any]:
    """The schedule's values as JSON, the same for the same schedule whichever side wrote it."""
    values = schedule.model_dump(mode="json")
    if "anchor_date" in values:
        values["anchor_date"] = schedule.anchor_date.astimezone(dt.UTC).isoformat()
    return values
