"""What a deployment script declares, as data: no server, no flow code and no engine is needed to create it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

# In a deployment's name: the type of its work pool, `docker` or `process`.
POOL_TYPE = "{pool_type}"

Schedule = CronSchedule | RRuleSchedule | IntervalSchedule


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec:
    """A schedule of a deployment.

    Attributes:
        slug: its name within the deployment; on the server it starts with our tag.
        schedule: a cron rule with five fields, an RRULE with a DTSTART, or an interval with an anchor; with a timezone.
        parameters: parameters of its runs, over those of the deployment.
        active: whether it is created switched on. Later switches by hand are kept.
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
        name: the deployment's name, or POOL_TYPE. Its full name is `flow name/name`.
        description: the text in the UI.
        infrastructure: the DockerContainer block with the settings of its runs' containers. It is attached by
            reference, so that an edit of the block applies from the next run. A process pool does not use it.
        schedules: its schedules.
        parameters: default parameters of its runs.
        tags: its tags, to which our own is added.
        concurrency_limit: how many of its runs at once; None: no limit.
        on_collision: whether a run over that limit waits or is cancelled.
        job_variables: settings of the run's process or container, over those of the block.
        work_queue: the pool's queue.
        paused: whether it is created paused. Later changes by hand are kept.
        script: the file that declares it; set when the script is read.
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
