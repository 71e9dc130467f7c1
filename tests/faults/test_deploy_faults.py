"""The server fails at every single call of a deploy: the run after it comes to the same state."""

from __future__ import annotations

import asyncio
import signal
import sys
import uuid
from datetime import timedelta

import pytest

from infra.settings import ROOT
from tests.integration.conftest import stack

__all__ = ["stack"]  # the fixture

AT_ONCE = 4
# Of the first deploy: the pool, a block, a limit, an automation, two deployments with two schedules each.
ACTIONS = 10


@pytest.fixture
def on_server(stack):
    """Run a coroutine with a function that opens clients."""

    def run(work):
        from prefect.client.orchestration import get_client

        return asyncio.run(work(get_client))

    return run


def own_name() -> str:
    return f"f{uuid.uuid4().hex[:8]}"


async def broken_and_repeated(get_client, declared, number: int, *, after: bool) -> str:
    """Deploy with the call of that number failing, then once more. Gives what the server has then."""
    import httpx

    from infra.deploy.apply import Stopped
    from tests.faults.deploy_places import Calls

    async with get_client() as client:
        calls = Calls(client, number, after=after)
        try:
            await declared.apply(client)
        except Stopped as stopped:
            assert "ConnectError: the connection was cut" in str(stopped)
            assert "Run it again to finish." in str(stopped)
        except httpx.ConnectError:
            pass  # before the first change, or as the lock was let go
    async with get_client() as client:
        await declared.apply(client)
        state, left = await declared.on_server(client)
        assert left == [], f"call {number} of {calls.made}"
        await declared.removed(client)
        return state


async def calls_of(get_client, declared) -> list[str]:
    from tests.faults.deploy_places import Calls

    async with get_client() as client:
        calls = Calls(client)
        await declared.apply(client)
        return calls.made


@pytest.mark.parametrize(
    ("from_nothing", "after"),
    [(True, True), (False, True), (False, False)],
    ids=["first-deploy-done-and-not-answered", "second-deploy-done-and-not-answered", "second-deploy-never-sent"],
)
def test_a_fault_at_every_call_of_a_deploy(on_server, from_nothing, after):
    from tests.faults.deploy_places import first, second

    async def work(get_client):
        async def declared():
            own = own_name()
            if from_nothing:
                return first(own)
            async with get_client() as client:
                await first(own).apply(client)
            return second(own)

        reference = await declared()
        calls = await calls_of(get_client, reference)
        async with get_client() as client:
            expected, _ = await reference.on_server(client)
        writes = [number for number, call in enumerate(calls, 1) if not call.startswith("GET") and "filter" not in call]
        # A read that is never sent is as one that is not answered.
        numbers = range(1, len(calls) + 1) if after else writes
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with slots:
                got = await broken_and_repeated(get_client, await declared(), number, after=after)
            assert got == expected, f"call {number}: {calls[number - 1]}"

        await asyncio.gather(*(one(number) for number in numbers))
        print(f"{len(calls)} calls, {len(numbers)} of them failed")

    on_server(work)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_deploy_killed_under_its_lock_is_finished_by_the_next(stack, on_server, count):
    from infra.deploy.lock import lock_name
    from tests.faults.deploy_places import first

    async def work(get_client):
        declared = first(own_name())
        killed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.faults.killed_deploy", declared.config.tag, str(count)), cwd=ROOT
        )
        assert await killed.wait() == -signal.SIGKILL
        async with get_client() as client:
            assert await client.read_variable_by_name(lock_name(declared.config.tag)), "the lock is left behind"
            done = await declared.apply(client)
            _, left = await declared.on_server(client)
            assert len(done) == ACTIONS - count
            assert left == []
            await declared.removed(client)

    on_server(work)


def test_the_error_names_the_actions_applied_before_it(on_server):
    from infra.deploy.apply import Stopped
    from tests.faults.deploy_places import Calls, first

    async def work(get_client):
        own = own_name()
        made = await calls_of(get_client, first(own_name()))
        number = next(index for index, call in enumerate(made, 1) if call.endswith("/automations/"))
        async with get_client() as client:
            Calls(client, number)
            with pytest.raises(Stopped) as caught:
                await first(own).apply(client)
        assert f"stopped at create automation {own}-silent-runs-crash" in str(caught.value)
        assert f"Applied before it: create work pool {own}; create block secret/{own};" in str(caught.value)

    on_server(work)


def test_only_our_run_without_heartbeats_is_marked_crashed(on_server):
    """The automation with ten seconds in place of its own; the test sends the heartbeats, as the engine does."""
    from prefect.client.schemas.objects import StateType
    from prefect.events import Event
    from prefect.events.clients import get_events_client
    from prefect.events.related import tags_as_related_resources
    from prefect.states import AwaitingRetry, Running

    from infra.automations import give_up_silent_runs
    from tests.deploy_stubs import stub_month

    async def work(get_client):
        async with get_client() as client, get_events_client() as events:

            async def heartbeat(run) -> None:
                resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
                related = tags_as_related_resources(set(run.tags))
                await events.emit(Event(event="prefect.flow-run.heartbeat", resource=resource, related=related))

            own = own_name()
            automation = await client.create_automation(give_up_silent_runs(own, timedelta(seconds=10)))
            tags = {"theirs": [], "of another tag": [f"{own}-dev"], "waits": [own], "live": [own], "silent": [own]}
            runs = {name: await client.create_flow_run(stub_month, tags=given) for name, given in tags.items()}
            for run in runs.values():
                await client.set_flow_run_state(run.id, Running(), force=True)

            async def crashed(run) -> None:
                async with asyncio.timeout(90):
                    while (await client.read_flow_run(run.id)).state.type is not StateType.CRASHED:
                        await heartbeat(runs["live"])
                        await asyncio.sleep(0.5)

            try:
                await heartbeat(runs["silent"])
                await crashed(runs["silent"])
                # The server knows the automation by now. Once a later run is crashed, those before it have been judged.
                for name in ("theirs", "of another tag", "waits"):
                    await heartbeat(runs[name])
                await client.set_flow_run_state(runs["waits"].id, AwaitingRetry(), force=True)
                later = await client.create_flow_run(stub_month, tags=[own])
                await client.set_flow_run_state(later.id, Running(), force=True)
                await heartbeat(later)
                await crashed(later)
                states = {name: (await client.read_flow_run(run.id)).state for name, run in runs.items()}
                assert "No heartbeat for 10 s" in states.pop("silent").message
                assert {name: state.name for name, state in states.items()} == {
                    "theirs": "Running",
                    "of another tag": "Running",
                    "live": "Running",
                    "waits": "AwaitingRetry",
                }
            finally:
                await client.delete_automation(automation)

    on_server(work)


def test_a_run_of_our_deployment_sends_its_tag_with_its_heartbeats(on_server):
    """What the automation goes by: a run has its deployment's tags, and so have its heartbeats."""
    from prefect.flow_engine import run_flow

    from tests.deploy_stubs import stub_month
    from tests.faults.deploy_places import first

    async def work(get_client):
        async with get_client() as client:
            declared = first(own_name())
            await declared.apply(client)
            deployment = await client.read_deployment_by_name(f"stub_month/{declared.specs[0].name}")
            run = await client.create_flow_run_from_deployment(deployment.id)
            assert declared.config.tag in run.tags
            await run_flow(stub_month, flow_run=run)
            desired = {
                "event": {"name": ["prefect.flow-run.heartbeat"]},
                "resource": {"id": [f"prefect.flow-run.{run.id}"]},
                "related": {"id": [f"prefect.tag.{declared.config.tag}"]},
            }
            async with asyncio.timeout(30):  # events arrive a little later
                while not (await client.request("POST", "/events/filter", json={"filter": desired})).json()["events"]:
                    await asyncio.sleep(0.2)
            await declared.removed(client)

    on_server(work)
