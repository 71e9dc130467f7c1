"""The containers of deployments on a Docker pool, also of a deployment without job variables."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import os
import subprocess
import sys
import uuid

from infra.settings import ROOT, Settings
from tests.integration.deploy_fixtures import on_server

IMAGE = "registry.example.com/taxiway@sha256:" + "0" * 64


def test_a_deployment_of_prefects_own_command_runs_in_our_image(on_server):
    from prefect.client.schemas.actions import WorkPoolCreate

    from infra.docker_container import declared_container, job_variables
    from infra.docker_worker import ContainerConfiguration
    from infra.work_pool import declared_template

    own = f"c{uuid.uuid4().hex[:8]}"
    config = Settings(_env_file=None, work_pool=own, work_pool_type="docker", container_block=own)

    async def work(client):
        block = declared_container(IMAGE, config)
        await block.asave(own, client=client)
        pool = WorkPoolCreate(name=own, type="docker", base_job_template=declared_template(config))
        await client.create_work_pool(pool)
        prefect = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "flows/backfill.py:etl_parent_flow"]
        command = [*prefect, "-n", own, "--cron", "0 6 * * *", "--pool", own]
        environment = {name: value for name, value in os.environ.items() if name != "TAXIWAY_ROOT"}
        deployed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        template = (await client.read_work_pool(own)).base_job_template
        deployment = await client.read_deployment_by_name(f"etl_parent_flow/{own}")

        async def job(variables):
            return await ContainerConfiguration.from_template_and_values(template, variables, client)

        theirs, ours = await job(deployment.job_variables), await job(job_variables(own))
        assert theirs == ours
        assert (theirs.image, theirs.networks, theirs.command) == (IMAGE, block.networks, block.command)
        assert theirs.env == block.env.get_secret_value()
        assert (await job({"env": {"A": "1"}})).env == {"A": "1"}
        template["variables"]["properties"]["env"]["default"] = {"B": "2"}  # as a person may set it in the UI
        assert (await job({"env": {"A": "1"}})).env == {"A": "1", "B": "2"}
        (step,) = deployment.pull_steps
        assert step == {"prefect.deployments.steps.set_working_directory": {"directory": "{{ $TAXIWAY_ROOT }}"}}
        await client.delete_deployment(deployment.id)

    on_server(work)
