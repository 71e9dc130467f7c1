"""Schedules: what is refused and why, and when the others fire."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from infra.deploy.schedules import as_fields, describe, next_times, problems

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def refused(schedule) -> str:
    return "; ".join(asyncio.run(problems(schedule, after=NOW)))


def fires(schedule, count=5) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M %z}" for time in asyncio.run(next_times(as_fields(schedule), count, after=NOW))]


@pytest.mark.parametrize(
    ("schedule", "why"),
    [
        (CronSchedule(cron="0 0 5 1 * *", timezone="UTC"), "a cron rule has five fields, this one has 6"),
        (CronSchedule(cron="0 0 30 2 *", timezone="UTC"), "it never fires"),
        (CronSchedule(cron="0 5 1 * *"), "it has no timezone"),
        (RRuleSchedule(rrule="FREQ=DAILY;COUNT=3", timezone="UTC"), "it has no DTSTART"),
        (RRuleSchedule(rrule="DTSTART:20200101T000000\nRRULE:FREQ=DAILY;COUNT=3", timezone="UTC"), "it never fires"),
        (
            RRuleSchedule(rrule="DTSTART:20260101T000000\nRRULE:FREQ=DAILY;UNTIL=20260201T000000", timezone="UTC"),
            "never",
        ),
        (RRuleSchedule(rrule="DTSTART:20260101T000000\nRRULE:FREQ=WEEKLY"), "it has no timezone"),
        (IntervalSchedule(interval=DAY, timezone="UTC"), "it has no anchor_date"),
    ],
)
def test_refused(schedule, why):
    assert why in refused(schedule)
    assert "\n" not in refused(schedule)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CronSchedule(cron="0 5 1 * *", timezone="Mars/Olympus"),
        lambda: RRuleSchedule(rrule="DTSTART:20260101T000000\nRRULE:FREQ=DAILY", timezone="Mars/Olympus"),
        lambda: CronSchedule(cron="every month", timezone="UTC"),
        lambda: RRuleSchedule(rrule="FREQ=SOMETIMES", timezone="UTC"),
    ],
)
def test_refused_by_prefect_when_it_is_made(make):
    with pytest.raises(ValueError):
        make()


def test_monthly_load_fires_on_the_first_at_five_utc():
    schedule = CronSchedule(cron="0 5 1 * *", timezone="UTC")
    assert refused(schedule) == ""
    assert fires(schedule) == [f"2026-0{month}-01 05:00 +0000" for month in (3, 4, 5, 6, 7)]


def test_weekly_rule_keeps_its_hour_over_the_change_to_summer_time():
    schedule = RRuleSchedule(rrule="DTSTART:20260105T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO", timezone="America/New_York")
    assert refused(schedule) == ""
    assert fires(schedule, 2) == ["2026-03-02 06:00 -0500", "2026-03-09 06:00 -0400"]


def test_interval_fires_from_its_anchor():
    anchor = dt.datetime(2026, 1, 1, 7, 30, tzinfo=dt.UTC)
    schedule = IntervalSchedule(interval=dt.timedelta(hours=12), anchor_date=anchor, timezone="UTC")
    assert refused(schedule) == ""
    assert fires(schedule, 2) == ["2026-03-01 07:30 +0000", "2026-03-01 19:30 +0000"]


def test_a_rule_that_ends_has_fewer_next_times():
    schedule = RRuleSchedule(rrule="DTSTART:20260228T000000\nRRULE:FREQ=DAILY;COUNT=3", timezone="UTC")
    assert refused(schedule) == ""
    assert len(fires(schedule)) == 2


def test_equal_anchors_in_two_time_zones_are_equal_schedules():
    def at(zone: dt.tzinfo) -> IntervalSchedule:
        anchor = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC).astimezone(zone)
        return IntervalSchedule(interval=DAY, anchor_date=anchor, timezone="UTC")

    assert as_fields(at(dt.UTC)) == as_fields(at(dt.timezone(dt.timedelta(hours=-5))))


def test_description_is_one_line():
    assert describe(as_fields(CronSchedule(cron="0 5 1 * *", timezone="UTC"))) == "cron '0 5 1 * *' UTC"
    rule = RRuleSchedule(rrule="DTSTART:20260101T000000\nRRULE:FREQ=DAILY", timezone="UTC")
    assert "\n" not in describe(as_fields(rule))
