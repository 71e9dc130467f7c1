"""Web to Postgres: twice a day, what has been published since."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from prefect.client.schemas.schedules import IntervalSchedule

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it finds the project from anywhere

from infra.deploy.run_script import deploy_this
from infra.deploy.spec import POOL_TYPE, DeploymentSpec, ScheduleSpec
from infra.settings import settings

DEPLOYMENTS = (
    DeploymentSpec(
        flow="flows/web_to_postgres.py:etl_web_to_postgres",
        name=POOL_TYPE,
        infrastructure=settings().container_block,
        description="Load a month of one dataset from the web into Postgres; it replaces an earlier load.",
        parameters={"service": "green"},
        schedules=(
            # The anchor keeps the times the same from one deploy to the next.
            ScheduleSpec(
                slug="publication-check",
                schedule=IntervalSchedule(
                    interval=dt.timedelta(hours=12),
                    anchor_date=dt.datetime(2026, 1, 1, 7, 30, tzinfo=dt.UTC),
                    timezone="UTC",
                ),
            ),
        ),
        tags=("postgres",),
        # A check that is still loading when the next one is due: the next one waits.
        concurrency_limit=1,
    ),
)

if __name__ == "__main__":
    deploy_this(__file__)
