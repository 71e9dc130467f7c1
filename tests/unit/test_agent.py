"""The agent: one of a name on a machine, and it goes on after errors."""

from __future__ import annotations

import asyncio
import tempfile

import httpx
import pytest
from prefect.utilities.services import critical_service_loop

from infra.agent import AgentFailed, only_one, repeat


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the locks are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def refusal(name: str, pool: str) -> str:
    """Why another agent with this name and pool cannot start."""
    with pytest.raises(AgentFailed) as refused, only_one(name, pool):
        pass
    return str(refused.value)


def test_a_second_agent_with_the_same_name_and_pool_is_refused(folder):
    with only_one("agent-host", "taxi"), only_one("agent-host", "another pool"):
        assert refusal("agent-host", "taxi") == "agent-host already runs on this machine, on pool taxi"


def test_a_lock_that_cannot_be_opened_is_reported_in_one_line(folder):
    with only_one("agent-host", "taxi"):
        [lock] = folder.iterdir()
    lock.unlink()
    lock.mkdir()
    assert f"{lock} cannot be opened (Is a directory)" in refusal("agent-host", "taxi")


def refused() -> httpx.ConnectError:
    return httpx.ConnectError("connection refused")


def test_repeated_errors_do_not_end_the_agent():
    """Unlike Prefect's own loop, see below."""
    stopping = asyncio.Event()
    calls = []

    async def fail() -> None:
        calls.append(None)
        if len(calls) == 20:
            stopping.set()
        raise refused()

    asyncio.run(repeat(fail, 0, stopping))
    assert len(calls) == 20


def test_prefects_worker_gives_up_after_repeated_errors():
    """When this fails, Prefect's worker may be able to replace `repeat`."""

    async def fail() -> None:
        raise refused()

    with pytest.raises(RuntimeError, match="exceeded error threshold"):
        asyncio.run(critical_service_loop(fail, interval=0, backoff=4, printer=lambda line="": None))
