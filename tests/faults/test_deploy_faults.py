"""The server fails at every single call of a deploy: the run after it comes to the same state."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest

from tests.integration.conftest import stack

__all__ = ["stack"]  # the fixture

AT_ONCE = 4


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

    from deployments.apply import Stopped
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
def test_a_fault_at_every_single_call(on_server, from_nothing, after):
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


def test_what_was_applied_before_the_fault_is_said(on_server):
    from deployments.apply import Stopped
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


def test_a_run_that_falls_silent_is_crashed_and_one_that_waits_is_not(on_server):
    """The automation with ten seconds in place of 95, on runs whose heartbeats the test sends itself."""
    from prefect.client.schemas.objects import StateType
    from prefect.events import Event
    from prefect.events.clients import get_events_client
    from prefect.states import AwaitingRetry, Running

    from infra.automations import give_up_silent_runs
    from tests.deploy_stubs import stub_month

    async def work(get_client):
        async with get_client() as client, get_events_client() as events:
            automation = await client.create_automation(give_up_silent_runs(own_name(), timedelta(seconds=10)))
            silent, waits = [await client.create_flow_run(stub_month) for _ in range(2)]
            for run in (silent, waits):
                await client.set_flow_run_state(run.id, Running(), force=True)
                resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
                await events.emit(Event(event="prefect.flow-run.heartbeat", resource=resource))
            await client.set_flow_run_state(waits.id, AwaitingRetry(), force=True)
            try:
                async with asyncio.timeout(60):
                    while (await client.read_flow_run(silent.id)).state.type is not StateType.CRASHED:
                        await asyncio.sleep(0.5)
                assert "No heartbeat for 10 s" in (await client.read_flow_run(silent.id)).state.message
                await asyncio.sleep(3)
                assert (await client.read_flow_run(waits.id)).state.name == "AwaitingRetry"
            finally:
                await client.delete_automation(automation)

    on_server(work)
