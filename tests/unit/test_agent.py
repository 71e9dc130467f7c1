"""One agent of a name on a machine."""

from __future__ import annotations

import tempfile

import pytest

from infra.agent import AgentFailed, only_one


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the locks are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def taken(name: str, pool: str) -> str:
    """Why the name cannot be taken for the pool."""
    with pytest.raises(AgentFailed) as refused, only_one(name, pool):
        pass
    return str(refused.value)


def test_a_second_agent_of_one_name_and_pool_is_refused(folder):
    with only_one("agent-host", "taxi"), only_one("agent-host", "another pool"):
        assert taken("agent-host", "taxi") == "agent-host runs already on this machine, on pool taxi"


def test_a_lock_that_cannot_be_opened_is_one_line(folder):
    with only_one("agent-host", "taxi"):
        [lock] = folder.iterdir()
    lock.unlink()
    lock.mkdir()
    assert f"{lock} cannot be opened (Is a directory)" in taken("agent-host", "taxi")
