"""Web to bucket: the monthly load."""

from __future__ import annotations

import sys
from pathlib import Path

from prefect.client.schemas.schedules import CronSchedule

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it finds the project from anywhere

from infra.deploy.run_script import deploy_this
from infra.deploy.spec import POOL_TYPE, DeploymentSpec, ScheduleSpec
from infra.settings import settings

DEPLOYMENTS = (
    DeploymentSpec(
        flow="flows/web_to_gcs.py:etl_web_to_gcs",
        name=POOL_TYPE,
        infrastructure=settings().container_block,
        description="Load a month of one dataset from the web into the bucket; it replaces an earlier load.",
        parameters={"service": "green"},
        schedules=(
            # The run takes no month: it loads what has been published since the last one.
            ScheduleSpec(slug="monthly", schedule=CronSchedule(cron="0 5 1 * *", timezone="UTC")),
        ),
        tags=("bucket",),
    ),
)

if __name__ == "__main__":
    deploy_this(__file__)
