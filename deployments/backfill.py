"""Many months at once, from the web into the bucket."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # as a script it finds the project from anywhere

from infra.deploy.run_script import deploy_this
from infra.deploy.spec import POOL_TYPE, DeploymentSpec
from infra.settings import settings

DEPLOYMENTS = (
    DeploymentSpec(
        flow="flows/backfill.py:etl_parent_flow",
        name=POOL_TYPE,
        infrastructure=settings().container_block,
        description="Load several months of a year, each in a run of its own; one that fails does not stop the others.",
        parameters={"months": [1, 2, 3], "year": 2021, "service": "green"},
        tags=("bucket", "backfill"),
    ),
)

if __name__ == "__main__":
    deploy_this(__file__)
