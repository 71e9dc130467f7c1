"""One deploy at a time: a Prefect variable is the lock.

Creating a variable fails if one of that name exists, and deleting it by id fails if it has been replaced; so two
deploys never hold it together. The holder changes its value every few seconds. If it does not change for
`stale_after` seconds, the holder was killed, and a waiting deploy takes the lock over. A deploy measures that time with
its own clock, so the clocks of two machines need not agree.

Prefect's own concurrency limits cannot replace it: they lease a slot for at least 60 seconds, for which the next deploy
after a killed one would have to wait, and they do not show who holds the slot.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient

CONFLICT, GONE = httpx.codes.CONFLICT, httpx.codes.NOT_FOUND


class Locked(Exception):
    """Another deploy is running, or the lock's name is in use; the message says by whom. Nothing was changed."""


class LockLost(Exception):
    """Another deploy took the lock over, because this one did not renew it in time."""


@dataclass(frozen=True)
class LockTimes:
    """How often the lock is renewed and how long a deploy waits for it, in seconds.

    Attributes:
        renew_every: time between two renewals by the holder.
        stale_after: a lock that was not renewed for this long is free.
        max_wait: how long a second deploy waits for a running one.
        poll_every: time between two reads by a waiting deploy.
    """

    renew_every: float = 5.0
    stale_after: float = 20.0
    max_wait: float = 60.0
    poll_every: float = 0.5


class Lock:
    """A lock that this deploy holds. `check()` raises LockLost if it does not hold it any more."""

    def __init__(self, client: PrefectClient, variable_id: str, holder: dict[str, Any]) -> None:
        self._client, self._id, self._holder = client, variable_id, holder
        self._lost = False

    def check(self) -> None:
        """Raises LockLost if another deploy has taken over."""
        if self._lost:
            raise LockLost("another deploy took over because this one did not renew its lock in time; run it again")

    async def renew_every(self, seconds: float) -> None:
        """Renew the lock until cancelled, or until the lock is lost."""
        for beat in range(1, 1_000_000):
            await asyncio.sleep(seconds)
            value = self._holder | {"beat": beat}
            try:
                await self._client.request(
                    "PATCH", "/variables/{id}", path_params={"id": self._id}, json={"value": value}
                )
            except httpx.HTTPStatusError as refused:
                if refused.response.status_code == GONE:
                    self._lost = True
                    return
            except httpx.HTTPError:
                continue  # the next renewal may be in time

    async def release(self) -> None:
        """Release the lock. If the server does not answer, the next deploy waits until the lock is stale."""
        with suppress(httpx.HTTPError):
            await self._client.request("DELETE", "/variables/{id}", path_params={"id": self._id})


@asynccontextmanager
async def deploy_lock(client: PrefectClient, tag: str, times: LockTimes | None = None) -> AsyncIterator[Lock]:
    """Hold the lock of all objects with the tag. Raises Locked after waiting for `times.max_wait` seconds."""
    times = times or LockTimes()
    lock = await _take(client, lock_name(tag), times)
    renewing = asyncio.create_task(lock.renew_every(times.renew_every))
    try:
        yield lock
    finally:
        renewing.cancel()
        await asyncio.shield(lock.release())


def lock_name(tag: str) -> str:
    """The variable's name."""
    return f"{tag.replace('-', '_').lower()}_deploy_lock"


async def _take(client: PrefectClient, name: str, times: LockTimes) -> Lock:
    holder = {
        "holder": f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})",
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "beat": 0,
    }
    started = changed = time.monotonic()
    seen: Any = None
    alive = False
    while True:
        variable_id = await _create(client, name, holder)
        if variable_id is not None:
            return Lock(client, variable_id, holder)
        other = await client.read_variable_by_name(name)
        now = time.monotonic()
        if other is None:
            continue  # it has just been released
        if not _is_lock(other.value):
            raise Locked(f"the variable {name} is not a lock of a deploy; rename or delete it. Nothing was changed")
        if (other.id, other.value) != seen:
            alive = seen is not None
            seen, changed = (other.id, other.value), now
        elif now - changed > times.stale_after:
            with suppress(httpx.HTTPStatusError):  # another waiting deploy was quicker
                await client.request("DELETE", "/variables/{id}", path_params={"id": other.id})
            continue
        if alive and now - started > times.max_wait:
            raise Locked(f"another deploy is running: {_described(other.value)}; nothing was changed")
        await asyncio.sleep(times.poll_every)


async def _create(client: PrefectClient, name: str, holder: dict[str, Any]) -> str | None:
    """The new variable's id; None if there is one already."""
    try:
        response = await client.request("POST", "/variables/", json={"name": name, "value": holder, "tags": []})
    except httpx.HTTPStatusError as refused:
        if refused.response.status_code == CONFLICT:
            return None
        raise
    return response.json()["id"]


def _is_lock(value: Any) -> bool:
    """Whether a deploy wrote the value. A variable of this name that others created is never deleted."""
    return isinstance(value, dict) and value.keys() == {"holder", "since", "beat"}


def _described(value: Any) -> str:
    return f"{value['holder']} since {value['since']}"
