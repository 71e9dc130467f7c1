"""Deploying to a real server: what is created, what is found again, what a person did and keeps, what goes."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import replace

import pytest

from tests.integration.deploy_fixtures import changes, on_server, place, told


def test_a_deploy_creates_what_is_declared(place, on_server):
    async def work(client):
        created = await place.apply(client)
        assert {action.verb for action in created} == {"create"}
        assert len(created) == 8  # pool, block, limit, automation, deployment, three schedules
        assert changes(await place.plan(client)) == set()
        assert await place.apply(client) == []
        deployment = await client.read_deployment_by_name(place.name)
        assert deployment.version == "rev1"
        assert "revision rev1" in deployment.description
        assert deployment.tags == [place.config.tag]
        assert {schedule.slug for schedule in deployment.schedules} == {
            f"{place.config.tag}-{slug}" for slug in ("monthly", "weekly", "check")
        }

    on_server(work)


def test_every_kind_of_change_is_planned_and_applied_once(place, on_server):
    async def work(client):
        await place.apply(client)
        spec = place.specs[0]
        monthly, _, check = spec.schedules
        place.specs[0] = replace(
            spec,
            parameters={"service": "yellow"},
            tags=("more",),
            concurrency_limit=None,
            job_variables={"env": {"A": "1"}},
            schedules=(replace(monthly, parameters={"month": 3}), check),
        )
        settings = {"revision": "rev2", "work_pool_limit": 7, "downloads_at_once": 9}
        place.config = place.config.model_copy(update=settings)
        place.blocks = {place.config.tag: type(next(iter(place.blocks.values())))(value="hush hush")}
        await place.apply(client)  # applied once more below: nothing is left
        assert changes(await place.plan(client)) == set()
        deployment = await client.read_deployment_by_name(place.name)
        assert (deployment.version, deployment.parameters) == ("rev2", {"service": "yellow"})
        assert deployment.job_variables == {"env": {"A": "1"}}
        assert deployment.global_concurrency_limit is None
        slugs = {schedule.slug: schedule.parameters for schedule in deployment.schedules}
        assert slugs == {f"{place.config.tag}-monthly": {"month": 3}, f"{place.config.tag}-check": {"month": 2}}
        assert (await client.read_work_pool(place.config.work_pool)).concurrency_limit == 7
        limit = await client.read_global_concurrency_limit_by_name(f"{place.config.tag}-downloads")
        assert limit.limit == 9

    on_server(work)


def test_the_plan_shows_old_and_new_values_but_no_secrets(place, on_server):
    from infra.deploy.render import as_json

    async def work(client):
        await place.apply(client)
        place.config = place.config.model_copy(update={"revision": "rev2"})
        place.blocks = {place.config.tag: type(next(iter(place.blocks.values())))(value="psst")}
        actions = await place.plan(client)
        by_name = {action.name: action for action in actions}
        (version,) = [change for change in by_name[place.name].changes if change.path == ("version",)]
        assert (version.old, version.new) == ("rev1", "rev2")
        (secret,) = by_name[f"secret/{place.config.tag}"].changes
        assert secret.secret
        shown = await as_json(actions)
        assert "hush" not in shown
        assert "psst" not in shown

    on_server(work)


def test_manual_changes_are_kept_and_reset_overwrites_them(place, on_server):
    async def work(client):
        await place.apply(client)
        deployment = await client.read_deployment_by_name(place.name)
        await client.pause_deployment(deployment.id)
        weekly = next(one for one in deployment.schedules if one.slug.endswith("weekly"))
        await client.update_deployment_schedule(deployment.id, weekly.id, active=False)
        (silent,) = [one for one in await client.read_automations() if place.config.tag in one.tags]
        await client.pause_automation(silent.id)
        place.config = place.config.model_copy(update={"revision": "rev2"})
        notes = {(action.name, action.note) for action in await place.plan(client) if action.verb == "kept"}
        assert notes == {
            (place.name, "paused by hand"),
            (place.schedule("weekly"), "switched off by hand"),
            (silent.name, "switched off by hand"),
        }
        await place.apply(client)
        deployment = await client.read_deployment_by_name(place.name)
        assert (deployment.version, deployment.paused) == ("rev2", True)
        assert [one.active for one in deployment.schedules if one.id == weekly.id] == [False]
        await place.apply(client, reset=True)
        deployment = await client.read_deployment_by_name(place.name)
        assert not deployment.paused
        assert all(one.active for one in deployment.schedules)
        assert (await client.read_automation(silent.id)).enabled

    on_server(work)


def test_cron_option_adds_a_schedule_until_the_next_deploy_without_it(place, on_server):
    async def work(client):
        await place.apply(client)
        added = await place.apply(client, cron=(place.name, "*/1 * * * *"))
        assert told(added) == {("create", place.schedule("command-line"))}
        assert changes(await place.plan(client)) == {("delete", place.schedule("command-line"))}

    on_server(work)


def test_prune_deletes_only_our_objects_and_their_waiting_runs(place, on_server):
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
    from prefect.states import AwaitingConcurrencySlot, Scheduled

    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)

    async def runs_of(client, deployment):
        of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment]))
        return await client.read_flow_runs(flow_run_filter=of_it)

    async def work(client):
        first = place.specs[0]
        place.specs.append(replace(first, name=f"{first.name}-gone", concurrency_limit=None))
        await place.apply(client)
        flow_id = await client.create_flow_from_name("stub_month")
        theirs = await client.create_deployment(flow_id, f"{first.name}-theirs", work_pool_name=place.config.work_pool)
        gone = await client.read_deployment_by_name(f"stub_month/{first.name}-gone")
        await client.create_flow_run_from_deployment(gone.id, state=Scheduled(scheduled_time=later))
        await client.create_flow_run_from_deployment(gone.id, state=AwaitingConcurrencySlot(scheduled_time=later))
        ended = await client.create_flow_run_from_deployment(gone.id)
        from prefect.states import Completed

        await client.set_flow_run_state(ended.id, Completed(), force=True)
        del place.specs[1]
        actions = await place.plan(client)
        assert changes(actions) == {("delete", gone_name := f"stub_month/{first.name}-gone")}
        assert ("kept", f"stub_month/{first.name}-theirs") in told(actions)
        await place.apply(client)
        assert [run.id for run in await runs_of(client, gone.id)] == [ended.id]
        assert await client.read_deployment(theirs)
        assert gone_name not in {name for _, name in told(await place.plan(client))}

    on_server(work)


def test_the_runs_of_a_schedule_are_deleted_with_it(place, on_server):
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId

    async def work(client):
        await place.apply(client)
        deployment = await client.read_deployment_by_name(place.name)
        of_it = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        runs: list = []
        async with asyncio.timeout(30):  # the server's scheduler comes round every few seconds
            while len({run.created_by.id for run in runs}) < 3:
                await asyncio.sleep(0.2)
                runs = await client.read_flow_runs(flow_run_filter=of_it)
        weekly = next(one for one in deployment.schedules if one.slug.endswith("weekly"))
        spec = place.specs[0]
        place.specs[0] = replace(spec, schedules=tuple(one for one in spec.schedules if one.slug != "weekly"))
        await place.apply(client)
        left = await client.read_flow_runs(flow_run_filter=of_it)
        assert weekly.id not in {run.created_by.id for run in left}

    on_server(work)


def test_an_invalid_declaration_changes_nothing(place, on_server):
    from infra.deploy.scripts import Invalid

    async def work(client):
        good = place.specs[0]
        place.specs.append(
            replace(good, name="other", job_variables={"env": {"A": "{{ prefect.blocks.secret.no.value }}"}})
        )
        with pytest.raises(Invalid, match=r"deployments/of_the_test.py: there is no block secret/no"):
            await place.apply(client)
        place.specs[1] = replace(good, name="other", parameters={"month": 13})
        with pytest.raises(Invalid, match="parameter month"):
            await place.apply(client)
        place.specs.pop()
        assert {action.verb for action in await place.plan(client)} == {"create"}

    on_server(work)


def test_destroy_deletes_only_our_objects(place, on_server):
    from infra.deploy import deploy
    from infra.deploy.target import target_of

    async def work(client):
        await place.apply(client)
        flow_id = await client.create_flow_from_name("stub_month")
        theirs = await client.create_deployment(flow_id, f"{place.config.tag}-theirs")
        done = await deploy.destroy(target_of(place.config), client)
        assert {action.verb for action in done} == {"delete"}
        assert {str(action.kind) for action in done} == {"deployment", "automation", "concurrency limit"}
        assert await client.read_deployment(theirs)
        assert {str(action.kind) for action in await place.plan(client) if action.verb == "create"} == {
            "deployment",
            "automation",
            "concurrency limit",
            "schedule",
        }

    on_server(work)


@pytest.mark.parametrize(("left", "right"), [("left", "right"), ("same", "same")])
def test_concurrent_deploys_run_one_after_the_other(place, on_server, left, right):
    from prefect.client.orchestration import get_client

    from infra.deploy import deploy

    async def one(revision: str):
        place_of_one = replace(place, config=place.config.model_copy(update={"revision": revision}))
        async with get_client() as client:
            return await deploy.apply(await place_of_one.prepared(), client)

    async def work(client):
        done = await asyncio.gather(one(left), one(right))
        first, second = sorted(done, key=len, reverse=True)
        assert {action.verb for action in first} == {"create"}
        # The version and, in the description, the revision differ; a second deploy of the same code changes nothing.
        assert told(second) == ({("update", place.name)} if left != right else set())
        deployment = await client.read_deployment_by_name(place.name)
        assert f"revision {deployment.version}" in deployment.description

    on_server(work)


def test_the_lock_of_a_running_deploy_is_respected_and_a_stale_one_taken_over(place, on_server):
    from infra.deploy.lock import Locked, LockTimes, deploy_lock

    quick = LockTimes(renew_every=0.1, stale_after=0.5, max_wait=0.3, poll_every=0.05)

    async def work(client):
        async with deploy_lock(client, place.config.tag, quick) as held:
            with pytest.raises(Locked, match=r"another deploy is running: .* since 20"):
                async with deploy_lock(client, place.config.tag, quick):
                    pass
            held.check()
        dead = {"holder": "killed", "since": "then", "beat": 3}
        await client.request("POST", "/variables/", json={"name": f"{place.config.tag}_deploy_lock", "value": dead})
        async with deploy_lock(client, place.config.tag, quick) as lock:
            lock.check()

    on_server(work)


def test_a_deploy_that_lost_its_lock_stops(place, on_server):
    from infra.deploy.lock import LockLost, LockTimes, deploy_lock, lock_name

    async def work(client):
        async with deploy_lock(client, place.config.tag, LockTimes(renew_every=0.05)) as lock:
            await client.delete_variable_by_name(lock_name(place.config.tag))
            await asyncio.sleep(0.3)
            with pytest.raises(LockLost):
                lock.check()

    on_server(work)


def test_plan_of_an_unchanged_tree_over_a_hundred_deployments_is_empty(place, on_server):
    async def work(client):
        first = replace(place.specs[0], schedules=place.specs[0].schedules[:1])
        place.specs = [replace(first, name=f"{first.name}-{number}") for number in range(100)]
        await place.apply(client)
        times = []
        for _ in range(3):  # the best of three counts: the server is still making runs for a hundred new schedules
            started = time.monotonic()
            actions = await place.plan(client)
            times.append(time.monotonic() - started)
        assert changes(actions) == set()
        assert len(actions) == 4 + 2 * 100
        print(f"plan over 100 deployments: {', '.join(f'{took:.2f}' for took in times)} s")

    on_server(work)
