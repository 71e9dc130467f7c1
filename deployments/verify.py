"""Reconciliation of the stores, by hand (`make verify`) and every Monday."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect.client.schemas.schedules import RRuleSchedule

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it finds the project from anywhere

from infra.deploy.run_script import deploy_this
from infra.deploy.spec import POOL_TYPE, DeploymentSpec, ScheduleSpec
from infra.settings import settings

DEPLOYMENTS = (
    DeploymentSpec(
        flow="flows/verify.py:verify_stores",
        name=POOL_TYPE,
        infrastructure=settings().container_block,
        description="Count every month in every store again, against its ledger and TLC's published count.",
        schedules=(
            ScheduleSpec(
                slug="weekly",
                schedule=RRuleSchedule(rrule="DTSTART:20260105T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO", timezone="UTC"),
            ),
        ),
        tags=("quality",),
    ),
)

if __name__ == "__main__":
    deploy_this(__file__)
