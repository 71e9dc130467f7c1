"""The command line of the deployments, on a real server."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
from dataclasses import replace

from infra.settings import ROOT
from tests.integration.deploy_fixtures import command, on_server, place, told


def test_a_schedule_added_by_hand_is_kept_by_the_next_deploy(place, on_server, command):
    async def work(client):
        await place.apply(client)

    on_server(work)
    added = command("schedule", place.name, "*/5 * * * *")
    assert added.exit_code == 0, added.stderr
    assert "cron '*/5 * * * *' UTC; next: 20" in added.stdout
    refused = command("schedule", place.name, "0 */5 * * * *")
    assert refused.exit_code == 1
    assert "a cron rule has five fields, this one has 6" in refused.stderr

    async def again(client):
        place.config = place.config.model_copy(update={"revision": "rev2"})
        kept = [action for action in await place.plan(client) if action.verb == "kept"]
        assert [action.note for action in kept] == ["added by hand: cron '*/5 * * * *' UTC"]
        await place.apply(client)
        deployment = await client.read_deployment_by_name(place.name)
        assert sum(one.slug is None for one in deployment.schedules) == 1
        assert len(deployment.schedules) == 4

    on_server(again)


def test_prefect_deploy_works_and_its_deployment_is_kept(place, on_server):
    async def pool_first(client):
        await place.apply(client)

    on_server(pool_first)
    prefect = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "flows/backfill.py:etl_parent_flow"]
    options = ["-n", place.config.tag, "--cron", "*/1 * * * *", "--timezone", "UTC", "--pool", place.config.work_pool]
    deployed = subprocess.run([*prefect, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr

    async def work(client):
        name = f"etl_parent_flow/{place.config.tag}"
        assert ("kept", name) in told(await place.plan(client))
        assert await place.apply(client) == []
        deployment = await client.read_deployment_by_name(name)
        assert deployment.entrypoint == "flows/backfill.py:etl_parent_flow"
        assert [one.schedule.cron for one in deployment.schedules] == ["*/1 * * * *"]
        await client.delete_deployment(deployment.id)

    on_server(work)


def test_the_plan_command_and_its_exit_status(command, place):
    before = command("plan", "--json", "--detailed-exitcode")
    assert before.exit_code == 2, before.stderr
    creates = {row["name"] for row in json.loads(before.stdout)["actions"] if row["action"] == "create"}
    assert {"etl_web_to_gcs/process", "etl_gcs_to_bq/process", "etl_web_to_postgres/process"} <= creates
    assert command("plan").exit_code == 0  # changes or not, unless asked
    applied = command("apply")
    assert applied.exit_code == 0, applied.stderr
    shown, _, done = applied.stdout.partition("\nPlan: ")
    assert "+ create deployment etl_parent_flow/process" in shown
    assert "\ncreate deployment etl_parent_flow/process" in done
    after = command("plan", "--detailed-exitcode")
    assert after.exit_code == 0, after.stdout
    assert "No change" in after.stdout
    gone = command("destroy")
    assert gone.exit_code == 0, gone.stderr
    assert "the work pool and the blocks stay" in gone.stdout


def test_the_script_option_applies_one_script_and_deletes_nothing(command, on_server, place, tmp_path):
    assert command("apply").exit_code == 0
    place.specs[0] = replace(place.specs[0], name="another")

    async def another(client):
        await place.apply(client, prune=False)

    on_server(another)
    script = ROOT / "deployments/web_to_gcs.py"
    applied = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert applied.returncode == 0, applied.stderr
    assert "delete" not in applied.stdout
    everything = command("plan")
    assert "- delete deployment stub_month/another" in everything.stdout
    assert command("destroy").exit_code == 0


def test_run_shows_the_logs_and_exits_with_the_result(command, on_server, place):
    from prefect.states import Completed, Failed

    async def work(client):
        await place.apply(client)

    on_server(work)
    unknown = command("run", "stub_month/no-such")
    assert unknown.exit_code == 1
    assert "the server has no deployment stub_month/no-such" in unknown.output
    refused = command("run", place.name, "-p", "MONTH=13")
    assert refused.exit_code == 1
    assert "13 is greater than the maximum of 12" in refused.output

    async def one(end, expected):
        """A run that the test itself ends, in place of a worker."""
        from prefect.client.orchestration import get_client

        from infra.deploy.run import follow, parameters_of, start

        async with get_client() as client:
            run = await start(client, place.name, parameters_of(["MONTH=3"]))
            assert run.parameters["month"] == 3
            shown = []
            following = asyncio.create_task(
                follow(client, run.id, lambda record: shown.append(record.message), poll=0.05)
            )
            await client.create_logs([log_of(run.id, "first"), log_of(run.id, "second")])
            await client.set_flow_run_state(run.id, end, force=True)
            assert (await following).name == expected
            assert shown == ["first", "second"]

    def log_of(run_id, message):
        from prefect.client.schemas.actions import LogCreate

        now = dt.datetime.now(dt.UTC)
        return LogCreate(name="test", level=20, message=message, timestamp=now, flow_run_id=run_id)

    asyncio.run(one(Completed(), "Completed"))
    asyncio.run(one(Failed(), "Failed"))
