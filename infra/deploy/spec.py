"""What a deployment script declares. Data alone: no server, no flow code and no engine is needed to make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

# As a deployment's name: it is called after the type of the pool it runs on, `docker` or `process`.
POOL_TYPE = "{pool_type}"

Schedule = CronSchedule | RRuleSchedule | IntervalSchedule


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """When a deployment runs by itself.

    Attributes:
        slug: its name within the deployment; on the server our tag stands before it.
        schedule: a cron rule with five fields, an RRULE with a DTSTART, or an interval with an anchor; with a timezone.
        parameters: what these runs are given over the deployment's own parameters.
        active: whether it starts switched on. Afterwards the switch is a person's.
    """

    slug: str
    schedule: Schedule
    parameters: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True


@dataclass(frozen=True, kw_only=True)
class DeploymentSpec:
    """One deployment of one flow.

    Attributes:
        flow: the flow's entrypoint from the project's root, as `flows/backfill.py:etl_parent_flow`.
        name: the deployment's name, or POOL_TYPE; people and the API call it `flow name/name`.
        description: what a person reads in the UI.
        infrastructure: the DockerContainer block that its runs take their container's settings from, by reference:
            an edit of the block counts from the next run. On a pool of processes nothing is attached.
        schedules: when it runs by itself.
        parameters: what every run is given, unless told otherwise.
        tags: besides our own.
        concurrency_limit: how many of its runs at once; None for any number.
        on_collision: what a run over that limit does: wait for its turn, or end.
        job_variables: settings of the run's process or container, over those of the block.
        work_queue: the pool's queue.
        paused: whether it starts paused. Afterwards that is a person's.
        script: the file that declares it; filled in when the script is read.
    """

    flow: str
    name: str
    description: str
    infrastructure: str | None = None
    schedules: tuple[ScheduleSpec, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    concurrency_limit: int | None = None
    on_collision: Literal["ENQUEUE", "CANCEL_NEW"] = "ENQUEUE"
    job_variables: Mapping[str, Any] = field(default_factory=dict)
    work_queue: str = "default"
    paused: bool = False
    script: str = ""
