"""What others have on the same server: whole after every deploy, prune and destroy of ours, field by field."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from tests.integration.deploy_fixtures import Place, changes, command, on_server, place, told

# What the server itself changes of an object from one moment to the next.
RESTLESS = {"updated", "last_polled", "status", "estimated_run_time", "estimated_start_time_delta", "total_run_time"}
LISTS = {
    "pool": "/work_pools/filter",
    "limit": "/v2/concurrency_limits/filter",
    "automation": "/automations/filter",
    "deployment": "/deployments/filter",
    "block": "/block_documents/filter",
    "run": "/flow_runs/filter",
    "variable": "/variables/filter",
}


async def rows(client) -> dict[str, dict]:
    """Every object on the server by its id, as the API gives it, but the runs that the server makes by itself."""
    found = {}
    for kind, path in LISTS.items():
        offset = 0
        while page := (await client.request("POST", path, json={"limit": 200, "offset": offset})).json():
            found |= {row["id"]: {"kind": kind, **row} for row in page if not row.get("auto_scheduled")}
            offset += len(page)
    return found


def lasting(value):
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in RESTLESS}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


class Whole:
    """Objects that must stay as they are; `check` names what is gone or differs."""

    def __init__(self, before: dict[str, dict]) -> None:
        self.before = lasting(before)

    async def check(self, client) -> None:
        now = lasting(await rows(client))
        for id, row in self.before.items():
            assert now.get(id) == row, f"{row['kind']} {row.get('name')}"


async def planted(client, plant) -> Whole:
    """Whatever `plant` makes on the server."""
    before = await rows(client)
    await plant()
    return Whole({id: row for id, row in (await rows(client)).items() if id not in before})


def neighbour(config, *, name: str, tags: list[str], slug: str | None, pool: str):
    """Makes one object of each kind, as another team would by hand."""
    from prefect.blocks.system import Secret
    from prefect.client.schemas.actions import (
        DeploymentScheduleCreate,
        GlobalConcurrencyLimitCreate,
        WorkPoolCreate,
    )
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.events.actions import DoNothing
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.states import Scheduled

    async def plant(client) -> None:
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process", description="theirs"))
        await Secret(value="theirs").asave(name, client=client)
        limit = GlobalConcurrencyLimitCreate(name=f"{name}-downloads", limit=17)
        await client.create_global_concurrency_limit(limit)
        trigger = EventTrigger(expect={"theirs"}, posture=Posture.Reactive, threshold=1)
        await client.create_automation(
            AutomationCore(name=f"{name}-silent-runs-crash", tags=tags, trigger=trigger, actions=[DoNothing()])
        )
        flow = await client.create_flow_from_name("stub_month")
        rule = CronSchedule(cron="0 3 1 1 *", timezone="UTC")
        deployment = await client.create_deployment(
            flow,
            name,
            tags=tags,
            work_pool_name=pool,
            description="theirs",
            schedules=[DeploymentScheduleCreate(slug=slug, schedule=rule, active=False)],
        )
        later = Scheduled(scheduled_time=dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        await client.create_flow_run_from_deployment(deployment, state=later)

    return plant


def under_tag(place: Place, tag: str, **changed) -> Place:
    """The place again, under another tag."""
    return replace(place, config=place.config.model_copy(update={"tag": tag, **changed}), specs=list(place.specs))


@pytest.mark.parametrize("tagged", [True, False])
def test_objects_of_others_under_our_names_are_conflicts_and_unchanged(place, on_server, tagged):
    from infra.deploy import deploy
    from infra.deploy.scripts import Invalid
    from infra.deploy.target import target_of

    own = place.config.tag

    async def work(client):
        plant = neighbour(place.config, name=own, tags=[own] if tagged else [], slug=f"{own}-monthly", pool=own)
        theirs = await planted(client, lambda: plant(client))
        conflicts = {action.name for action in await place.plan(client) if action.verb == "conflict"}
        assert conflicts == {own, f"secret/{own}", f"{own}-downloads", f"{own}-silent-runs-crash", place.name}
        with pytest.raises(Invalid) as refused:
            await place.apply(client)
        assert len(refused.value.problems) == 5
        assert f"--adopt 'deployment/{place.name}'" in str(refused.value)
        assert await deploy.destroy(target_of(place.config), client) == []
        await theirs.check(client)
        everything = [f"deployment/{place.name}", f"work pool/{own}", f"block/secret/{own}"]
        everything += [f"concurrency limit/{own}-downloads", f"automation/{own}-silent-runs-crash"]
        everything.append(f"schedule/{place.schedule('monthly')}")
        await place.apply(client, adopt=everything)
        assert changes(await place.plan(client)) == set()

    on_server(work)


def test_other_objects_of_others_are_unchanged(place, on_server):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from infra.deploy import deploy
    from infra.deploy.target import target_of

    own = place.config.tag
    first = place.specs[0]
    dev = under_tag(place, f"{own}-dev", work_pool=f"{own}-dev")
    dev.specs = [replace(first, name=f"{own}-dev")]
    dev.blocks = {}

    async def plant(client) -> None:
        await dev.apply(client)
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=f"{own}-partner-api", limit=3))
        # Our tag, the prefix of our names and slugs: whoever uses them is not one of us.
        by_hand = neighbour(
            place.config, name=f"{own}-theirs", tags=[own, "theirs"], slug=f"{own}-theirs", pool=f"{own}-theirs"
        )
        await by_hand(client)

    async def work(client):
        place.specs.append(replace(first, name=f"{own}-gone", schedules=first.schedules[:1]))
        await place.apply(client)
        others = await planted(client, lambda: plant(client))
        for changed in ("rev2", "rev3"):
            place.config = place.config.model_copy(update={"revision": changed})
            place.specs = [replace(first, schedules=first.schedules[1:])]
            await place.apply(client)
            await others.check(client)
        await deploy.destroy(target_of(place.config), client)
        await others.check(client)
        assert changes(await dev.plan(client)) == set()

    on_server(work)


def test_a_manual_schedule_with_our_prefix_is_kept_and_a_recreated_deployment_is_a_conflict(place, on_server):
    from infra.deploy.scripts import Invalid

    async def work(client):
        await place.apply(client)
        deployment = await client.read_deployment_by_name(place.name)
        rule = {"cron": "0 6 * * 1", "timezone": "UTC"}
        body = [{"slug": f"{place.config.tag}-by-hand", "schedule": rule, "active": False}]
        await client.request("POST", f"/deployments/{deployment.id}/schedules", json=body)
        before = await client.read_deployment_schedules(deployment.id)
        await place.apply(client)
        assert await client.read_deployment_schedules(deployment.id) == before
        await client.delete_deployment(deployment.id)
        flow = await client.create_flow_from_name("stub_month")
        await client.create_deployment(flow, place.specs[0].name, tags=[place.config.tag])
        with pytest.raises(Invalid, match=f"deployment {place.name} was not made by our deploys"):
            await place.apply(client)

    on_server(work)


def test_two_tags_never_share_an_object(place, on_server):
    from infra.deploy.scripts import Invalid

    own = place.config.tag

    async def work(client):
        mine = await planted(client, lambda: place.apply(client))
        other = under_tag(place, f"{own}-dev", revision="rev2", work_pool_limit=1)
        with pytest.raises(Invalid, match=f"deployment {place.name} was made by deploys under the tag {own}: rename"):
            await other.apply(client)
        with pytest.raises(Invalid):
            await other.apply(client, adopt=[f"deployment/{place.name}", f"work pool/{own}"])
        await mine.check(client)

    on_server(work)


def test_an_object_in_the_records_of_two_tags_is_changed_by_neither(place, on_server):
    """Two deploys at once under two tags may both be told by the server that they made a deployment."""
    from infra.deploy import deploy
    from infra.deploy.record import DeployedObjects, document_name
    from infra.deploy.scripts import Invalid
    from infra.deploy.target import target_of

    async def work(client):
        await place.apply(client)
        found = await client.read_deployment_by_name(place.name)
        other = under_tag(place, f"{place.config.tag}-dev", revision="rev2")
        entry = {"id": str(found.id), "switch": None}
        document = DeployedObjects(tag=other.config.tag, objects={f"deployment/{place.name}": entry})
        await document.asave(document_name(other.config.tag), client=client)
        for one in (place, other):
            with pytest.raises(Invalid, match=f"deployment {place.name} was made by deploys under the tag"):
                await one.apply(client)
            await deploy.destroy(target_of(one.config), client)
        assert await client.read_deployment_by_name(place.name) == found

    on_server(work)


def test_objects_of_a_version_that_kept_no_record_are_ours(place, on_server):
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from infra.automations import give_up_silent_runs
    from infra.deploy.record import DeployedObjects
    from infra.deploy.scripts import Invalid

    own = place.config.tag

    async def work(client):
        await place.apply(client)
        document = await client.read_block_document_by_name(own, DeployedObjects.get_block_type_slug())
        await client.delete_block_document(document.id)
        await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=f"{own}-partner-api", limit=3))
        alert = give_up_silent_runs(own).model_copy(update={"name": f"{own} alert", "enabled": False})
        alert_id = await client.create_automation(alert)
        with pytest.raises(Invalid, match="an earlier version, which kept no record, deployed here"):
            await place.apply(client, prune=False)
        place.config = place.config.model_copy(update={"revision": "rev2", "downloads_at_once": 9})
        assert told(await place.apply(client)) == {("update", f"{own}-downloads"), ("update", place.name)}
        place.specs[0] = replace(place.specs[0], schedules=())
        assert {verb for verb, _ in changes(await place.plan(client))} == {"delete"}
        await place.apply(client)
        assert (await client.read_global_concurrency_limit_by_name(f"{own}-partner-api")).limit == 3
        assert (await client.read_automation(alert_id)).name == alert.name

    on_server(work)


def test_an_object_that_an_interrupted_deploy_did_not_create_is_not_ours(place, on_server):
    import httpx
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from infra.deploy.apply import Stopped
    from infra.deploy.scripts import Invalid

    name = f"{place.config.tag}-downloads"

    async def never_sent(limit):
        raise httpx.ConnectError("cut off")

    async def work(client):
        create = client.create_global_concurrency_limit
        client.create_global_concurrency_limit = never_sent
        with pytest.raises(Stopped):
            await place.apply(client)
        client.create_global_concurrency_limit = create
        theirs = await planted(client, lambda: create(GlobalConcurrencyLimitCreate(name=name, limit=17)))
        with pytest.raises(Invalid, match=f"concurrency limit {name} was not made by our deploys"):
            await place.apply(client)
        await theirs.check(client)

    on_server(work)


def test_a_pool_that_our_agent_created_is_ours(place, on_server):
    from prefect.client.schemas.actions import WorkPoolCreate

    from infra.work_pool import declared_pool

    async def work(client):
        pool = declared_pool(place.config)
        fields = {"type": pool.type, "description": pool.description, "base_job_template": pool.base_job_template}
        await client.create_work_pool(WorkPoolCreate(name=pool.name, **fields))
        await place.apply(client)
        place.config = place.config.model_copy(update={"work_pool_limit": 7})
        assert told(await place.apply(client)) == {("update", place.config.work_pool)}

    on_server(work)


def test_a_switch_changed_in_the_code_is_applied_and_an_interrupted_delete_is_not_a_manual_pause(place, on_server):
    from infra.deploy.apply import Stopped

    async def states(client):
        deployment = await client.read_deployment_by_name(place.name)
        return deployment.paused, {one.active for one in deployment.schedules}

    async def work(client):
        first = place.specs[0]
        off = replace(first, paused=True, schedules=tuple(replace(one, active=False) for one in first.schedules))
        for spec, expected in ((off, (True, {False})), (first, (False, {True})), (off, (True, {False}))):
            place.specs[0] = spec
            await place.apply(client)
            assert await states(client) == expected
        place.specs[0] = first
        await place.apply(client)
        place.specs = []
        pause = client.pause_deployment

        async def interrupted(deployment):
            await pause(deployment)
            raise KeyError("interrupted")

        client.pause_deployment = interrupted
        with pytest.raises(Stopped):
            await place.apply(client)
        place.specs = [first]
        assert changes(await place.plan(client)) == {("update", place.name)}
        await place.apply(client)
        assert await states(client) == (False, {True})

    on_server(work)


def test_a_variable_of_others_under_the_name_of_the_lock_is_unchanged(place, on_server):
    from infra.deploy.lock import Locked, LockTimes, deploy_lock, lock_name

    async def work(client):
        body = {"name": lock_name(place.config.tag), "value": {"mine": 1}, "tags": ["theirs"]}
        theirs = await planted(client, lambda: client.request("POST", "/variables/", json=body))
        with pytest.raises(Locked, match=r"is not a lock of a deploy; rename or delete it"):
            async with deploy_lock(client, place.config.tag, LockTimes(stale_after=0.01, poll_every=0.01)):
                pass
        await theirs.check(client)

    on_server(work)
