"""Automations as code: what Prefect does by itself when something happens, or fails to happen."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from infra.settings import Settings, settings

# Our runs send a heartbeat every 30 s, by Prefect's default it would be every 180 s. Two of the slower ones and some
# slack have to fail before a run is given up: a run that merely has the default is not, nor one whose container is
# frozen, or whose server is down, for six minutes. After a longer outage of the server a live run can be: when a server
# starts, it judges the time it was down before it takes the next heartbeats, and Prefect has no setting for that.
SILENCE = timedelta(seconds=390)
HEARTBEAT = "prefect.flow-run.heartbeat"
# After these a run has no process, or none yet, and owes no heartbeat.
NO_PROCESS = ("Completed", "Failed", "Crashed", "Cancelled", "Scheduled", "Rescheduled", "AwaitingRetry", "Suspended")


def declared_automations(config: Settings | None = None) -> list[AutomationCore]:
    """Every automation that is code; each carries our tag."""
    config = config or settings()
    return [give_up_silent_runs(config.tag)]


def give_up_silent_runs(tag: str, silence: timedelta = SILENCE) -> AutomationCore:
    """Crashed for a run with our tag that fell silent; a run has the tags of its deployment.

    When run and worker are killed together nobody reports the end of the run: it would stay Running, and hold its
    concurrency slot, for ever.
    """
    return AutomationCore(
        name=f"{tag}-silent-runs-crash",
        description="A run whose heartbeats stop has lost its process: mark it Crashed, which frees its slot.",
        tags=[tag],
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *(f"prefect.flow-run.{state}" for state in NO_PROCESS)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{tag}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name="Crashed",
                message=f"No heartbeat for {silence.total_seconds():.0f} s: the run's process is gone, its worker too.",
            )
        ],
    )
