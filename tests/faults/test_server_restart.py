"""Slots of a limit when Prefect's server is killed, and a cancelled run whose container and agent are gone."""

from __future__ import annotations

import time
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient

from infra.local.stack import Stack, read_running
from infra.settings import Settings

# The shortest lease that Prefect gives.
LEASE_SECONDS = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The embedded stack and a client of its server's API."""
    state = tmp_path_factory.mktemp("state")
    stack = Stack(state, Settings(_env_file=None, state_dir=state))
    with stack, SyncPrefectClient(api=f"{stack.ui_url}/api") as api:  # sends the CSRF token that the server asks for
        yield stack, api


def post(api: SyncPrefectClient, path: str, body: object) -> dict:
    answer = api.request("POST", path, json=body)
    return answer.json() if answer.content else {}


def take_slot(api: SyncPrefectClient, limit: str) -> UUID:
    """Make a limit of one slot and take it. Gives the lease."""
    post(api, "/v2/concurrency_limits/", {"name": limit, "limit": 1})
    body = {"slots": 1, "names": [limit], "mode": "concurrency", "lease_duration": LEASE_SECONDS}
    return post(api, "/v2/concurrency_limits/increment-with-lease", body)["lease_id"]


def slots_taken(api: SyncPrefectClient, limit: str) -> int:
    return api.request("GET", f"/v2/concurrency_limits/{limit}").json()["active_slots"]


def until(true, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(1)


def test_slots_come_back_after_a_restart(server):
    """Also the slot of a download whose process is gone, once its lease has run out."""
    stack, api = server
    held = take_slot(api, "held")
    take_slot(api, "abandoned")
    [process] = [process for process in read_running(stack.state / "stack.json") if process.name == "prefect"]
    process.alive().kill()
    stack.down()
    stack.up()
    assert slots_taken(api, "held") == 1
    post(api, f"/v2/concurrency_limits/leases/{held}/renew", {"lease_duration": LEASE_SECONDS})
    post(api, "/v2/concurrency_limits/decrement-with-lease", {"lease_id": held})
    assert slots_taken(api, "held") == 0
    until(lambda: slots_taken(api, "abandoned") == 0, LEASE_SECONDS + 60)


def test_a_cancelled_run_without_a_worker_is_cancelled(server):
    """Its container and its agent are gone: nobody but the server can end it."""
    _, api = server
    flow = post(api, "/flows/", {"name": "lost"})["id"]
    run = post(api, "/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
    post(api, f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    until(lambda: api.request("GET", f"/flow_runs/{run}").json()["state"]["type"] == "CANCELLED", 150)
