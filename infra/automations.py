"""Automations as code: what Prefect does when an event happens, or does not happen in time."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from infra.settings import Settings

# This project's runs send a heartbeat every 30 s; Prefect's default is 180 s. The timeout is two default intervals and
# 30 s, so that it does not hit a run with the default interval, or a run whose container or server is unavailable for
# six minutes. After a longer outage of the server it can hit a live run: when a server starts, it evaluates the time of
# the outage before it receives new heartbeats, and Prefect has no setting for that.
HEARTBEAT_TIMEOUT = timedelta(seconds=390)
HEARTBEAT = "prefect.flow-run.heartbeat"
# In these states a run has no process and sends no heartbeats.
NO_HEARTBEAT = ("Completed", "Failed", "Crashed", "Cancelled", "Scheduled", "Rescheduled", "AwaitingRetry", "Suspended")


def declared_automations(config: Settings) -> list[AutomationCore]:
    """All declared automations; each has the project's tag."""
    return [give_up_silent_runs(config.tag)]


def give_up_silent_runs(tag: str, timeout: timedelta = HEARTBEAT_TIMEOUT) -> AutomationCore:
    """Mark a run with the tag Crashed when its heartbeats stop; a run has the tags of its deployment.

    If a run and its worker are killed together, nothing reports the end of the run. It would stay Running and keep its
    concurrency slot.
    """
    return AutomationCore(
        name=f"{tag}-silent-runs-crash",
        description="A run whose heartbeats stop has lost its process: mark it Crashed, which frees its slot.",
        tags=[tag],
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{state}" for state in NO_HEARTBEAT)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timeout,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"No heartbeat for {timeout.total_seconds():.0f} s: the run's process and worker have ended.",
            )
        ],
    )
