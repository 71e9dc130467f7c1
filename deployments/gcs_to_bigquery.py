"""Bucket to BigQuery: weekly, what has reached the bucket since."""

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
        flow="flows/gcs_to_bigquery.py:etl_gcs_to_bq",
        name=POOL_TYPE,
        infrastructure=settings().container_block,
        description="Load a month of one dataset from the bucket into BigQuery; it replaces an earlier load.",
        parameters={"service": "green"},
        schedules=(
            # Mondays at six in New York, summer and winter. Without a DTSTART the rule would count from 2020.
            ScheduleSpec(
                slug="weekly",
                schedule=RRuleSchedule(
                    rrule="DTSTART:20260105T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO", timezone="America/New_York"
                ),
            ),
        ),
        tags=("bigquery",),
    ),
)

if __name__ == "__main__":
    deploy_this(__file__)
