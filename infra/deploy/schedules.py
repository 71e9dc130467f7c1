"""Whether a schedule means what it says, what it is called, and when it fires next.

A schedule is handled as the JSON object that the API has for it: Prefect's own classes look through all the timezone
files of the machine whenever one is made, 16 ms each, and a server gives back hundreds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from prefect.server.schemas import schedules as server

from infra.deploy.spec import Schedule

Fields = Mapping[str, Any]
NEVER = "it never fires from now on"


def as_fields(schedule: Schedule) -> dict[str, Any]:
    """A declared schedule as the API's JSON object."""
    return canonical(schedule.model_dump(mode="json"))


def canonical(fields: Fields) -> dict[str, Any]:
    """The object in a form in which equal schedules of both sides compare equal."""
    if "anchor_date" not in fields:
        return dict(fields)
    return {**fields, "anchor_date": _moment(fields["anchor_date"]).astimezone(dt.UTC).isoformat()}


def describe(fields: Fields) -> str:
    """A schedule in a few words: `cron '0 5 1 * *' UTC`."""
    if "cron" in fields:
        rule = f"cron {fields['cron']!r}"
    elif "rrule" in fields:
        rule = f"rrule {' '.join(fields['rrule'].split())!r}"
    elif "interval" in fields:
        rule = f"every {dt.timedelta(seconds=fields['interval'])}"
    else:
        return "no schedule"
    return f"{rule} {fields['timezone'] or 'UTC'}"


async def next_times(fields: Fields, count: int = 5, *, after: dt.datetime | None = None) -> list[dt.datetime]:
    """The next run times in the schedule's timezone; fewer than `count` if the rule ends before."""
    start = after or dt.datetime.now(dt.UTC)
    try:
        return list(await _rule(fields).get_dates(n=count, start=start))
    except ValueError:  # the cron library raises it if there is none
        return []


async def problems(schedule: Schedule, *, after: dt.datetime | None = None) -> list[str]:
    """The problems of a schedule, one line each; empty if it is valid.

    Prefect accepts cron rules of six fields and reads the sixth as seconds, starts an RRULE without DTSTART in 2020,
    and starts an interval without an anchor at the time of the deploy. All three run at times that are easy to misread.
    """
    fields = as_fields(schedule)
    found = [reason for reason in (_ambiguity(fields, schedule.model_fields_set),) if reason]
    if "timezone" not in schedule.model_fields_set or not schedule.timezone:
        found.append("it has no timezone")
    if not found and not await next_times(fields, 1, after=after):
        found.append(NEVER)
    return [f"{describe(fields)}: {reason}" for reason in found]


def _ambiguity(fields: Fields, given: set[str]) -> str:
    if "cron" in fields:
        parts = len(fields["cron"].split())
        return "" if parts == 5 else f"a cron rule has five fields, this one has {parts}"
    if "rrule" in fields:
        return "" if "DTSTART" in fields["rrule"].upper() else "it has no DTSTART"
    return "" if "anchor_date" in given else "it has no anchor_date"


def _rule(fields: Fields) -> server.CronSchedule | server.RRuleSchedule | server.IntervalSchedule:
    """The server's own class, which computes run times. The values were validated before."""
    timezone = fields["timezone"] or "UTC"
    if "cron" in fields:
        return server.CronSchedule.model_construct(**{**fields, "timezone": timezone})
    if "rrule" in fields:
        return server.RRuleSchedule.model_construct(**{**fields, "timezone": timezone})
    return server.IntervalSchedule.model_validate({**fields, "timezone": timezone})


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)
